"""The runs of the gallery: the list of what is trained for it, and how a home that holds them is packed.

``ptviz gallery record`` trains them through the executor of every other run, ``ptviz gallery pack`` packs what
a home holds of them. Nothing is trained twice: a recording that was stopped continues.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ptviz.experiments.comparison import PlannedRun, find_runs, make_configs
from ptviz.experiments.sample_checkpoints import write_samples
from ptviz.experiments.transfer_results import pack_record
from ptviz.methods import list_methods
from ptviz.runs.atomic_io import StoreError
from ptviz.runs.config import RunConfig
from ptviz.runs.pack import pack_run, recorded_id
from ptviz.runs.run import Run
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
"""Room for the snapshots of a run of the first seed on the first task, which the pages show first, and of another."""


def gallery_configs() -> tuple[RunConfig, ...]:
    """Return the configs of all runs of the gallery, in the order in which they are trained."""
    usual = RunConfig()
    on_other_tasks = [RunConfig(usual.backbone, task) for task in _OTHER_TASKS]
    writing = [RunConfig(_WRITING_BACKBONE, task) for task in _WRITING_TASKS]
    first, *others = (make_configs([*list_methods()], [seed], usual) for seed in _SEEDS)
    plain = [config for base in on_other_tasks for config in make_configs([SOURCE_METHOD], _SEEDS[:1], base)]
    decoders = [config for base in writing for config in make_configs([SOURCE_METHOD], _SEEDS[:1], base)]
    return (*first, *plain, *(config for seed in others for config in seed), *decoders)


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
        is_first = (run.config.training.seed, run.config.task) == (_SEEDS[0], RunConfig().task)
        pack_run(run, folder / "runs", _SNAPSHOT_BYTES if is_first else _OTHER_SNAPSHOT_BYTES, done)
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
