"""The one definition of "the same training": two runs that train the same prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from ptviz.runs.backbone_files import backbone_digest
from ptviz.runs.config import RunConfig, task_label
from ptviz.runs.environment import BACKBONE_FIELD, TABLES_FIELD, table_digests
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import FileSignature, StoreError, file_signature
from ptviz.runs.store import RunSummary, Store


def is_same_training(store: Store, summary: RunSummary, config: RunConfig) -> bool:
    """Return whether a stored run trains the prompt that ``config`` asks for."""
    try:
        same = summary.config.training_fingerprint == config.training_fingerprint
    except ValueError:  # A run of another version, whose hyperparameters this one does not know.
        return False
    return same and has_same_lr(store, summary, config) and has_same_files(summary)


def has_same_files(summary: RunSummary) -> bool:
    """Return whether own tables and backbone of a stored run are those it was trained on, as far as that is known."""
    config = summary.config
    return not _changed_tables(config, summary.tables) and not _is_changed_backbone(config, summary.backbone_files)


def check_same_files(run: Run) -> None:
    """Check that a run which goes on from a saved state finds the tables and the backbone that it began with.

    Raises:
        StoreError: if one was changed.
    """
    facts: dict[str, Any] = {}
    with suppress(StoreError):  # A damaged environment says nothing of the files.
        facts = run.environment()
    if _is_changed_backbone(run.config, facts.get(BACKBONE_FIELD, "")):
        raise StoreError(
            f"run {run.id}: expected the backbone that it was trained on; the files in {run.config.backbone} have "
            "changed since. Restore the old ones, or start a new run on the new ones"
        )
    if changed := _changed_tables(run.config, facts.get(TABLES_FIELD, ())):
        names, one = ", ".join(map(task_label, changed)), len(changed) == 1
        raise StoreError(
            f"run {run.id}: expected the {'table' if one else 'tables'} that it was trained on; {names} "
            f"{'has' if one else 'have'} changed since. Restore the old content, or start a new run on the new one"
        )


def _changed_tables(config: RunConfig, recorded: Sequence[str]) -> list[str]:
    """Return the tasks whose file is not the recorded one; a file or record that is missing counts as unchanged."""
    if not any(recorded):  # Nearly always: no file is looked up.
        return []
    tasks = (*config.targets, *(config.sources or ()))
    found = zip(tasks, recorded, table_digests(config), strict=False)
    return [task for task, then, now in found if then and now and then != now]


def _is_changed_backbone(config: RunConfig, recorded: str) -> bool:
    """Return whether the files of a local backbone are not the recorded ones; what is missing counts as unchanged."""
    now = backbone_digest(config.backbone) if recorded else ""
    return bool(now) and now != recorded


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
