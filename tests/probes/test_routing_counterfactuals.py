"""Changed routing: one expert for all, other temperatures, other tasks' texts."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from ptviz.analysis.routing import compute_counterfactual, rescale_temperature
from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import execute_run
from ptviz.methods import REGISTRY, build_method
from ptviz.methods.base import RoutedMethod
from ptviz.probes.routing_counterfactuals import TEMPERATURE_FACTORS, rescale_routing_temperature, rows_per_setting
from ptviz.prompt import Batch, Spec
from ptviz.runs import RunConfig, Store
from ptviz.training import TrainConfig
from ptviz.worker.handlers import HandlerContext, answer_request


def spec_of(width: int, sources: tuple[str, ...] = ()) -> Spec:
    table = torch.randn(40, width, generator=torch.Generator().manual_seed(3))
    return Spec(table, 2, 2, 4, 16, torch.arange(40), ("a", "b"), sources)


def batch_of(rows: int) -> Batch:
    x = torch.randn(rows, 6, 8, generator=torch.Generator().manual_seed(1))
    marks = torch.ones(rows, 6, dtype=torch.bool)
    row = torch.zeros(rows, dtype=torch.long)
    return Batch(torch.zeros(rows, 6, dtype=torch.long), marks, ~marks, marks, row, row, x)


@pytest.fixture
def ask(home, table):
    """Return a function that trains a small run of a method and measures something of it."""

    def measure(what: str, method: str, **values) -> dict:
        training = TrainConfig(steps=2, snapshot_every=1, evaluate_every=2, batch=4)
        run = Store().create(
            RunConfig("tiny-encoder", str(table), method, values, training, text="text", label="label")
        )
        execute_run(run.path)
        body = {"run": run.id, "what": what, "stage": 0, "step": 2}
        return json.loads(json.dumps(answer_request(HandlerContext(Store(), ModelCache()), "measure", body)))

    return measure


@pytest.mark.parametrize(("method", "values"), [("smop", {"m": 2, "k": 3}), ("pt-moe", {"selection": "soft", "k": 3})])
def test_forcing_the_chosen_expert_changes_nothing(ask, method, values):
    answer = ask("forced-routing", method, **values)
    weights, losses = np.array(answer["weights"]), np.array(answer["losses"])
    assert losses.shape == weights.shape == (len(answer["texts"]), 3)
    assert len(answer["labels"]) == len(answer["loss"]) == len(answer["hit"])
    info = compute_counterfactual(
        weights, losses, np.array(answer["right"]), np.array(answer["loss"]), np.array(answer["hit"])
    )
    assert info.best_case[0] <= info.loss.min() + 1e-6
    if method == "smop":  # one expert enters: forcing the chosen one changes nothing, another one does
        rows = np.arange(len(weights))
        np.testing.assert_allclose(losses[rows, weights.argmax(1)], answer["loss"], atol=1e-5)
        assert np.abs(info.loss_increases).max() > 1e-4


def test_temperatures_of_a_mixture_are_measured(ask):
    answer = ask("temperatures", "smop", top=3, m=2, k=3)
    assert answer["factors"] == list(TEMPERATURE_FACTORS)
    assert len(answer["loss"]) == len(answer["accuracy"]) == len(TEMPERATURE_FACTORS)
    assert len(set(np.round(answer["loss"], 8))) > 2
    forced = ask("forced-routing", "smop", top=3, m=2, k=3)
    assert answer["loss"][TEMPERATURE_FACTORS.index(1.0)] == pytest.approx(np.mean(forced["loss"]), abs=1e-5)


def test_texts_of_each_task_are_routed(ask):
    answer = ask("by-task", "smop", m=2, k=3)
    assert np.allclose(np.sum(answer["weights"], 1), 1, atol=1e-5)
    assert len(answer["tasks"]) == len(answer["rows"]) == 1


@pytest.mark.parametrize(
    ("what", "method", "reason"),
    [
        ("forced-routing", "prompt-tuning", "has no routing"),
        ("temperatures", "smop", "no temperature"),
        ("everything", "smop", "expected one of"),
    ],
)
def test_unsupported_measurements_are_refused(ask, what, method, reason):
    assert reason in ask(what, method, m=2)["error"]


def test_a_softmax_at_another_temperature():
    scores = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    weights = scores.softmax(-1)
    for factor in (0.25, 1.0, 4.0):
        expected = (scores / factor).softmax(-1)
        torch.testing.assert_close(rescale_routing_temperature(weights, factor), expected)
        np.testing.assert_allclose(rescale_temperature(weights.double().numpy(), factor), expected.numpy(), atol=1e-6)
    assert rescale_temperature(weights.numpy(), 0).sum(1).tolist() == [1] * 5
    assert np.allclose(rescale_temperature(weights.numpy(), math.inf), 0.25)
    assert torch.equal(rescale_routing_temperature(weights, 0), torch.eye(4)[weights.argmax(1)])
    with pytest.raises(ValueError, match="0 or more"):
        rescale_temperature(weights.numpy(), -1)


def test_more_settings_leave_fewer_rows():
    assert rows_per_setting(2) == 100
    assert rows_per_setting(10) == 50
    assert rows_per_setting(100) == 20


def test_agreement_of_chosen_and_best_experts():
    weights = np.array([[0.9, 0.1], [0.2, 0.8]])
    losses = np.array([[1.0, 2.0], [0.5, 3.0]])
    right = np.array([[True, False], [True, False]])
    info = compute_counterfactual(weights, losses, right, np.array([1.0, 3.0]), np.array([True, False]))
    assert info.agreement == 0.5
    assert info.loss.tolist() == [0.75, 2.5]
    assert info.accuracy.tolist() == [1.0, 0.0]
    assert (info.as_routed, info.best_case) == ((2.0, 0.5), (0.75, 1.0))
    assert info.choice_counts.tolist() == [[1, 0], [1, 0]]
    assert info.loss_increases.tolist() == [[0.0, 1.0], [-2.5, 0.0]]
    with pytest.raises(ValueError, match="at least one"):
        compute_counterfactual(weights[:0], losses[:0], right[:0], np.zeros(0), np.zeros(0, dtype=bool))


ROUTERS = [name for name, made in REGISTRY.items() if hasattr(made, "routing_weights")]


@pytest.mark.parametrize("name", ROUTERS)
def test_a_routed_prompt_is_the_methods_own_under_its_own_weights(name):
    spec = spec_of(width=8, sources=("x", "y"))
    method = build_method(name, spec).eval()
    assert isinstance(method, RoutedMethod)
    batch = batch_of(3)
    own = method(batch)
    torch.testing.assert_close(method.prompt_for(batch, method.routing_weights(batch)).embeddings, own.embeddings)
    other = method.prompt_for(batch, own.routing.flip(-1)).embeddings
    assert not torch.allclose(other, own.embeddings) or name == "pt-moe"  # its experts start equal


def test_two_experts_at_once():
    spec = spec_of(width=8)
    method = build_method("smop", spec, {"m": 2, "k": 3, "top": 2}).eval()
    assert not method.soft_routing, "the third expert does not enter"
    weights = torch.tensor([[0.5, 0.2, 0.3]])
    expected = 0.5 * method.P[0] + 0.3 * method.P[2]
    torch.testing.assert_close(method.prompt_for(batch_of(1), weights).embeddings[0], expected)
    all_enter = build_method("smop", spec, {"k": 2, "top": 9})
    assert (all_enter.top, all_enter.soft_routing) == (2, True)
