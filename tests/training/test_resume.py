"""A run resumed from a snapshot ends bit for bit where the uninterrupted one ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ptviz.methods import PromptMethod
from ptviz.training import Event, Finished, ResumePoint, Snapshot, StepCompleted, TrainConfig, train
from tests.families import TASK, backbone_of

CONFIG = TrainConfig(steps=6, batch=16, lr=0.05, evaluate_every=3, snapshot_every=1)
Make = Callable[[], str | PromptMethod]


def run_events(make: Make, config: TrainConfig, resume: ResumePoint | None = None) -> list[Event]:
    return list(train(make(), backbone_of("tiny-encoder"), TASK, config, resume=resume))


def snapshots(events: list[Event]) -> list[Snapshot]:
    return [event for event in events if isinstance(event, Snapshot)]


def same(one: Snapshot, other: Snapshot) -> None:
    for ours, theirs in ((one.method, other.method), (one.resume, other.resume)):
        assert set(ours) == set(theirs)
        different = [key for key in ours if not torch.equal(ours[key], theirs[key])]
        assert not different, different
    clocks = ("seconds", "stepping")
    assert {k: v for k, v in one.progress.items() if k not in clocks} == {
        k: v for k, v in other.progress.items() if k not in clocks
    }


def stored(snapshot: Snapshot, folder: Path) -> ResumePoint:
    """Return a snapshot after saving it to files and loading it."""
    save_file(dict(snapshot.method), folder / "method.safetensors")
    save_file(dict(snapshot.resume), folder / "resume.safetensors")
    progress = json.loads(json.dumps(dict(snapshot.progress)))
    return ResumePoint(load_file(folder / "method.safetensors"), load_file(folder / "resume.safetensors"), progress)


def resumes_from_anywhere(make: Make, config: TrainConfig, folder: Path) -> None:
    whole = run_events(make, config)
    ends = [event for event in whole if isinstance(event, Finished)]
    losses = {(e.stage, e.step): e.loss for e in whole if isinstance(e, StepCompleted)}
    assert len(snapshots(whole)) > 4
    for snapshot in snapshots(whole):
        again = run_events(make, config, stored(snapshot, folder))
        same(snapshots(again)[-1], snapshots(whole)[-1])
        assert all(losses[e.stage, e.step] == e.loss for e in again if isinstance(e, StepCompleted))
        end = again[-1]
        assert isinstance(end, Finished)
        assert replace(end, seconds=0, steps_per_second=0) == replace(ends[0], seconds=0, steps_per_second=0)
        again_at = [(e.stage, e.step) for e in snapshots(again)]
        assert again_at.count((snapshot.stage, snapshot.step)) <= 1


@pytest.mark.parametrize("optimiser", ["adamw", "adafactor"])
@pytest.mark.parametrize("name", ["prompt-tuning", "p-tuning-v2", "dept", "smop"])
def test_resuming_from_any_snapshot_ends_in_the_same_state(name: str, optimiser: str, tmp_path: Path) -> None:
    """SMoP's noise and P-Tuning v2's dropout are repeated: step t's randomness is a function of t."""
    resumes_from_anywhere(lambda: name, replace(CONFIG, optimiser=optimiser), tmp_path)


@pytest.mark.parametrize("optimiser", ["adamw", "adafactor"])
def test_stages_probes_and_epochs_resume_too(two_stages: type[PromptMethod], optimiser: str, tmp_path: Path) -> None:
    """Three batches make an epoch: its hook must not run twice for a repeated step."""

    def make() -> PromptMethod:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            return two_stages(backbone_of("tiny-encoder").make_spec(64, TASK.label_words))

    resumes_from_anywhere(make, replace(CONFIG, optimiser=optimiser), tmp_path)


def test_patience_is_resumed(tmp_path: Path) -> None:
    resumes_from_anywhere(lambda: "prompt-tuning", replace(CONFIG, lr=20.0, evaluate_every=1, patience=3), tmp_path)


def test_rare_snapshots_between_evaluations_resume(tmp_path: Path) -> None:
    resumes_from_anywhere(
        lambda: "prompt-tuning", replace(CONFIG, steps=9, evaluate_every=4, snapshot_every=2), tmp_path
    )


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_an_extended_run_follows_the_schedule_of_the_new_length(schedule: str, tmp_path: Path) -> None:
    """After the extension, learning rates are those of a run planned at the new length; no second warm-up."""
    short = replace(CONFIG, steps=20, schedule=schedule, warmup=0.2, snapshot_every=20, evaluate_every=20)
    long = replace(short, steps=40)
    rates = {e.step: e.rate for e in run_events(lambda: "prompt-tuning", long) if isinstance(e, StepCompleted)}
    end = snapshots(run_events(lambda: "prompt-tuning", short))[-1]
    assert end.step == 20
    more = run_events(lambda: "prompt-tuning", long, stored(end, tmp_path))
    extended = [(e.step, e.rate) for e in more if isinstance(e, StepCompleted)]
    assert [step for step, _ in extended] == list(range(20, 40))
    assert extended == [(step, rates[step]) for step in range(20, 40)]
    assert all(later <= earlier for (_, earlier), (_, later) in pairwise(extended))
    assert extended[0][1] > 0
    assert more[-1].steps == 40


def test_an_extended_run_keeps_the_best_of_its_first_part(tmp_path: Path) -> None:
    end = snapshots(run_events(lambda: "prompt-tuning", CONFIG))[-1]
    resume = stored(end, tmp_path)
    sure = ResumePoint(resume.method, resume.resume, {**resume.progress, "best_accuracy": 2.0, "best_step": 3})
    more = run_events(lambda: "prompt-tuning", replace(CONFIG, steps=9), sure)
    assert more[-1].best_step == 3
    kept = {key: tensor for key, tensor in snapshots(more)[-1].resume.items() if key.startswith("best/")}
    assert kept
    assert all(torch.equal(tensor, resume.resume[key]) for key, tensor in kept.items())


def test_snapshots_do_not_change_afterwards() -> None:
    events = train("prompt-tuning", backbone_of("tiny-encoder"), TASK, replace(CONFIG, lr=1.0))
    first = next(event for event in events if isinstance(event, Snapshot))
    before: dict[str, Any] = {key: tensor.clone() for key, tensor in {**first.method, **first.resume}.items()}
    list(events)
    assert all(torch.equal(tensor, before[key]) for key, tensor in {**first.method, **first.resume}.items())
