"""Runs as they lie on disk, and one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ptviz.runs import Run, RunConfig, RunWriter, Store
from ptviz.training import TrainConfig
from ptviz.training.events import Baselines, Evaluated, Finished, Snapshot, StageStarted, StepCompleted
from tests.families import one_thread

__all__ = ["make_run", "one_thread"]


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Make a run, "finished" or "running" (held by this test)."""
    held: list[RunWriter] = []

    def make(state: str, name: str = "", **config: Any) -> Run:
        training = TrainConfig(steps=10, evaluate_every=5, snapshot_every=5)
        run = Store(tmp_path / "runs").create(RunConfig(name=name, training=training, **config))
        writer = RunWriter(run)
        writer.axes = {"P": ("m", "d")}
        writer.begin(None)
        writer.write_event(StageStarted(0, "tune", 10))
        for step in range(11):
            writer.write_event(StepCompleted(0, step, 2.0 - step / 10, 0.05, 1.0, step / 10))
            if step % 5 == 0:
                writer.write_event(Evaluated(0, step, 1.5, 0.3 + step / 20, True, step / 10))
                writer.write_event(Snapshot(0, step, {"P": torch.full((2, 4), float(step))}, {}, {}))
            if step == 0:
                writer.write_event(Baselines(0.26, 0.38, 1.7))
        if state == "finished":
            writer.write_event(Finished(0.8, 0.75, 0.6, 0.26, 0.38, 10, 10, 2.0, 10.0))
            writer.__exit__(None, None, None)
        else:
            held.append(writer)
        return run

    yield make
    for writer in held:
        writer.__exit__(None, None, None)
