"""Runs on disk: config, events, snapshots and status of each, with one writer and any number of readers."""

from ptviz.runs.config import RunConfig
from ptviz.runs.history import RunHistory
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import DiskFullError, StoreError
from ptviz.runs.snapshots import SnapshotInfo
from ptviz.runs.status import ACTIVE_STATES, RUN_STATES, Status
from ptviz.runs.store import RunSummary, Store, StoreProblem
from ptviz.runs.writer import RunWriter

__all__ = [
    "ACTIVE_STATES",
    "RUN_STATES",
    "DiskFullError",
    "Run",
    "RunConfig",
    "RunHistory",
    "RunSummary",
    "RunWriter",
    "SnapshotInfo",
    "Status",
    "Store",
    "StoreError",
    "StoreProblem",
]  # fmt: skip
