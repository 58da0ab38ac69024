"""Dropout inside the frozen backbone: off by default; on, it is the model's own, for every row by itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ptviz.training import Evaluated, Snapshot, StepCompleted, TrainConfig, train
from tests.families import TASK, Backbone, case, fresh, method_of

CONFIG = {
    "steps": 4,
    "batch": 8,
    "lr": 0.1,
    "evaluate_every": 2,
    "snapshot_every": 2,
    "validation_rows": 6,
    "test_rows": 6,
}


def losses(backbone: Backbone, **more: object) -> list[float]:
    events = train("prompt-tuning", backbone, TASK, TrainConfig.from_json({**CONFIG, **more}), hyperparameters={"m": 4})
    return [event.loss for event in events if isinstance(event, StepCompleted)]


@pytest.mark.parametrize("family", ["pooled", "bert", "gpt2", "t5"])
def test_dropout_is_the_models_own_and_off_by_default(family: str) -> None:
    backbone = fresh(family)
    plain, dropped = losses(backbone), losses(backbone, backbone_dropout="on")
    assert plain == losses(backbone)
    assert dropped == losses(backbone, backbone_dropout="on"), "the masks of step t are a function of seed and t"
    assert plain[0] != dropped[0]
    assert not backbone.model.training, "the model is left as it was"


def test_a_model_without_dropout_trains_as_before() -> None:
    backbone = fresh("llama")
    assert losses(backbone, backbone_dropout="on") == pytest.approx(losses(backbone), abs=1e-5)


def test_evaluation_never_drops() -> None:
    backbone = fresh("gpt2")
    events = list(train("prompt-tuning", backbone, TASK, TrainConfig.from_json({**CONFIG, "backbone_dropout": "on"})))
    first = next(event for event in events if isinstance(event, Evaluated))
    plain = list(train("prompt-tuning", backbone, TASK, TrainConfig.from_json(CONFIG)))
    assert first.loss == next(event for event in plain if isinstance(event, Evaluated)).loss
    assert any(isinstance(event, Snapshot) for event in events)


@pytest.mark.parametrize("family", ["gpt2", "pooled"])
def test_rows_have_masks_of_their_own(family: str) -> None:
    """Two equal rows get different scores: nothing is computed once for all."""
    backbone, batch, readout = case(family, 4)
    twice: Tensor = torch.zeros(len(batch), dtype=torch.long)
    backbone = fresh(family)
    method = method_of("prompt-tuning", backbone, m=4)
    same = type(batch)(*(getattr(batch, name)[twice] for name in (
        "input_ids", "mask", "slots", "readout_mask", "labels", "task_ids", "embeddings")))  # fmt: skip
    with backbone.dropout(True):
        scores = backbone(same, method(same), readout).logits
    assert not torch.equal(scores[0], scores[1])
    scores = backbone(same, method(same), readout).logits
    torch.testing.assert_close(scores[0], scores[1])
