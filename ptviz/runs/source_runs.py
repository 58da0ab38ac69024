"""Which runs are source prompts, and which run asked for each."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from ptviz.methods import method_uses_source_tasks
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import FileSignature, StoreError, file_signature
from ptviz.runs.store import RunSummaries, RunSummary, Store

SOURCE_RUN_NAME = "source prompt: "
"""What the name of a source prompt's run begins with; its task follows."""


def find_source_runs(store: Store, summaries: RunSummaries) -> dict[str, str]:
    """Return the id of the run that asked for each source prompt among some runs, the oldest of several; "" if unknown.

    A run records its source prompts as they become ready; one that is still being trained belongs to the run that is
    active and has its task among its sources.
    """
    listed = {summary.id for summary in summaries}
    owners: dict[str, str] = {}
    askers = [summary for summary in reversed(summaries) if method_uses_source_tasks(summary.config.method)]
    for asker in askers:
        folder = store.folder(asker.id)
        for source in _recorded_sources(folder, file_signature(folder / "events.jsonl")):
            if source in listed and source != asker.id:
                owners.setdefault(source, asker.id)
    for summary in summaries:
        if summary.id not in owners and summary.config.name.startswith(SOURCE_RUN_NAME):
            owners[summary.id] = next((asker.id for asker in askers if _waits_for(asker, summary)), "")
    return owners


def _waits_for(asker: RunSummary, source: RunSummary) -> bool:
    return asker.status.state in ("running", "stopping") and source.config.task in asker.config.source_tasks()


@lru_cache(maxsize=2048)
def _recorded_sources(folder: Path, signature: FileSignature) -> tuple[str, ...]:
    """Return the runs of a run's source prompts; its events are read again only if they changed."""
    with suppress(StoreError):
        return tuple(prompt.run for prompt in Run(folder).history().source_prompts if prompt.run)
    return ()
