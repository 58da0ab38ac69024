"""The README says what the code does: its table is generated, its commands exist, its example runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ptviz.cli import app, run

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_the_table_of_methods_is_generated(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["methods", "--markdown"]) == 0
    told = README.split("<!-- methods:", 1)[1].split("-->", 1)[1].split("<!-- /methods -->", 1)[0]
    assert told.strip() == capsys.readouterr().out.strip(), "run: ptviz methods --markdown, and paste it in the README"


def test_the_table_of_findings_is_generated(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["findings", "--markdown"]) == 0
    told = README.split("<!-- findings:", 1)[1].split("-->", 1)[1].split("<!-- /findings -->", 1)[0]
    assert told.strip() == capsys.readouterr().out.strip(), "run: ptviz findings --markdown, and paste it in the README"


def test_every_picture_it_shows_is_here() -> None:
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert shown
    assert all((ROOT / picture).is_file() for picture in shown)


def test_every_command_it_names_exists() -> None:
    known = {command.name for command in app.registered_commands}
    named = set(re.findall(r"\bptviz (?!=)([a-z]+)", "\n".join(re.findall(r"```sh.*?```|`ptviz[^`]*`", README, re.S))))
    assert named
    assert named <= known


def test_its_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    [code] = [block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "load_backbone" in block]
    assert len(code.strip().splitlines()) <= 12
    small = code.replace('"minilm-l6"', '"tiny-encoder"').replace("steps=200", "steps=2, train_rows=32, test_rows=16")
    exec(compile(small, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "Finished(" in printed
    assert "tensor(" in printed
