"""Built-in tasks whose rows are whole examples: texts to be written, pairs with a class, choices.

A reader takes the folder of the data and returns the examples in the order of the files. Equal inputs become one
example with all their references, and a split has all rows of a group: of a correct word, a lemma, an input.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ptviz.tasks.builtin.cache import PreparedSplits, fingerprint_files, load_or_prepare
from ptviz.tasks.builtin.packages import DataPackage
from ptviz.tasks.example import Example
from ptviz.tasks.splits import merge_references, normalised_text, split_by_group
from ptviz.tasks.task import DEFAULT_METRICS, Task, TaskKind


def own_input(row: Example) -> str:
    """Return the input of a row: rows of the same input are a group."""
    return normalised_text(row.text)


def correct_word(row: Example) -> str:
    """Return the target of a row in lower case: misspellings of a word are a group."""
    return row.targets[0].lower()


def last_word(row: Example) -> str:
    """Return the last word of a row's input: forms of a lemma are a group."""
    return row.text.rpartition(" ")[2]


@dataclass(frozen=True)
class RecordTask:
    """How a built-in task of whole examples is prepared; ``rows`` says how many come out.

    ``read`` takes the folder of ``package``, of which ``files`` (a glob) are read. Rows with the same ``group`` are in
    the same split. The layout is that of ``Task``.
    """

    title: str
    family: str
    cue: str
    package: DataPackage
    file_pattern: str
    read: Callable[[Path], Iterable[Example]]
    rows: int
    group: Callable[[Example], str] = own_input
    kind: TaskKind = "text"
    metric: str = ""
    fields: tuple[str, ...] = ("text",)
    template: str = ""
    cut_first: str = ""
    licence_note: str = "the texts have terms of their own"
    notes: tuple[str, ...] = ()

    @property
    def metric_name(self) -> str:
        """Return the metric that the task is judged by."""
        return self.metric or DEFAULT_METRICS[self.kind]

    def load(self, name: str, seed: int) -> Task:
        """Return the task, its splits drawn by ``seed``; it is cached on disk.

        Raises:
            TaskError: if its data is missing or damaged, with the command that gets it.
        """
        with self.package.open_folder(name) as folder:
            made_from = fingerprint_files(folder, self.file_pattern, name, seed)
            splits = load_or_prepare(
                f"{name}-{seed}",
                made_from,
                lambda: PreparedSplits((), split_by_group(merge_references(self.read(folder)), self.group, seed)),
            ).splits
        return Task(
            name=name,
            title=self.title,
            family=self.family,
            classes=(),
            label_words=(),
            descriptions=(),
            cue=self.cue,
            train=splits.train,
            validation=splits.validation,
            test=splits.test,
            source=f"{self.package.installed_version} ({self.licence_note})",
            notes=self.notes,
            metric=self.metric_name,
            fields=self.fields,
            template=self.template,
            cut_first=self.cut_first,
        )


CODESPELL = DataPackage("codespell_lib", "codespell==2.4.3")
LEMMINFLECT = DataPackage("lemminflect", "lemminflect==0.2.3")
INFLECTIONS = {
    "verb": ("past tense", "past participle", "present participle", "third person singular"),
    "noun": ("plural",),
    "adj": ("comparative", "superlative"),
    "adv": ("comparative", "superlative"),
}
"""Names of the columns after lemma and part of speech in lemminflect's table."""


def read_misspellings(folder: Path) -> Iterator[Example]:
    """Yield misspellings of codespell's dictionary with their correction; those with several are left out."""
    path = folder / "data" / "dictionary.txt"
    for line in path.read_text(encoding="utf-8").splitlines():
        misspelling, arrow, correction = line.partition("->")
        if not (arrow and misspelling and correction):
            raise ValueError(
                f"{path} should hold lines of a misspelling, an arrow -> and corrections; got {line[:40]!r}"
            )
        if "," not in correction:
            yield Example(misspelling.strip(), targets=(correction.strip(),))


def read_inflections(folder: Path) -> Iterator[Example]:
    """Yield "past tense of write" and the like with the inflected forms, from lemminflect's table.

    Names, and nouns whose plural is the word itself (mostly uncountable) are left out: copying would be right.
    """
    path = folder / "resources" / "infl_lu.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        for lemma, part_of_speech, *columns in csv.reader(lines):
            names = INFLECTIONS[part_of_speech]
            forms = dict(zip(names, (tuple(filter(None, column.split("/"))) for column in columns), strict=True))
            if lemma != lemma.lower() or " " in lemma:
                continue
            if part_of_speech == "verb":
                # A participle that is empty in the table is the past tense.
                forms["past participle"] = forms["past participle"] or forms["past tense"]
            elif part_of_speech == "noun":
                forms["plural"] = tuple(form for form in forms["plural"] if form != lemma)
            yield from (Example(f"{form} of {lemma}", targets=found) for form, found in forms.items() if found)


RECORD_TASKS: dict[str, RecordTask] = {
    "spelling": RecordTask(
        "Spelling correction", "words", "Correction:", CODESPELL, "data/dictionary.txt", read_misspellings,
        rows=58916, group=correct_word,
        licence_note="the dictionary is under the Creative Commons licence CC BY-SA 3.0, the code under the GPL 2.0",
        notes=("misspellings with one correction; all of a word are in the same split",),
    ),
    "inflection": RecordTask(
        "Inflected forms of words", "words", "Answer:", LEMMINFLECT, "resources/infl_lu.csv.gz", read_inflections,
        rows=43918, group=last_word, licence_note="MIT licence",
        notes=("all forms of a word are in the same split; names and uncountable nouns were left out",),
    ),
}  # fmt: skip
