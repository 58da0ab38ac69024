"""The first argument of most plots: a run, or its id in the default store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from ptviz.runs import Run, Store

RunOrId: TypeAlias = Run | str


def get_run(run: RunOrId) -> Run:
    """Return the run; an id is looked up in ``Store()``.

    Raises:
        StoreError: if there is no such run, or it cannot be read.
    """
    return Store().get(run) if isinstance(run, str) else run


def get_runs(runs: Sequence[RunOrId]) -> list[Run]:
    """Return the runs of a sequence of runs and ids.

    Raises:
        StoreError: if one of them does not exist or cannot be read.
    """
    return [get_run(run) for run in runs]
