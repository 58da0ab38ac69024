"""Runs: what was asked for, what happened, and the worker that makes it happen."""

from ptviz.runs.atomic_io import DiskFullError, StoreError
from ptviz.runs.config import RunConfig
from ptviz.runs.history import Curve
from ptviz.runs.run import Run
from ptviz.runs.snapshots import SnapshotInfo
from ptviz.runs.status import ALIVE, STATES, Status
from ptviz.runs.store import Problem, Store, Summary
from ptviz.runs.writer import Writer

__all__ = [
    "ALIVE", "STATES", "Curve", "DiskFullError", "Problem", "Run", "RunConfig", "SnapshotInfo",
    "Status", "Store", "StoreError", "Summary", "Writer",
]  # fmt: skip
