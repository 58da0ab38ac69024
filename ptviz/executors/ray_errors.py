"""Ray's errors in one line each: they come with pages of traceback, of which a user needs the cause and what to do."""

from __future__ import annotations

import os

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Before ray is imported, which reads it.

from ray import exceptions

LOST = (
    exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.LocalRayletDiedError,
    exceptions.ObjectLostError, exceptions.RaySystemError,
)  # fmt: skip
"""What Ray raises if the node of a task, or its process, is gone."""
_FULL = (exceptions.ObjectStoreFullError, exceptions.OutOfDiskError)
_NOT_IMPORTED = "failed to import on the worker"
_MAX_LENGTH = 500


def first_line(error: BaseException) -> str:
    """Return the first line of an error that has words."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:_MAX_LENGTH]


def task_reason(error: BaseException) -> str:
    """Return why a task failed, in one line, with what to do where that is known."""
    cause = error
    while isinstance(cause, exceptions.RayTaskError) and isinstance(cause.cause, BaseException):
        cause = cause.cause
    if isinstance(cause, exceptions.OutOfMemoryError):
        return f"out of memory on its node: {first_line(cause)}. Ask for a node with more memory"
    if isinstance(cause, _FULL):
        return (
            f"the object store of a node is full: {first_line(cause)}. Start the nodes with more of it (`ray start "
            "--object-store-memory=BYTES`), or install the backbone on each node and name it by its Hub id"
        )
    if isinstance(cause, ImportError) or _NOT_IMPORTED in str(cause):
        # Ray names the whole search path first, and the module at the end of a traceback.
        missing = [line.strip() for line in str(cause).splitlines() if "No module named" in line]
        what = missing[-1] if missing else first_line(cause)
        return f"its node lacks a package: {what[:_MAX_LENGTH]}. Install the same versions on all nodes"
    return first_line(cause)


def loss_reason(error: BaseException, times: int) -> str:
    """Return why a task whose process was lost so many times is given up."""
    count = "its node died" if times == 1 else f"its node died, {times} times in all"
    return f"{count}: {first_line(error)}"
