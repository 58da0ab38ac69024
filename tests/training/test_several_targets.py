"""One run on several target tasks: what they share, how they are mixed and judged, and that a resume repeats it."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ptviz.methods import REGISTRY, build_method
from ptviz.methods.source_prompt import SourcePrompt
from ptviz.training import (
    Baselines,
    Evaluated,
    Event,
    Finished,
    ResumePoint,
    Snapshot,
    StepCompleted,
    TrainConfig,
    train,
)
from ptviz.training.batches import EncodedExamples
from ptviz.training.events import decode_event, event_to_json
from ptviz.training.mixture import TaskMixture
from ptviz.validation import InvalidData
from tests.families import SOURCES, TASK, backbone_of
from tests.text_tasks import CHOICE_TASK, TEXT_TASK
from tests.training.test_resume import same, snapshots, stored

METHODS = ("attempt", "mpt")
TARGETS = (TASK, TEXT_TASK, CHOICE_TASK)
CONFIG = TrainConfig(
    steps=8, source_steps=4, batch=12, lr=0.05, evaluate_every=4, snapshot_every=1, train_rows=20, validation_rows=8,
    test_rows=8,
)  # fmt: skip
BACKBONE = "tiny-decoder"


def run_events(name: str, config: TrainConfig = CONFIG, resume: ResumePoint | None = None) -> list[Event]:
    spec = backbone_of(BACKBONE).make_spec(64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        known = {
            task.name: SourcePrompt(task.name, spec.sample_embeddings(4), spec.sample_embeddings(4), 0.5)
            for task in SOURCES
        }
    more = {"resume": resume, "sources": SOURCES, "source_prompts": {} if resume else known}
    first, *others = TARGETS
    return list(train(name, backbone_of(BACKBONE), first, config, more_tasks=others, hyperparameters={"m": 4}, **more))


@pytest.mark.parametrize("name", METHODS)
def test_targets_train_their_own_part_and_the_shared_one(name: str) -> None:
    events = run_events(name)
    last = [event for event in events if isinstance(event, Snapshot)][-1].method
    own, shared = REGISTRY[name].per_target, {"attempt": "W_down.weight", "mpt": "P"}[name]
    for parameter in own:
        assert len(last[parameter]) == len(TARGETS)
        assert not torch.equal(last[parameter][0], last[parameter][1]), "each target has moved its own way"
    single = build_method(
        name, backbone_of(BACKBONE).make_spec(64).with_source_tasks(tuple(one.name for one in SOURCES)), {"m": 4}
    )
    for index in range(len(TARGETS)):
        single.load_state_dict(REGISTRY[name].state_of_target(last, index))
        assert torch.equal(single.state_dict()[shared], last[shared])


def test_targets_start_from_sampled_words() -> None:
    settings = {"sources": SOURCES[:1], "more_tasks": [TEXT_TASK], "hyperparameters": {"m": 4, "start": "words"}}
    steps = replace(CONFIG, steps=1, source_steps=1)
    events = list(train("attempt", backbone_of(BACKBONE), TASK, steps, **settings))
    first = next(event for event in events if isinstance(event, Snapshot)).method["P"]
    assert torch.equal(first[0], first[1])


@pytest.mark.parametrize("name", METHODS)
def test_scores_are_means_over_the_targets_and_choose_the_best_step(name: str) -> None:
    events = run_events(name)
    evaluations = [event for event in events if isinstance(event, Evaluated)]
    baselines = next(event for event in events if isinstance(event, Baselines))
    finished = next(event for event in events if isinstance(event, Finished))
    for event, score in ((baselines, "zero_shot"), *((e, "accuracy") for e in evaluations), (finished, "test")):
        own = [getattr(one, score) for one in event.tasks]
        assert len(own) == len(TARGETS)
        assert getattr(event, score) == math.fsum(own) / len(own)
    assert [one.written != () for one in evaluations[0].tasks] == [False, True, False]
    best = max(evaluations, key=lambda event: (event.accuracy, -event.loss))
    assert finished.best_step == best.step
    assert finished.validation == best.accuracy
    assert [one.validation for one in finished.tasks] == [one.accuracy for one in best.tasks]


@pytest.mark.parametrize("name", METHODS)
def test_a_target_answers_as_its_own_method_does(name: str) -> None:
    """The method of one target, cut out of the shared state, scores what the run measured on that target."""
    from ptviz.training.evaluation import evaluate, subsample_task

    events = run_events(name)
    last = [event for event in events if isinstance(event, Snapshot)][-1].method
    ends = [event for event in events if isinstance(event, Evaluated)][-1]
    backbone = backbone_of(BACKBONE)
    spec = backbone.make_spec(64).with_source_tasks(tuple(one.name for one in SOURCES))
    for index, task in enumerate(TARGETS):
        method = build_method(name, spec, {"m": 4})
        method.load_state_dict(method.state_of_target(last, index))
        rows = EncodedExamples(backbone, task, subsample_task(task, CONFIG).validation, 4, CONFIG.length)
        scores = evaluate(method, rows)
        assert (scores.loss, scores.score) == (ends.tasks[index].loss, ends.tasks[index].accuracy)


@pytest.mark.parametrize("name", METHODS)
def test_resuming_from_any_snapshot_ends_in_the_same_state(name: str, tmp_path: Path) -> None:
    whole = run_events(name)
    losses = {(e.stage, e.step): e.loss for e in whole if isinstance(e, StepCompleted)}
    for snapshot in snapshots(whole)[1::4]:
        again = run_events(name, resume=stored(snapshot, tmp_path))
        assert all(losses[e.stage, e.step] == e.loss for e in again if isinstance(e, StepCompleted))
        same(snapshots(again)[-1], snapshots(whole)[-1])


def test_a_run_on_one_target_has_no_trace_of_others() -> None:
    events = list(train("mpt", backbone_of(BACKBONE), TASK, CONFIG, sources=SOURCES))
    assert all("tasks" not in event_to_json(event) for event in events)
    assert snapshots(events)[-1].method["u"].ndim == 1


def test_methods_without_a_shared_part_refuse_in_one_line() -> None:
    able = [name for name, method in REGISTRY.items() if method.per_target]
    assert able == list(METHODS)
    with pytest.raises(ValueError, match="dept trains one target task at a time; got 2: choose one of attempt, mpt"):
        train("dept", backbone_of(BACKBONE), TASK, CONFIG, more_tasks=[TEXT_TASK])
    with pytest.raises(ValueError, match="different names; got 'asking' 2 times"):
        train("mpt", backbone_of(BACKBONE), TASK, CONFIG, more_tasks=[TASK], sources=SOURCES)


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_of_several_tasks_is_refused_by_the_method(name: str) -> None:
    backbone = backbone_of(BACKBONE)
    spec = replace(backbone.make_spec(64, TASK.label_words), source_tasks=("a", "b"), targets=2)
    method = build_method(name, spec, {"m": 4})
    rows = EncodedExamples(backbone, TASK, TASK.validation[:2], 4, 64, 2)
    batch = rows.make_batch([0, 1])
    prompt = method(batch)
    assert prompt.embeddings is not None
    with pytest.raises(ValueError, match="expected rows of one task; got those of"):
        method(replace(batch, task_ids=torch.tensor([2, 3])))


def test_the_temperature_evens_out_the_sizes_of_tasks() -> None:
    rows = [
        EncodedExamples(backbone_of(BACKBONE), TASK, TASK.train[:count], 4, 64, index)
        for index, count in enumerate((40, 10))
    ]

    def share(temperature: float) -> float:
        counts: Counter[int] = Counter()
        mixture = TaskMixture(rows, temperature=temperature)
        for step in range(60):
            for own, batch in mixture.step_batches(step, 16, 0):
                counts[own.task_index] += len(batch)
        return counts[1] / counts.total()

    assert share(1) == pytest.approx(0.2, abs=0.03)
    assert share(2) == pytest.approx(1 / 3, abs=0.03)
    assert share(1000) == pytest.approx(0.5, abs=0.03)


def test_events_of_several_tasks_survive_their_file() -> None:
    for event in run_events("mpt"):
        if isinstance(event, Baselines | Evaluated | Finished):
            line = json.dumps(event_to_json(event)).encode()
            assert decode_event(line) == event
    plain = {"event": "evaluation", "stage": 0, "step": 1, "loss": 1.0, "accuracy": 0.5, "best": True, "seconds": 1.0}
    inner = {**plain, "tasks": [plain]}
    with pytest.raises(InvalidData, match="tasks: expected the event of one task each"):
        decode_event(json.dumps({**plain, "tasks": [inner]}).encode())
    with pytest.raises(InvalidData, match="loss: expected a number of at most"):
        decode_event(json.dumps({**plain, "tasks": [{**plain, "loss": 1e300}]}).encode())
