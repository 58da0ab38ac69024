"""A classroom with two visitors and their teacher, without a process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ptviz.classroom.rules import ClassroomRules
from ptviz.classroom.visitor_executor import VisitorExecutor
from ptviz.classroom.visitor_store import VisitorStore, uploads_folder
from ptviz.runs import Run, RunConfig, Store
from ptviz.runs.annotations import Annotations, write_annotations
from ptviz.runs.archive import pack_run
from ptviz.training import TrainConfig
from tests.damaged_files import make_run

ANNA, BORIS = "a1" * 8, "b2" * 8


class QuietVisitorExecutor(VisitorExecutor):
    """The visitor's executor without a worker process."""

    def ensure_worker(self) -> None:
        """No process in these tests."""


@pytest.fixture
def rules() -> ClassroomRules:
    return ClassroomRules(max_steps=100, backbones=("tiny-encoder",), max_runs=3)


@pytest.fixture
def whole(home: Path) -> Store:
    """The store with all runs, as the teacher has it."""
    return Store(home / "runs")


@pytest.fixture
def anna(whole: Store, rules: ClassroomRules) -> VisitorStore:
    return VisitorStore(whole, ANNA, rules)


@pytest.fixture
def boris(whole: Store, rules: ClassroomRules) -> VisitorStore:
    return VisitorStore(whole, BORIS, rules)


@pytest.fixture
def executor(anna: VisitorStore) -> VisitorExecutor:
    """Anna's executor."""
    return QuietVisitorExecutor(anna, uploads_folder(ANNA))


@pytest.fixture
def small() -> Callable[..., RunConfig]:
    """Make a config that the rules allow."""

    def make(steps: int = 50, **settings: object) -> RunConfig:
        own = {name: settings.pop(name) for name in [*settings] if name in TrainConfig.__dataclass_fields__}
        training = TrainConfig(**{"steps": steps, "source_steps": 50, **own})  # type: ignore[arg-type]
        return RunConfig(**{"backbone": "tiny-encoder", "task": "trec6", "training": training, **settings})  # type: ignore[arg-type]

    return make


@pytest.fixture
def hers(anna: VisitorStore, small: Callable[..., RunConfig]) -> Run:
    """A run of Anna's."""
    return anna.create(small(name="hers"))


@pytest.fixture
def finished_bundle(tmp_path: Path) -> Path:
    """A bundled run on a backbone that the rules do not allow, whose file says that it is Anna's, and shared."""
    store = Store(tmp_path / "elsewhere" / "runs")
    run = make_run(store, "bundled", backbone="minilm-l6")
    write_annotations(run.path, Annotations(("kept",), owner=ANNA, shared=True))
    pack_run(run, tmp_path / "run.zip")
    return tmp_path / "run.zip"
