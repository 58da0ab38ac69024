"""``ptviz doctor``: check the installation and suggest fixes."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import typer

from ptviz import __version__, paths
from ptviz.cli.output import JsonOption, print_json, print_line, print_table, progress_console

MIN_FREE_BYTES = 2_000_000_000
"""Free disk space in bytes below which runs and a downloaded backbone may not fit."""


@dataclass(frozen=True)
class Check:
    """The result of one check: ``broken`` makes the command fail, ``note`` does not; ``fix`` is what to do."""

    name: str
    state: Literal["ok", "note", "broken"]
    detail: str
    fix: str = ""


def doctor(as_json: JsonOption = False) -> None:
    """Check the installation and suggest fixes.

    Checks versions, device, backbones (by hash), tasks, folders, runs, browser and disk space. The exit code is 1 if
    something is broken.
    """
    with progress_console().status("checking"):
        checks = [check for function in CHECKS for check in _run_check(function)]
    healthy = all(check.state != "broken" for check in checks)
    if as_json:
        print_json({"healthy": healthy, "checks": [asdict(check) for check in checks]})
    else:
        print_table(("state", "what", "found"), [(c.state, c.name, c.detail) for c in checks])
        for check in checks:
            if check.fix:
                print_line(f"{'fix' if check.state == 'broken' else 'note'}: {check.name}: {check.fix}", error=True)
    if not healthy:
        raise typer.Exit(1)


def _run_check(function: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from function()
    except Exception as error:  # One broken check must not hide the others.
        detail = f"{type(error).__name__}: {error}".splitlines()[0]
        fix = 'reinstall, in the folder of pyproject.toml: pip install -c constraints.txt -e ".[embedded]"'
        yield Check(function.__name__, "broken", detail, fix)


def versions() -> Iterator[Check]:
    """Check the versions of Python and of the main libraries."""
    python = platform.python_version()
    new_enough = sys.version_info >= (3, 11)
    yield Check("python", "ok", python) if new_enough else Check("python", "broken", python, "install Python >= 3.11")
    yield Check("ptviz", "ok", __version__)
    for package in ("torch", "transformers", "streamlit", "plotly", "safetensors", "datasets"):
        try:
            yield Check(package, "ok", version(package))
        except PackageNotFoundError:
            yield Check(package, "broken", "not installed", f"pip install {package}")


def machine() -> Iterator[Check]:
    """Check the device and the number of threads."""
    import torch

    from ptviz.backbones import select_device

    device = select_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    yield Check("device", "ok", f"{device} ({name})")
    yield Check("threads", "ok", f"{torch.get_num_threads()} of {os.cpu_count()} cores")


def backbones() -> Iterator[Check]:
    """Check that the named backbones are installed and match their known hashes."""
    from ptviz.backbones import list_backbones, packaged

    for info in list_backbones():
        if info.random:
            continue
        try:
            folder = packaged.find_checked_folder(info.name)
        except ValueError as error:
            yield Check(f"backbone {info.name}", "broken", str(error), info.install_command)
            continue
        if folder is not None:
            yield Check(f"backbone {info.name}", "ok", f"hashes match in {folder}")
        elif info.name == "minilm-l6":
            yield Check(
                f"backbone {info.name}", "broken", "the default backbone is not installed", info.install_command
            )
        else:
            yield Check(f"backbone {info.name}", "note", "not downloaded (optional)", info.install_command)


def tasks() -> Iterator[Check]:
    """Check that the data of every task is here; data that is downloaded on demand may be missing."""
    from ptviz.tasks import FETCHED_PACKAGES, list_tasks

    on_demand = {package.requirement for package in FETCHED_PACKAGES.values()}
    found: dict[tuple[str, bool, str], list[str]] = {}
    for info in list_tasks():
        found.setdefault((info.source, info.available, info.install_command), []).append(info.name)
    for (source, available, command), names in found.items():
        if available:
            yield Check(f"tasks of {source}", "ok", ", ".join(names))
        elif source in on_demand:
            yield Check(f"tasks of {source}", "note", f"not downloaded (optional): {', '.join(names)}", command)
        else:
            yield Check(f"tasks of {source}", "broken", f"its package is not installed: {', '.join(names)}", command)


def folders() -> Iterator[Check]:
    """Check that the folders of runs and caches are writable and have free space."""
    for name, path, variable in (("runs", paths.data_dir(), "PTVIZ_HOME"), ("cache", paths.cache_dir(), "PTVIZ_CACHE")):
        try:
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            fix = f"make it writable, or use another folder with {variable}=/some/folder"
            yield Check(f"folder of {name}", "broken", f"{path}: {error.strerror}", fix)
            continue
        yield Check(f"folder of {name}", "ok", f"{path} ({_folder_size(path) / 1e6:,.0f} MB used)")
        free = shutil.disk_usage(path).free
        state: Literal["ok", "broken"] = "ok" if free >= MIN_FREE_BYTES else "broken"
        fix = "" if state == "ok" else f"free some space, or use another disk with {variable}=/some/folder"
        yield Check(f"disk of {name}", state, f"{free / 1e9:,.1f} GB free", fix)


def _folder_size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


def store() -> Iterator[Check]:
    """Check that every run is readable."""
    from ptviz.runs import Store

    found = Store()
    summaries = found.list()
    yield Check("runs", "ok", f"{len(summaries)} readable in {found.root}")
    for problem in found.problems():
        yield Check("runs", "broken", problem.reason, f"move {problem.path} away; the other runs are not affected")


def sandbox() -> Iterator[Check]:
    """Check what confines the process that reads checkpoints from others."""
    from ptviz.checkpoints.sandbox.restrictions import PROTECTIONS, describe_missing_protections, find_protections

    found = find_protections()
    state: Literal["ok", "note"] = "ok" if found == PROTECTIONS else "note"
    yield Check("sandbox", state, ", ".join(found) or "Python's audit hook only", describe_missing_protections())


def browser() -> Iterator[Check]:
    """Check for a browser that opens the app, and for the one that the browser tests use."""
    import webbrowser

    try:
        yield Check("browser", "ok", webbrowser.get().__class__.__name__)
    except webbrowser.Error:
        fix = "run `ptviz app --headless` and open the printed address in a browser"
        yield Check("browser", "note", "none that `ptviz app` can open", fix)
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next((path for name in names if (path := shutil.which(name))), "")
    fix = "" if chromium else "needed by the browser tests only: apt-get install chromium"
    yield Check("chromium", "ok" if chromium else "note", chromium or "not found", fix)


CHECKS = (versions, machine, backbones, tasks, folders, store, sandbox, browser)
