"""Built-in tasks whose rows are whole examples: texts to be written, pairs with a class, choices.

A reader takes the folder of the data and returns the examples in the order of the files. Equal inputs become one
example with all their references, and a split has all rows of a group: of a correct word, a lemma, an input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ptviz.tasks.builtin.cache import PreparedSplits, fingerprint_files, load_or_prepare
from ptviz.tasks.builtin.labels import ClassLabel
from ptviz.tasks.builtin.packages import DataSource
from ptviz.tasks.example import Example
from ptviz.tasks.splits import merge_references, normalised_text, split_by_group
from ptviz.tasks.task import DEFAULT_METRICS, Task, TaskKind


def own_input(row: Example) -> str:
    """Return the input of a row: rows of the same input are a group."""
    return normalised_text(row.text)


def first_text(row: Example) -> str:
    """Return the first text of a row with several: rows about the same text are a group."""
    return normalised_text(row.texts[0]).lower()


@dataclass(frozen=True)
class RecordTask:
    """How a built-in task of whole examples is prepared; ``rows`` says how many come out.

    ``read`` takes the folder of ``package``, of which ``files`` (a glob) are read. Rows with the same ``group`` are in
    the same split. ``labels`` are the classes of a classification task. The layout is that of ``Task``.
    """

    title: str
    family: str
    cue: str
    package: DataSource
    file_pattern: str
    read: Callable[[Path], Iterable[Example]]
    rows: int
    group: Callable[[Example], str] = own_input
    kind: TaskKind = "text"
    labels: tuple[ClassLabel, ...] = ()
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
            classes=tuple(label.name for label in self.labels),
            label_words=tuple(label.word for label in self.labels),
            descriptions=tuple(label.description for label in self.labels),
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
