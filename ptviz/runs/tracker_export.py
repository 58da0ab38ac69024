"""A run for other experiment trackers: TensorBoard's event files, and trackio's local database."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptviz.runs.run import Run
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.run_filters import config_settings

if TYPE_CHECKING:
    from ptviz.runs.history import RunHistory

TRACKIO_PROJECT = "ptviz"
EVENT_FILE = "events.out.tfevents.0.ptviz"
"""The name of the event file: the same for every export, where TensorBoard's own has time, host and process."""


def check_extra(name: str) -> None:
    """Check that the package of an optional extra, which has its name, is installed.

    Raises:
        StoreError: if it is not; the message says how to install it.
    """
    if find_spec(name) is None:
        raise StoreError(f"{name} is not installed: python -m pip install 'ptviz[{name}]'")


def write_tensorboard(run: Run, folder: Path) -> int:
    """Write the curves, settings and scores of a run as an event file of TensorBoard; return the number of scalars.

    Steps are those of the whole run. Settings and the test score are in the tab HPARAMS. ``folder`` is empty or new.

    Raises:
        StoreError: if TensorBoard is not installed, or the run has made no step.
    """
    check_extra("tensorboard")
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    history, began = _history(run), _began(run)
    count = 0
    with contextlib.closing(SummaryWriter(str(folder))) as writer:
        scores = {f"test/{run.metric.name}": test} if (test := run.status().test) is not None else {}
        for summary in hparams(_settings(run), scores):
            writer.file_writer.add_summary(summary)
        for step, seconds, values in [*_points(run, history), (_last_step(history), _seconds(run), scores)]:
            for name, value in values.items():
                writer.add_scalar(name, value, step, walltime=began + seconds)
                count += 1
    (written,) = folder.glob("events.out.tfevents.*")
    written.rename(folder / EVENT_FILE)
    return count


def write_trackio(run: Run, project: str = TRACKIO_PROJECT) -> int:
    """Add a run with its curves and settings to a project of trackio on this machine; return the number of steps.

    The environment variable TRACKIO_DIR says where. The run has its ptviz id there; one that is there already is
    refused.

    Raises:
        StoreError: if trackio is not installed, the run has made no step, or the project has it already.
    """
    check_extra("trackio")
    history = _history(run)
    with _stdout_to_stderr():
        import trackio

        known: set[str] = set()
        with contextlib.suppress(ValueError):  # the project does not exist yet
            known = {other.name for other in trackio.Api().runs(project)}
        if run.id in known:
            raise StoreError(f"trackio's project {project} has run {run.id} already: name another with --project")
        trackio.init(
            project=project, name=run.id, config=_settings(run), embed=False, auto_log_gpu=False, auto_log_cpu=False
        )
        try:
            points = _merge(_points(run, history))
            if (test := run.status().test) is not None:
                points.setdefault(_last_step(history), {})[f"test/{run.metric.name}"] = test
            for step, values in sorted(points.items()):
                trackio.log(values, step=step)
        finally:
            trackio.finish()
    return len(points)


def _history(run: Run) -> RunHistory:
    history = run.history()
    if not len(history):
        raise StoreError(f"run {run.id} has made no step yet: there is nothing to export")
    return history


def _points(run: Run, history: RunHistory) -> Iterator[tuple[int, float, dict[str, float]]]:
    """Yield (step of the whole run, seconds since it began, values by name) of each update and evaluation."""
    columns = history.global_steps, history.seconds, history.losses, history.learning_rates, history.gradient_norms
    for step, seconds, *values in zip(*(column.tolist() for column in columns), strict=True):
        names = "training/loss_nats", "training/learning_rate", "training/gradient_norm"
        yield int(step), float(seconds), dict(zip(names, map(float, values), strict=True))
    for step, found in zip(history.evaluation_steps, history.evaluations, strict=True):
        yield step, found.seconds, {"validation/loss_nats": found.loss, f"validation/{run.metric.name}": found.accuracy}


def _merge(points: Iterator[tuple[int, float, dict[str, float]]]) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = {}
    for step, _, values in points:
        found.setdefault(step, {}).update(values)
    return found


def _last_step(history: RunHistory) -> int:
    return max([int(history.global_steps[-1]), *history.evaluation_steps])


def _settings(run: Run) -> dict[str, Any]:
    """Return the settings of a run as plain values; those without a value are left out."""
    found = {name: value for name, value in config_settings(run.config).items() if value is not None}
    recorded = run.environment().get("lr")
    return found | ({"lr": recorded} if recorded is not None else {})


def _began(run: Run) -> float:
    """Return when the run began, in seconds since 1970."""
    with contextlib.suppress(ValueError, TypeError):
        return datetime.fromisoformat(str(run.environment().get("began"))).timestamp()
    return run.status().created


def _seconds(run: Run) -> float:
    return run.status().seconds


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Send what trackio prints to stderr, and keep it from sending anything: the run stays on this machine."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    with contextlib.redirect_stdout(sys.stderr):
        yield
