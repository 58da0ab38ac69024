"""The environment of a run: versions and hardware that may explain different numbers on two machines."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

from msgspec import Meta

import ptviz
from ptviz.paths import expand_user
from ptviz.runs.run_file_io import file_digest, file_signature
from ptviz.tasks import named_task
from ptviz.tasks.custom.table_options import LIMITS
from ptviz.validation import Count, Name, Scalar, Sentence, convert_json, decode_json

if TYPE_CHECKING:
    import torch

    from ptviz.runs.config import RunConfig

TABLES_FIELD = "tables"
"""In the environment of a run on own tables: the ``table_digests`` when its training began."""
BACKBONE_FIELD = "backbone_files"
"""In the environment of a run on a backbone in a local folder: its ``backbone_digest`` when the training began."""
_Fields: Any = Annotated[dict[Name, Scalar | list[Sentence]], Meta(max_length=200)]


class _Environment(TypedDict, total=False):
    """The fields of environment.json that are computed with; the others are only shown."""

    lr: Annotated[float, Meta(ge=0, le=100)] | None
    seed: Count
    trained: Count
    stored: Count
    slots: Count
    steps: Count
    memory: Count | None
    notes: list[Sentence]
    metric: Name
    metrics: list[Name]
    tables: list[Name]
    backbone_files: Name


def decode_environment(data: bytes) -> dict[str, Any]:
    """Return the content of an environment.json.

    Raises:
        InvalidData: if it is damaged, or a value has the wrong type or is out of its bounds.
    """
    found: dict[str, Any] = decode_json(data, _Fields)
    convert_json(found, _Environment)
    return found


def machine_facts() -> dict[str, Any]:
    """Return the fields of an environment that say on what kind of machine a run was trained."""
    return {"platform": platform.platform(), "machine": platform.machine(), "cpus": available_cpus()}


def describe_environment(device: torch.device, dtype: torch.dtype, seed: int) -> dict[str, Any]:
    """Return versions, machine, device, threads and seed as plain data."""
    import torch

    return {
        "ptviz": ptviz.__version__,
        "commit": source_commit(),
        "python": platform.python_version(),
        **{name: _package_version(name) for name in ("torch", "transformers", "tokenizers", "numpy")},
        **machine_facts(),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "accelerator": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "dtype": str(dtype).removeprefix("torch."),
        "seed": seed,
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def table_digests(config: RunConfig) -> list[str]:
    """Return the digest of the file of each target and named source task of a run, in order; "" where there is none."""
    return [table_digest(task) for task in (*config.targets, *(config.sources or ()))]


def table_digest(task: str) -> str:
    """Return the digest of the file that a task is made of; "" if it is none, or too large to be a task."""
    # A file in the current folder may have the name of a built-in task, which is not read from it.
    if named_task(task) is not None:
        return ""
    path = expand_user(task)
    if file_signature(path)[2] > LIMITS.file:  # No task is made of it, so its content is not worth the time.
        return ""
    with suppress(OSError):
        return file_digest(path)
    return ""


def _package_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def source_commit() -> str | None:
    """Return the commit of the source tree in use; None outside a git checkout."""
    source = Path(ptviz.__file__).parents[1]
    if not (source / ".git").exists():
        return None
    with suppress(OSError, subprocess.SubprocessError):
        command = ["git", "-C", str(source), "rev-parse", "--verify", "HEAD"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
        return answer.stdout.strip() or None
    return None


def available_cpus() -> int:
    """Return the number of CPUs this process may use; unlike torch, respects affinity and container quotas."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, max(1, int(quota) // int(period)))
    return count
