"""``ptviz sweep`` as a user runs it, on a tiny backbone and a small table."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from ptviz.experiments.sweep import saved_sweeps
from ptviz.runs import Store
from tests.cli.test_compare import trained

__all__ = ["trained"]


@pytest.fixture
def spec(table: Path, tmp_path: Path) -> Path:
    path = tmp_path / "rates.toml"
    path.write_text(
        f'name = "rates"\nmethods = "prompt-tuning"\nbackbones = "tiny-encoder"\ntasks = "{table}"\nseeds = 2\n'
        "[training]\nsteps = 3\nlr = [0.1, 1]\n[hyperparameters]\nm = 3\n"
    )
    return path


def test_a_sweep_trains_what_is_missing_once(shell, spec: Path, trained: list[str], tmp_path: Path):
    dry = shell("sweep", spec, "--dry-run", "--json")
    assert (dry.code, dry.json["runs"], dry.json["to_train"]) == (0, 4, 4)
    assert not Store().list()
    assert not saved_sweeps()
    sheet = tmp_path / "runs.csv"
    answer = shell("sweep", spec, "--json", "--csv", sheet)
    assert answer.code == 0, answer.err
    assert (answer.json["runs"], answer.json["reused"], len(trained)) == (4, 0, 4)
    (best,) = answer.json["best"]
    assert (best["method"], best["tried"], best["seeds"]) == ("prompt-tuning", 2, 2)
    with sheet.open() as file:
        assert {(row["lr"], row["seed"]) for row in csv.DictReader(file)} == {
            (x, s) for x in ("0.1", "1") for s in "01"
        }
    assert [path.stem for path in saved_sweeps()] == ["rates"]
    again = shell("sweep", spec)
    assert (again.code, len(trained)) == (0, 4)
    assert "4 already finished, reused" in again.err
    assert again.out.splitlines()[0].startswith("method\tbest settings")
    after = shell("sweep", spec, "--dry-run", "--json").json
    assert (after["finished"], after["to_train"], after["bytes"]) == (4, 0, 0)


def test_options_make_a_sweep_too(shell, table: Path, trained: list[str]):
    words = ["sweep", "--methods", "prompt-tuning", "--tasks", table, "--backbones", "tiny-encoder", "--seeds", 1]
    words += ["--vary", "steps=3", "--vary", "lr=0.01..1:log:3", "--vary", "m=2,3"]
    assert shell(*words, "--dry-run", "--json").json["runs"] == 6
    assert shell(*words, "--random", 4, "--dry-run", "--json").json["runs"] == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected a file"),
        (["--vary", "lr"], "expected NAME=VALUES"),
        (["--vary", "lr=1", "--vary", "lr=2"], "lr is given twice"),
        (["--vary", "lr=1..0.1:3"], "expected low <= high"),
        (["--vary", "zz=1"], "none of the methods has it"),
        (["missing.toml"], "missing.toml cannot be read"),
        (["missing.toml", "--seeds", "2"], "got both"),
    ],
)
def test_bad_input_is_refused_before_anything_is_queued(shell, words: list[str], message: str):
    answer = shell("sweep", *words)
    assert answer.code == 2
    assert message in answer.err
    assert not Store().list()
