"""Every method learns to write on the recommended decoder: ten minutes, so only when it is asked for."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch

from ptviz.backbones import Backbone, list_backbones, load_backbone
from ptviz.methods import REGISTRY
from ptviz.tasks import list_tasks, load_task
from ptviz.training import Baselines, Evaluated, TrainConfig, train
from ptviz.training.batches import EncodedExamples
from ptviz.training.evaluation import evaluate, subsample_task

BACKBONE, TASK = "smollm2-135m", "question-formation"
ASKED = "PTVIZ_TEST_SMOLLM"
HERE = {one.name for one in (*list_backbones(), *list_tasks()) if one.available}
CONFIG = TrainConfig(steps=20, source_steps=5, batch=4, evaluate_every=1000, validation_rows=8, test_rows=2)


@pytest.fixture(scope="module")
def zero_shot() -> tuple[Backbone, float]:
    """The backbone, and its loss without a prompt."""
    torch.set_num_threads(1)
    backbone, task = load_backbone(BACKBONE, "cpu"), subsample_task(load_task(TASK), CONFIG)
    return backbone, evaluate(None, EncodedExamples(backbone, task, task.validation, 0, CONFIG.length)).loss


@pytest.mark.slow
@pytest.mark.skipif(ASKED not in os.environ, reason=f"takes ten minutes; un-skip with: {ASKED}=1")
@pytest.mark.skipif(not {BACKBONE, TASK} <= HERE, reason=f"needs ptviz get {BACKBONE}, and ptviz get bigbench-data")
@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_method_is_better_than_zero_shot_after_twenty_steps(name: str, zero_shot: tuple[Backbone, float]) -> None:
    backbone, loss = zero_shot
    sources = [load_task("inflection")] if REGISTRY[name].uses_source_tasks else None
    known = Baselines(0.0, 0.0, loss)
    config = replace(CONFIG, steps=5) if name == "ctpt" else CONFIG  # Each of its steps tries twenty prompts.
    events = list(train(name, backbone, load_task(TASK), config, sources=sources, baselines=known))
    first, *_, last = [event.loss for event in events if isinstance(event, Evaluated)]
    print(f"{name}: loss {loss:.2f} without a prompt, {first:.2f} with it at first, {last:.2f} at the end")
    assert last < 0.97 * min(first, loss)
