"""The one definition of "the same training": two runs that train the same prompt."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

from ptviz.runs.config import RunConfig
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import FileSignature, StoreError, file_signature
from ptviz.runs.store import RunSummary, Store


def is_same_training(store: Store, summary: RunSummary, config: RunConfig) -> bool:
    """Return whether a stored run trains the prompt that ``config`` asks for."""
    try:
        same = summary.config.training_fingerprint == config.training_fingerprint
    except ValueError:  # A run of another version, whose hyperparameters this one does not know.
        return False
    return same and has_same_lr(store, summary, config)


def has_same_lr(store: Store, summary: RunSummary, config: RunConfig) -> bool:
    """Return whether a stored run of an equal fingerprint used the learning rate of ``config``.

    A run without a learning rate in its config must have used today's default, as its environment records.
    """
    if summary.config.training.lr is not None:
        return True
    folder = store.folder(summary.id)
    recorded = _recorded_lr(folder, file_signature(folder / "environment.json"))
    return recorded is None or recorded == config.effective_lr


@lru_cache(maxsize=4096)
def _recorded_lr(folder: Path, signature: FileSignature) -> float | None:
    """Return the learning rate that a run recorded, or None; NaN, which equals no other, if the file is damaged.

    It is read again only if the file changed.
    """
    try:
        recorded = Run(folder).environment().get("lr")
    except StoreError:
        return math.nan
    return None if recorded is None else float(recorded)
