"""A store with runs that train nothing, in milliseconds, for campaigns that kill or starve them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch

from ptviz.engine.model_cache import Backend, ModelCache
from ptviz.runs import Run, RunConfig
from ptviz.training import TrainConfig
from tests.fake_runs import TASK, FakeTraining, fake_build, fake_predict

STEPS, EXTENSION = 12, 6
CONFIG = RunConfig(
    "fake", "fake", "prompt-tuning", {"m": 3}, TrainConfig(steps=STEPS, evaluate_every=5, snapshot_every=4)
)


def make_cache() -> ModelCache:
    """Return a model cache whose backbone, task and training are stand-ins."""

    def load_backbone(name: str, device: str | None, dtype: str) -> Any:
        return SimpleNamespace(name=name, device=torch.device("cpu"), dtype=torch.float32, dtype_reason="")

    return ModelCache(Backend(load_backbone, lambda *names: TASK, fake_build, FakeTraining(), fake_predict))


def named(number: int) -> RunConfig:
    """Return the config of one of several runs that train the same."""
    return replace(CONFIG, name=f"run {number}")


def check_finished(run: Run, whole: Run) -> None:
    """Check that a run ended as ``whole``, which nothing disturbed: bit for bit."""
    assert run.status().state == "finished", run.status().reason
    assert torch.equal(run.prompt()["P"], whole.prompt()["P"])
    step = run.config.training.steps
    assert torch.equal(run.snapshot(0, step)["P"], whole.snapshot(0, step)["P"])
    assert run.history().losses.tolist() == whole.history().losses.tolist()
    assert run.history().evaluations == whole.history().evaluations
    assert run.history().damaged_lines == 0
    ours, theirs = run.predictions(), whole.predictions()
    assert ours is not None
    assert theirs is not None
    assert ours.equals(theirs)
