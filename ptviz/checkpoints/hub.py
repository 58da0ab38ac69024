"""Download a PEFT adapter by its Hub id, ``hub:USER/NAME``: only its own small files, nothing that they refer to.

These are ``adapter_config.json``, the adapter's weights and its README, each with a size limit, in one folder of the
repository. The download is an untrusted folder like any other, to be read by ``open_checkpoint``.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from ptviz import paths
from ptviz.atomic_files import atomic_directory
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.formats.peft import CONFIG_FILE, WEIGHT_FILES
from ptviz.checkpoints.limits import LIMITS, MB
from ptviz.safe_text import safe_list, safe_text

HUB_PREFIX = "hub:"
README_FILE = "README.md"
_NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_ID_PATTERN = re.compile(rf"hub:({_NAME_PATTERN}/{_NAME_PATTERN})((?:/{_NAME_PATTERN}){{0,3}})")
_MAX_BYTES = {CONFIG_FILE: LIMITS.json, README_FILE: LIMITS.json} | dict.fromkeys(WEIGHT_FILES, LIMITS.file)


def fetch_adapter(id: str) -> Path:
    """Return the local folder of the adapter ``hub:USER/NAME`` or ``hub:USER/NAME/FOLDER``; download it if needed.

    Raises:
        CheckpointError: if the id is invalid, the download fails, or there is no adapter within the size limits.
        OSError: if the cache cannot be written.
    """
    repository, inner = _parse_id(id)
    from huggingface_hub import HfApi, hf_hub_download

    try:
        found = HfApi().model_info(repository, files_metadata=True)
        names = _files_to_fetch(repository, inner, {file.rfilename: file.size for file in found.siblings or []})
        folder = _cache_folder(repository, inner) / (re.sub(r"\W", "", str(found.sha or ""))[:40] or "main")
        if folder.is_dir():
            return folder
        files = {name: hf_hub_download(repository, inner + name, revision=found.sha) for name in names}
    except CheckpointError:
        raise
    # Every failure in there (no network, unknown name, no access) has the same remedies.
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{id} cannot be downloaded ({safe_text(first, 200)}). Check the name and the connection, or download its "
            "folder yourself and give the path"
        ) from error
    return _copy_to_cache(folder, files)


def find_fetched_adapter(id: str) -> Path | None:
    """Return the folder of an adapter downloaded before, the newest of several; None if there is none.

    Raises:
        CheckpointError: if ``id`` is not a Hub id.
    """
    folder = _cache_folder(*_parse_id(id))
    there = [path for path in folder.iterdir() if (path / CONFIG_FILE).is_file()] if folder.is_dir() else []
    return max(there, key=lambda path: path.stat().st_mtime, default=None)


def _parse_id(id: str) -> tuple[str, str]:
    match = _ID_PATTERN.fullmatch(id.strip())
    if match is None:
        raise CheckpointError(f"expected hub:USER/NAME, or hub:USER/NAME/FOLDER; got {safe_text(id)!r}")
    inner = str(PurePosixPath(match[2].lstrip("/"))) + "/" if match[2] else ""
    return match[1], inner


def _cache_folder(repository: str, inner: str) -> Path:
    return paths.cache_dir() / "adapters" / (repository + "/" + inner).strip("/").replace("/", "--")


def _files_to_fetch(repository: str, inner: str, sizes: dict[str, Any]) -> list[str]:
    """Return the names of the files to download, after checking that they exist and are within the size limits."""
    weights = next((name for name in WEIGHT_FILES if inner + name in sizes), None)
    if inner + CONFIG_FILE not in sizes or weights is None:
        elsewhere = sorted(name.removesuffix("/" + CONFIG_FILE) for name in sizes if name.endswith("/" + CONFIG_FILE))
        hint = f" It has adapters in the folders {safe_list(elsewhere)}: name one of them" if elsewhere else ""
        raise CheckpointError(
            f"{repository}: expected {inner}{CONFIG_FILE} and {inner}{WEIGHT_FILES[0]}; it lacks them.{hint}"
        )
    required = [CONFIG_FILE, weights]
    for name in required:
        size, most = sizes[inner + name], _MAX_BYTES[name]
        if type(size) is not int or not 0 < size <= most:
            given = f"{size / MB:,.1f} MB" if type(size) is int else "no size"
            raise CheckpointError(
                f"{repository}: {name}: expected at most {most / MB:,.0f} MB; the Hub says {given}: refused"
            )
    readme = sizes.get(inner + README_FILE)
    return [*required, README_FILE] if type(readme) is int and 0 < readme <= _MAX_BYTES[README_FILE] else required


def _copy_to_cache(folder: Path, files: dict[str, str]) -> Path:
    """Copy the files to a folder of their own, since the Hub's cache has links."""
    with atomic_directory(folder.parent) as draft:
        for name, path in files.items():
            if (size := Path(path).stat().st_size) > _MAX_BYTES[name]:
                raise CheckpointError(f"{name} has {size / MB:,.1f} MB, more than its limit: refused")
            shutil.copyfile(path, draft / name)
        draft.rename(folder)
    return folder
