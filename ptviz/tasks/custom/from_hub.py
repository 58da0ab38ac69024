"""Data sets by hub id, or in a local folder, through ``datasets``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from ptviz.tasks.custom.assemble import MAX_ROWS, Gathered, gather, labelled, own_task, sampled_note
from ptviz.tasks.custom.from_file import LABELS, TEXTS, choose, slug
from ptviz.tasks.custom.tables import Values
from ptviz.tasks.example import Row, Splits, TaskError
from ptviz.tasks.splits import SHARES, cut, distinct, stratified
from ptviz.tasks.task import Task

NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val", "validation_matched"),
    "test": ("test",),
}


def from_hub(
    spec: str,
    text: str | None = None,
    label: str | None = None,
    config: str | None = None,
    *,
    seed: int = 0,
    limit: int = MAX_ROWS,
) -> Task:
    """A data set as a task: ``hub:ag_news``, ``hub:glue:sst2`` (with its configuration), or a local folder.

    The set's own splits are kept. A missing test split is the validation split; a missing validation split is cut from
    the training rows; a single split is cut 70/15/15. A split without labels is left out, as are training texts that
    are in a later split. Splits of more than ``limit`` rows are sampled by ``seed``.

    Raises:
        TaskError: if the set cannot be fetched, or cannot be used as it is.
    """
    identifier = spec.removeprefix("hub:")
    if not Path(identifier).exists() and config is None and ":" in identifier:
        identifier, _, config = identifier.partition(":")
    found: dict[str, Gathered] = {}
    notes: tuple[str, ...] = ()
    columns: list[str] = []
    for split, data in _splits(_fetch(identifier, config), identifier).items():
        columns = [
            choose(identifier, data.column_names, "text", text, TEXTS),
            choose(identifier, data.column_names, "label", label, LABELS),
        ]
        if _unlabelled(data, columns[1]):
            notes += (f"split {split} has no labels and was left out",)
            continue
        place = f"{identifier} ({split})"
        found[split] = gather(place, _rows(data, columns, limit, seed), columns, limit, seed)
        found[split].seen = len(data)
        notes += sampled_note(found[split], split)
    if not found:
        raise TaskError(f"{identifier}: expected a split with labels; got none")
    classes, splits, more = _assemble(found, identifier, columns[1], seed)
    source = f"{identifier}{f', {config}' if config else ''} through datasets; see its card for its terms"
    return own_task(slug(Path(identifier).name), classes, splits, source, notes + more)


def _fetch(identifier: str, config: str | None) -> Mapping[str, Any]:
    import datasets

    folder = Path(identifier)
    try:
        if (folder / "dataset_dict.json").exists() or (folder / "state.json").exists():
            data = datasets.load_from_disk(identifier)
        else:
            data = datasets.load_dataset(identifier, config)
    # Whatever goes wrong in there (network, names, scripts, files) has the same remedies for the person asking.
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TaskError(
            f"{identifier}: cannot be fetched through datasets ({first[:200]}); check the name (hub:ID or "
            "hub:ID:configuration) and the network, or save the table as CSV, JSONL or Parquet and give its path"
        ) from error
    return data if isinstance(data, Mapping) else {"train": data}


def _splits(data: Mapping[str, Any], identifier: str) -> dict[str, Any]:
    known = {split: next((data[name] for name in names if name in data), None) for split, names in NAMES.items()}
    found = {split: rows for split, rows in known.items() if rows is not None}
    if "train" in found:
        return found
    if len(data) == 1:
        return {"train": next(iter(data.values()))}
    raise TaskError(f"{identifier}: expected a split called train; got {', '.join(data)}")


def _names(data: Any, column: str) -> list[str] | None:
    names = getattr(data.features[column], "names", None)
    return list(names) if names else None


def _unlabelled(data: Any, column: str) -> bool:
    """Whether all labels of a split are withheld: -1 or none, as in the test splits of GLUE."""
    first = data.select_columns([column])[:1000][column]
    return all(value is None or value == -1 for value in first)


def _rows(data: Any, columns: Sequence[str], limit: int, seed: int) -> Iterator[Values]:
    chosen: Sequence[int] = range(len(data))
    if len(data) > limit:
        chosen = sorted(Random(f"hub {seed}").sample(chosen, limit))
    names = _names(data, columns[1])
    data = data.select_columns(list(dict.fromkeys(columns)))
    for start in range(0, len(chosen), 1000):
        part = chosen[start : start + 1000]
        batch = data[list(part)]
        for number, text, value in zip(part, batch[columns[0]], batch[columns[1]], strict=True):
            if names and isinstance(value, int):
                value = names[value] if value >= 0 else None
            yield number + 1, (text, value)


def _assemble(
    found: dict[str, Gathered], identifier: str, column: str, seed: int
) -> tuple[list[str], Splits, tuple[str, ...]]:
    classes, train, notes = labelled(found["train"], identifier, column)
    index = {name: label for label, name in enumerate(classes)}

    def rows(split: str) -> list[Row]:
        return distinct(Row(text, index[name]) for text, name in found[split].rows if name in index)

    if "validation" not in found and "test" not in found:
        return classes, stratified(train, seed), notes
    test = rows("test" if "test" in found else "validation")
    rest = distinct(train, taken=test)
    if "validation" in found and "test" in found:
        validation = distinct(rows("validation"), taken=test)
        rest = distinct(rest, taken=validation)
    else:
        rest, validation = cut(rest, SHARES["validation"], f"validation {seed}")
        notes += ("the validation rows were cut from the training rows",)
    return classes, Splits(tuple(rest), tuple(validation), tuple(test)), notes
