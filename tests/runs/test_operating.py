"""Surgery: a changed token is measured as if the prompt had been made so."""

from __future__ import annotations

import pytest
import torch

from ptviz import load_backbone
from ptviz.methods import build
from ptviz.methods.folded import Folded
from ptviz.runs import StoreError
from ptviz.runs.operating import ACTIONS, nearest, operate, rows_for
from ptviz.tasks import Row, load_task
from ptviz.training.evaluate import evaluate
from ptviz.training.rows import Rows, readout_of

TEXTS = [Row(f"{'good' if i % 2 else 'bad'} thing number {i}", i % 2) for i in range(12)]


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "texts.csv"
    path.write_text("\n".join(["text,label", *[f"{row.text},{('no', 'yes')[row.label]}" for row in TEXTS * 4]]))
    return load_task(str(path), text="text", label="label")


def made(backbone, task, method: str):
    torch.manual_seed(0)
    return build(method, backbone.spec(16, tuple(task.words)), {"m": 3}).eval()


@torch.no_grad()
def measured(backbone, task, method: str, action: str) -> dict:
    trained = made(backbone, task, method)
    return operate(backbone, task, trained, trained.slots, 16, TEXTS, action)


@torch.no_grad()
def test_an_unchanged_prompt_scores_as_ever(task):
    backbone = load_backbone("tiny-encoder")
    found, method = measured(backbone, task, "prompt-tuning", "ablate"), made(backbone, task, "prompt-tuning")
    scores = evaluate(method, Rows(backbone, task, TEXTS, 3, 16, readout_of(backbone, task)))
    assert found["loss"] == pytest.approx(scores.loss, abs=1e-5)
    assert found["accuracy"] == pytest.approx(scores.accuracy)
    assert found["rows"] == len(TEXTS)


@torch.no_grad()
def test_a_key_value_token_taken_out_is_a_prompt_without_it(task):
    backbone = load_backbone("tiny-encoder")
    method = made(backbone, task, "p-tuning-v2")
    rows = Rows(backbone, task, TEXTS, 0, 16, readout_of(backbone, task))
    values = method(rows.batch([0])).key_values
    without = torch.cat([values[..., :1, :], values[..., 2:, :]], -2)
    scores = evaluate(Folded(method.card, 0, key_values=without), rows)
    found = measured(backbone, task, "p-tuning-v2", "ablate")
    assert found["losses"][1] == pytest.approx(scores.loss, abs=1e-5)
    assert len(found["losses"]) == 3


@torch.no_grad()
@pytest.mark.parametrize("action", ACTIONS)
def test_one_token_changes_as_said(task, action):
    backbone = load_backbone("tiny-decoder")
    method = made(backbone, task, "prompt-tuning")
    rows = Rows(backbone, task, TEXTS, 3, 16, readout_of(backbone, task))
    vectors = method(rows.batch([0])).embeddings.clone()
    keep = None
    if action == "ablate":
        keep = torch.tensor([True, False, True])
    elif action == "snap":
        vectors[:, 1] = backbone.table[nearest(backbone.table, vectors[:, 1])]
    else:
        vectors[:, 1] *= {"halve": 0.5, "double": 2}[action]
    scores = evaluate(Folded(method.card, 3, embeddings=vectors, keep=keep), rows)
    found = measured(backbone, task, "prompt-tuning", action)
    assert found["losses"][1] == pytest.approx(scores.loss, abs=1e-5)
    assert len(found["words"]) == (3 if action == "snap" else 0)


def test_what_cannot_be_done_is_told(task):
    backbone = load_backbone("tiny-encoder")
    with pytest.raises(StoreError, match="only be ablated"):
        measured(backbone, task, "p-tuning-v2", "snap")
    with pytest.raises(StoreError, match="ablate, halve"):
        measured(backbone, task, "prompt-tuning", "fold")


def test_many_tokens_are_measured_on_fewer_rows():
    assert rows_for(1) == 100
    assert rows_for(20) == 47
    assert rows_for(1000) == 20
