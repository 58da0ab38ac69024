"""Runs: what was asked for, what happened, and the worker that makes it happen."""

from ptviz.runs.config import RunConfig
from ptviz.runs.curve import Curve
from ptviz.runs.disk import DiskFullError, StoreError
from ptviz.runs.executors import LocalExecutor
from ptviz.runs.office import WorkerInfo
from ptviz.runs.run import Run
from ptviz.runs.status import ALIVE, STATES, Status
from ptviz.runs.store import Problem, Store, Summary
from ptviz.runs.tensors import SnapshotInfo
from ptviz.runs.writer import Writer

__all__ = [
    "ALIVE", "STATES", "Curve", "DiskFullError", "LocalExecutor", "Problem", "Run", "RunConfig", "SnapshotInfo",
    "Status", "Store", "StoreError", "Summary", "WorkerInfo", "Writer",
]  # fmt: skip
