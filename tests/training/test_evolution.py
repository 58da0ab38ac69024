"""CMA-ES as an optimiser: it finds a minimum, is deterministic, and resumes from its state bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ptviz.methods import REGISTRY, MethodCard, MethodTensor, PromptMethod, Stage, task_objective
from ptviz.prompt import Batch, Output, Prompt, Spec
from ptviz.training import Finished, StepCompleted, TrainConfig, train
from ptviz.training.cma_es import POPULATION_SIZE, CMAESOptimizer
from ptviz.training.optimizers import StepObjective
from tests.families import TASK, backbone_of

CARD = MethodCard("valley", "Valley", "nobody 2000", "https://example.org", ("direct", "test", "test"), "z", "A test.")
GOAL = torch.tensor([3.0, -2.0, 0.5, 0.0, 7.0])


@pytest.fixture
def valley(monkeypatch: pytest.MonkeyPatch) -> type[PromptMethod]:
    """Return a method of a few parameters; it leaves the registry with the test."""
    monkeypatch.setitem(REGISTRY, CARD.name, PromptMethod)

    class Valley(PromptMethod):
        """Two searched parameters and one that is fixed; a fixed random map makes them a prompt."""

        card = CARD
        slots = 3

        def __init__(self, spec: Spec) -> None:
            super().__init__()
            self.z, self.w = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2))
            self.idle = nn.Parameter(torch.ones(2))
            self.A = nn.Buffer(torch.randn(self.slots, spec.width, 5))

        def forward(self, batch: Batch) -> Prompt:
            return Prompt(embeddings=(self.A @ torch.cat([self.z, self.w]))[None])

        def stages(self) -> tuple[Stage, ...]:
            return (Stage("search", task_objective(self), lr_scales={"z": 1.0, "w": 1.0}, optimiser="evolution"),)

        def tensors(self) -> dict[str, MethodTensor]:
            return {"z": MethodTensor(self.z, ("q",))}

    return Valley


def made(valley: type[PromptMethod], seed: int = 0) -> PromptMethod:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return valley(backbone_of("tiny-encoder").make_spec(64, TASK.label_words))


def searching(method: PromptMethod, seed: int = 0) -> CMAESOptimizer:
    return CMAESOptimizer(method, method.stages()[0], TrainConfig(seed=seed), 0.1, 100)


def bowl(method: PromptMethod) -> StepObjective:
    """Return an uneven quadratic around the minimum, with curvatures that differ by 10,000."""
    steep = torch.logspace(0, 4, len(GOAL))

    def measure() -> tuple[Tensor, Prompt, Output]:
        away = torch.cat([method.z, method.w]) - GOAL
        answer = Output(torch.zeros(1, 2), (steep * away**2).sum()[None])
        return answer.loss, Prompt(), answer

    return measure


def walk(method: PromptMethod, optimizer: CMAESOptimizer, steps: range, of: Callable = bowl) -> list[float]:
    losses = []
    for step in steps:
        losses.append(float(optimizer.compute_loss(of(method))[0]))
        optimizer.step(step)
    return losses


def test_it_finds_the_bottom_of_an_uneven_bowl(valley: type[PromptMethod]) -> None:
    method = made(valley)
    optimizer = searching(method)
    assert optimizer.learning_rate(0) == 1.0
    losses = walk(method, optimizer, range(150))
    assert losses[0] > 1e5
    assert losses[-1] < 1e-6
    torch.testing.assert_close(torch.cat([method.z, method.w]).detach(), GOAL, atol=1e-3, rtol=0)
    assert optimizer.learning_rate(150) < 1e-2, "the steps get small at the bottom"
    assert torch.equal(method.idle, torch.ones(2)), "what the stage does not train stays"


def test_the_loss_is_the_means_and_the_norm_the_generations_deviation(valley: type[PromptMethod]) -> None:
    method = made(valley)
    optimizer = searching(method)
    seen: list[float] = []

    def watched(_: PromptMethod) -> StepObjective:
        def measure() -> tuple[Tensor, Prompt, Output]:
            found = bowl(method)()
            seen.append(float(found[0]))
            return found

        return measure

    (loss,) = walk(method, optimizer, range(1), watched)
    assert len(seen) == POPULATION_SIZE + 1, "one generation, and its mean"
    assert loss == seen[-1]
    assert len(set(seen)) == POPULATION_SIZE + 1
    assert optimizer.gradient_norm == pytest.approx(np.std(seen[:-1]), abs=1e-6 * loss)


@pytest.mark.parametrize("stop", [0, 1, 7, 40])
def test_the_search_resumes_bit_for_bit(valley: type[PromptMethod], stop: int) -> None:
    method = made(valley)
    optimizer = searching(method)
    walk(method, optimizer, range(stop))
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    state = optimizer.state_dict()
    rest = walk(method, optimizer, range(stop, 45))

    again = made(valley, seed=1)
    again.load_state_dict(before)
    resumed = searching(again)
    resumed.load_state_dict(state)
    assert walk(again, resumed, range(stop, 45)) == rest
    assert torch.equal(again.z, method.z)
    assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in optimizer.state_dict().items())


def test_a_step_measured_but_not_made_is_measured_again(valley: type[PromptMethod]) -> None:
    """A snapshot is taken between measuring and updating."""
    method = made(valley)
    optimizer = searching(method)
    walk(method, optimizer, range(5))
    optimizer.compute_loss(bowl(method))
    before, state = {name: tensor.clone() for name, tensor in method.state_dict().items()}, optimizer.state_dict()
    spread = optimizer.gradient_norm
    optimizer.step(5)
    rest = walk(method, optimizer, range(6, 12))

    again = made(valley, seed=1)
    again.load_state_dict(before)
    resumed = searching(again)
    resumed.load_state_dict(state)
    resumed.compute_loss(bowl(again))
    assert resumed.gradient_norm == spread
    resumed.step(5)
    assert walk(again, resumed, range(6, 12)) == rest


def test_seeds_search_differently_and_leave_the_global_randomness_alone(valley: type[PromptMethod]) -> None:
    def end(seed: int) -> Tensor:
        method = made(valley)
        walk(method, searching(method, seed), range(5))
        return method.z.detach().clone()

    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    assert torch.equal(end(3), end(3))
    assert not torch.equal(end(3), end(4))
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)


def test_a_loss_that_is_not_finite_counts_as_the_worst(valley: type[PromptMethod]) -> None:
    """A region of infinite loss off the path: the search avoids it, and its state can be replayed."""
    method = made(valley)
    optimizer = searching(method)

    def cliff(_: PromptMethod) -> StepObjective:
        def measure() -> tuple[Tensor, Prompt, Output]:
            loss, prompt, answer = bowl(method)()
            return (loss if method.z[0] > -0.5 else loss * float("nan")), prompt, answer

        return measure

    walk(method, optimizer, range(150), cliff)
    assert any(not np.isfinite(row).all() for row in optimizer.state_dict()["told"].numpy())
    torch.testing.assert_close(torch.cat([method.z, method.w]).detach(), GOAL, atol=1e-3, rtol=0)
    again = made(valley)
    resumed = searching(again)
    resumed.load_state_dict(optimizer.state_dict())
    assert torch.equal(again.z, method.z)


def test_no_gradient_is_computed(valley: type[PromptMethod]) -> None:
    method = made(valley)
    loss, _, _ = searching(method).compute_loss(bowl(method))
    assert not loss.requires_grad
    assert method.z.grad is None


def test_the_trainer_runs_the_search(valley: type[PromptMethod]) -> None:
    method = made(valley)
    events = list(train(method, backbone_of("tiny-encoder"), TASK, TrainConfig(steps=6, batch=24)))
    losses = [event.loss for event in events if isinstance(event, StepCompleted)]
    assert len(set(losses)) == 6
    assert isinstance(events[-1], Finished)
    assert events[-1].validation >= 1 / 3
