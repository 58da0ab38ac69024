"""Prompt tuning with a pull to a sentence: the loss of Khashabi et al. 2022, and no effect without it."""

from __future__ import annotations

import pytest
import torch

from ptviz import TrainConfig, load_backbone, load_task, train
from ptviz.methods import build_method
from ptviz.prompt import Batch
from ptviz.runs.config import RunConfig
from ptviz.runs.method_tensors import load_method_tensors

PULL = {"m": 3, "toward": "good thing"}


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("tiny-encoder")


def batch(width: int) -> Batch:
    ids, marks = torch.zeros(2, 5, dtype=torch.long), torch.ones(2, 5, dtype=torch.bool)
    row = torch.zeros(2, dtype=torch.long)
    return Batch(ids, marks, torch.arange(5)[None].expand(2, -1) < 3, marks, row, row, torch.zeros(2, 5, width))


def test_the_penalty_is_gamma_times_the_mean_squared_distance(backbone):
    method = build_method("prompt-tuning", backbone.make_spec(), {**PULL, "gamma": 0.25})
    ids = backbone.tokenise("good thing")
    words = [backbone.embedding_table[(ids * 3)[i]] for i in range(3)]
    expected = 0.25 * sum(float(((p - w) ** 2).sum()) for p, w in zip(method.P.detach(), words, strict=True)) / 3
    prompt = method(batch(backbone.width))
    assert prompt.losses["waywardness"].item() == pytest.approx(expected, rel=1e-6)
    assert torch.equal(method.D, torch.stack(words))


def test_without_gamma_nothing_changes(backbone):
    plain = build_method("prompt-tuning", backbone.make_spec(), {"m": 3}, seed=5)
    named = build_method("prompt-tuning", backbone.make_spec(), {**PULL, "gamma": 0}, seed=5)
    assert list(plain.state_dict()) == ["P"]
    assert torch.equal(plain.P, named.P)
    for method in (plain, named):
        assert not method(batch(backbone.width)).losses
        assert method.trainable_parameters() == method.stored_parameters() == 3 * backbone.width
    assert plain.merge() is plain
    assert list(named.merge().tensors()) == ["P"]


def test_a_strong_pull_ends_at_the_sentence(backbone, tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("\n".join(["text,label", *[f"a thing {i},{('no', 'yes')[i % 2]}" for i in range(40)]]))
    task = load_task(str(path), text="text", label="label")
    config = TrainConfig(steps=40, batch=4, lr=0.05, evaluate_every=40, snapshot_every=40)
    ends = {}
    for gamma in (0.0, 100.0):
        method = build_method(
            "prompt-tuning", backbone.make_spec(64, tuple(task.label_words)), {**PULL, "gamma": gamma}
        )
        first = float((method.P - method.D).detach().norm())
        list(train(method, backbone, task, config))
        ends[gamma] = float((method.P - method.D).detach().norm()) / first
    assert ends[100.0] < 0.2 < ends[0.0]


def test_a_pull_needs_a_sentence(backbone):
    with pytest.raises(ValueError, match="towards the words in the hyperparameter `toward`; got none"):
        build_method("prompt-tuning", backbone.make_spec(), {"gamma": 0.1})


def test_a_snapshot_holds_the_sentence(backbone):
    method = build_method("prompt-tuning", backbone.make_spec(), {**PULL, "gamma": 0.1})
    config = RunConfig("tiny-encoder", "trec6", "prompt-tuning", {**PULL, "gamma": 0.1})
    sizes = backbone.shape
    parts = load_method_tensors(config, method.state_dict(), sizes)
    assert list(parts) == ["P", "D"]
    assert torch.equal(torch.from_numpy(parts["D"].array), method.D)
