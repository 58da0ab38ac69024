"""MPT, TransPrompt and CTPT in training: they resume from any snapshot bit for bit, and learn what they should."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from ptviz.methods import MPT, build_method
from ptviz.methods.source_prompt import SourcePrompt
from ptviz.training import Event, ResumePoint, Snapshot, StageStarted, StepCompleted, TrainConfig, train
from tests.families import SOURCES, TASK, backbone_of
from tests.training.test_resume import same, snapshots, stored

CONFIG = TrainConfig(steps=10, source_steps=4, batch=32, lr=0.05, evaluate_every=3, snapshot_every=1)
SMALL = {"mpt": {"fast": "normal"}, "transprompt": {"hidden": 5}, "ctpt": {"q": 7, "start": "words"}}


def make_source_prompts() -> dict[str, SourcePrompt]:
    spec = backbone_of("tiny-encoder").make_spec(64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {
            task.name: SourcePrompt(task.name, spec.sample_embeddings(10), spec.sample_embeddings(10), 0.5)
            for task in SOURCES
        }


def run_events(
    name: str, config: TrainConfig = CONFIG, resume: ResumePoint | None = None, **values: object
) -> list[Event]:
    known = {} if resume or name == "transprompt" else make_source_prompts()
    values = {**SMALL[name], **values}
    more = {"resume": resume, "sources": SOURCES, "source_prompts": known, "hyperparameters": values}
    return list(train(name, backbone_of("tiny-encoder"), TASK, config, **more))


@pytest.mark.parametrize("name", SMALL)
def test_resuming_from_any_snapshot_ends_in_the_same_state(name: str, tmp_path: Path) -> None:
    """Four batches make an epoch of all tasks: TransPrompt's prototypes are updated twice."""
    config = replace(CONFIG, batch=8) if name == "ctpt" else CONFIG
    whole = run_events(name, config)
    losses = {(e.stage, e.step): e.loss for e in whole if isinstance(e, StepCompleted)}
    assert len(snapshots(whole)) > 8
    for snapshot in snapshots(whole)[1::5]:
        again = run_events(name, config, stored(snapshot, tmp_path))
        assert all(losses[e.stage, e.step] == e.loss for e in again if isinstance(e, StepCompleted))
        same(snapshots(again)[-1], snapshots(whole)[-1])


def test_prototypes_are_updated_each_epoch() -> None:
    states = [e.method for e in run_events("transprompt") if isinstance(e, Snapshot) and e.stage == 0]
    changed = [not torch.equal(a["prototypes"], b["prototypes"]) for a, b in pairwise(states)]
    assert changed == [False, False, False, True, False]
    seen = states[0]["rows"]
    assert (seen.sum(1) > 0).all(), "every task, the target too"
    assert int(seen.sum()) == 4 * 32


def test_each_stage_trains_what_it_should() -> None:
    """MPT's sources are fixed while the target is trained; so are TransPrompt's other tasks in adaptation."""
    for name, resting in (("mpt", ("U", "V", "teachers")), ("transprompt", ("encoders.0", "encoders.1", "prototypes"))):
        events = run_events(name)
        states = [e for e in events if isinstance(e, Snapshot)]
        before, after = [e for e in states if e.stage == 0][-1].method, states[-1].method
        moved = {key for key in before if not torch.equal(before[key], after[key])}
        assert moved
        assert not [key for key in moved if key.startswith(resting)]
    assert {key.split(".")[0] for key in moved} == {"E", "universal", "encoders", "MLP"}


def test_mpt_copies_its_teachers_and_starts_the_target_from_the_average() -> None:
    events = run_events("mpt")
    starts = [(event.name, event.steps) for event in events if isinstance(event, StageStarted)]
    assert starts == [("distil", 4), ("target", 10)]
    states = [event for event in events if isinstance(event, Snapshot)]
    last, first = [e for e in states if e.stage == 0][-1].method, next(e for e in states if e.stage == 1).method
    teachers = torch.stack([source.prompt for source in make_source_prompts().values()])
    assert torch.equal(last["teachers"], teachers)
    assert torch.equal(first["u"], last["U"].mean(0))
    assert torch.equal(first["P"], last["P"])


def test_distillation_brings_students_close_to_their_teachers() -> None:
    """Teachers with arbitrary answers: with their losses the students' answers come closer to theirs."""
    config = replace(CONFIG, source_steps=30, steps=1, batch=16, snapshot_every=100)

    def apart(lam: float) -> float:
        last = [e for e in run_events("mpt", config, lam=lam) if isinstance(e, Snapshot) and e.stage == 0][-1].method
        spec = (
            backbone_of("tiny-encoder")
            .make_spec(64, TASK.label_words)
            .with_source_tasks(tuple(s.name for s in SOURCES))
        )
        method = build_method("mpt", spec)
        assert isinstance(method, MPT)
        method.load_state_dict(dict(last))
        return _distance(method)

    assert apart(30.0) < 0.7 * apart(0.0)


@torch.no_grad()
def _distance(method: MPT) -> float:
    from ptviz.methods.mpt import distillation_losses
    from ptviz.prompt import Prompt
    from tests.families import case

    backbone, batch, readout = case("tiny-encoder", method.slots, 30)
    answers = [
        backbone(batch, Prompt(prompt[None]), readout, hidden=True)
        for prompt in (method.teachers[0], method.student_prompt(0))
    ]
    return float(distillation_losses(*answers)[1])


def test_a_method_without_its_source_tasks_is_refused() -> None:
    with pytest.raises(ValueError, match="stage 'distil' of MPT needs source tasks; there are none"):
        list(train("mpt", backbone_of("tiny-encoder"), TASK, CONFIG, sources=[]))
