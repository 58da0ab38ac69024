"""A prompt learns a real task on the default backbone."""

from __future__ import annotations

import pytest
import torch

from ptviz.backbones import load_backbone
from ptviz.tasks import load_task
from ptviz.training import Baselines, Evaluated, Finished, TrainConfig, train


@pytest.mark.slow
def test_prompt_tuning_beats_zero_shot_on_trec_within_sixty_steps() -> None:
    torch.set_num_threads(2)
    config = TrainConfig(steps=60, batch=8, lr=0.1, evaluate_every=20, validation_rows=100, test_rows=100)
    events = list(train("prompt-tuning", load_backbone("minilm-l6", "cpu"), load_task("trec6"), config))
    baselines = next(event for event in events if isinstance(event, Baselines))
    end = events[-1]
    assert isinstance(end, Finished)
    assert baselines.zero_shot > baselines.majority, "the label descriptions alone beat guessing"
    assert end.validation > baselines.zero_shot + 0.05
    assert end.test > end.zero_shot + 0.05
    losses = [event.loss for event in events if isinstance(event, Evaluated)]
    assert min(losses) < 0.8 * losses[0]
