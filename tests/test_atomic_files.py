"""Files and folders appear complete or not at all, and only dead processes' temporary files are removed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ptviz import atomic_files
from ptviz.atomic_files import (
    atomic_directory,
    atomic_export,
    atomic_file,
    delete_folder,
    remove_leftovers,
    temporary_path,
    write_file,
)
from tests.soak.fault_points import FaultPoints

_HOLDER = """
import sys
from pathlib import Path
from ptviz.atomic_files import temporary_path
draft = temporary_path(Path(sys.argv[1]))
draft.write_bytes(b"half")
print(draft.name, flush=True)
sys.stdin.read()
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def other_process(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is writing ``data.npz``, and lives until its input is closed."""
    command = [sys.executable, "-c", _HOLDER, str(tmp_path / "data.npz")]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdin is not None
    with child.stdout, child.stdin:
        assert child.stdout.readline().startswith(b".data.npz.")
        yield child
    child.wait()


def test_a_living_process_keeps_its_temporary_file(tmp_path: Path, other_process: subprocess.Popen[bytes]) -> None:
    remove_leftovers(tmp_path)
    assert len(names(tmp_path)) == 1
    with atomic_file(tmp_path / "data.npz") as draft:
        draft.write_bytes(b"mine")
    assert len(names(tmp_path)) == 2
    other_process.kill()
    other_process.wait()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["data.npz"]


def test_an_id_that_is_used_again_protects_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = temporary_path(tmp_path / "a")
    own.touch()
    start = atomic_files._start_time(os.getpid())
    monkeypatch.setattr(atomic_files, "_own_start_time", lambda pid: start - 60)
    earlier = temporary_path(tmp_path / "a")
    earlier.touch()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [own.name]


def test_what_another_machine_writes_is_only_removed_when_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic_files, "_host", lambda: "00000000")
    fresh, old = temporary_path(tmp_path / "a"), temporary_path(tmp_path / "b")
    monkeypatch.undo()
    for path in (fresh, old):
        path.touch()
    os.utime(old, (time.time() - 100_000,) * 2)
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [fresh.name]


def test_only_what_is_named_like_a_temporary_file_is_removed(tmp_path: Path) -> None:
    kept = [".bashrc", ".a.part", "notes.part", "tmpabcdefgh"]
    for name in kept:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - 100_000,) * 2)
    remove_leftovers(tmp_path)
    assert names(tmp_path) == sorted(kept), "a folder of the user"
    (tmp_path / ".new-0123abcd" / "inside").mkdir(parents=True)
    remove_leftovers(tmp_path, everywhere=True)
    assert names(tmp_path) == [".bashrc", ".new-0123abcd", "notes.part"], "files of earlier versions, once they are old"


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    write_file(tmp_path / "a", b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        write_file(tmp_path / "a", b"new")
    monkeypatch.undo()
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, bytes(data)[:3]))
    write_file(tmp_path / "a", b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def interrupted(path: Path) -> None:
    with atomic_file(path) as draft:
        draft.write_text("half")
        raise KeyboardInterrupt


def test_an_interrupted_file_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "a.csv")
    assert names(tmp_path) == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "old"


@pytest.mark.skipif(sys.platform == "win32", reason="links and devices of POSIX")
def test_links_are_followed_and_devices_written_directly(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_file(tmp_path / "link") as draft:
        draft.write_text("new")
    assert (tmp_path / "real").read_text() == "new"
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "null").symlink_to(os.devnull)
    with atomic_file(tmp_path / "null") as draft:
        draft.write_text("gone")
    assert (tmp_path / "null").is_symlink()


def test_an_atomic_directory_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "runs") as draft:
        (draft / "config.json").write_text("{}")
    assert names(tmp_path / "runs") == []
    with atomic_directory(tmp_path / "runs") as draft:
        assert draft.name.startswith(".")  # lists leave hidden folders out
        (draft / "config.json").write_text("{}")
        draft.rename(tmp_path / "runs" / "one")
    assert [path.name for path in (tmp_path / "runs").rglob("*")] == ["one", "config.json"]


def export(folder: Path, text: str, error: type[BaseException] | None = None) -> None:
    with atomic_export(folder, marker="config.json") as draft:
        (draft / "config.json").write_text(text)
        if error is not None:
            raise error
        (draft / "weights").write_text(text)


def test_an_export_replaces_its_own_files_only(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        export(tmp_path / "peft", "half", RuntimeError)
    assert names(tmp_path) == []
    export(tmp_path / "peft", "one")
    (tmp_path / "peft" / "README.md").write_text("of the user")
    export(tmp_path / "peft", "two")
    assert {path.name: path.read_text() for path in (tmp_path / "peft").iterdir()} == {
        "config.json": "two", "weights": "two", "README.md": "of the user",
    }  # fmt: skip
    assert names(tmp_path) == ["peft"]


@pytest.mark.parametrize("in_one_step", [True, False])
@pytest.mark.parametrize("point", range(12))
def test_an_interrupted_export_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: int, in_one_step: bool
) -> None:
    """Whatever change to the disk fails, the folder holds one export and what else was in it."""
    folder = tmp_path / "peft"
    export(folder, "old")
    (folder / "README.md").write_text("of the user")
    if not in_one_step:
        monkeypatch.setattr(atomic_files, "_exchange_in_one_step", lambda one, other: False)

    def fault(number: int, name: str, call: Callable[[], object], arguments: tuple[object, ...]) -> object:
        if number == point:
            raise KeyboardInterrupt
        return call()

    with suppress(KeyboardInterrupt), FaultPoints(fault) as points:
        export(folder, "new")
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    assert texts.pop("README.md") == "of the user"
    expected = ["new"] if points.count <= point else ["old", "new"]
    assert [texts] in ([{"config.json": text, "weights": text}] for text in expected)


def test_a_folder_that_is_no_earlier_export_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.txt").write_text("of the user")
    with pytest.raises(FileExistsError, match="has files but no config"):
        export(tmp_path, "new")
    with pytest.raises(FileExistsError, match="is a file"):
        export(tmp_path / "notes.txt", "new")
    export(tmp_path / "peft", "old")
    monkeypatch.chdir(tmp_path / "peft")
    with pytest.raises(FileExistsError, match="from a folder outside it"):
        export(Path(), "new")
    assert (tmp_path / "peft" / "weights").read_text() == "old"
    assert names(tmp_path) == ["notes.txt", "peft"]


def test_an_export_follows_a_link_and_fills_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    export(tmp_path / "link", "one")
    assert (tmp_path / "real" / "weights").read_text() == "one"
    assert (tmp_path / "link").is_symlink()


def test_a_deleted_folder_is_gone_under_its_name_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a").touch()
    monkeypatch.setattr(atomic_files, "_remove", lambda path: None)
    delete_folder(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.undo()
    remove_leftovers(tmp_path)
    assert len(names(tmp_path)) == 1, "this process could still be deleting it"
