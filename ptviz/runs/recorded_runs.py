"""The recorded runs that come with the app, so that every page has something real to show before anything is trained.

They are ordinary run folders in ``ptviz.paths.gallery_dir() / "runs"``, trained by the app itself, and read-only.
``Store.get`` finds them by their ids in every store; ``Store.list`` leaves them out.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ptviz.methods import list_methods
from ptviz.runs.config import RunConfig
from ptviz.runs.run import Run, recorded_runs_folder
from ptviz.runs.run_file_io import FileSignature, StoreError, file_signature
from ptviz.runs.store import RunSummaries, RunSummary, Store


def recorded_runs() -> list[RunSummary]:
    """Return the recorded runs: those of the default backbone and task first, then by seed, then as the survey does.

    Empty if there are none.
    """
    usual, methods = RunConfig(), [*list_methods()]

    def order(summary: RunSummary) -> tuple[object, ...]:
        config = summary.config
        method = methods.index(config.method) if config.method in methods else len(methods)
        return config.backbone != usual.backbone, config.task != usual.task, config.training.seed, method, summary.id

    return sorted(gallery_store().list(), key=order)


def recorded_run(method: str, *, task: str = "trec6", backbone: str = "minilm-l6", seed: int = 0) -> Run:
    """Return the recorded run of a method.

    Raises:
        StoreError: if there is none.
    """
    wanted = (method, task, backbone, seed)
    for summary in recorded_runs():
        config = summary.config
        if (config.method, config.task, config.backbone, config.training.seed) == wanted:
            return gallery_store().get(summary.id)
    raise StoreError(
        f"there is no recorded run of {method} on {task} with {backbone} and seed {seed}; "
        "`ptviz runs --recorded` lists those there are"
    )


def with_recorded(own: RunSummaries, recorded: RunSummaries | None = None) -> RunSummaries:
    """Return the user's own runs, followed by the recorded ones: all of them by default."""
    names = {summary.id for summary in own}
    return [*own, *(one for one in (recorded_runs() if recorded is None else recorded) if one.id not in names)]


def gallery_store() -> Store:
    """Return the store of the recorded runs, for reading."""
    return _store_at(recorded_runs_folder())


class _RecordedStore(Store):
    """The store of the recorded runs, listed again only if one came or went: a recorded run never changes."""

    _listed: tuple[FileSignature, tuple[RunSummary, ...]] | None = None

    def list(self) -> RunSummaries:
        now = file_signature(self.root)
        if self._listed is None or self._listed[0] != now:
            self._listed = now, tuple(super().list())
        return [*self._listed[1]]


@lru_cache(maxsize=4)
def _store_at(root: Path) -> Store:
    """Return one store for each folder, which keeps what it read."""
    return _RecordedStore(root)
