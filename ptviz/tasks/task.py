"""A task: labelled texts in three fixed splits, and how its classes are put into words."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace

from ptviz.tasks.example import Example, SplitName, TaskError
from ptviz.tasks.splits import sample_few_shot, stratified_subsample
from ptviz.tasks.template import Template


@dataclass(frozen=True)
class Task:
    """Labelled texts in three fixed, stratified, disjoint splits, and how its classes are put into words.

    ``words`` are the label words (one natural word a class), ``descriptions`` the sentences that stand for the
    classes in a pooled read-out, ``cue`` what a language model reads after the text. ``source`` says where the rows
    came from and on what terms, ``notes`` what was done to them.

    Raises:
        TaskError: if there are not one word and one description for each of at least two classes, if two classes
            share a word, if a split is empty, or if a label is no class.
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
    metric: str = "accuracy"

    def __post_init__(self) -> None:
        count = len(self.classes)
        if count < 2:
            raise TaskError(f"{self.name}: expected at least two classes; got {', '.join(self.classes) or 'none'}")
        for kind, texts in {"label words": self.label_words, "descriptions": self.descriptions}.items():
            if len(texts) != count or not all(text.strip() for text in texts):
                raise TaskError(f"{self.name}: expected {count} {kind}, one a class, none empty; got {texts}")
        if len(set(self.label_words)) < count:
            raise TaskError(
                f"{self.name}: expected a different label word for each class; got {', '.join(self.label_words)}"
            )
        for split in ("train", "validation", "test"):
            labels = {row.label for row in self.examples(split)}
            if not labels or not labels <= set(range(count)):
                got = sorted(labels) or "none"
                raise TaskError(f"{self.name}: expected {split} rows with labels 0 to {count - 1}; got {got}")

    def examples(self, split: SplitName) -> tuple[Example, ...]:
        """Return the rows of a split by its name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[split]

    def majority_accuracy(self, split: SplitName = "validation") -> float:
        """Return the accuracy (0 to 1) on a split of always answering the commonest class of the training rows."""
        counts = Counter(row.label for row in self.train)
        answer = min(counts, key=lambda label: (-counts[label], label))
        rows = self.examples(split)
        return sum(row.label == answer for row in rows) / len(rows)

    def subsample(self, train_rows: int, validation_rows: int, test_rows: int, shots: int = 0, seed: int = 0) -> Task:
        """Return the same task with fewer rows, drawn stratified; limits are upper limits.

        Only the training rows depend on ``seed``: every seed is judged on the same validation and test rows.

        ``shots`` above 0 takes that many training rows of every class instead of ``train_rows``.

        Raises:
            TaskError: if a class has fewer training rows than ``shots``.
        """
        if shots:
            train = sample_few_shot(self.train, self.classes, shots, f"shots {seed}")
        else:
            train = stratified_subsample(self.train, train_rows, f"train {seed}")
        return replace(
            self,
            train=train,
            validation=stratified_subsample(self.validation, validation_rows, "validation"),
            test=stratified_subsample(self.test, test_rows, "test"),
        )

    def make_template(self, reading: str) -> Template:
        """Return the layout of a text of this task for a backbone that is read at ``reading``.

        Raises:
            ValueError: unless ``reading`` is one of "pooled", "mask", "last" and "first".
        """
        return Template.for_readout(reading, self.cue)

    def fingerprint(self) -> str:
        """Return the SHA-256 of everything that shapes a run on this task: rows, classes, words, descriptions, cue."""
        content = [self.classes, self.label_words, self.descriptions, self.cue, self.train, self.validation, self.test]
        return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()
