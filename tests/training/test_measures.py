"""Scores by row, predictions, stage contexts, estimates and default learning rates."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files

import pytest
import torch

from ptviz.methods import REGISTRY, PromptMethod, build_method, task_objective
from ptviz.methods.base import Stage, StageContext
from ptviz.prompt import Prompt
from ptviz.tasks import Example, default_source_tasks
from ptviz.training import (
    Baselines,
    Finished,
    StepCompleted,
    TrainConfig,
    default_learning_rate,
    estimate_run,
    evaluate,
    predict,
    train,
)
from ptviz.training import batches as rows_module
from ptviz.training.batches import EncodedExamples
from ptviz.training.mixture import TaskMixture
from ptviz.training.stage_context import MAX_BATCHES, make_stage_context
from ptviz.training.stage_steps import count_stage_steps
from tests.families import TASK, backbone_of, method_of, rows_of

FAMILIES = pytest.mark.parametrize("family", ["tiny-encoder", "pooled", "tiny-decoder", "tiny-encoder-decoder"])


@FAMILIES
@pytest.mark.parametrize("small", [False, True])
def test_scores_are_in_the_order_of_rows(family: str, small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are scored sorted by length in large batches; each must get its own scores back."""
    if small:
        monkeypatch.setattr(rows_module, "MAX_POSITIONS", 60)
    method = method_of("dept", backbone_of(family), m=4)
    rows = rows_of(family, 4, 20)
    scores = evaluate(method, rows)
    losses = []
    with torch.no_grad():
        for index in range(20):
            batch = rows.make_batch([index])
            output = rows.backbone(batch, method(batch), rows.readout)
            losses.append(output.loss)
            torch.testing.assert_close(scores.probabilities[index], output.logits[0].softmax(-1), atol=1e-5, rtol=1e-4)
    assert scores.loss == pytest.approx(float(torch.stack(losses).mean()), abs=1e-5)
    right = scores.probabilities.argmax(1) == rows.labels
    assert scores.score == pytest.approx(right.double().mean().item())


def test_scoring_restores_the_methods_mode() -> None:
    rows = rows_of("tiny-encoder", 5)
    for training in (True, False):
        method = build_method("smop", rows.backbone.make_spec(64, TASK.label_words)).train(training)
        assert torch.equal(evaluate(method, rows).probabilities, evaluate(method, rows).probabilities)
        assert method.training is training


@pytest.mark.parametrize(("count", "size"), [(20, 8), (3, 8), (1, 1)])
def test_an_epoch_holds_every_row_once(count: int, size: int) -> None:
    rows = rows_of("tiny-encoder", 0, count)
    epochs = []
    for epoch in range(2):
        seen: list[str] = []
        for step in range(-(-count // size)):
            batch = rows.training_batch(epoch * -(-count // size) + step, size, seed=1)
            seen += [str(row[mask].tolist()) for row, mask in zip(batch.input_ids, batch.mask, strict=True)]
        assert sorted(seen) == sorted(str(row.ids) for row in rows.examples)
        epochs.append(seen)
    if count > size:
        assert epochs[0] != epochs[1]


@FAMILIES
def test_predictions_are_probabilities(family: str) -> None:
    backbone = backbone_of(family)
    method = method_of("prompt-tuning", backbone)
    texts = [row.text for row in TASK.test]
    found = predict(method, backbone, TASK, texts)
    assert found.shape == (len(texts), 3)
    torch.testing.assert_close(found.sum(1), torch.ones(len(texts)))
    rows = EncodedExamples(backbone, TASK, TASK.test, method.slots, 64)
    torch.testing.assert_close(found, evaluate(method, rows).probabilities)
    bare = predict(None, backbone, TASK, texts)
    assert not torch.allclose(bare, found, atol=1e-4)
    torch.testing.assert_close(predict(method, backbone, TASK, texts[::-1]).flip(0), found, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("texts", [[""], ["who", "  \n"]])
def test_empty_texts_are_refused(texts: list[str]) -> None:
    with pytest.raises(ValueError, match=f"text {len(texts)} of {len(texts)}: expected some words, got none"):
        predict(None, backbone_of("tiny-encoder"), TASK, texts)


def make_context(method: PromptMethod, rows: EncodedExamples, size: int) -> StageContext:
    """Return the context of a stage on these rows, which are the validation rows too."""
    return make_stage_context(
        method, Stage("tune", task_objective(method)), TaskMixture([rows]), TrainConfig(batch=size, seed=3), [rows], ()
    )


def test_a_context_scores_the_method_in_its_current_state() -> None:
    rows = rows_of("tiny-encoder", 4, 20)
    method = method_of("prompt-tuning", rows.backbone, m=4)
    scores = evaluate(method, rows)
    assert make_context(method, rows, 8).validation_score() == (scores.score, scores.loss)


def test_a_context_averages_absolute_gradients_batch_by_batch() -> None:
    rows = rows_of("tiny-encoder", 4, 20)
    method = method_of("dept", rows.backbone, m=4)
    look = make_context(method, rows, 8)
    found = look.mean_gradients([method.P, method.B])
    assert all(p.grad is None for p in method.parameters()), "a probe leaves no gradient behind"
    expected = [torch.zeros_like(method.P), torch.zeros_like(method.B)]
    for step in range(3):
        batch = rows.training_batch(step, 8, 3)
        method.zero_grad()
        rows.backbone(batch, method(batch), rows.readout).loss.backward()
        for total, parameter in zip(expected, (method.P, method.B), strict=True):
            total += parameter.grad.abs() / 3
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


def test_a_context_yields_outputs_without_gradients() -> None:
    rows = rows_of("tiny-encoder", 4, 20)
    method = method_of("prompt-tuning", rows.backbone, m=4)
    seen = list(make_context(method, rows, 8).iterate_outputs())
    assert sum(len(batch) for batch, _ in seen) == 20
    for batch, output in seen:
        assert not output.logits.requires_grad
        assert output.hidden_states is not None
        assert len(output.logits) == len(batch)


def test_a_context_has_a_limit_of_batches() -> None:
    rows = rows_of("tiny-encoder", 4, 45)
    method = method_of("prompt-tuning", rows.backbone, m=4)
    assert len(list(make_context(method, rows, 1).iterate_outputs())) == MAX_BATCHES


@pytest.mark.parametrize("backbone", ["tiny-encoder", "tiny-decoder", "tiny-encoder-decoder"])
@pytest.mark.parametrize("name", REGISTRY)
def test_an_estimate_describes_the_run(name: str, backbone: str) -> None:
    config = TrainConfig(steps=30, length=48, lr=0.3)
    found = estimate_run(name, backbone, "trec6", config, {})
    sources = default_source_tasks("trec6") if REGISTRY[name].uses_source_tasks else ()
    method = build_method(name, backbone_of(backbone).make_spec(48, TASK.label_words).with_source_tasks(sources))
    assert (found.trainable_parameters, found.stored_parameters) == (
        method.trainable_parameters(),
        method.stored_parameters(),
    )
    stages = method.stages()
    assert found.stages == tuple(zip([stage.name for stage in stages], count_stage_steps(stages, config), strict=True))
    assert sum(count for (_, count), stage in zip(found.stages, stages, strict=True) if stage.tasks != "sources") == 30
    assert found.lr == 0.3
    assert any("random weights" in note for note in found.notes)


def test_an_estimate_for_an_unknown_backbone_has_no_sizes() -> None:
    found = estimate_run("prompt-tuning", "./somewhere", "trec6", TrainConfig(), {})
    assert found.trainable_parameters is found.stored_parameters is found.frozen_parameters is None
    assert any("once it is loaded" in note for note in found.notes)


def test_an_estimate_refuses_bad_hyperparameters_and_methods() -> None:
    with pytest.raises(ValueError, match=r"^m "):
        estimate_run("prompt-tuning", "minilm-l6", "trec6", TrainConfig(), {"m": 0})
    with pytest.raises(ValueError, match="unknown method"):
        estimate_run("magic", "minilm-l6", "trec6", TrainConfig(), {})


def test_default_rates_come_from_the_record() -> None:
    winners = json.loads((files("ptviz.training") / "lr_sweep_record.json").read_text())["winners"]
    for backbone, methods in winners.items():
        for name, found in methods.items():
            assert default_learning_rate(name, backbone) == found["lr"]
            assert name in REGISTRY
    assert 0 < default_learning_rate("prompt-tuning", "nobody/nothing") < 1


def test_the_fallback_is_at_most_any_recorded_learning_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"one": {"a": {"lr": 0.3}, "b": {"lr": 0.001}}, "two": {"b": {"lr": 0.5}}}
    monkeypatch.setattr("ptviz.training.default_lr.load_sweep_winners", lambda: known)
    rates = [
        default_learning_rate(method, backbone) for method, backbone in (("a", "one"), ("a", "two"), ("b", "three"))
    ]
    assert rates == [0.3, 0.02, 0.001]
    assert default_learning_rate("c", "one") == 0.02


def test_the_default_rate_is_the_one_used() -> None:
    config = TrainConfig(steps=1, batch=4, warmup=0.0, evaluate_every=1)
    backbone = backbone_of("tiny-encoder")
    step = next(e for e in train("prompt-tuning", backbone, TASK, config) if isinstance(e, StepCompleted))
    assert step.rate == default_learning_rate("prompt-tuning", "tiny-encoder")
    step = next(
        e for e in train("prompt-tuning", backbone, TASK, replace(config, lr=0.7)) if isinstance(e, StepCompleted)
    )
    assert step.rate == 0.7


def test_zero_shot_is_evaluation_without_a_prompt() -> None:
    rows = rows_of("tiny-encoder", 0)
    batch = rows.make_batch(range(8))
    logits = rows.backbone(batch, Prompt(), rows.readout).logits
    torch.testing.assert_close(evaluate(None, rows).probabilities, logits.softmax(-1), atol=1e-6, rtol=1e-5)


def test_the_constant_answer_is_counted_before_few_examples_are_drawn() -> None:
    rows = tuple(Example(f"text {i}", int(i % 10 > 1)) for i in range(100))
    task = replace(TASK, classes=("a", "b"), label_words=("bad", "good"), descriptions=("a bad one.", "a good one."),
                   train=rows, validation=rows[:20], test=rows[:30])  # fmt: skip
    for shots in (0, 4):
        config = TrainConfig(steps=2, batch=4, shots=shots)
        events = train("prompt-tuning", backbone_of("tiny-encoder"), task, config)
        found = [event.majority for event in events if isinstance(event, Baselines | Finished)]
        assert found == [0.8, 0.8], f"{shots} examples of each class"
    written = tuple(Example(f"{i}", targets=("an ace" if i < 20 else "zero",)) for i in range(100))
    texts = replace(task, classes=(), label_words=(), descriptions=(), metric="", train=written, validation=written,
                    test=written)  # fmt: skip
    drawn = [texts.subsample(9, 9, 9, 1, seed) for seed in range(20)]
    assert {few.train[0].targets[0] for few in drawn} == {"an ace", "zero"}
    assert {few.most_frequent_target() for few in drawn} == {"zero"}
