"""The stream of events: its order, its end, and its dependence on the seed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from ptviz.methods import PromptMethod, build_method
from ptviz.training import (  # fmt: skip
    Baselines,
    Evaluated,
    EvaluationScores,
    Event,
    Finished,
    Snapshot,
    StageStarted,
    StepCompleted,
    TrainConfig,
    TrainingError,
    evaluate,
    measure_baselines,
    train,
    trainer,
)
from ptviz.training.batches import EncodedExamples
from tests.families import TASK, backbone_of, method_of

SHORT = TrainConfig(steps=6, batch=8, lr=0.05, evaluate_every=3, snapshot_every=2)


def run(method: str | PromptMethod = "prompt-tuning", config: TrainConfig = SHORT, **more: Any) -> Iterator[Event]:
    return train(method, backbone_of("tiny-encoder"), TASK, config, **more)


def untimed(events: list[Event]) -> list[Event]:
    """Return events without times; snapshots as lists of tensors."""
    plain = []
    for event in events:
        if isinstance(event, Snapshot):
            progress = {k: v for k, v in event.progress.items() if k not in ("seconds", "stepping")}
            tensors = {**event.method, **{f"resume/{k}": v for k, v in event.resume.items()}}
            plain.append((event.stage, event.step, progress, {k: v.tolist() for k, v in tensors.items()}))
        else:
            clocks = {k: 0.0 for k in ("seconds", "steps_per_second") if hasattr(event, k)}
            plain.append(replace(event, **clocks))
    return plain


def kinds_of(events: list[Event]) -> list[str]:
    return [f"{event.kind} {getattr(event, 'step', '')}".strip() for event in events]


def test_events_come_in_order() -> None:
    assert kinds_of(list(run())) == [
        "stage", "step 0", "baselines", "evaluation 0", "snapshot 0", "step 1", "step 2", "snapshot 2",
        "step 3", "evaluation 3", "step 4", "snapshot 4", "step 5", "evaluation 6", "snapshot 6", "finished",
    ]  # fmt: skip


def test_the_best_prompt_is_among_the_snapshots_however_rare_they_are() -> None:
    events = list(run(config=replace(SHORT, steps=20, evaluate_every=1, snapshot_every=100, seed=3)))
    best = [e.step for e in events if isinstance(e, Evaluated) and e.best]
    kept = {e.step: e for e in events if isinstance(e, Snapshot)}
    assert list(kept) == sorted({0, 20, *best})
    assert 0 < events[-1].best_step < 20  # or this shows nothing
    for name, tensor in kept[20].resume.items():
        if name.startswith("best/"):
            assert torch.equal(tensor, kept[events[-1].best_step].method[name.removeprefix("best/")])


def test_the_first_step_is_shown_before_anything_slow() -> None:
    first, second = itertools.islice(run(), 2)
    assert isinstance(first, StageStarted)
    assert (first.index, first.name, first.steps) == (0, "tune", 6)
    assert isinstance(second, StepCompleted)
    assert second.step == 0


def test_two_stages_follow_one_another(two_stages: type[PromptMethod]) -> None:
    backbone = backbone_of("tiny-encoder")
    events = list(run(two_stages(backbone.make_spec(64, TASK.label_words))))
    assert [(e.index, e.name) for e in events if isinstance(e, StageStarted)] == [(0, "whole"), (1, "pruned")]
    assert sum(isinstance(event, Baselines) for event in events) == 1
    assert [e.step for e in events if isinstance(e, StepCompleted) and e.stage == 1] == list(range(3))
    assert events[-1].steps == 6
    assert [(e.stage, e.step) for e in events if isinstance(e, Snapshot)] == [
        (stage, step) for stage in (0, 1) for step in (0, 2, 3)
    ]


def test_step_and_evaluation_of_one_number_describe_one_prompt() -> None:
    """StepCompleted(t) has the loss after t updates: on the same rows it is the loss of the snapshot at t."""
    backbone, config = backbone_of("tiny-encoder"), replace(SHORT, snapshot_every=1)
    spec = backbone.make_spec(64, TASK.label_words)
    events = list(run(config=config))
    method = build_method("prompt-tuning", spec)
    rows = EncodedExamples(backbone, TASK, TASK.train, method.slots, 64)
    steps = {e.step: e for e in events if isinstance(e, StepCompleted)}
    for snapshot in (e for e in events if isinstance(e, Snapshot)):
        method.load_state_dict(dict(snapshot.method))
        if snapshot.step in steps:
            batch = rows.training_batch(snapshot.step, 8, 0)
            loss = backbone(batch, method(batch), rows.readout).loss.detach()
            assert steps[snapshot.step].loss == pytest.approx(float(loss), abs=1e-6)


def test_closing_stops_the_run() -> None:
    events = run(config=replace(SHORT, steps=1000))
    seen = list(itertools.islice(events, 5))
    events.close()
    assert len(seen) == 5
    assert list(events) == []


def test_nothing_runs_before_the_first_event_is_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer._TrainingLoop, "run_step", None)
    assert isinstance(next(run()), StageStarted)


@pytest.mark.parametrize("name", ["prompt-tuning", "p-tuning-v2", "dept", "smop"])
def test_the_same_seed_gives_the_same_numbers_bit_for_bit(name: str) -> None:
    assert untimed(list(run(name))) == untimed(list(run(name)))


@pytest.mark.parametrize("name", ["prompt-tuning", "smop"])
def test_another_seed_gives_other_numbers(name: str) -> None:
    one, other = (
        [e.loss for e in run(name, replace(SHORT, seed=seed)) if isinstance(e, StepCompleted)] for seed in (0, 1)
    )
    assert one != other


@pytest.mark.parametrize("name", ["p-tuning-v2", "smop"])
def test_noise_differs_from_step_to_step(name: str) -> None:
    """With a tiny learning rate and one batch of all rows, only the noise changes the loss."""
    config = replace(SHORT, lr=1e-12, batch=64)
    method = method_of(name, backbone_of("bert"))
    events = train(method, backbone_of("bert"), TASK, config)
    losses = [e.loss for e in events if isinstance(e, StepCompleted)]
    assert len(set(losses)) == len(losses)


@pytest.mark.parametrize("name", ["p-tuning-v2", "smop"])
def test_global_randomness_has_no_effect_and_is_not_changed(name: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = untimed(list(run(name)))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert untimed(list(run(name))) == one


def test_hooks_of_a_stage_are_seeded_too(two_stages: type[PromptMethod]) -> None:
    found = []
    for world in (5, 6):
        method = two_stages(backbone_of("tiny-encoder").make_spec(64, TASK.label_words))
        with torch.no_grad():
            method.P.copy_(torch.arange(128.0).reshape(4, 32) / 128)
            method.shift.weight.zero_()
        torch.manual_seed(world)
        before = torch.get_rng_state()
        found.append(untimed(list(run(method))))
        assert torch.equal(torch.get_rng_state(), before)
    assert found[0] == found[1]


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_every_allowed_seed_works(seed: int) -> None:
    assert isinstance(list(run("smop", replace(SHORT, seed=seed)))[-1], Finished)


def test_baselines_are_those_of_the_untouched_backbone() -> None:
    backbone = backbone_of("tiny-encoder")
    found = next(event for event in run() if isinstance(event, Baselines))
    assert found == measure_baselines(backbone, TASK, SHORT)
    rows = EncodedExamples(backbone, TASK, TASK.validation, 0, 64)
    assert found.zero_shot == evaluate(None, rows).score
    assert found.majority == pytest.approx(1 / 3)


def test_given_baselines_are_yielded_and_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Baselines(0.1, 0.2, 0.3)
    monkeypatch.setattr(trainer, "measure_baselines", None)
    assert [event for event in run(baselines=given) if isinstance(event, Baselines)] == [given]


def scripted(monkeypatch: pytest.MonkeyPatch, accuracies: list[float]) -> None:
    """Replace validation accuracies by these, one per evaluation."""
    script = iter(accuracies)

    def measured(method: PromptMethod | None, rows: EncodedExamples) -> EvaluationScores:
        scores = evaluate(method, rows)
        mine = method is not None and len(rows) == len(TASK.validation)
        return replace(scores, score=next(script), loss=1.0) if mine else scores

    monkeypatch.setattr(trainer, "evaluate", measured)


def test_the_best_prompt_by_validation_is_the_one_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [0.1, 0.5, 0.9, 0.3, 0.9, 0.2, 0.1])
    backbone, config = backbone_of("tiny-encoder"), replace(SHORT, evaluate_every=1, snapshot_every=1, lr=0.5)
    method = build_method("prompt-tuning", backbone.make_spec(64, TASK.label_words))
    events = list(run(method, config))
    assert [e.best for e in events if isinstance(e, Evaluated)] == [True, True, True, False, False, False, False]
    end = events[-1]
    assert isinstance(end, Finished)
    assert (end.best_step, end.validation, end.steps) == (2, 0.9, 6)
    best = next(e for e in events if isinstance(e, Snapshot) and e.step == 2)
    last = next(e for e in reversed(events) if isinstance(e, Snapshot))
    assert torch.equal(method.state_dict()["P"], best.method["P"]), "the method is left with its best prompt"
    assert not torch.equal(last.method["P"], best.method["P"])
    rows = EncodedExamples(backbone, TASK, TASK.test, method.slots, 64)
    scores = evaluate(method, rows)
    assert (end.test, end.test_loss) == (scores.score, scores.loss)


def test_equal_accuracies_are_ranked_by_loss() -> None:
    events = list(run(config=replace(SHORT, evaluate_every=1)))
    best = (-1.0, math.inf)
    for event in (e for e in events if isinstance(e, Evaluated)):
        better = event.accuracy > best[0] or (event.accuracy == best[0] and event.loss < best[1])
        assert event.best == better
        best = (event.accuracy, event.loss) if better else best


def test_within_the_margin_of_the_top_score_the_loss_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    # The top score stays the measure: the last one is within the margin of the chosen one only.
    script = iter([(0.5, 1.0), (0.9, 0.8), (0.87, 0.3), (0.92, 0.4), (0.84, 0.1), (0.87, 0.2), (0.83, 0.1)])

    def measured(method: PromptMethod | None, rows: EncodedExamples) -> EvaluationScores:
        scores = evaluate(method, rows)
        if method is None or len(rows) != len(TASK.validation):
            return scores
        score, loss = next(script)
        return replace(scores, score=score, loss=loss, margin=0.06)

    monkeypatch.setattr(trainer, "evaluate", measured)
    events = list(run(config=replace(SHORT, evaluate_every=1)))
    assert [e.best for e in events if isinstance(e, Evaluated)] == [True, True, True, False, False, True, False]
    assert (events[-1].best_step, events[-1].validation) == (5, 0.87)


def test_patience_stops_early(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [0.1, 0.5, 0.5, 0.4, 0.9])
    events = list(run(config=replace(SHORT, steps=100, evaluate_every=1, patience=2)))
    end = events[-1]
    assert isinstance(end, Finished)
    assert [e.step for e in events if isinstance(e, Evaluated)] == [0, 1, 2, 3]
    assert (end.best_step, end.steps, end.reason) == (1, 3, "no better validation score for a while")


def test_enough_patience_changes_nothing() -> None:
    assert untimed(list(run(config=replace(SHORT, patience=100)))) == untimed(list(run()))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_reported(value: float) -> None:
    method = build_method("prompt-tuning", backbone_of("tiny-encoder").make_spec(64, TASK.label_words))
    events = run(method)
    next(event for event in events if isinstance(event, Snapshot))
    with torch.no_grad():
        method.P.fill_(value)
    with pytest.raises(TrainingError, match=r"the loss became nan at step 1 with learning rate .*; try a tenth"):
        list(events)


def test_bad_settings_are_refused_before_anything_runs() -> None:
    with pytest.raises(ValueError, match="unknown method"):
        run("prompt")
    with pytest.raises(ValueError, match=r"^m .*expected a whole number from 1 to 200"):
        run(hyperparameters={"m": 0})
    with pytest.raises(ValueError, match="unknown training setting stepz"):
        train("prompt-tuning", backbone_of("tiny-encoder"), TASK, stepz=3)


def test_settings_may_be_given_by_name() -> None:
    settings = {"hyperparameters": {"m": 3}, "steps": 2, "batch": 4, "lr": 0.1}
    events = list(train("prompt-tuning", backbone_of("tiny-encoder"), TASK, **settings))
    assert events[-1].steps == 2
    assert next(e for e in events if isinstance(e, Snapshot)).method["P"].shape == (3, 32)


def test_shares_of_experts_are_reported() -> None:
    loads = [e.load for e in run("smop", hyperparameters={"k": 3}) if isinstance(e, StepCompleted)]
    assert all(len(load) == 3 and sum(load) == pytest.approx(1) for load in loads)
    assert all(e.load == () for e in run() if isinstance(e, StepCompleted))


def test_limits_on_rows_are_respected() -> None:
    config = replace(SHORT, train_rows=9, validation_rows=6, test_rows=3)
    end = list(run(config=config))[-1]
    assert end.test in (0.0, pytest.approx(1 / 3), pytest.approx(2 / 3), 1.0)
    assert round(end.validation * 6, 6).is_integer()


@pytest.mark.parametrize("name", ["prompt-tuning", "p-tuning-v2"])
def test_label_words_start_a_prompt_as_they_are_read_out(name: str) -> None:
    """After a text a word begins with a blank, which is another token of a byte-level vocabulary."""
    backbone = backbone_of("gpt2")
    words = [backbone.tokenise(f" {word}") for word in TASK.label_words]
    assert words != [backbone.tokenise(word) for word in TASK.label_words], "or this shows nothing"
    start = next(event for event in train(name, backbone, TASK, SHORT, hyperparameters={"init": "labels", "m": 3})
                 if isinstance(event, Snapshot))  # fmt: skip
    if name == "prompt-tuning":
        rows = [backbone.embedding_table[ids].float().mean(0) for ids in words][:3]
        torch.testing.assert_close(start.method["P"][: len(rows)], torch.stack(rows))
        return
    ids = [one for word in words for one in word]
    own = backbone.key_values_of_tokens((ids * 3)[:3])
    torch.testing.assert_close(start.method["KV"], own)
