"""Hooks and data of stages: how often ``on_epoch`` is called, and how many examples the sources have."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from ptviz.methods.base import REGISTRY, MethodCard, MethodTensor, PromptMethod, Stage, StageContext, task_objective
from ptviz.prompt import Batch, Prompt, Spec
from ptviz.training import TrainConfig, train
from tests.families import SOURCES, TASK, backbone_of

CONFIG = TrainConfig(
    steps=60, batch=1, lr=0.1, evaluate_every=1000, snapshot_every=1000, validation_rows=4, test_rows=4
)


CARD = MethodCard("hooked", "Hooked", "A test", "https://example.org", ("transfer", "test", "test"), "P", "A test.")


@pytest.fixture
def hooked(monkeypatch: pytest.MonkeyPatch) -> type[PromptMethod]:
    # A class registers itself under its card's name: the registry is restored after the test.
    monkeypatch.setitem(REGISTRY, CARD.name, PromptMethod)

    class Hooked(PromptMethod):
        """Prompt tuning on all tasks that notes when its hook is called and which examples it sees."""

        card = CARD
        uses_source_tasks = True
        slots = 2

        def __init__(self, spec: Spec) -> None:
            super().__init__()
            self.P = nn.Parameter(spec.sample_embeddings(self.slots))
            self.few, self.calls, self.steps, self.seen = False, [], 0, Counter[tuple[int, tuple[int, ...]]]()

        def forward(self, batch: Batch) -> Prompt:
            if torch.is_grad_enabled():
                self.steps += 1
                ids = batch.input_ids[0][batch.text_mask[0]].tolist()
                self.seen[int(batch.task_ids[0]), tuple(ids)] += 1
            return Prompt(embeddings=self.P[None])

        def note(self, context: StageContext) -> None:
            self.calls.append(self.steps)

        def stages(self) -> tuple[Stage, ...]:
            return (Stage("all", task_objective(self), tasks="all", on_epoch=self.note, few_shot_sources=self.few),)

        def tensors(self) -> dict[str, MethodTensor]:
            return {"P": MethodTensor(self.P, ("m", "d"))}

    return Hooked


def trained(hooked: type[PromptMethod], config: TrainConfig, few: bool = False) -> Any:
    backbone = backbone_of("tiny-encoder")
    method: Any = hooked(backbone.make_spec(64, (), tuple(task.name for task in SOURCES)))
    method.few = few
    for _ in train(method, backbone, TASK, config, sources=SOURCES):
        pass
    return method


def test_the_hook_of_an_epoch_is_called_in_the_middle_of_long_ones(hooked: type[PromptMethod]) -> None:
    assert trained(hooked, CONFIG).calls == [0, 25, 50], "an epoch of all tasks has 105 steps here"


@pytest.mark.parametrize("few", [True, False])
def test_sources_are_as_few_as_the_target_where_a_stage_says_so(hooked: type[PromptMethod], few: bool) -> None:
    method = trained(hooked, replace(CONFIG, steps=160, shots=2), few)
    seen = [len({ids for task, ids in method.seen if task == source}) for source in range(len(SOURCES) + 1)]
    assert seen[-1] <= 6, "the target has two of each class"
    assert all((count <= 6) == few for count in seen[:-1]), seen
