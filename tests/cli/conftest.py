"""A person's own little table, and the command line run within the test's process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ptviz.cli import run


class Answer(NamedTuple):
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout, which must hold exactly one JSON document."""
        return json.loads(self.out)


Shell = Callable[..., Answer]


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    """``shell("count", "smop", "--json")`` runs a command."""

    def call(*words: object) -> Answer:
        code = run([str(word) for word in words])
        return Answer(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty short questions about two things."""
    path = tmp_path_factory.mktemp("table") / "questions.csv"
    rows = [f"who wrote book number {i},person\nwhere is town number {i},place" for i in range(40)]
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture
def small(table: Path) -> list[str]:
    """The options of a run that takes a moment."""
    return ["--backbone", "tiny-encoder", "--task", str(table), "--steps", "4", "--batch", "4", "--set", "m=3"]
