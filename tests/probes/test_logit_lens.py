"""The logit lens on prompt tokens: where a head can read them, and the reason where it cannot."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from ptviz import load_backbone
from ptviz.backbones import BackboneError
from ptviz.backbones.logit_lens import lens_unavailable_reason, logit_lens
from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import execute_run
from ptviz.methods import build_method
from ptviz.prompt import Prompt
from ptviz.runs import RunConfig, Store
from ptviz.tasks import Example, load_task
from ptviz.training import TrainConfig
from ptviz.training.batches import EncodedExamples
from ptviz.worker.handlers import HandlerContext, answer_request


def one(name: str, table, m: int = 3):
    backbone = load_backbone(name)
    task = load_task(str(table), text="text", label="label")
    method = build_method("prompt-tuning", backbone.make_spec(16, tuple(task.label_words)), {"m": m}).eval()
    data = EncodedExamples(backbone, task, [Example("a good thing", 0)], m, 16)
    batch = data.make_batch([0])
    return backbone, task, data, batch, method(batch)


@pytest.mark.parametrize("name", ["tiny-encoder", "tiny-decoder"])
def test_the_last_layer_at_the_answers_position_gives_the_backbones_answer(name, table):
    backbone, task, data, batch, prompt = one(name, table)
    from ptviz.backbones.label_tokens import assign_label_tokens

    place = int(batch.readout_mask[0].long().argmax())
    with torch.no_grad():
        logits = logit_lens(backbone, batch, prompt, data.readout, [place])
        answered = backbone(batch, prompt, data.readout).logits[0]
    assert logits.shape[1:] == (1, len(backbone.embedding_table))
    torch.testing.assert_close(
        logits[-1, 0, assign_label_tokens(backbone.tokeniser, task.label_words)], answered, atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("name", ["tiny-encoder", "tiny-decoder"])
def test_the_input_itself_is_read_first(name, table):
    backbone, _, data, batch, prompt = one(name, table)
    columns = batch.slots[0].nonzero()[:, 0].tolist()
    with torch.no_grad():
        logits = logit_lens(backbone, batch, prompt, data.readout, columns)
        other = Prompt(
            embeddings=prompt.embeddings + torch.eye(3)[:, :1] * torch.ones(prompt.embeddings.shape[-1]).cumsum(0)
        )
        changed = logit_lens(backbone, batch, other, data.readout, columns)
    assert torch.allclose(logits[0, 1:], changed[0, 1:], atol=1e-5)  # only the first token's input was changed
    assert not torch.allclose(logits[0, 0], changed[0, 0], atol=1e-3)


def test_a_head_trained_on_other_states_is_refused(table):
    backbone, _, data, batch, prompt = one("tiny-encoder-decoder", table)
    assert "decoder's states" in lens_unavailable_reason(backbone)
    with pytest.raises(BackboneError, match="decoder's states"):
        logit_lens(backbone, batch, prompt, data.readout, [0])


@pytest.mark.parametrize(
    ("backbone", "method", "refused"),
    [
        ("tiny-decoder", "prompt-tuning", ""),
        ("tiny-decoder", "p-tuning-v2", "keys and values"),
        ("tiny-encoder-decoder", "prompt-tuning", "decoder's states"),
    ],
)
def test_the_worker_answers(home, table, backbone, method, refused):
    training = TrainConfig(steps=2, snapshot_every=1, evaluate_every=2, batch=4)
    run = Store().create(RunConfig(backbone, str(table), method, {"m": 3}, training, text="text", label="label"))
    execute_run(run.path)
    body = {"run": run.id, "what": "lens", "stage": 0, "step": 2, "text": "a good thing"}
    answer = json.loads(json.dumps(answer_request(HandlerContext(Store(), ModelCache()), "measure", body)))
    if refused:
        assert refused in answer["refused"]
        return
    shares = np.array(answer["shares"])
    assert shares.shape == (3, 3, 5)  # the input and two layers, three tokens
    assert (np.diff(shares, axis=-1) <= 0).all()
    assert len(answer["words"][0][0]) == 5


def test_a_sentence_encoder_has_no_head(monkeypatch):
    backbone = load_backbone("tiny-encoder")
    monkeypatch.setattr(backbone, "readout_mode", "pooled")
    assert "without a language-model head" in lens_unavailable_reason(backbone)
