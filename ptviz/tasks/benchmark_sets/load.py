"""From the rows of a benchmark set to a task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ptviz.tasks.benchmark_sets.cell_text import Form
from ptviz.tasks.benchmark_sets.sets import BENCHMARK_SETS, BenchmarkSet
from ptviz.tasks.custom.assemble import MAX_ROWS
from ptviz.tasks.custom.errors import table_error
from ptviz.tasks.custom.from_hub import SPLIT_NAMES, fetch_dataset, iterate_cells, sample_indices
from ptviz.tasks.custom.table_options import LIMITS
from ptviz.tasks.example import Example, TaskError, TaskSplits
from ptviz.tasks.splits import (
    SPLIT_SHARES,
    drop_duplicates,
    merge_references,
    normalised_text,
    split_off,
    split_off_groups,
)
from ptviz.tasks.task import Task

MAX_VALIDATION_ROWS = 1000
"""Rows that are cut from the training rows where no split is meant for validation."""
_SUBSET_COLUMN = "subset"


def load_benchmark_task(name: str, seed: int = 0, limit: int = MAX_ROWS) -> Task:
    """Return a benchmark set as a task; splits of more than ``limit`` rows are sampled by ``seed``.

    Raises:
        TaskError: if the set cannot be fetched, lacks a column or a split, or holds a value that is not as on its card;
            row and column are named.
    """
    entry = BENCHMARK_SETS[name]
    data = fetch_dataset(entry.hub_id, entry.config)
    rows: dict[str, list[Example]] = {}
    notes = list(entry.notes)
    for split in dict.fromkeys(entry.splits):
        reader = _SplitReader(name, entry, split, _find_split(name, data, split))
        rows[split] = reader.read(limit, seed)
        notes += reader.notes
    splits, note = _assemble_splits(entry, rows, seed)
    return Task(
        name=name,
        title=entry.title,
        family=entry.family,
        classes=tuple(label.name for label in entry.labels.values()),
        label_words=tuple(label.word for label in entry.labels.values()),
        descriptions=tuple(label.description for label in entry.labels.values()),
        cue=entry.cue,
        train=splits.train,
        validation=splits.validation,
        test=splits.test,
        source=f"{entry.source} through datasets; see its card for its terms",
        notes=(*note, *notes),
        metric=entry.metric,
        fields=tuple(entry.fields),
        template=entry.template,
        cut_first=entry.cut_first,
    )


def _find_split(name: str, data: Any, split: str) -> Any:
    usual = next((names for names in SPLIT_NAMES.values() if split in names), (split,))
    found = next((data[one] for one in (split, *usual) if one in data), None)
    if found is None:
        raise TaskError(f"{name}: expected a split called {split}; got {', '.join(data)}")
    return found


def _assemble_splits(
    entry: BenchmarkSet, rows: dict[str, list[Example]], seed: int
) -> tuple[TaskSplits, tuple[str, ...]]:
    """Return three splits without a text in two of them, and how a split that is missing was made."""
    names = entry.splits
    note: tuple[str, ...] = ()
    train, validation, test = (rows[split] for split in names)
    if names.validation == names.test:
        # The seed of a run draws its training rows only: every run is judged on the same ones.
        validation, test = _split_off(entry, test, 0.5, "halves")
        note = (f"the labels of the test split are withheld: one half of {names.test} validates, the other one tests",)
    elif names.validation == names.train:
        train = drop_duplicates(train, taken=test)
        share = min(SPLIT_SHARES["validation"], MAX_VALIDATION_ROWS / max(1, len(train)))
        train, validation = _split_off(entry, train, share, f"validation {seed}")
        note = (f"{len(validation):,} training rows validate, {names.test} tests",)
    validation = drop_duplicates(validation, taken=test)
    train = drop_duplicates(drop_duplicates(train, taken=test), taken=validation)
    return TaskSplits(tuple(train), tuple(validation), tuple(test)), note


def _split_off(
    entry: BenchmarkSet, rows: list[Example], share: float, seed: str
) -> tuple[list[Example], list[Example]]:
    """Return the rest and a share of the rows; rows with one text in the field ``together`` stay on the same side."""
    if not entry.together:
        return split_off(rows, share, seed)
    place = [*entry.fields].index(entry.together)
    return split_off_groups(rows, share, seed, lambda row: normalised_text(row.texts[place]))


@dataclass
class _SplitReader:
    """Reads one split of a set; ``notes`` say what was left out."""

    name: str
    entry: BenchmarkSet
    split: str
    data: Any
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.place = f"{self.name} ({self.split})"
        entry = self.entry
        self.paths = [*entry.fields.values(), *entry.choices.values(), entry.answer_column]
        self._forms: list[Form] = [entry.forms.get(path, _as_is) for path in self.paths]
        self._columns = [path.partition(".")[0] for path in self.paths]
        known = list(self.data.column_names)
        for column in [*self._columns, *([_SUBSET_COLUMN] if entry.subset else [])]:
            if column not in known:
                listed = ", ".join(known[:20])
                raise table_error(self.place, f"expected this column; the columns are {listed}", None, column)
        self._labels = list(entry.labels or entry.choices)
        self._names = self._check_label_names()

    def _check_label_names(self) -> Sequence[str]:
        """Return the names of the numbers in the label column: those of its feature, or the set's in their order."""
        names = getattr(self.data.features[self._columns[-1]], "names", None)
        if names and self._labels and set(names) != set(self._labels):
            expected = ", ".join(self._labels)
            raise table_error(
                self.place, f"expected the labels {expected}; got {', '.join(names)}", None, self.paths[-1]
            )
        return names or self._labels

    def read(self, limit: int, seed: int) -> list[Example]:
        """Return the split's rows, each input once."""
        indices: Sequence[int] = range(len(self.data))
        if self.entry.subset:
            subsets = self.data.select_columns([_SUBSET_COLUMN])[:][_SUBSET_COLUMN]
            indices = [index for index, subset in enumerate(subsets) if subset == self.entry.subset]
        chosen = sample_indices(indices, limit, seed)
        found = list(self._iterate_examples(chosen))
        empty = len(chosen) - len(found)
        # An input whose row has no answer may have some in another row.
        unique = (
            [row for row in merge_references(found) if row.targets] if self.entry.target else drop_duplicates(found)
        )
        if not unique:
            where = f" of {self.entry.subset}" if self.entry.subset else ""
            raise TaskError(f"{self.place}: expected rows{where} with a text and an answer; got none")
        if len(chosen) < len(indices):
            self.notes += (f"{self.split}: {len(indices):,} rows, of which {limit:,} were sampled",)
        if empty:
            self.notes += (f"{self.split}: {empty:,} rows with an empty text left out",)
        return unique

    def _iterate_examples(self, indices: Sequence[int]) -> Iterator[Example]:
        entry, count = self.entry, len(self.entry.fields)
        for number, cells in iterate_cells(self.data, self._columns, indices):
            values = [self._read_cell(number, place, cell) for place, cell in enumerate(cells)]
            texts = [self._check_text(number, place, value) for place, value in enumerate(values[:-1])]
            if not all(texts):
                continue
            if entry.target:
                yield Example.of_fields(*texts, targets=self._check_targets(number, values[-1]))
            else:
                label = self._check_label(number, values[-1])
                example = Example.of_fields(*texts[:count], label=label)
                yield example._replace(choices=tuple(texts[count:])) if entry.choices else example

    def _read_cell(self, number: int, place: int, cell: Any) -> Any:
        """Return what the column's form makes of a cell; a dot in the path leads into an object."""
        path = self.paths[place]
        try:
            for key in path.split(".")[1:]:
                cell = cell[key]
            return self._forms[place](cell)
        except ValueError as error:
            raise table_error(self.place, f"expected {error}", number, path) from error
        except (TypeError, KeyError) as error:
            raise self._kind_error(number, place, "another kind of value", cell) from error

    def _kind_error(self, number: int, place: int, expected: str, value: Any) -> TaskError:
        problem = f"expected {expected}; got {str(value)[:40]!r}, a {type(value).__name__}"
        return table_error(self.place, problem, number, self.paths[place])

    def _check_text(self, number: int, place: int, value: Any) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._kind_error(number, place, "a text", value)
        return value.strip()[: LIMITS.text]

    def _check_targets(self, number: int, value: Any) -> tuple[str, ...]:
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise self._kind_error(number, len(self.paths) - 1, "a text, or a list of texts", value)
        return tuple(dict.fromkeys(one.strip() for one in found if one.strip()))

    def _check_label(self, number: int, value: Any) -> int:
        name = value
        if isinstance(value, int) and not isinstance(value, bool):
            name = self._names[value] if 0 <= value < len(self._names) else value
        if name not in self._labels:
            withheld = " (a label that is withheld)" if value in (-1, "", None) else ""
            problem = f"expected one of {', '.join(self._labels)}; got {value!r}{withheld}"
            raise table_error(self.place, problem, number, self.paths[-1])
        return self._labels.index(name)


def _as_is(value: Any) -> Any:
    return value
