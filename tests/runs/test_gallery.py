"""Recorded runs: read like any run, found by id in every store, and changed by nothing."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import execute_run
from ptviz.executors.local import LocalExecutor
from ptviz.experiments import make_gallery
from ptviz.experiments.transfer_results import TransferScore, read_transfer_scores
from ptviz.experiments.zero_shot_transfer import ScoreJob, measure_missing
from ptviz.runs import Run, RunConfig, RunWriter, Store, StoreError
from ptviz.runs.forward_pass import read_forward_pass, write_forward_pass
from ptviz.runs.pack_for_gallery import choose_snapshots, pack_gallery_run, recorded_id
from ptviz.runs.prepare_resume import prepare_resume
from ptviz.runs.recorded_runs import gallery_store, recorded_run, recorded_runs, with_recorded
from tests.fake_forward_pass import fake_forward_pass

READ_ONLY = r"recorded runs are read-only; duplicate the settings to train it yourself"


@pytest.fixture
def trained(store: Store, config: RunConfig, model_cache: ModelCache) -> Run:
    run = store.create(config)
    execute_run(run.path, model_cache)
    return run


@pytest.fixture
def recorded(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A gallery of one run, packed from one that the store has too."""
    monkeypatch.setenv("PTVIZ_GALLERY", str(tmp_path / "gallery"))
    return Run(pack_gallery_run(trained, tmp_path / "gallery" / "runs", 4 * half_size(trained)))


def half_size(run: Run) -> int:
    return (run.path / "prompt.safetensors").stat().st_size // 2


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_recorded_run_reads_as_the_run_that_was_packed(store: Store, trained: Run, recorded: Run) -> None:
    found = store.get(recorded.id)
    assert (found.recorded, trained.recorded) == (True, False)
    assert (found.config, found.events(), found.environment()) == (
        trained.config,
        trained.events(),
        trained.environment(),
    )
    assert (found.status().state, found.status().test) == ("finished", trained.status().test)
    assert torch.equal(found.prompt()["P"], trained.prompt()["P"])
    assert found.resume_point() is None
    kept = found.snapshots()
    assert [info.step for info in kept] == [info.step for info in choose_snapshots(trained, 4)]
    for info in kept:
        half, whole = (run.snapshot(info.stage, info.step)["P"] for run in (found, trained))
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, whole, rtol=2**-10, atol=1e-6)


def test_packed_probabilities_have_three_digits(trained: Run, recorded: Run) -> None:
    whole, short = trained.predictions(), recorded.predictions()
    assert whole is not None
    assert short is not None
    assert [*whole.columns] == [*short.columns]
    for name in whole.columns:
        if whole[name].dtype == float:
            np.testing.assert_allclose(short[name], whole[name], rtol=2**-11)
            assert not (short[name].to_numpy().view(np.uint64) & np.uint64(2**42 - 1)).any()
        else:
            assert (short[name] == whole[name]).all()


def test_a_best_prompt_is_packed_in_half_precision_where_it_is_asked_for(trained: Run, tmp_path: Path) -> None:
    half = Run(pack_gallery_run(trained, tmp_path / "half", half_size(trained), best_type=torch.float16))
    assert torch.equal(half.prompt()["P"], trained.prompt()["P"].half().float())
    assert not torch.equal(half.prompt()["P"], trained.prompt()["P"])


def test_a_forward_pass_is_packed_at_the_snapshots_that_are_kept(trained: Run, tmp_path: Path) -> None:
    measured = fake_forward_pass()
    [step, *_] = measured.steps
    every = [replace(step, stage=info.stage, step=info.step) for info in trained.snapshots()]
    write_forward_pass(trained.path, replace(measured, steps=tuple(every)))
    packed = Run(pack_gallery_run(trained, tmp_path / "some", 4 * half_size(trained)))
    again = Run(pack_gallery_run(trained, tmp_path / "some", 2 * half_size(trained)))
    assert packed.path == again.path
    found = read_forward_pass(again)
    assert found is not None
    places = [(info.stage, info.step) for info in again.snapshots()]
    assert [(one.stage, one.step) for one in found.steps] == places
    assert 0 < len(places) < len(every)


def test_transfer_is_measured_once_and_packed_with_the_runs(
    store: Store, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(jobs: Sequence[ScoreJob]) -> Generator[TransferScore, None, None]:
        yield from (TransferScore(*job.key, accuracy=0.5, loss=1.0, stamp=job.stamp) for job in jobs)

    monkeypatch.setattr(make_gallery, "measure_missing", partial(measure_missing, measure=measure))
    monkeypatch.setattr(make_gallery, "_transfer_configs", lambda: [trained.config])
    monkeypatch.setattr(make_gallery, "gallery_configs", lambda: (trained.config,))
    [*scores] = make_gallery.measure_transfer(store)
    assert trained.id in [score.run for score in scores]
    assert [score.reason for score in scores] == [""] * len(scores)
    assert [*make_gallery.measure_transfer(store)] == []
    packed = make_gallery.pack_gallery(store, tmp_path / "gallery")
    assert packed.measured == len(scores)
    monkeypatch.setenv("PTVIZ_GALLERY", str(tmp_path / "gallery"))
    assert recorded_id(trained.config) in {run for run, _, _ in read_transfer_scores(gallery_store())}


def test_first_best_and_last_snapshots_are_kept(trained: Run) -> None:
    every, best = trained.snapshots(), trained.status().best_step
    for most in range(3, len(every) + 2):
        chosen = choose_snapshots(trained, most)
        assert len(chosen) <= most
        assert {every[0], every[-1]} <= {*chosen}
        assert best in [info.step for info in chosen]


def test_recorded_runs_are_listed_apart(store: Store, trained: Run, recorded: Run) -> None:
    assert [summary.id for summary in store.list()] == [trained.id]
    assert [summary.id for summary in recorded_runs()] == [recorded.id]
    assert [(s.id, s.recorded) for s in with_recorded(store.list())] == [(trained.id, False), (recorded.id, True)]


def test_a_recorded_run_is_found_by_what_it_trains(recorded: Run) -> None:
    assert recorded_run("prompt-tuning", task="fake", backbone="fake").id == recorded.id
    with pytest.raises(StoreError, match="there is no recorded run of smop on fake with fake and seed 3"):
        recorded_run("smop", task="fake", backbone="fake", seed=3)


def test_no_gallery_is_no_error(trained: Run, store: Store) -> None:
    assert recorded_runs() == []
    assert with_recorded(store.list()) == store.list()


@pytest.mark.parametrize(
    "change",
    [
        lambda store, id: store.rename(id, "mine"),
        lambda store, id: store.annotate(id, pinned=True),
        lambda store, id: store.delete(id),
        lambda store, id: LocalExecutor(store).stop(id),
        lambda store, id: LocalExecutor(store).resume(id),
        lambda store, id: LocalExecutor(store).extend(id, 10),
        lambda store, id: prepare_resume(store.get(id), 10),
        lambda store, id: RunWriter(store.get(id)),
    ],
    ids=["rename", "annotate", "delete", "stop", "resume", "extend", "train", "write"],
)
def test_nothing_changes_a_recorded_run(store: Store, recorded: Run, change: Callable[[Store, str], object]) -> None:
    before = content(recorded.path)
    with pytest.raises(StoreError, match=READ_ONLY):
        change(store, recorded.id)
    assert content(recorded.path) == before


def test_only_finished_runs_are_packed(store: Store, config: RunConfig, tmp_path: Path) -> None:
    run = store.create(config)
    with pytest.raises(StoreError, match="only finished runs are packed"):
        pack_gallery_run(run, tmp_path / "gallery", 10**6)
    assert not [*tmp_path.glob("gallery/*")]


def test_a_run_is_packed_again_in_the_same_place(trained: Run, recorded: Run) -> None:
    assert len(recorded.snapshots()) < len(trained.snapshots())
    again = pack_gallery_run(trained, recorded.path.parent, 10**6)
    assert again == recorded.path
    assert len(Run(again).snapshots()) == len(trained.snapshots())


@pytest.mark.usefixtures("gallery")
def test_the_recorded_runs_of_the_app_can_be_read() -> None:
    found = recorded_runs()
    assert found
    for summary in found:
        run = Store().get(summary.id)
        assert (summary.status.state, run.history().damage) == ("finished", "")
        assert run.snapshots()
        assert len(run.history()) > 0
        assert run.predictions() is not None
        assert all(tensor.isfinite().all() for tensor in run.prompt().values())


def test_the_gallery_is_small(gallery: Path) -> None:
    assert sum(path.stat().st_size for path in gallery.rglob("*") if path.is_file()) <= 15_000_000
