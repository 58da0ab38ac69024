"""Prompts to compare: those of runs, saved prompts, and the prompts of a checkpoint, each under a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from ptviz.checkpoints import PromptBundle, open_checkpoint
from ptviz.experiments.transfer_prompts import load_prompt_vectors, saved_prompt_summaries
from ptviz.experiments.transfer_results import TargetTask
from ptviz.plots.cache import cached_by_signature, last_modified
from ptviz.plots.method_style import method_title
from ptviz.plots.run_argument import RunOrId, get_run
from ptviz.plots.run_tensors import load_snapshot_tensors
from ptviz.runs import RunSummary, Store, StoreError
from ptviz.runs.default_store import default_store
from ptviz.runs.saved_prompts import SAVED_PREFIX

Prompts: TypeAlias = Sequence[RunOrId]
"""Runs, ids of runs, and ids of saved prompts."""


@dataclass(frozen=True, eq=False)
class PromptSet:
    """Prompts of runs and saved prompts with their names, and the vectors (m, d) of all that can be compared.

    ``sources`` have those with a known backbone first; ``vectors`` follows their order, with the prompts of the
    checkpoint last.
    """

    store: Store
    sources: tuple[RunSummary, ...]
    names: tuple[str, ...]
    vectors: dict[str, Float[np.ndarray, "m d"]]

    @property
    def cache_key(self) -> Hashable:
        """A key that changes with the vectors."""
        return tuple((name, array.shape, array.tobytes()) for name, array in self.vectors.items())

    def with_backbone(self) -> PromptSet:
        """Return the prompts of runs and saved prompts whose backbone is known: those that can be tried on a task."""
        pairs = [pair for pair in zip(self.sources, self.names, strict=True) if pair[0].config.backbone]
        names = tuple(name for _, name in pairs)
        vectors = {name: array for name, array in self.vectors.items() if name in names}
        return replace(self, sources=tuple(source for source, _ in pairs), names=names, vectors=vectors)


def load_prompt_set(prompts: Prompts, names: Sequence[str] = (), checkpoint: str = "") -> PromptSet:
    """Return prompts under their names.

    ``prompts`` are runs, ids of runs and ids of saved prompts; ``checkpoint`` is the path of a file or folder with
    further prompts, of which those of the same width d are taken. ``names`` name the prompts in this order; by default
    names are made from task, method, seed and id, as short as possible.

    Raises:
        ValueError: if there are fewer names than ``prompts``, or two equal ones.
        StoreError: if a run or saved prompt does not exist.
        CheckpointError: if the checkpoint is refused.
    """
    store = default_store()
    sources = [_find_source(store, prompt) for prompt in prompts]
    own = list(names[: len(sources)]) or run_labels(sources)
    if len(own) != len(sources) or len({*names}) != len(names):
        raise ValueError(f"names: expected {len(sources)} or more different names; got {len(names)}")
    pairs = sorted(zip(sources, own, strict=True), key=lambda pair: not pair[0].config.backbone)
    arrays = {name: load_prompt_vectors(store, source) for source, name in pairs}
    vectors = {name: array for name, array in arrays.items() if array is not None}
    if checkpoint:
        vectors |= _checkpoint_vectors(Path(checkpoint), vectors, own, names[len(sources) :])
    return PromptSet(store, tuple(source for source, _ in pairs), tuple(name for _, name in pairs), vectors)


def load_starts(found: PromptSet) -> dict[str, Float[np.ndarray, "m d"]]:
    """Return the vectors before the first training step of each prompt that has them stored in its final shape."""
    starts: dict[str, Float[np.ndarray, "m d"]] = {}
    for source, name in zip(found.sources, found.names, strict=True):
        if name in found.vectors and not source.id.startswith(SAVED_PREFIX):
            start = _load_start(source.id)
            if start is not None and start.shape == found.vectors[name].shape:
                starts[name] = start
    return starts


def _load_start(run_id: str) -> Float[np.ndarray, "m d"] | None:
    run = get_run(run_id)
    first = next(iter(run.snapshots()), None)
    if first is None or first.step > 0:
        return None
    key = ("start", run_id, str(first.path), last_modified(first.path))
    with suppress(StoreError):
        tensors = cached_by_signature(key, lambda: load_snapshot_tensors(run, stage=first.stage, step=first.step))
        effective = next(iter(tensors.values()), None)
        return effective.array if effective is not None and effective.axes == ("m", "d") else None
    return None


def subtract_starts(found: PromptSet) -> PromptSet:
    """Return the prompts minus their vectors before training; those without stored ones have no vectors any more."""
    starts = load_starts(found)
    return replace(found, vectors={name: found.vectors[name] - start for name, start in starts.items()})


def shared_starts(found: PromptSet) -> list[tuple[str, ...]]:
    """Return the groups of prompts that started from the same vectors: at least half of the rows of the shorter one."""
    rows = {name: {row.tobytes() for row in start} for name, start in load_starts(found).items()}
    groups: list[list[str]] = []
    for name, own in rows.items():
        for group in groups:
            if 2 * len(own & rows[group[0]]) >= min(len(own), len(rows[group[0]])):
                group.append(name)
                break
        else:
            groups.append([name])
    return [tuple(group) for group in groups if len(group) > 1]


def _find_source(store: Store, prompt: RunOrId) -> RunSummary:
    if isinstance(prompt, str) and prompt.startswith(SAVED_PREFIX):
        found = next((one for one in saved_prompt_summaries(store) if one.id == prompt), None)
        if found is None:
            raise StoreError(f"saved prompt {prompt!r} not found, or it is not a prompt of input vectors")
        return found
    run = get_run(prompt)
    return RunSummary(run.id, run.config, run.status())


def _checkpoint_vectors(
    path: Path, known: dict[str, Float[np.ndarray, "m d"]], taken: Sequence[str], names: Sequence[str]
) -> dict[str, Float[np.ndarray, "m d"]]:
    found = {name: np.asarray(array, np.float32) for name, array in load_checkpoint(path).input_prompts().items()}
    width = next((array.shape[1] for array in (*known.values(), *found.values())), 0)
    found = {name: array for name, array in found.items() if array.shape[1] == width}
    free = list(names) or unused_names(list(found), taken)
    return dict(zip(free, found.values(), strict=True))


def unused_names(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """Return the names, with "(opened)" appended to those that are taken."""
    free: list[str] = []
    for name in names:
        while name in taken or name in free:
            name += " (opened)"
        free.append(name)
    return free


def run_labels(runs: Sequence[RunSummary]) -> list[str]:
    """Return the shortest distinct names of runs: the task; method, seed and id only where they are needed."""
    tasks = [run.name if run.id.startswith(SAVED_PREFIX) else short_task_name(run.config.task) for run in runs]
    titles = [method_title(run.config.method) for run in runs]
    seeds = [f"seed {run.config.training.seed}" for run in runs]
    ids = [run.id[-4:] for run in runs]
    labels = []
    for index, task in enumerate(tasks):
        same = [other for other, name in enumerate(tasks) if name == task and other != index]
        parts = [task]
        for values in (titles, seeds, ids):
            if any(values[other] != values[index] for other in same):
                parts.append(values[index])
                same = [other for other in same if values[other] == values[index]]
        labels.append(", ".join(parts))
    return labels


def short_task_name(name: str) -> str:
    """Return the name of a task as it fits on an axis."""
    return Path(name).stem if Path(name).suffix else name.removeprefix("hub:")


def target_titles(tasks: Sequence[TargetTask]) -> list[str]:
    """Return the names of target tasks as they fit on an axis; of two that are made of one file, with their columns."""
    counts = Counter(task.name for task in tasks)
    return [
        short_task_name(task.name) + (f" ({task.reading})" if counts[task.name] > 1 and task.reading else "")
        for task in tasks
    ]


def load_checkpoint(path: Path) -> PromptBundle:
    """Return the checkpoint at a path; it is read again only if it changed.

    Raises:
        CheckpointError: if it is refused.
    """
    return cached_by_signature(("checkpoint", str(path), last_modified(path)), lambda: open_checkpoint(path))
