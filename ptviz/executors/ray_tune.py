"""Early stopping of lagging runs by ASHA of Ray Tune, from the evaluations of the runs.

A trial of Tune trains nothing: it follows a run of the cluster and reports its evaluations. When ASHA decides that the
trial falls behind, the run is stopped. A run whose trial is lost, or ended otherwise, goes on to its end. Runs that
ended in an earlier call of the same command are followed too, first, so that the others are compared with them. Each
group of ``ptviz.experiments.early_stopping`` has an ASHA of its own; without a cluster that module decides the same.

Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020,
https://arxiv.org/abs/1810.05934.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

from ptviz.executors.ray import NAMESPACE, RayExecutor
from ptviz.experiments.early_stopping import comparison_group, was_stopped_early
from ptviz.experiments.planned_runs import PlannedRun
from ptviz.experiments.sweep import STOPPED_EARLY, EarlyStopping

import ray  # isort: skip  # After the executor, which turns its usage reports off.
from ray import tune  # isort: skip
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler  # isort: skip

_HEAD, _SHARE = "node:__internal_head__", 1e-4
"""What a trial asks for, as Tune has to ask for something: a share of the head, and no processor of a run."""


class RunTrial(tune.Trainable):  # type: ignore[misc,unused-ignore]
    """Follows the run ``run`` through the collector of the name ``collector``, both in ``config["followed"]``."""

    def setup(self, config: dict[str, Any]) -> None:
        """Start the run, unless it has ended before."""
        config = config["followed"]
        self.run, self.seen, self.best = config["run"], 0, float("-inf")
        self.collector = ray.get_actor(config["collector"], NAMESPACE)
        self.last_step, self.ended = 0, False
        if not config["has_ended"]:
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


class _StoppingScheduler(TrialScheduler):  # type: ignore[misc,unused-ignore]
    """ASHA for each group of trials that are compared; it stops the run whose trial it ends."""

    def __init__(self, collector: Any, **settings: Any) -> None:
        super().__init__()
        self.collector, self.settings = collector, settings
        self.groups: dict[str, ASHAScheduler] = {}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Return that a metric is set already."""
        return True

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Add a trial to its group."""
        self._group(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return ASHA's decision, and stop the run if that is to stop before the end of its training."""
        action: str = self._group(trial).on_trial_result(tune_controller, trial, result)
        if action == self.STOP and not result.get("done") and result["update"] < trial.config["followed"]["steps"]:
            ray.get(self.collector.stop_early.remote(trial.config["followed"]["run"], STOPPED_EARLY))
            return action
        return str(self.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Do nothing: the last evaluation of a run was seen before."""

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Take a trial out of its group."""
        self._group(trial).on_trial_remove(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Do nothing: the run of a trial that failed goes on."""

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return the first trial that waits."""
        return FIFOScheduler().choose_trial_to_run(tune_controller)

    def debug_string(self) -> str:
        """Return the name of the rule."""
        return "ASHA"

    def _group(self, trial: Any) -> ASHAScheduler:
        name = trial.config["followed"]["group"]
        if name not in self.groups:
            self.groups[name] = ASHAScheduler(**self.settings)
        return self.groups[name]


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
    ended = [entry.state == "finished" or was_stopped_early(executor.store, entry) for entry in listed]
    if all(ended):
        return tuple(listed)
    # Ctrl-C belongs to the command, which stops the runs.
    os.environ.update(RAY_AIR_NEW_OUTPUT="0", TUNE_DISABLE_SIGINT_HANDLER="1")
    steps = max(entry.config.training.steps for entry in listed)
    slots = max(1, int(ray.cluster_resources().get("CPU", 1) / executor.resources.cpus))
    scheduler = _StoppingScheduler(
        executor.collector, time_attr="update", metric="score", mode="max", max_t=max(steps, stopping.grace),
        grace_period=stopping.grace, reduction_factor=stopping.reduction,
    )  # fmt: skip
    followed = [
        {
            "run": entry.run, "has_ended": has_ended, "steps": entry.config.training.steps,
            "group": comparison_group(entry.config), "collector": executor.collector_name,
        }
        for entry, has_ended in sorted(zip(listed, ended, strict=True), key=lambda one: not one[1])
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="ptviz-tune-") as folder:
        tune.Tuner(
            tune.with_resources(RunTrial, tune.PlacementGroupFactory([{_HEAD: _SHARE}])),
            param_space={"followed": tune.grid_search(followed)},
            tune_config=tune.TuneConfig(scheduler=scheduler, max_concurrent_trials=slots),
            run_config=tune.RunConfig(name="sweep", storage_path=folder, verbose=0, stop=_OnRequest(is_stopping)),
        ).fit()
    return tuple(listed)
