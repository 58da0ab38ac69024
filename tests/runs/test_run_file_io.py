from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ptviz.runs.file_lock import FileLock, is_locked, lock_owner
from ptviz.runs.run_file_io import (
    AppendOnlyFile,
    DiskFullError,
    StoreError,
    atomic_write,
    to_store_error,
)
from tests.app_server import HANGS_SECONDS


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "status.json"
    atomic_write(path, b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError, match=r"the disk is full: .*status.json"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["status.json"]


def test_a_torn_last_line_is_cut_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"one\ntwo\nthr")
    lines = AppendOnlyFile(path)
    lines.append(b"three")
    lines.close()
    assert path.read_bytes() == b"one\ntwo\nthree\n"


def test_a_line_that_does_not_fit_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = AppendOnlyFile(tmp_path / "events.jsonl")
    lines.append(b"one")
    real, calls = os.write, []

    def short(handle: int, data: bytes) -> int:
        calls.append(data)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, data[:2])

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(DiskFullError):
        lines.append(b"two")
    monkeypatch.undo()
    lines.append(b"three")
    lines.close()
    assert (tmp_path / "events.jsonl").read_bytes() == b"one\nthree\n"


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    assert "set PTVIZ_HOME" in str(to_store_error(PermissionError(errno.EACCES, "Permission denied"), tmp_path))
    assert "set PTVIZ_HOME" in str(to_store_error(OSError(errno.EROFS, "Read-only file system"), tmp_path))
    assert "Free some space" in str(to_store_error(OSError(errno.ENOSPC, "No space left"), tmp_path))
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"could not be written: Not a directory|No such file"):
        atomic_write(tmp_path / "file" / "x", b"")


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert not is_locked(tmp_path / "lock")
    assert first.acquire()
    assert is_locked(tmp_path / "lock")
    assert lock_owner(tmp_path / "lock") == os.getpid()
    assert not second.acquire(wait=0.05)
    first.release()
    assert not is_locked(tmp_path / "lock")
    assert second.acquire()
    second.release()


def test_a_dead_process_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from ptviz.runs.file_lock import FileLock; "
        "lock = FileLock(Path(sys.argv[1])); lock.acquire(); print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"held\n"
        assert is_locked(tmp_path / "lock")
        child.kill()
        child.wait()
    until = time.monotonic() + HANGS_SECONDS
    while is_locked(tmp_path / "lock") and time.monotonic() < until:
        time.sleep(0.01)
    assert not is_locked(tmp_path / "lock")
