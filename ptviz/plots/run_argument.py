"""The first argument of most plots: a run or its id, or the id of a saved prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from ptviz.runs import Run
from ptviz.runs.default_store import default_store
from ptviz.runs.saved_prompts import SAVED_PREFIX, SavedPrompt, get_saved_prompt

RunOrId: TypeAlias = Run | str
PromptOrId: TypeAlias = Run | str
"""A run, its id, or the id of a saved prompt with ``SAVED_PREFIX`` ("kept:") in front."""


def get_run(run: RunOrId) -> Run:
    """Return the run; an id is looked up in ``default_store()``.

    Raises:
        StoreError: if there is no such run, or it cannot be read.
    """
    return default_store().get(run) if isinstance(run, str) else run


def get_runs(runs: Sequence[RunOrId]) -> list[Run]:
    """Return the runs of a sequence of runs and ids.

    Raises:
        StoreError: if one of them does not exist or cannot be read.
    """
    return [get_run(run) for run in runs]


def get_saved(prompt: PromptOrId) -> SavedPrompt | None:
    """Return the saved prompt that is meant, None if a run is.

    Raises:
        StoreError: if there is no such saved prompt.
    """
    if isinstance(prompt, str) and prompt.startswith(SAVED_PREFIX):
        return get_saved_prompt(default_store().prompts_folder, prompt.removeprefix(SAVED_PREFIX))
    return None


def backbone_of(prompt: PromptOrId) -> str:
    """Return the name of a prompt's backbone, "" for a saved prompt without one.

    Raises:
        StoreError: if there is no such run or saved prompt.
    """
    saved = get_saved(prompt)
    return get_run(prompt).config.backbone if saved is None else saved.backbone


def right_answers_noun(run: RunOrId) -> str:
    """Return what the share of right answers on a run's task is called, which probes measure whatever its metric."""
    return "share of exact texts" if get_run(run).metric.kind == "text" else "accuracy"
