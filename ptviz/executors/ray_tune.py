"""Early stopping of hopeless runs by ASHA of Ray Tune, from the evaluations of the runs.

A trial of Tune trains nothing: it follows a run of the cluster and reports its evaluations. When ASHA ends the trial,
the run is stopped. A run whose trial is lost goes on to its end.

Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020,
https://arxiv.org/abs/1810.05934.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from typing import Any

from ptviz.executors.ray import RayExecutor
from ptviz.experiments.comparison import PlannedRun
from ptviz.experiments.sweep import STOPPED_EARLY, EarlyStopping

import ray  # isort: skip  # After the executor, which turns its usage reports off.
from ray import tune  # isort: skip
from ray.tune.schedulers import ASHAScheduler  # isort: skip


class RunTrial(tune.Trainable):  # type: ignore[misc,unused-ignore]
    """Follows the run ``config["run"]`` through the collector ``config["collector"]``."""

    def setup(self, config: dict[str, Any]) -> None:
        """Start the run."""
        self.run, self.collector, self.seen, self.best = config["run"], config["collector"], 0, float("-inf")
        self.last_step, self.ended = 0, False
        ray.get(self.collector.start.remote(self.run))

    def step(self) -> dict[str, Any]:
        """Wait for the next evaluation; return the best score so far and its step."""
        found = ray.get(self.collector.next_evaluation.remote(self.run, self.seen))
        if found is None:
            self.ended = True
        else:
            self.seen += 1
            self.last_step, self.best = found[0], max(self.best, found[1])
        score = self.best if self.seen else 0.0
        return {"score": score, "update": self.last_step, "done": self.ended}

    def cleanup(self) -> None:
        """Stop the run if the trial was ended before it."""
        if not self.ended:
            ray.get(self.collector.stop_early.remote(self.run, STOPPED_EARLY))


def train_with_early_stopping(
    executor: RayExecutor, planned: Iterable[PlannedRun], stopping: EarlyStopping
) -> tuple[PlannedRun, ...]:
    """Train runs, and stop those that fall behind; return the entries with their runs. Runs that ended are left alone.

    Raises:
        ValueError: if a config is wrong.
        StoreError: if the folder cannot be written.
    """
    listed = [
        entry if entry.run is not None and entry.state != "failed"
        else PlannedRun(entry.config, executor.create_idle(entry.config).id, "stopped")
        for entry in planned
    ]  # fmt: skip
    ids = [entry.run for entry in listed if entry.state != "finished" and not was_stopped_early(executor, entry)]
    if not ids:
        return tuple(listed)
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    steps = max(entry.config.training.steps for entry in listed)
    slots = max(1, int(ray.cluster_resources().get("CPU", 1) / executor.resources.cpus))
    scheduler = ASHAScheduler(
        time_attr="update", metric="score", mode="max", max_t=max(steps, stopping.grace + 1),
        grace_period=min(stopping.grace, steps), reduction_factor=stopping.reduction,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="ptviz-tune-") as folder:
        tune.Tuner(
            tune.with_resources(RunTrial, {"cpu": 0}),
            param_space={"run": tune.grid_search(ids), "collector": executor.collector},
            tune_config=tune.TuneConfig(scheduler=scheduler, max_concurrent_trials=slots),
            run_config=tune.RunConfig(name="sweep", storage_path=folder, verbose=0),
        ).fit()
    return tuple(listed)


def was_stopped_early(executor: RayExecutor, entry: PlannedRun) -> bool:
    """Return whether ASHA stopped a run before: it is not trained again."""
    if entry.run is None or entry.state != "stopped":
        return False
    return executor.status(entry.run).reason.startswith(STOPPED_EARLY)
