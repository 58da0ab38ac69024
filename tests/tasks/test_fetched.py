"""Data that is fetched on demand: from a made-up index in a folder, with archives that would do harm if they could."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ptviz import package_index
from ptviz.package_index import DownloadError, download_file, read_pip_settings
from ptviz.tasks import TaskError
from ptviz.tasks.builtin.fetched import FetchedPackage

PREFIX = "madeup-1.0/sets/"
ROWS, OTHER = b'{"examples": []}', b"other rows"
EVIL_SETUP = b"import pathlib; pathlib.Path('ran').touch(); raise SystemExit('setup.py was run')"
Serve = Callable[[str, bytes], FetchedPackage]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tar_of(*members: tuple[str, bytes], links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, link in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, link
            archive.addfile(info)
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def wheel_of(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


GOOD = (("madeup-1.0/setup.py", EVIL_SETUP), (PREFIX + "a/task.json", ROWS), (PREFIX + "b.jsonl", OTHER))


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """A package index in a folder that holds one file, and the package that expects just this file."""
    index = tmp_path / "index" / "madeup"
    index.mkdir(parents=True)
    monkeypatch.setenv("PTVIZ_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    settings = {"index-url": index.parent.as_uri(), "extra-index-url": (tmp_path / "none").as_uri()}
    monkeypatch.setattr(package_index, "read_pip_settings", lambda: settings)

    def serve(filename: str, data: bytes) -> FetchedPackage:
        (index / filename).write_bytes(data)
        (index / "index.html").write_text(f'<!DOCTYPE html><a href="{filename}">{filename}</a>')
        return FetchedPackage(
            requirement="madeup==1.0",
            name="madeup-data",
            archive=filename,
            megabytes=1,
            sha256=sha256(data),
            prefix=PREFIX,
            files={"a/task.json": sha256(ROWS), "b.jsonl": sha256(OTHER)},
            terms=("ask first",),
        )

    return serve


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("filename", "pack"), [("madeup-1.0.tar.gz", tar_of), ("madeup-1.0-py3-none-any.whl", wheel_of)]
)
def test_only_the_needed_files_are_kept(
    filename: str, pack: Callable[..., bytes], serve: Serve, tmp_path: Path
) -> None:
    package = serve(filename, pack(*GOOD, (PREFIX + "c/task.json", b"not needed")))
    assert not package.is_installed
    with pytest.raises(TaskError, match=r"madeup==1\.0, which is not here; run: ptviz get madeup-data$"):
        package.find_folder()
    said: list[str] = []
    shares: list[float | None] = []

    def show(message: str, share: float | None) -> None:
        said.append(message)
        shares.append(share)

    folder = package.fetch(show)
    assert files_in(tmp_path / "cache") == {
        "data/madeup-data/a/task.json": ROWS,
        "data/madeup-data/b.jsonl": OTHER,
    }, "the archive is gone, and nothing else was kept"
    assert package.is_installed
    assert package.find_folder() == folder
    assert said[0] == f"looking for {filename}"
    assert said[1].startswith(f"downloading {filename}: 0 of 0 MB")
    assert shares[:3] == [None, 1.0, None], "only of the bytes is it known how many are done"
    assert not (tmp_path / "ran").exists()
    said.clear()
    assert package.fetch(show) == folder
    assert not said, "it was there already"


def test_names_and_links_in_the_archive_lead_nowhere(serve: Serve, tmp_path: Path) -> None:
    evil = tar_of(
        ("../evil", b"x"),
        (PREFIX + "../../evil", b"x"),
        ("/" + PREFIX + "b.jsonl", b"x"),
        ("other/" + PREFIX + "b.jsonl", b"x"),
        *GOOD,
        links={PREFIX + "b.jsonl": "/etc/passwd", PREFIX + "a": "/tmp"},
    )
    package = serve("madeup-1.0.tar.gz", evil)
    assert files_in(package.fetch()) == {"a/task.json": ROWS, "b.jsonl": OTHER}
    assert not [path for path in tmp_path.rglob("*") if path.name == "evil" or path.is_symlink()]


@pytest.mark.parametrize(
    ("data", "change", "message"),
    [
        (tar_of(*GOOD), {"sha256": "0" * 64}, r"madeup-1\.0\.tar\.gz: expected sha256 0+, got [0-9a-f]{64}"),
        (tar_of(*GOOD[:2], (PREFIX + "b.jsonl", b"altered")), {}, r"b\.jsonl: expected sha256"),
        (tar_of(*GOOD[:2]), {}, r"madeup-1\.0\.tar\.gz lacks b\.jsonl"),
        (tar_of(*GOOD[:2], links={PREFIX + "b.jsonl": "/etc/passwd"}), {}, r"lacks b\.jsonl"),
        (tar_of(*GOOD)[:60], {}, r"(empty file|ended|unexpected)"),
        (b"no archive", {}, r"not a gzip file"),
        (tar_of(*GOOD), {"archive": "madeup-2.0.tar.gz"}, r"madeup-2\.0\.tar\.gz was not found in file://"),
    ],
    ids=["archive", "member", "missing", "link", "cut", "no-archive", "other-version"],
)
def test_what_is_not_as_expected_leaves_everything_as_it_was(
    data: bytes, change: dict[str, str], message: str, serve: Serve, tmp_path: Path
) -> None:
    package = replace(serve("madeup-1.0.tar.gz", data), **change)  # type: ignore[arg-type]
    with pytest.raises(TaskError, match=message + r".*; check the connection and try again$"):
        package.fetch()
    assert not files_in(tmp_path / "cache")
    assert not list((tmp_path / "cache" / "data").iterdir()), "no temporary folder is left"
    before = serve("madeup-1.0.tar.gz", tar_of(*GOOD)).fetch()
    serve("madeup-1.0.tar.gz", data)
    with pytest.raises(TaskError, match=message):
        package.fetch(force=True)
    assert files_in(before) == {"a/task.json": ROWS, "b.jsonl": OTHER}


def test_an_altered_file_is_refused_and_fetched_again(serve: Serve) -> None:
    package = serve("madeup-1.0.tar.gz", tar_of(*GOOD))
    folder = package.fetch()
    (folder / "b.jsonl").write_bytes(b"altered")
    with (
        pytest.raises(
            TaskError, match=r"task 'x': .* damaged \(b\.jsonl: expected .* run: ptviz get madeup-data --force"
        ),
        package.open_folder("x"),
    ):
        pass
    assert files_in(package.fetch(force=True))["b.jsonl"] == OTHER


def test_pips_settings_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = https://one.test/simple\ntimeout = 3\n[install]\nproxy = http://no.test\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_INDEX_URL", "https://two.test/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path}/none {tmp_path}")
    found = read_pip_settings()
    assert found["index-url"] == "https://two.test/simple", "the environment comes before the file"
    assert found["timeout"] == "3"
    assert "proxy" not in found, "a setting of another command"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DownloadError, match=r"madeup-1\.0\.tar\.gz was not found in /"):
        download_file("madeup-1.0.tar.gz", "", tmp_path / "out")
    monkeypatch.delenv("PIP_FIND_LINKS")
    with pytest.raises(DownloadError, match="no-index and no find-links"):
        download_file("madeup-1.0.tar.gz", "", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_index_that_cannot_be_reached_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_index, "read_pip_settings", lambda: {"index-url": "http://127.0.0.1:9/simple"})
    with pytest.raises(DownloadError, match=r"madeup-1\.0\.tar\.gz could not be downloaded \(.*refused"):
        download_file("madeup-1.0.tar.gz", "", tmp_path / "out")
