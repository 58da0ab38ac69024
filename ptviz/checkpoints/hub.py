"""An adapter by its hub id, ``hub:USER/NAME``: its few small files are fetched, and nothing that they name.

Only ``adapter_config.json``, the adapter's weights and its README, each of bounded size, in one folder of the
repository. What was fetched is a stranger's folder like any other: ``open_checkpoint`` reads it.
"""

from __future__ import annotations

import re
import secrets
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from ptviz import paths
from ptviz.checkpoints.errors import CheckpointError, listed, shown
from ptviz.checkpoints.formats.peft import CONFIG, WEIGHTS
from ptviz.checkpoints.limits import LIMITS, MB

START = "hub:"
README = "README.md"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_ID = re.compile(rf"hub:({_NAME}/{_NAME})((?:/{_NAME}){{0,3}})")
_MOST = {CONFIG: LIMITS.json, README: LIMITS.json} | dict.fromkeys(WEIGHTS, LIMITS.file)


def fetch(id: str) -> Path:
    """The folder on this machine with the adapter ``hub:USER/NAME``, or ``hub:USER/NAME/FOLDER``.

    Raises:
        CheckpointError: if it is no such id, cannot be fetched, or holds no adapter of a bounded size.
        OSError: if the cache cannot be written.
    """
    repository, inner = _parsed(id)
    from huggingface_hub import HfApi, hf_hub_download

    try:
        found = HfApi().model_info(repository, files_metadata=True)
        names = _wanted(repository, inner, {file.rfilename: file.size for file in found.siblings or []})
        place = _folder(repository, inner) / (re.sub(r"\W", "", str(found.sha or ""))[:40] or "main")
        if place.is_dir():
            return place
        files = {name: hf_hub_download(repository, inner + name, revision=found.sha) for name in names}
    except CheckpointError:
        raise
    # Whatever goes wrong in there (no network, no such name, no right to see it) has the same remedies.
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{id} cannot be fetched ({shown(first, 200)}). Check the name and the connection, or download its "
            "folder yourself and give the path"
        ) from error
    return _kept(place, files)


def known(id: str) -> Path | None:
    """The folder of an adapter that was fetched before, the newest if there are several; None if there is none.

    Raises:
        CheckpointError: if ``id`` is no hub id.
    """
    folder = _folder(*_parsed(id))
    there = [path for path in folder.iterdir() if (path / CONFIG).is_file()] if folder.is_dir() else []
    return max(there, key=lambda path: path.stat().st_mtime, default=None)


def _parsed(id: str) -> tuple[str, str]:
    match = _ID.fullmatch(id.strip())
    if match is None:
        raise CheckpointError(f"expected hub:USER/NAME, or hub:USER/NAME/FOLDER; got {shown(id)!r}")
    inner = str(PurePosixPath(match[2].lstrip("/"))) + "/" if match[2] else ""
    return match[1], inner


def _folder(repository: str, inner: str) -> Path:
    return paths.cache() / "adapters" / (repository + "/" + inner).strip("/").replace("/", "--")


def _wanted(repository: str, inner: str, sizes: dict[str, Any]) -> list[str]:
    """The files to fetch out of a repository's list, found to be there and of bounded size."""
    weights = next((name for name in WEIGHTS if inner + name in sizes), None)
    if inner + CONFIG not in sizes or weights is None:
        elsewhere = sorted(name.removesuffix("/" + CONFIG) for name in sizes if name.endswith("/" + CONFIG))
        hint = f" It has adapters in the folders {listed(elsewhere)}: name one of them" if elsewhere else ""
        raise CheckpointError(f"{repository}: expected {inner}{CONFIG} and {inner}{WEIGHTS[0]}; it lacks them.{hint}")
    wanted = [CONFIG, weights]
    for name in wanted:
        size, most = sizes[inner + name], _MOST[name]
        if type(size) is not int or not 0 < size <= most:
            told = f"{size / MB:,.1f} MB" if type(size) is int else "no size at all"
            raise CheckpointError(
                f"{repository}: {name}: expected at most {most / MB:,.0f} MB; the hub says {told}: refused"
            )
    readme = sizes.get(inner + README)
    return [*wanted, README] if type(readme) is int and 0 < readme <= _MOST[README] else wanted


def _kept(place: Path, files: dict[str, str]) -> Path:
    """Plain copies of the files in a folder of their own: the hub's cache holds links."""
    draft = place.with_name(f".new-{secrets.token_hex(4)}")
    try:
        draft.mkdir(parents=True)
        for name, path in files.items():
            if (size := Path(path).stat().st_size) > _MOST[name]:
                raise CheckpointError(f"{name} came with {size / MB:,.1f} MB, more than was announced: refused")
            shutil.copyfile(path, draft / name)
        draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return place
