"""An adapter by its hub id, ``hub:USER/NAME``: its few small files are fetched, and nothing that they name.

Only ``adapter_config.json``, the adapter's weights and its README, each of bounded size, in one folder of the
repository. What was fetched is a stranger's folder like any other: ``open_checkpoint`` reads it.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from ptviz import paths
from ptviz.checkpoints.errors import CheckpointError, safe_list, safe_text
from ptviz.checkpoints.formats.peft import CONFIG_FILE, WEIGHT_FILES
from ptviz.checkpoints.limits import LIMITS, MB

HUB_PREFIX = "hub:"
README_FILE = "README.md"
_NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_ID_PATTERN = re.compile(rf"hub:({_NAME_PATTERN}/{_NAME_PATTERN})((?:/{_NAME_PATTERN}){{0,3}})")
_MAX_BYTES = {CONFIG_FILE: LIMITS.json, README_FILE: LIMITS.json} | dict.fromkeys(WEIGHT_FILES, LIMITS.file)


def fetch_adapter(id: str) -> Path:
    """The folder on this machine with the adapter ``hub:USER/NAME``, or ``hub:USER/NAME/FOLDER``.

    Raises:
        CheckpointError: if it is no such id, cannot be fetched, or holds no adapter of a bounded size.
        OSError: if the cache cannot be written.
    """
    repository, inner = _parse_id(id)
    from huggingface_hub import HfApi, hf_hub_download

    try:
        found = HfApi().model_info(repository, files_metadata=True)
        names = _files_to_fetch(repository, inner, {file.rfilename: file.size for file in found.siblings or []})
        place = _cache_folder(repository, inner) / (re.sub(r"\W", "", str(found.sha or ""))[:40] or "main")
        if place.is_dir():
            return place
        files = {name: hf_hub_download(repository, inner + name, revision=found.sha) for name in names}
    except CheckpointError:
        raise
    # Whatever goes wrong in there (no network, no such name, no right to see it) has the same remedies.
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{id} cannot be fetched ({safe_text(first, 200)}). Check the name and the connection, or download its "
            "folder yourself and give the path"
        ) from error
    return _copy_to_cache(place, files)


def find_fetched_adapter(id: str) -> Path | None:
    """The folder of an adapter that was fetched before, the newest if there are several; None if there is none.

    Raises:
        CheckpointError: if ``id`` is no hub id.
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
    """The files to fetch out of a repository's list, found to be there and of bounded size."""
    weights = next((name for name in WEIGHT_FILES if inner + name in sizes), None)
    if inner + CONFIG_FILE not in sizes or weights is None:
        elsewhere = sorted(name.removesuffix("/" + CONFIG_FILE) for name in sizes if name.endswith("/" + CONFIG_FILE))
        hint = f" It has adapters in the folders {safe_list(elsewhere)}: name one of them" if elsewhere else ""
        raise CheckpointError(
            f"{repository}: expected {inner}{CONFIG_FILE} and {inner}{WEIGHT_FILES[0]}; it lacks them.{hint}"
        )
    wanted = [CONFIG_FILE, weights]
    for name in wanted:
        size, most = sizes[inner + name], _MAX_BYTES[name]
        if type(size) is not int or not 0 < size <= most:
            told = f"{size / MB:,.1f} MB" if type(size) is int else "no size at all"
            raise CheckpointError(
                f"{repository}: {name}: expected at most {most / MB:,.0f} MB; the hub says {told}: refused"
            )
    readme = sizes.get(inner + README_FILE)
    return [*wanted, README_FILE] if type(readme) is int and 0 < readme <= _MAX_BYTES[README_FILE] else wanted


def _copy_to_cache(place: Path, files: dict[str, str]) -> Path:
    """Plain copies of the files in a folder of their own: the hub's cache holds links."""
    with paths.atomic_directory(place.parent) as draft:
        for name, path in files.items():
            if (size := Path(path).stat().st_size) > _MAX_BYTES[name]:
                raise CheckpointError(f"{name} came with {size / MB:,.1f} MB, more than was announced: refused")
            shutil.copyfile(path, draft / name)
        draft.rename(place)
    return place
