"""The answers of a run's best prompt to its test examples, as a table that can be searched and sorted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from ptviz.plots.run_argument import RunOrId, get_run
from ptviz.runs import StoreError
from ptviz.runs.prediction_files import ZERO_SHOT, ZERO_SHOT_CONFIDENCE, ZERO_SHOT_SCORE
from ptviz.runs.target_run import split_targets
from ptviz.tasks.compute_metrics import is_reference

Order = Literal["test set", "lowest first", "highest first"]
"""The order of rows: as in the test set, or by confidence; by the score of a generated text, where it has one."""
Change = Literal["any", "fixed", "broken"]
"""What the prompt changed: wrong without and right with it, or the reverse; of texts, a higher or a lower score."""
Rows: TypeAlias = list[dict[str, Any]]
_PROBABILITY = "p("


def predictions_table(
    run: RunOrId, *, wrong_only: bool = False, order: Order = "test set", search: str = "", change: Change = "any"
) -> Rows:
    """Return what a finished run predicts for its test examples: one row per example, none without predictions.

    Rows of classes and choices have "text", "label", "predicted", "confidence" (the probability of the predicted one)
    and "right". Rows of generated texts have "input", "target" (the references, with " | " between them), "output",
    "score" by the run's metric (None where one text has none) and "right": whether the output is a reference but for
    case, punctuation, articles and spaces, as exact match compares answers. Both have the answer without the prompt as
    "zero_shot", with "zero_shot_confidence" or "zero_shot_score", "zero_shot_right", and "change", unless the run is of
    an earlier version. ``search`` keeps rows that have all its words in any of their texts, in any case; ``change``
    keeps those that the prompt fixed or broke.

    Raises:
        ValueError: for an unknown ``order`` or ``change``, or a run on several tasks: ``RUN@TASK`` names one.
        StoreError: if the run cannot be read, its predictions are damaged, or ``change`` is asked for without answers
            of the backbone alone.
    """
    if order not in ("test set", "lowest first", "highest first"):
        raise ValueError(f"order: expected test set, lowest first or highest first; got {order!r}")
    if change not in ("any", "fixed", "broken"):
        raise ValueError(f"change: expected any, fixed or broken; got {change!r}")
    rows = read_predictions(run)
    if change != "any" and rows and not has_zero_shot(rows):
        name = get_run(run).id
        raise StoreError(f"run {name} has no answers without the prompt: ptviz errors {name} --zero-shot adds them")
    return select_predictions(rows, wrong_only=wrong_only, order=order, search=search, change=change)


def has_zero_shot(rows: Sequence[dict[str, Any]]) -> bool:
    """Return whether rows of predictions have the answers without the prompt."""
    return bool(rows) and ZERO_SHOT in rows[0]


def class_names(run: RunOrId) -> tuple[str, ...]:
    """Return the classes of a finished run's predictions in order; none if it writes, or examples have own choices."""
    run = get_run(run)
    frame = run.predictions()
    if frame is None or "references" in frame or "label" not in frame:
        return ()
    names = tuple(
        name.removeprefix(_PROBABILITY).removesuffix(")") for name in frame.columns if name.startswith(_PROBABILITY)
    )
    return names if set(frame["label"]) <= set(names) else ()


def read_predictions(run: RunOrId) -> Rows:
    """Return all rows of ``predictions_table``, in the order of the test set."""
    run = get_run(run)
    if run.config.more_tasks:
        raise ValueError(f"run {run.id} has several tasks: name one, as in {split_targets(run)[0].id}")
    frame = run.predictions()
    if frame is None:
        return []
    try:
        return _text_rows(frame) if "references" in frame else _class_rows(frame)
    except (KeyError, TypeError, ValueError) as error:
        problem = f"its columns are not those of predictions ({error}); delete it, the run stays readable"
        raise StoreError(f"{run.path / 'predictions.parquet'}: {problem}") from error


def select_predictions(
    rows: Sequence[dict[str, Any]],
    *,
    wrong_only: bool = False,
    order: Order = "test set",
    search: str = "",
    change: Change = "any",
) -> Rows:
    """Return some of the rows of ``read_predictions``, with the options of ``predictions_table``."""
    words = search.casefold().split()
    found = [
        row
        for row in rows
        if not (wrong_only and row["right"]) and change in ("any", row.get("change")) and _has_words(row, words)
    ]
    return found if order == "test set" else _sort(found, reverse=order == "highest first")


def _class_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    chances = frame[[name for name in frame.columns if name.startswith(_PROBABILITY)]].to_numpy(np.float64)
    # A multiple-choice example may have fewer choices than others.
    confidence = np.where(np.isnan(chances), -np.inf, chances).max(1)
    cells = zip(frame["text"], frame["label"], frame["predicted"], confidence, strict=True)
    rows: Rows = [
        {"text": str(text), "label": str(label), "predicted": str(predicted), "confidence": float(sure),
         "right": str(label) == str(predicted)}
        for text, label, predicted, sure in cells
    ]  # fmt: skip
    for row, without, sure in _zero_shot_cells(rows, frame, ZERO_SHOT_CONFIDENCE):
        row |= {ZERO_SHOT: without, ZERO_SHOT_CONFIDENCE: sure, "zero_shot_right": without == row["label"]}
        row["change"] = _change(row["right"] - row["zero_shot_right"])
    return rows


def _text_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    cells = zip(frame["text"], frame["references"], frame["predicted"], frame["score"], strict=True)
    rows: Rows = [
        {"input": str(text), "target": " | ".join(map(str, right)), "output": str(written), "score": _number(score),
         "right": is_reference(str(written), map(str, right))}
        for text, right, written, score in cells
    ]  # fmt: skip
    for (row, without, score), right in zip(
        _zero_shot_cells(rows, frame, ZERO_SHOT_SCORE), frame["references"], strict=False
    ):
        row |= {ZERO_SHOT: without, ZERO_SHOT_SCORE: score}
        row["zero_shot_right"] = is_reference(without, map(str, right))
        row["change"] = _change((row["score"] or 0) - (score or 0))
    return rows


def _zero_shot_cells(rows: Rows, frame: pd.DataFrame, value: str) -> Iterator[tuple[dict[str, Any], str, float | None]]:
    """Yield each row with the answer without the prompt and its confidence or score; nothing if the run has none."""
    if ZERO_SHOT in frame:
        for row, answer, number in zip(rows, frame[ZERO_SHOT], frame[value], strict=True):
            yield row, str(answer), _number(number)


def _change(gain: float) -> str:
    return "fixed" if gain > 0 else "broken" if gain < 0 else ""


def _number(score: Any) -> float | None:
    return None if score is None or math.isnan(score) else float(score)


def _has_words(row: dict[str, Any], words: Sequence[str]) -> bool:
    text = "\n".join(cell for cell in row.values() if isinstance(cell, str)).casefold() if words else ""
    return all(word in text for word in words)


def _sort(rows: list[dict[str, Any]], reverse: bool) -> list[dict[str, Any]]:
    """Return the rows by confidence or score, those without one last."""
    key = "score" if rows and "score" in rows[0] else "confidence"
    known = [row for row in rows if row[key] is not None]
    return sorted(known, key=lambda row: row[key], reverse=reverse) + [row for row in rows if row[key] is None]
