"""The answers of a run's best prompt to its test examples, as a table that can be searched and sorted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from ptviz.plots.run_argument import RunOrId, get_run
from ptviz.runs import StoreError
from ptviz.runs.target_run import split_targets
from ptviz.tasks.metrics import is_reference

Order = Literal["test set", "lowest first", "highest first"]
"""The order of rows: as in the test set, or by certainty; by the score of a written text, where it has one."""
_PROBABILITY = "p("


def predictions_table(
    run: RunOrId, *, wrong_only: bool = False, order: Order = "test set", search: str = ""
) -> list[dict[str, Any]]:
    """Return what a finished run predicts for its test examples: one row per example, none without predictions.

    Rows of classes and choices have "text", "label", "predicted", "certainty" (the probability of the predicted one)
    and "right". Rows of written texts have "input", "target" (the references, with " | " between them), "output",
    "score" by the run's metric (None where one text has none) and "right": whether the output is a reference but for
    case, punctuation, articles and spaces, as SQuAD compares answers. ``search`` keeps rows that have all its words in
    any of their texts, in any case.

    Raises:
        ValueError: for an unknown ``order``, or a run on several tasks: ``RUN@TASK`` names one.
        StoreError: if the run cannot be read, or its predictions are damaged.
    """
    if order not in ("test set", "lowest first", "highest first"):
        raise ValueError(f"order: expected test set, lowest first or highest first; got {order!r}")
    return select_predictions(read_predictions(run), wrong_only=wrong_only, order=order, search=search)


def read_predictions(run: RunOrId) -> list[dict[str, Any]]:
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
    rows: Sequence[dict[str, Any]], *, wrong_only: bool = False, order: Order = "test set", search: str = ""
) -> list[dict[str, Any]]:
    """Return some of the rows of ``read_predictions``, with the options of ``predictions_table``."""
    words = search.casefold().split()
    found = [row for row in rows if not (wrong_only and row["right"]) and _has_words(row, words)]
    return found if order == "test set" else _sort(found, reverse=order == "highest first")


def _class_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    chances = frame[[name for name in frame.columns if name.startswith(_PROBABILITY)]].to_numpy(np.float64)
    # A multiple-choice example may have fewer choices than others.
    certainty = np.where(np.isnan(chances), -np.inf, chances).max(1)
    cells = zip(frame["text"], frame["label"], frame["predicted"], certainty, strict=True)
    return [
        {"text": str(text), "label": str(label), "predicted": str(predicted), "certainty": float(sure),
         "right": str(label) == str(predicted)}
        for text, label, predicted, sure in cells
    ]  # fmt: skip


def _text_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    cells = zip(frame["text"], frame["references"], frame["predicted"], frame["score"], strict=True)
    return [
        {"input": str(text), "target": " | ".join(map(str, right)), "output": str(written), "score": _number(score),
         "right": is_reference(str(written), map(str, right))}
        for text, right, written, score in cells
    ]  # fmt: skip


def _number(score: Any) -> float | None:
    return None if score is None or math.isnan(score) else float(score)


def _has_words(row: dict[str, Any], words: Sequence[str]) -> bool:
    text = "\n".join(cell for cell in row.values() if isinstance(cell, str)).casefold() if words else ""
    return all(word in text for word in words)


def _sort(rows: list[dict[str, Any]], reverse: bool) -> list[dict[str, Any]]:
    """Return the rows by certainty or score, those without one last."""
    key = "score" if rows and "score" in rows[0] else "certainty"
    known = [row for row in rows if row[key] is not None]
    return sorted(known, key=lambda row: row[key], reverse=reverse) + [row for row in rows if row[key] is None]
