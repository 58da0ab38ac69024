"""Answers that need the backbone: taken as given, or computed in this process as the worker does."""

from __future__ import annotations

from typing import Any

from ptviz.plots.run_argument import PromptOrId, get_run, get_saved
from ptviz.plots.run_tensors import snapshot_index
from ptviz.runs.default_store import default_store

Answer = dict[str, Any]


def probe(
    answer: Answer | None,
    prompt: PromptOrId,
    kind: str,
    *,
    stage: int,
    step: int | None,
    task: str = "",
    **request: Any,
) -> Answer:
    """Return the ``answer``; None computes it on a run's snapshot, or with a saved prompt on the texts of a task.

    Raises:
        StoreError: if it cannot be computed for this prompt.
    """
    if answer is not None:
        return answer
    from ptviz.worker.handlers import probe_prompt, probe_run  # They load the backbone.

    saved = get_saved(prompt)
    if saved is not None:
        return probe_prompt(default_store(), str(prompt), kind, task=task or saved.task, **request)
    run = get_run(prompt)
    snapshots = run.snapshots()
    info = snapshots[snapshot_index(run, snapshots, stage, step)]
    return probe_run(run, kind, stage=info.stage, step=info.step, **request)


def measure(
    answer: Answer | None, prompt: PromptOrId, what: str, *, stage: int, step: int | None, task: str = "", **more: Any
) -> Answer:
    """Return the ``answer``, or else one of ``ptviz.worker.handlers.PROBES``.

    Raises:
        StoreError: if it cannot be computed for this prompt.
    """
    return probe(answer, prompt, "measure", stage=stage, step=step, task=task, what=what, **more)
