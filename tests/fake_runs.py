"""Fixtures for tests of runs: a stand-in for backbone, task and training: the same events, in milliseconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ptviz.engine.model_cache import Backend, ModelCache
from ptviz.methods import build_method
from ptviz.prompt import Spec
from ptviz.runs import RunConfig, Store
from ptviz.tasks.task import Example, Task
from ptviz.training import (
    Baselines,
    Evaluated,
    Event,
    Finished,
    ResumePoint,
    Snapshot,
    StageStarted,
    StepCompleted,
    TrainConfig,
)


def rows(count: int, start: int = 0) -> tuple[Example, ...]:
    return tuple(Example(f"text {start + i}", i % 2) for i in range(count))


NAMES = ("no", "yes")
ROWS = rows(40), rows(10, 40), rows(10, 50)
TASK = Task("fake", "Fake", "fake", NAMES, NAMES, ("a no", "a yes"), "Answer:", *ROWS, "made up")


@dataclass
class FakeTraining:
    """``P`` moves by its own rule: a function of state and step alone, so that a resume must reproduce it."""

    fails: dict[int, BaseException] = field(default_factory=dict)
    seen: list[dict[str, Any]] = field(default_factory=list)
    before: Callable[[int], None] = lambda step: None

    def __call__(
        self,
        method: Any,
        backbone: Any,
        task: Any,
        config: TrainConfig,
        *,
        resume: ResumePoint | None,
        baselines: Baselines | None,
    ) -> Iterator[Event]:
        start = method.P.detach().clone()
        self.seen.append({"resume": resume, "baselines": baselines, "steps": config.steps, "start": start})
        state, step, best, stale = method.P.detach().clone(), 0, None, 0
        if resume is not None:
            state, step, stale = resume.method["P"].clone(), resume.progress["step"], resume.progress["stale"]
            best = resume.resume.get("best/P")
        momentum = torch.zeros_like(state) if resume is None else resume.resume["optimiser/P/m"].clone()
        resumed_at = -1 if resume is None else step

        def snapshot() -> Snapshot:
            kept = {"optimiser/P/m": momentum.clone(), **({} if best is None else {"best/P": best.clone()})}
            return Snapshot(
                0, step, {"P": state.clone()}, kept, {"stage": 0, "step": step, "stale": stale, "best_loss": math.inf}
            )

        yield StageStarted(0, "tune", config.steps)
        while step < config.steps:
            self.before(step)
            if step in self.fails:
                raise self.fails[step]
            yield StepCompleted(
                0, step, 1 / (step + 1), 0.1 * (1 - step / config.steps), float(state.norm()), step * 0.01
            )
            if baselines is None and step == 0:
                yield Baselines(0.5, 0.6, 0.7)
            if step != resumed_at and step % config.evaluate_every == 0:
                best = state.clone()
                yield Evaluated(0, step, 1 / (step + 1), step / 1000, True, step * 0.01)
            if step != resumed_at and step % config.snapshot_every == 0:
                yield snapshot()
            momentum = 0.9 * momentum + state.sin()
            state = state - 0.01 * momentum
            step += 1
        best = state.clone()
        yield Evaluated(0, step, 0.01, 0.9, True, step * 0.01)
        yield snapshot()
        method.load_state_dict({"P": best})
        yield Finished(0.9, 0.8, 0.3, 0.5, 0.6, step, step, step * 0.01, 100.0)


def fake_build(config: RunConfig, backbone: Any, task: Any) -> Any:
    table = torch.arange(400, dtype=torch.float32).reshape(50, 8) / 400
    return build_method(
        config.method,
        Spec(table, 2, 2, 4, config.training.length, torch.arange(50)),
        config.hyperparameters,
        config.training.seed,
    )


def fake_predict(method: Any, backbone: Any, task: Any, texts: list[str], length: int) -> torch.Tensor:
    if not all(texts):
        raise ValueError("text 1: expected some words, got none")
    yes = 0.5 if method is None else float(method.P.detach().mean().sigmoid())
    return torch.tensor([[1 - yes, yes]] * len(texts))


@pytest.fixture
def training() -> FakeTraining:
    return FakeTraining()


@pytest.fixture
def model_cache(training: FakeTraining) -> ModelCache:
    loads: list[str] = []

    def load_backbone(name: str, device: str | None, dtype: str) -> Any:
        loads.append(name)
        return SimpleNamespace(name=name, device=torch.device("cpu"), dtype=torch.float32, dtype_reason="")

    made = ModelCache(Backend(load_backbone, lambda *names: TASK, fake_build, training, fake_predict))
    made.loads = loads
    return made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def config() -> RunConfig:
    return RunConfig(
        "fake", "fake", "prompt-tuning", {"m": 3}, TrainConfig(steps=30, evaluate_every=7, snapshot_every=5)
    )


@pytest.fixture
def longer(config: RunConfig) -> Callable[[int], RunConfig]:
    return lambda steps: replace(config, training=replace(config.training, steps=steps))


@pytest.fixture
def events() -> list[Event]:
    """A short run's plain events, one of each kind."""
    return [
        StageStarted(0, "tune", 3),
        StepCompleted(0, 0, 1.5, 0.1, 2.0, 0.25),
        Baselines(0.25, 0.5, 1.25),
        Evaluated(0, 0, 1.5, 0.5, True, 0.5),
        StepCompleted(0, 1, 1.25, 0.1, 2.0, 0.75, (0.5, 0.5)),
        StepCompleted(0, 2, 1.0, 0.05, 1.0, 1.0),
        Evaluated(0, 3, 0.9, 0.75, True, 1.5),
        Finished(0.75, 0.7, 0.9, 0.25, 0.5, 3, 3, 2.0, 3.0, 'all "steps" done\nwirklich ✓'),
    ]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty short texts of two classes, as a person's own table."""
    path = tmp_path_factory.mktemp("table") / "texts.csv"
    lines = [f"{'good' if i % 2 else 'bad'} thing number {i},{'yes' if i % 2 else 'no'}" for i in range(60)]
    path.write_text("\n".join(["text,label", *lines]))
    return path
