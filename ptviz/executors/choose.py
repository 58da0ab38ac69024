"""The executor that a command or the app uses: this machine, or a Ray cluster."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, get_args

from ptviz.executors.local import LocalExecutor
from ptviz.runs.placement import ClusterResources
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.store import Store

if TYPE_CHECKING:
    from ptviz.executors.ray import RayExecutor

ExecutorName = Literal["local", "ray"]
EXECUTORS: tuple[str, ...] = get_args(ExecutorName)
EXECUTOR_VARIABLE, ADDRESS_VARIABLE = "PTVIZ_EXECUTOR", "PTVIZ_RAY_ADDRESS"


def is_local() -> bool:
    """Return whether runs are trained on this machine, as far as the environment says."""
    return (os.environ.get(EXECUTOR_VARIABLE) or "local") == "local"


def make_executor(
    name: str | None = None,
    address: str | None = None,
    resources: ClusterResources | None = None,
    store: Store | None = None,
) -> LocalExecutor | RayExecutor:
    """Return the executor ``name`` of a store; by default as ``PTVIZ_EXECUTOR`` and ``PTVIZ_RAY_ADDRESS`` say.

    Raises:
        ValueError: if the name is none of ``EXECUTORS``.
        StoreError: if Ray is not installed, there is no cluster, or it cannot be used.
    """
    chosen = name or os.environ.get(EXECUTOR_VARIABLE) or "local"
    if chosen not in EXECUTORS:
        raise ValueError(f"executor: expected one of {', '.join(EXECUTORS)}; got {chosen!r}")
    if chosen == "local":
        return LocalExecutor(store)
    if find_spec("ray") is None:
        raise StoreError('Ray is not installed; get it with: pip install "ptviz[ray]"')
    from ptviz.executors.ray import RayExecutor

    where = address or os.environ.get(ADDRESS_VARIABLE) or "auto"
    return RayExecutor(store, address=where, resources=resources)
