"""A task: examples in three fixed splits, how they are laid out for a backbone, and how answers are scored."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal

from ptviz.tasks.example import PAIR_SEPARATOR, Example, SplitName, TaskError
from ptviz.tasks.metrics import Metric, check_metric
from ptviz.tasks.splits import sample_few_shot, stratified_subsample
from ptviz.tasks.template import Place, Template

TaskKind = Literal["classification", "text", "choice"]
"""What an answer is: a class, a text that is written, or one of the example's own choices."""
DEFAULT_METRICS: dict[TaskKind, str] = {"classification": "accuracy", "text": "exact-match", "choice": "accuracy"}
MAX_FIELDS = 4


@dataclass(frozen=True)
class Task:
    """Examples in three fixed, disjoint splits, how they are laid out for a backbone, and how answers are scored.

    A classification task has ``classes``, with ``label_words`` (one natural word a class) and ``descriptions``, the
    sentences that stand for the classes in a pooled read-out. A text-to-text task has no classes, and references in
    its examples' ``targets``; a multiple-choice task has none either, and ``choices`` in its examples.

    ``cue`` is what a language model reads after the input. ``fields`` names the texts of an example, ``template`` lays
    them out (see ``Template.for_readout``; empty: the usual one), and ``cut_first`` is the field that loses tokens
    first when an input is too long (empty: the longest). With ``whole_words`` a decoder scores a label word of several
    tokens by their mean log-likelihood; without it one token stands for each word. ``distinct_words`` scores them whole
    where two words begin with the same token, which would stand for one of them only. With ``chat`` an instruct decoder
    is asked through its chat template; ``place`` is where soft tokens stand. ``metric`` is a name of
    ``ptviz.tasks.metrics``. ``source`` says where the examples came from and on what terms, ``notes`` what was done to
    them. ``drawn_from`` are the training rows from which so many of each class were drawn: the classes of ``train`` say
    no longer which is the most frequent one.

    Raises:
        TaskError: if there are not one word and one description for each of at least two classes, if two classes
            share a word, if a split is empty, or if an example does not fit the kind or the fields of the task.
    """

    name: str
    title: str
    family: str
    classes: tuple[str, ...]
    label_words: tuple[str, ...]
    descriptions: tuple[str, ...]
    cue: str
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    source: str
    notes: tuple[str, ...] = ()
    metric: str = ""
    fields: tuple[str, ...] = ("text",)
    template: str = ""
    cut_first: str = ""
    whole_words: bool = False
    chat: bool = False
    place: Place = "prefix"
    drawn_from: tuple[Example, ...] = ()
    distinct_words: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "metric", self.metric or DEFAULT_METRICS[self.kind])
        if not 1 <= len(set(self.fields)) == len(self.fields) <= MAX_FIELDS:
            raise TaskError(f"{self.name}: expected one to {MAX_FIELDS} fields; got {', '.join(self.fields) or 'none'}")
        self._check_classes()
        check_metric(self.metric, "text" if self.kind == "text" else "classification", len(self.classes) or None)
        for split in ("train", "validation", "test"):
            self._check_examples(split)
        try:
            for reading in ("last",) if self.chat else ("pooled", "last"):
                self.make_template(reading)
        except ValueError as error:
            raise TaskError(f"{self.name}: {error}") from error

    @property
    def kind(self) -> TaskKind:
        """Return whether an answer is a class, a text that is written, or one of the example's own choices."""
        if self.classes:
            return "classification"
        return "choice" if self.train and self.train[0].choices else "text"

    @property
    def scorer(self) -> Metric:
        """Return the metric that answers are scored by."""
        return check_metric(self.metric, "text" if self.kind == "text" else "classification")

    def _check_classes(self) -> None:
        count = len(self.classes)
        if count == 1 or not (count or any(row.targets or row.choices for row in self.train)):
            raise TaskError(f"{self.name}: expected at least two classes; got {', '.join(self.classes) or 'none'}")
        for kind, texts in {"label words": self.label_words, "descriptions": self.descriptions}.items():
            if len(texts) != count or not all(text.strip() for text in texts):
                raise TaskError(f"{self.name}: expected {count} {kind}, one a class, none empty; got {texts}")
        if len(set(self.label_words)) < count:
            raise TaskError(
                f"{self.name}: expected a different label word for each class; got {', '.join(self.label_words)}"
            )

    def _check_examples(self, split: SplitName) -> None:
        rows, kind = self.examples(split), self.kind
        if kind == "classification":
            labels = {row.label for row in rows}
            if not labels or not labels <= set(range(len(self.classes))):
                got = sorted(labels) or "none"
                raise TaskError(
                    f"{self.name}: expected {split} rows with labels 0 to {len(self.classes) - 1}; got {got}"
                )
        elif not rows:
            raise TaskError(f"{self.name}: expected {split} rows; got none")
        count = len(self.fields)
        for number, row in enumerate(rows, 1):
            if len(row.texts or (row.text,)) != count:
                raise TaskError(f"{self.name}: expected {count} texts in {split} row {number}; got {row.texts}")
            if kind == "text" and not (row.targets and all(target.strip() for target in row.targets)):
                raise TaskError(f"{self.name}: expected a target text in {split} row {number}; got {row.targets}")
            if kind == "choice" and not 0 <= row.label < len(row.choices):
                raise TaskError(
                    f"{self.name}: expected the number of a choice in {split} row {number}; got {row.label} of "
                    f"{len(row.choices)}"
                )

    def examples(self, split: SplitName) -> tuple[Example, ...]:
        """Return the rows of a split by its name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[split]

    def split_text(self, text: str) -> Example:
        """Return an input as an example without an answer: the texts of several fields are joined by " | ".

        A bare "|" joins them if there are too few of those.

        Raises:
            ValueError: if there is not one text for each field.
        """
        if len(self.fields) == 1:
            return Example(text)
        most = len(self.fields) - 1
        parts = text.split(PAIR_SEPARATOR, most)
        parts = parts if len(parts) > most else text.split(PAIR_SEPARATOR.strip(), most)
        if len(parts) < len(self.fields):
            expected = PAIR_SEPARATOR.join(f"{{{name}}}" for name in self.fields)
            raise ValueError(f"expected {len(self.fields)} texts, {expected}; got {text[:80]!r}")
        return Example.of_fields(*(part.strip() for part in parts))

    def most_frequent_label(self) -> int:
        """Return the most frequent class of the training rows, before few were drawn; the first of several."""
        counts = Counter(row.label for row in self.drawn_from or self.train)
        return min(counts, key=lambda label: (-counts[label], label))

    def most_frequent_target(self) -> str:
        """Return the most frequent target of the training rows, before few were drawn; the first in the alphabet."""
        counts = Counter(target for row in self.drawn_from or self.train for target in row.targets)
        return min(counts, key=lambda target: (-counts[target], target))

    def subsample(self, train_rows: int, validation_rows: int, test_rows: int, shots: int = 0, seed: int = 0) -> Task:
        """Return the same task with fewer rows, drawn stratified; limits are upper limits.

        Only the training rows depend on ``seed``: every seed is judged on the same validation and test rows.

        ``shots`` above 0 takes that many training rows of every class instead of ``train_rows``; a task without
        classes has that many in all.

        Raises:
            TaskError: if a class has fewer training rows than ``shots``.
        """
        if shots and self.classes:
            train = sample_few_shot(self.train, self.classes, shots, f"shots {seed}")
        else:
            train = stratified_subsample(self.train, shots or train_rows, f"train {seed}")
        return replace(
            self,
            train=train,
            validation=stratified_subsample(self.validation, validation_rows, "validation"),
            test=stratified_subsample(self.test, test_rows, "test"),
            drawn_from=(self.drawn_from or self.train) if shots else self.drawn_from,
        )

    def make_template(self, reading: str) -> Template:
        """Return the layout of an input of this task for a backbone that is read at ``reading``.

        Raises:
            ValueError: unless ``reading`` is one of "pooled", "mask", "last" and "first"; only "last" for a chat.
        """
        return Template.for_readout(
            reading, self.cue, self.fields, self.template, self.cut_first, self.chat, self.place
        )

    def fingerprint(self) -> str:
        """Return the SHA-256 of everything that shapes a run on this task: rows, classes, words, layout, metric."""
        rows = [[row.to_json() for row in split] for split in (self.train, self.validation, self.test)]
        content = [self.classes, self.label_words, self.descriptions, self.cue, *rows]
        layout = [self.metric, self.fields, self.template, self.cut_first]
        if layout != ["accuracy", ("text",), "", ""]:
            content += layout
        if self.whole_words:
            content.append("whole words")
        if self.chat:
            content.append("chat")
        if self.place != "prefix":
            content.append(self.place)
        return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()
