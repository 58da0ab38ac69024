"""The runs of the gallery: the list of what is trained for it, and how a home that holds them is packed.

``ptviz gallery record`` trains them through the executor of every other run, ``ptviz gallery pack`` packs what
a home holds of them. Nothing is trained twice: a recording that was stopped continues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from ptviz.experiments.comparison import make_configs, parse_methods
from ptviz.experiments.planned_runs import PlannedRun, find_runs
from ptviz.experiments.sample_checkpoints import write_samples
from ptviz.experiments.sample_peft_results import write_benchmark_samples
from ptviz.experiments.transfer_prompts import finished_runs, target_tasks
from ptviz.experiments.transfer_results import TransferScore, pack_record
from ptviz.experiments.zero_shot_transfer import measure_missing
from ptviz.methods import list_methods
from ptviz.runs.config import RunConfig
from ptviz.runs.pack_for_gallery import pack_gallery_run, recorded_id
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.store import Store
from ptviz.training.source_prompts import SOURCE_METHOD

MAX_BYTES = 15_000_000
"""The whole gallery is at most this large."""
_SEEDS = (0, 1, 2)
_OTHER_TASKS = (
    "tweets", "sms", "bbc", "yahoo", "stackoverflow", "dbpedia", "hwu", "mcid", "banking", "clinc", "clinc-pairs",
    "banking-pairs", "banking77", "clinc150",
)  # fmt: skip
_WRITING_BACKBONE, _WRITING_TASKS = "smollm2-135m", ("trec6", "question-formation")
_SNAPSHOT_BYTES, _OTHER_SNAPSHOT_BYTES = 250_000, 30_000
"""Room for the snapshots of a run of the first seed on the first task, which the pages show first, and of another.

The best prompts of the other seeds are stored in half precision.
"""


def gallery_configs() -> tuple[RunConfig, ...]:
    """Return the configs of all runs of the gallery, in the order in which they are trained."""
    usual = RunConfig()
    writing = [RunConfig(_WRITING_BACKBONE, task) for task in _WRITING_TASKS]
    first, *others = (make_configs([*list_methods()], [seed], usual) for seed in _SEEDS)
    on_other_tasks = _transfer_configs()[1:]
    decoders = [config for base in writing for config in make_configs([SOURCE_METHOD], _SEEDS[:1], base)]
    return (*first, *on_other_tasks, *(config for seed in others for config in seed), *decoders)


def _transfer_configs() -> list[RunConfig]:
    """Return the configs of the prompts that are measured on each other's tasks: one of each task."""
    bases = [RunConfig(), *(RunConfig(RunConfig().backbone, task) for task in _OTHER_TASKS)]
    return [config for base in bases for config in make_configs([SOURCE_METHOD], _SEEDS[:1], base)]


def measure_transfer(store: Store) -> Iterator[TransferScore]:
    """Measure each prompt of prompt tuning on every task of the gallery, unless it was measured; yield each score.

    Raises:
        StoreError: if another process is measuring, or the record is damaged or cannot be written.
    """
    found = {entry.run for entry in find_runs(store, _transfer_configs()) if entry.state == "finished"}
    runs = [one for one in finished_runs(store) if one.id in found]
    yield from measure_missing(store, runs, target_tasks(runs))


@dataclass(frozen=True)
class PackedGallery:
    """What was packed: the ids of the runs, the runs that are not finished, and the size of the gallery in bytes."""

    runs: tuple[str, ...]
    missing: tuple[PlannedRun, ...]
    measured: int
    size: int


def pack_gallery(store: Store, folder: Path, on_packed: Callable[[str], None] = lambda id: None) -> PackedGallery:
    """Pack the finished runs of the gallery in ``store``, and the transfer that was measured with them.

    ``folder`` is that of the gallery; recordings that the store does not hold stay in it. ``on_packed`` is called with
    each new id.

    Raises:
        StoreError: if a run is damaged, the folder cannot be written, or the gallery is too large.
        ImportError: if PEFT is not installed, which writes some of the sample checkpoints.
    """
    found = find_runs(store, gallery_configs())
    done = {entry.run: recorded_id(entry.config) for entry in found if entry.run and entry.state == "finished"}
    for id, packed in done.items():
        run = store.get(id)
        is_first = run.config.training.seed == _SEEDS[0]
        room = _SNAPSHOT_BYTES if is_first and run.config.task == RunConfig().task else _OTHER_SNAPSHOT_BYTES
        pack_gallery_run(run, folder / "runs", room, done, torch.float32 if is_first else torch.float16)
        on_packed(packed)
    measured = pack_record(store, folder / "runs", done)
    _write_samples(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > MAX_BYTES:
        raise StoreError(f"{folder} has {size / 1e6:.1f} MB: expected at most {MAX_BYTES / 1e6:g} MB")
    missing = tuple(entry for entry in found if entry.state != "finished")
    return PackedGallery(tuple(done.values()), missing, measured, size)


def _write_samples(folder: Path) -> None:
    """Write the sample checkpoints, once the two runs that they come from are packed."""
    ids = [recorded_id(config) for config in make_configs(["prompt-tuning", "prefix-tuning"], _SEEDS[:1], RunConfig())]
    runs = [Run(folder / "runs" / id) for id in ids]
    if all(run.path.is_dir() for run in runs):
        write_samples(folder / "checkpoints", *runs)
    configs = make_configs(parse_methods("all"), _SEEDS, RunConfig())
    every = [Run(folder / "runs" / recorded_id(config)) for config in configs]
    write_benchmark_samples(folder / "benchmark", [run for run in every if run.path.is_dir()])
