"""The trained prompts that can be tried on other tasks, as summaries and as vectors, and the tasks to try them on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ptviz.backbone_shape import BackboneShape
from ptviz.experiments.transfer_results import TargetTask, fingerprint
from ptviz.methods import list_methods
from ptviz.runs import saved_prompts
from ptviz.runs.config import RunConfig
from ptviz.runs.embedding_table import find_backbone_shape
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.saved_prompts import SAVED_PREFIX
from ptviz.runs.status import Status
from ptviz.runs.store import RunSummary, Store
from ptviz.training.source_prompts import SOURCE_METHOD, source_hyperparameters


def finished_runs(store: Store, backbone: str | None = None, recorded: Iterable[RunSummary] = ()) -> list[RunSummary]:
    """Return the finished runs, newest first, then the ``recorded`` ones; only those of ``backbone`` if given."""
    return [
        summary
        for summary in [*store.list_targets(), *recorded]
        if summary.status.state == "finished"
        and summary.config.method in list_methods()
        and backbone in (None, summary.config.backbone)
    ]


def saved_prompt_summaries(store: Store, backbone: str | None = None) -> list[RunSummary]:
    """Return the saved prompts of input vectors, each as the summary of a finished run."""
    summaries = []
    for saved in saved_prompts.list_saved_prompts(store.prompts_folder):
        if set(saved.shapes) == {"embeddings"} and backbone in (None, saved.backbone):
            m = source_hyperparameters(saved.m)
            config = RunConfig(saved.backbone, saved.task or "", SOURCE_METHOD, m, name=saved.title, start=saved.id)
            summaries.append(RunSummary(SAVED_PREFIX + saved.id, config, Status("finished", created=saved.made)))
    return summaries


def prompts_without_backbone(store: Store) -> dict[str, RunSummary]:
    """Return the saved prompts with no known backbone by title; titles that occur twice end with the id."""
    found = saved_prompt_summaries(store, "")
    counts = Counter(one.name for one in found)
    titles = (one.name if counts[one.name] == 1 else f"{one.name} {one.id.removeprefix(SAVED_PREFIX)}" for one in found)
    return dict(zip(titles, found, strict=True))


def source_prompts(store: Store, backbone: str | None = None, recorded: Iterable[RunSummary] = ()) -> list[RunSummary]:
    """Return the prompts that can be tried on other tasks: of finished and ``recorded`` runs, then the saved ones."""
    saved = [one for one in saved_prompt_summaries(store, backbone) if one.config.backbone]
    return finished_runs(store, backbone, recorded) + saved


def target_tasks(runs: Iterable[RunSummary], more: Iterable[str] = ()) -> tuple[TargetTask, ...]:
    """Return the tasks these runs were trained on, sorted by name, followed by the tasks in ``more``.

    Runs on different columns of one file have different tasks.
    """
    trained = {_own_task(run) for run in runs if run.config.task and not run.id.startswith(SAVED_PREFIX)}
    own, names = sorted(trained, key=lambda task: task.key), {task.name for task in trained}
    return (*own, *(TargetTask(name) for name in dict.fromkeys(more) if name not in names))


def own_task_key(source: RunSummary, tasks: Sequence[TargetTask]) -> str:
    """Return the key of the task that a prompt was trained on.

    A saved prompt does not know the columns of its table: it counts as trained on the first of ``tasks`` of that file.
    """
    own = _own_task(source)
    if source.id.startswith(SAVED_PREFIX) and own not in tasks:
        return next((task.key for task in tasks if task.name == own.name), own.key)
    return own.key


def _own_task(source: RunSummary) -> TargetTask:
    return TargetTask(source.config.task, source.config.text, source.config.label, source.config.table)


def load_input_prompt(run: Run, sizes: BackboneShape) -> Float[np.ndarray, "m d"] | None:
    """Load the best prompt of a run as input vectors; None for keys and values, and for a prompt per input.

    Raises:
        StoreError: if the run's prompt is damaged, or no longer fits the method.
    """
    from ptviz.runs.method_tensors import effective_prompt  # It builds the method, with torch.

    used = effective_prompt(run.config, run.prompt(), sizes)
    return used.array if used is not None and used.axes == ("m", "d") else None


def load_prompt_vectors(store: Store, source: RunSummary) -> Float[np.ndarray, "m d"] | None:
    """Load the prompt of a run or a saved prompt as input vectors.

    None for a method without one such prompt, a prompt that cannot be read, and a backbone whose shape is not known.
    """
    sizes = find_backbone_shape(source.config.backbone)
    if sizes is None and not source.id.startswith(SAVED_PREFIX):
        return None
    return _cached_prompt_vectors(store.root, source.id, fingerprint(store, source.id, TargetTask("")), sizes)


@lru_cache(maxsize=1024)  # A page over many runs loads all of them on every rerun.
def _cached_prompt_vectors(
    root: Path, id: str, stamp: str, sizes: BackboneShape | None
) -> Float[np.ndarray, "m d"] | None:
    store = Store(root)
    try:
        if sizes is None or id.startswith(SAVED_PREFIX):
            tensors = saved_prompts.load_prompt_tensors(store.prompts_folder, id.removeprefix(SAVED_PREFIX))
            return tensors["embeddings"].numpy()
        return load_input_prompt(store.get(id), sizes)
    except (StoreError, ValueError):
        return None
