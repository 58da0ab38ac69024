"""Data sets by Hub id, or in a local folder, through ``datasets``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from ptviz.safe_text import slug
from ptviz.tasks.custom.assemble import (
    MAX_ROWS,
    CollectedExamples,
    Columns,
    choice_examples,
    collect_examples,
    custom_task,
    label_examples,
    sampling_note,
    target_examples,
)
from ptviz.tasks.custom.from_file import find_columns
from ptviz.tasks.custom.labels import shorten_floats, to_class_name
from ptviz.tasks.custom.table_options import TableOptions
from ptviz.tasks.custom.tables import NumberedRow
from ptviz.tasks.example import Example, TaskError, TaskSplits
from ptviz.tasks.splits import (
    SPLIT_SHARES,
    drop_duplicates,
    input_key,
    split_by_group,
    split_off,
    stratified_split,
)
from ptviz.tasks.task import Task

PARQUET_COPY = "refs/convert/parquet"
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val", "validation_matched"),
    "test": ("test",),
}


def load_hub_task(
    spec: str,
    text: str | None = None,
    label: str | None = None,
    config: str | None = None,
    *,
    options: TableOptions | None = None,
    seed: int = 0,
    limit: int = MAX_ROWS,
) -> Task:
    """Return a data set as a task: ``hub:ag_news``, ``hub:glue:sst2`` (with its configuration), or a local folder.

    The set's own splits are kept. A missing test split is the validation split; a missing validation split is cut from
    the training rows; a single split is cut 70/15/15. A split without labels is left out, as are training texts that
    are in a later split. Splits of more than ``limit`` rows are sampled by ``seed``. ``text`` may name several columns,
    "premise,hypothesis". Of the ``options``, all but those of a file apply.

    Raises:
        TaskError: if the set cannot be fetched, or cannot be used as it is.
    """
    identifier = spec.removeprefix("hub:")
    if not Path(identifier).exists() and config is None and ":" in identifier:
        identifier, _, config = identifier.partition(":")
    found: dict[str, CollectedExamples] = {}
    notes: tuple[str, ...] = ()
    options = options or TableOptions()
    for split, data in _find_splits(fetch_dataset(identifier, config), identifier).items():
        columns = find_columns(identifier, data.column_names, text, label, options)
        if _lacks_labels(data, columns.answer):
            notes += (f"split {split} has no {'targets' if columns.is_target else 'labels'} and was left out",)
            continue
        place = f"{identifier} ({split})"
        rows = _iterate_rows(data, columns, limit, seed)
        found[split] = collect_examples(place, rows, columns, limit, seed, skip_bad_rows=options.skip_bad_rows)
        notes += tuple(f"{split}: {note}" for note in found[split].notes())
        found[split].total_rows = len(data) - found[split].skipped_rows
        notes += sampling_note(found[split], split)
    answers = "targets" if options.target else "labels"
    if not found:
        raise TaskError(f"{identifier}: expected a split with {answers}; got none")
    if "train" not in found:
        some = " and ".join(found)
        raise TaskError(f"{identifier}: expected a split train with {answers}; it has none, only {some}")
    classes, splits, more = _assemble_splits(found, identifier, columns, seed, options.skip_bad_rows)
    source = f"{identifier}{f', {config}' if config else ''} through datasets; see its card for its terms"
    return custom_task(
        slug(Path(identifier).name, empty="table", ascii_only=False),
        classes,
        splits,
        source,
        notes + more,
        columns,
        options,
    )


def fetch_dataset(identifier: str, config: str | None) -> Mapping[str, Any]:
    """Return the splits of a set of the Hub, or of a local folder.

    Raises:
        TaskError: if it cannot be fetched, for whatever reason.
    """
    import datasets

    folder = Path(identifier)
    try:
        if (folder / "dataset_dict.json").exists() or (folder / "state.json").exists():
            data = datasets.load_from_disk(identifier)
        else:
            data = _load_dataset(identifier, config)
    # Whatever goes wrong in there (network, names, scripts, files) has the same remedies for the person asking.
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TaskError(
            f"{identifier}: cannot be fetched through datasets ({first[:200]}); check the name (hub:ID or "
            "hub:ID:configuration) and the network, or save the table as CSV, JSONL or Parquet and give its path"
        ) from error
    return data if isinstance(data, Mapping) else {"train": data}


def _load_dataset(identifier: str, config: str | None) -> Any:
    import datasets

    try:
        return datasets.load_dataset(identifier, config)
    except RuntimeError as error:
        if "scripts are no longer supported" not in str(error):
            raise
        # The Hub keeps a copy in Parquet of sets that are made by a script, one folder for each configuration.
        return datasets.load_dataset(identifier, data_dir=config, revision=PARQUET_COPY)


def _find_splits(data: Mapping[str, Any], identifier: str) -> dict[str, Any]:
    known = {split: next((data[name] for name in names if name in data), None) for split, names in SPLIT_NAMES.items()}
    found = {split: rows for split, rows in known.items() if rows is not None}
    if "train" in found:
        return found
    if len(data) == 1:
        return {"train": next(iter(data.values()))}
    raise TaskError(f"{identifier}: expected a split called train; got {', '.join(data)}")


def _class_names(data: Any, column: str) -> list[str] | None:
    names = getattr(data.features[column], "names", None)
    return list(names) if names else None


def _lacks_labels(data: Any, column: str) -> bool:
    """Return whether all labels of a split are withheld: -1 or none, as in the test splits of GLUE."""
    cells = iterate_cells(data, [column], range(len(data)))
    return all(value in (None, -1, "", []) for _, (value,) in cells)


def _iterate_rows(data: Any, columns: Columns, limit: int, seed: int) -> Iterator[NumberedRow]:
    names = _class_names(data, columns.answer)
    for number, (*cells, value) in iterate_cells(data, columns.names, sample_indices(range(len(data)), limit, seed)):
        if names and isinstance(value, int):
            value = names[value] if value >= 0 else None
        yield NumberedRow(number, [*cells, value])


def sample_indices(indices: Sequence[int], limit: int, seed: int) -> Sequence[int]:
    """Return the rows to read, in order: all, or ``limit`` of them drawn by ``seed``."""
    return indices if len(indices) <= limit else sorted(Random(f"hub {seed}").sample(indices, limit))


def iterate_cells(data: Any, columns: Sequence[str], indices: Sequence[int]) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Return the number, from 1, and the cells of each row of a split, read a thousand at a time."""
    data = data.select_columns(list(dict.fromkeys(columns)))
    for start in range(0, len(indices), 1000):
        part = list(indices[start : start + 1000])
        batch = data[part]
        kinds = [getattr(data.features[name], "dtype", "") for name in columns]
        values = [shorten_floats(batch[name], kind) for name, kind in zip(columns, kinds, strict=True)]
        for number, *cells in zip(part, *values, strict=True):
            yield number + 1, tuple(cells)


def _assemble_splits(
    found: dict[str, CollectedExamples], identifier: str, columns: Columns, seed: int, skip_bad_rows: bool
) -> tuple[list[str], TaskSplits, tuple[str, ...]]:
    classes: list[str] = []
    own_choices: dict[str, list[Example]] = {}
    if columns.is_target:
        train, notes = target_examples(found["train"], identifier, columns.answer)
    elif columns.choices:
        read = {
            split: choice_examples(own, f"{identifier} ({split})", columns, skip_bad_rows=skip_bad_rows)
            for split, own in found.items()
        }
        own_choices = {split: examples for split, (examples, _) in read.items()}
        train = own_choices["train"]
        notes = tuple(f"{split}: {note}" for split, (_, more) in read.items() for note in more)
    else:
        classes, train, notes = label_examples(found["train"], identifier, columns.answer)
    left_out: dict[str, int] = {}
    index = {to_class_name(name): label for label, name in enumerate(classes)}  # "07" is shown, and is the class "7"

    def rows(split: str) -> list[Example]:
        if columns.is_target:
            return found[split].merge_targets()
        if columns.choices:
            return own_choices[split]
        known = [row for row in found[split].rows if row.answer in index]
        left_out[f"{split}: rows of classes that are not trained on"] = len(found[split].rows) - len(known)
        return drop_duplicates(Example.of_fields(*row.texts, label=index[str(row.answer)]) for row in known)

    if "validation" not in found and "test" not in found:
        if columns.choices:
            return classes, split_by_group(train, input_key, seed), notes
        return classes, stratified_split(train, seed), notes
    test = rows("test" if "test" in found else "validation")
    rest = drop_duplicates(train, taken=test)
    if "validation" in found and "test" in found:
        own = rows("validation")
        validation = drop_duplicates(own, taken=test)
        rest = drop_duplicates(rest, taken=validation)
        left_out["validation: rows whose text is in the test split"] = len(own) - len(validation)
    left_out["train: rows whose text is in a later split"] = len(train) - len(rest)
    notes += tuple(f"{what}, left out: {count:,}" for what, count in left_out.items() if count)
    if "validation" not in found or "test" not in found:
        rest, validation = split_off(rest, SPLIT_SHARES["validation"], f"validation {seed}")
        notes += ("the validation rows were cut from the training rows",)
    return classes, TaskSplits(tuple(rest), tuple(validation), tuple(test)), notes
