"""Parameter updates: clipping, learning-rate scales, and the two optimisers as torch has them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from ptviz.methods import PromptMethod, build_method
from ptviz.methods.base import Stage, task_objective
from ptviz.training import Snapshot, StepCompleted, TrainConfig, train
from ptviz.training.optimizers import GradientOptimizer
from tests.families import TASK, backbone_of, rows_of

CONFIG = TrainConfig(steps=5, batch=8, lr=0.1, evaluate_every=5, snapshot_every=1, warmup=0.0)


def fresh(name: str = "prompt-tuning") -> PromptMethod:
    return build_method(name, backbone_of("tiny-encoder").make_spec(64, TASK.label_words))


def moved(config: TrainConfig, name: str = "prompt-tuning") -> list[dict[str, torch.Tensor]]:
    """Return the parameters after 0, 1, 2... updates."""
    events = train(fresh(name), backbone_of("tiny-encoder"), TASK, config)
    return [dict(event.method) for event in events if isinstance(event, Snapshot)]


def by_hand(config: TrainConfig) -> torch.Tensor:
    """Return the same updates by torch's own AdamW and linear decay."""
    method = fresh()
    rows = rows_of("tiny-encoder", method.slots, 45)
    optimiser = torch.optim.AdamW(method.parameters(), weight_decay=config.weight_decay)
    for step in range(config.steps):
        batch = rows.training_batch(step, config.batch, config.seed)
        optimiser.zero_grad()
        rows.backbone(batch, method(batch), rows.readout).loss.backward()
        if config.clip:
            torch.nn.utils.clip_grad_norm_(method.parameters(), config.clip)
        optimiser.param_groups[0]["lr"] = config.lr * (1 - step / config.steps)
        optimiser.step()
    return method.P.detach()


@pytest.mark.parametrize("clip", [0.0, 1e-4, 1.0])
def test_adamw_with_linear_decay(clip: float) -> None:
    config = replace(CONFIG, clip=clip, weight_decay=0.1)
    torch.testing.assert_close(moved(config)[-1]["P"], by_hand(config), atol=1e-6, rtol=1e-5)


def test_norms_are_reported_before_clipping() -> None:
    def norms(clip: float) -> list[float]:
        events = train(fresh(), backbone_of("tiny-encoder"), TASK, replace(CONFIG, clip=clip))
        return [event.norm for event in events if isinstance(event, StepCompleted)]

    assert norms(1e-4)[0] == norms(0.0)[0] > 1e-4


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_warmup_rises_to_the_full_rate(schedule: str) -> None:
    config = replace(CONFIG, steps=20, warmup=0.25, schedule=schedule)
    optimizer = GradientOptimizer(method := fresh(), method.stages()[0], config, 0.1, config.steps)
    rates = [optimizer.learning_rate(step) for step in range(20)]
    assert all(later > earlier for earlier, later in pairwise(rates[:6]))
    assert rates[5] == pytest.approx(0.1)
    assert all(later <= earlier for earlier, later in pairwise(rates[5:]))
    assert rates[-1] == pytest.approx(0.1) if schedule == "constant" else rates[-1] < 0.01
    reported = [
        e.rate for e in train(fresh(), backbone_of("tiny-encoder"), TASK, config) if isinstance(e, StepCompleted)
    ]
    assert reported == pytest.approx(rates)


@pytest.mark.parametrize("optimiser", ["adamw", "adafactor"])
def test_depts_two_learning_rates(optimiser: str) -> None:
    """With Adam's first step every element changes by the learning rate: P by lr, A and B by a tenth of it."""
    config = replace(CONFIG, steps=1, optimiser=optimiser, weight_decay=0.0)
    before, after = moved(config, "dept")[:2]
    steps = {key: (after[key] - before[key]).norm() / before[key].numel() ** 0.5 for key in before}
    assert steps["A"] == 0, "B is 0 at first: A has no gradient"
    # Positions beyond the longest text get no gradient; B's entries all do.
    assert steps["P"] / steps["B"] == pytest.approx(10, rel=0.05)


def test_a_stage_changes_only_what_it_trains(two_stages: type[PromptMethod]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        method = two_stages(backbone_of("tiny-encoder").make_spec(64, TASK.label_words))
    shots = [e for e in train(method, backbone_of("tiny-encoder"), TASK, CONFIG) if isinstance(e, Snapshot)]
    first = [e.method["shift.weight"] for e in shots if e.stage == 0]
    assert all(torch.equal(shift, first[0]) for shift in first)
    assert not torch.equal(shots[-1].method["shift.weight"], first[0])
    assert not torch.equal(shots[1].method["P"], shots[0].method["P"])


def test_a_stage_that_trains_nothing_is_refused() -> None:
    method = fresh()
    with pytest.raises(
        ValueError, match=r"stage 'odd' trains nothing: none of \['Q'\] is a parameter of prompt-tuning"
    ):
        GradientOptimizer(method, Stage("odd", task_objective(method), lr_scales={"Q": 1.0}), CONFIG, 0.1, 5)


def test_learning_rate_scales_belong_to_parameters_and_whole_modules() -> None:
    stage = Stage("tune", task_objective(fresh()), lr_scales={"L": 0.5, "P": 1.0})
    assert stage.lr_scale("L.weight") == 0.5
    assert stage.lr_scale("P") == 1.0
    assert stage.lr_scale("PP") == stage.lr_scale("Lx.weight") == 0.0
    assert Stage("tune", task_objective(fresh())).lr_scale("anything") == 1.0
