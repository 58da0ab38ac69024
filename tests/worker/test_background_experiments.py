"""A requested measurement that cannot begin ends with its reason, which the page shows."""

from __future__ import annotations

import pytest

from ptviz.engine.model_cache import ModelCache
from ptviz.experiments import transfer_prompts
from ptviz.runs import Store, StoreError
from ptviz.worker.background_experiments import BackgroundExperiments
from ptviz.worker.background_jobs import TransferJob, current_job, submit_job

JOB = TransferJob("zero-shot", ("a", "b"), rows=6)


@pytest.mark.parametrize("error", [StoreError("a folder is not readable"), ValueError("damaged"), OSError("no disk")])
def test_a_job_that_cannot_begin_keeps_its_reason(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(store: Store) -> list[object]:
        raise error

    monkeypatch.setattr(transfer_prompts, "source_prompts", refuse)
    submit_job(store, JOB)
    worker = BackgroundExperiments(store, ModelCache())
    while worker.run_piece():
        pass
    job = current_job(store)
    assert job is not None
    assert job.problem == str(error)
    assert not worker.run_piece()
    monkeypatch.undo()
    submit_job(store, JOB)  # asked for again, once the cause is gone
    while worker.run_piece():
        pass
    assert current_job(store) is None


def test_settings_out_of_bounds_are_the_reason(store: Store) -> None:
    submit_job(store, TransferJob("gain", ("a",), seeds=1000))
    worker = BackgroundExperiments(store, ModelCache())
    while worker.run_piece():
        pass
    job = current_job(store)
    assert job is not None
    assert job.problem == "seeds: expected 1 to 20; got 1000"
