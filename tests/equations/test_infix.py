"""Soft tokens between text and answer instead of before the text."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ptviz.engine.model_cache import build_run_method
from ptviz.prompt import Batch
from ptviz.runs import RunConfig
from ptviz.tasks import TableOptions, TaskError, load_task
from ptviz.training.batches import EncodedExamples
from tests.families import TASK, backbone_of, method_of

M = 3
INFIX = replace(TASK, place="infix")


def encoded(family: str, place: str = "infix") -> tuple[EncodedExamples, Batch]:
    rows = EncodedExamples(backbone_of(family), replace(TASK, place=place), TASK.train[:4], M, 64)
    return rows, rows.make_batch(range(4))


@pytest.mark.parametrize("family", ["bert", "pooled", "gpt2", "llama", "t5"])
def test_an_infix_scores_another_way_than_a_prefix(family: str) -> None:
    method = method_of("prompt-tuning", backbone_of(family), m=M)
    found = []
    for place in ("prefix", "infix"):
        rows, batch = encoded(family, place)
        first, last = batch.slots.long().argmax(1), batch.text_mask.long().cumsum(1)
        behind = last.gather(1, first[:, None])[:, 0]
        assert bool((behind > 1).all()) == (place == "infix"), "tokens of the text before the prompt"
        with torch.no_grad():
            found.append(rows.backbone(batch, method(batch), rows.readout).logits)
    assert (found[0] - found[1]).abs().max() > 1e-4


@pytest.mark.parametrize("family", ["bert", "pooled"])
def test_positions_of_an_encoders_infix_follow_the_token_before_it(family: str) -> None:
    """The text keeps its positions; m slots stand at the m positions after the last token before them."""
    _, batch = encoded(family)
    positions = backbone_of(family).position_ids(batch)
    for row, slots in zip(positions.tolist(), batch.slots.tolist(), strict=True):
        at = slots.index(True)
        assert row[:at] == list(range(at))
        assert row[at : at + M] == list(range(at, at + M))
        assert row[at + M] == at, "the text counts on as without a prompt"


def test_an_infix_is_part_of_the_task_and_of_the_run() -> None:
    options = TableOptions(place="infix")
    assert load_task("mcid", options=options).place == "infix"
    assert load_task("mcid", options=options).fingerprint() != load_task("mcid").fingerprint()
    config = RunConfig("tiny-bert", "mcid", "prompt-tuning", table=options)
    assert RunConfig.from_json(config.to_json()) == config
    assert "--place infix" in config.shell_command()
    with pytest.raises(TaskError, match="expected one of prefix, infix; got 'middle'"):
        TableOptions(place="middle")  # type: ignore[arg-type]


def test_keys_and_values_have_no_place_in_the_input() -> None:
    config = RunConfig("gpt2", TASK.name, "p-tuning-v2", table=TableOptions(place="infix")).checked()
    with pytest.raises(ValueError, match="leave the infix out"):
        build_run_method(config, backbone_of("gpt2"), INFIX)
