"""Early stopping of hopeless runs by ASHA of Ray Tune, from the evaluations of the runs.

A trial of Tune trains nothing: it follows a run of the cluster and reports its evaluations. When ASHA decides that the
trial falls behind, the run is stopped. A run whose trial is lost, or ended otherwise, goes on to its end.

Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020,
https://arxiv.org/abs/1810.05934.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

from ptviz.executors.ray import NAMESPACE, RayExecutor
from ptviz.experiments.comparison import PlannedRun
from ptviz.experiments.sweep import STOPPED_EARLY, EarlyStopping

import ray  # isort: skip  # After the executor, which turns its usage reports off.
from ray import tune  # isort: skip
from ray.tune.schedulers import ASHAScheduler  # isort: skip


class RunTrial(tune.Trainable):  # type: ignore[misc,unused-ignore]
    """Follows the run ``config["run"]`` through the collector of the name ``config["collector"]``."""

    def setup(self, config: dict[str, Any]) -> None:
        """Start the run."""
        self.run, self.seen, self.best = config["run"], 0, float("-inf")
        self.collector = ray.get_actor(config["collector"], NAMESPACE)
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


class _StoppingScheduler(ASHAScheduler):  # type: ignore[misc,unused-ignore]
    """ASHA that stops the run whose trial it ends."""

    def __init__(self, collector: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.collector = collector

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return ASHA's decision, and stop the run if that is to stop."""
        action: str = super().on_trial_result(tune_controller, trial, result)
        if action == self.STOP and not result.get("done"):
            ray.get(self.collector.stop_early.remote(trial.config["run"], STOPPED_EARLY))
        return action


class _OnRequest(tune.Stopper):  # type: ignore[misc,unused-ignore]
    """Ends all trials when the command is asked to stop; it then stops the runs itself."""

    def __init__(self, is_stopping: Callable[[], bool]) -> None:
        self.is_stopping = is_stopping

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False: no trial is ended by itself."""
        return False

    def stop_all(self) -> bool:
        """Return whether the command is asked to stop."""
        return self.is_stopping()


def train_with_early_stopping(
    executor: RayExecutor, planned: Iterable[PlannedRun], stopping: EarlyStopping, is_stopping: Callable[[], bool]
) -> tuple[PlannedRun, ...]:
    """Train runs, and stop those that fall behind; return the entries with their runs.

    Runs that have ended are left alone. It returns early if ``is_stopping``; the runs then still train.

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
    # Ctrl-C belongs to the command, which stops the runs.
    os.environ.update(RAY_AIR_NEW_OUTPUT="0", TUNE_DISABLE_SIGINT_HANDLER="1")
    steps = max(entry.config.training.steps for entry in listed)
    slots = max(1, int(ray.cluster_resources().get("CPU", 1) / executor.resources.cpus))
    # Beyond all steps, also of methods with several stages: the last evaluation of a run is no reason to stop it.
    scheduler = _StoppingScheduler(
        executor.collector, time_attr="update", metric="score", mode="max", max_t=10 * steps + 1,
        grace_period=min(stopping.grace, steps), reduction_factor=stopping.reduction,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="ptviz-tune-") as folder:
        tune.Tuner(
            tune.with_resources(RunTrial, {"cpu": 0}),
            param_space={"run": tune.grid_search(ids), "collector": executor.collector_name},
            tune_config=tune.TuneConfig(scheduler=scheduler, max_concurrent_trials=slots),
            run_config=tune.RunConfig(name="sweep", storage_path=folder, verbose=0, stop=_OnRequest(is_stopping)),
        ).fit()
    return tuple(listed)


def was_stopped_early(executor: RayExecutor, entry: PlannedRun) -> bool:
    """Return whether ASHA stopped a run before: it is not trained again."""
    if entry.run is None or entry.state != "stopped":
        return False
    return executor.status(entry.run).reason.startswith(STOPPED_EARLY)
