"""A bundle that could not be read again is not written."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ptviz.checkpoints.limits import LIMITS
from ptviz.runs import Run, Store, StoreError, archive
from ptviz.runs.archive import pack_run, unpack_run
from tests.damaged_files import make_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(Store(tmp_path / "runs"))


def refused(run: Run, folder: Path, said: str) -> None:
    """Check that a run is not packed, for a reason with advice, and that nothing is left of it."""
    folder.mkdir()
    with pytest.raises(StoreError, match=rf"{said}.*--to safetensors.*or copy its folder"):
        pack_run(run, folder / "run.zip")
    assert not [*folder.iterdir()]


def test_too_many_files(run: Run, tmp_path: Path) -> None:
    one = run.snapshots()[0].path
    for step in range(10, 10 + LIMITS.entries - len(pack_run(run, tmp_path / "run.zip"))):
        os.link(one, one.with_name(f"0-{step:06d}.safetensors"))
    assert len(pack_run(run, tmp_path / "run.zip")) == LIMITS.entries
    unpack_run(Store(tmp_path / "there"), tmp_path / "run.zip")
    os.link(one, one.with_name("0-999999.safetensors"))
    refused(run, tmp_path / "out", "expected at most 4,096 files; got 4,097")


def test_too_large_a_zip(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = run.snapshots()[0].path
    for step in range(10, 15):
        one.with_name(f"0-{step:06d}.safetensors").write_bytes(os.urandom(50_000))
    monkeypatch.setattr(archive, "LIMITS", replace(LIMITS, file=200_000))
    refused(run, tmp_path / "out", r"expected at most 0\.2 MB in its zip file; got 1")
    monkeypatch.setattr(archive, "LIMITS", replace(LIMITS, unpacked=200_000))
    refused(run, tmp_path / "again", r"expected at most 0\.2 MB in all; got 1")


def test_too_large_a_file(run: Run, tmp_path: Path) -> None:
    with (run.path / "start.safetensors").open("wb") as file:
        file.truncate(LIMITS.file + 1)
    refused(run, tmp_path / "out", r"expected at most 256 MB in start\.safetensors; got 257")


def test_a_zip_like_a_bomb(run: Run, tmp_path: Path) -> None:
    with (run.path / "start.safetensors").open("wb") as file:
        file.truncate(20_000_000)
    refused(run, tmp_path / "out", "expected at most 50 times the size of its zip file; got")


def test_too_long_a_history(run: Run, tmp_path: Path) -> None:
    events = run.path / "events.jsonl"
    shutil.copy(events, tmp_path / "events.jsonl")
    with events.open("ab") as file:
        file.write(b'{"a":"' + b"x" * 300_000 + b'"}\n')
    refused(run, tmp_path / "out", r"expected at most 250,000 bytes in one line of events\.jsonl; got 300,009")
    with events.open("wb") as file:
        file.truncate(64_000_001)
    refused(run, tmp_path / "again", r"expected at most 64 MB in events\.jsonl; got 65")
    shutil.copy(tmp_path / "events.jsonl", events)
    assert pack_run(run, tmp_path / "run.zip")
