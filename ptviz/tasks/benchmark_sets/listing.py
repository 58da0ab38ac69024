"""The benchmark sets as lists show them; nothing is fetched, and nothing is asked of the network."""

from __future__ import annotations

import os
from pathlib import Path

from ptviz.tasks.benchmark_sets.sets import BENCHMARK_SETS, BenchmarkSet
from ptviz.tasks.builtin.registry import TaskInfo


def list_benchmark_tasks() -> list[TaskInfo]:
    """Return the benchmark sets; ``available`` says whether ``datasets`` has a copy on this machine."""
    return [
        TaskInfo(
            name, entry.title, entry.family, len(entry.labels), entry.rows, is_cached(entry),
            "fetched from the Hub when it is first used", entry.source, entry.kind, entry.metric,
        )
        for name, entry in BENCHMARK_SETS.items()
    ]  # fmt: skip


def is_cached(entry: BenchmarkSet) -> bool:
    """Return whether the cache of ``datasets`` has a set: a folder for it, and one for its configuration."""
    # The folders of datasets 3 to 5, read without importing datasets, which takes a second.
    folder = _cache_folder() / entry.hub_id.replace("/", "___")
    try:
        made = [one.name for one in folder.iterdir() if one.is_dir()]
    except OSError:
        return False
    # A set that is made from its Parquet copy has a folder such as "default-data_dir=boolq".
    return any(entry.config is None or one == entry.config or one.endswith(f"={entry.config}") for one in made)


def _cache_folder() -> Path:
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_DATASETS_CACHE") or Path(home) / "datasets").expanduser()
