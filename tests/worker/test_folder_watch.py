from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ptviz.worker.directory import WorkerDir
from ptviz.worker.folder_watch import FolderWatch

LONG = 60.0
"""Seconds that no test waits for: a wait that is not ended by a change fails its test by its end."""


@pytest.fixture
def worker_dir(tmp_path: Path) -> WorkerDir:
    folder = WorkerDir.of_store(tmp_path / "runs").create()
    folder.lock_file.touch()
    return folder


@pytest.fixture
def watch(worker_dir: WorkerDir) -> Iterator[FolderWatch]:
    with FolderWatch(worker_dir) as watch:
        yield watch


def ends(watch: FolderWatch, seconds: float) -> bool:
    """Whether a wait without limit ends within so many seconds."""
    waiting = threading.Thread(target=watch.wait, args=(LONG,), daemon=True)
    waiting.start()
    waiting.join(seconds)
    ended = not waiting.is_alive()
    watch.wake()
    waiting.join()
    return ended


def test_the_wake_file_ends_the_wait(worker_dir: WorkerDir, watch: FolderWatch) -> None:
    for _ in range(2):  # created, then written again
        worker_dir.wake()
        assert ends(watch, 10)


def test_a_request_ends_the_wait(worker_dir: WorkerDir, watch: FolderWatch) -> None:
    worker_dir.requests.post("predict", {}, 10)
    assert ends(watch, 10)


def test_a_deleted_folder_ends_the_wait(worker_dir: WorkerDir, watch: FolderWatch) -> None:
    shutil.rmtree(worker_dir.folder.parent)
    assert ends(watch, 10)


def test_what_the_worker_writes_itself_does_not_wake_it(worker_dir: WorkerDir, watch: FolderWatch) -> None:
    worker_dir.info_file.write_text("{}")
    worker_dir.requests.reply("00-ab", {})
    assert not ends(watch, 0.3)


def test_without_a_watch_it_looks_again_soon(worker_dir: WorkerDir) -> None:
    assert ends(FolderWatch(worker_dir), 10)
