"""Attention and logit lens of generated tokens, from one forward pass over input and generated text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ptviz import load_backbone
from ptviz.backbones.logit_lens import target_logit_lens
from ptviz.engine.loaded_prompt import LoadedPrompt
from ptviz.engine.model_cache import ModelCache
from ptviz.methods import build_method
from ptviz.probes.array_codec import decode_array
from ptviz.probes.generated_tokens import measure_generated_tokens
from ptviz.runs import RunConfig, StoreError
from ptviz.training import TrainConfig
from ptviz.training.task_outputs import generate_token_ids
from tests.text_tasks import CHOICE_TASK, TEXT_TASK

BOTH = pytest.mark.parametrize("backbone", ["tiny-decoder", "tiny-encoder-decoder"])
METHODS = pytest.mark.parametrize("method", ["prompt-tuning", "p-tuning-v2", "dept", "xprompt"])


def load(backbone: str, method: str = "prompt-tuning", seed: int = 0) -> LoadedPrompt:
    model = load_backbone(backbone)
    torch.manual_seed(seed)
    built = build_method(method, model.make_spec(16, ()), {"m": 3}).eval()
    config = RunConfig(backbone, "seer", method, training=TrainConfig(length=16))
    return LoadedPrompt(config, model, TEXT_TASK, built, {})


def measure(loaded: LoadedPrompt, **question: object) -> tuple[dict, np.ndarray]:
    answer = measure_generated_tokens(loaded, ModelCache(), **question)
    return answer, decode_array(answer["weights"], answer["shape"])


@METHODS
@BOTH
def test_the_pass_over_the_written_text_chooses_the_same_tokens(backbone: str, method: str) -> None:
    loaded = load(backbone, method)
    answer, _ = measure(loaded, row=2)
    data = loaded.encode(TEXT_TASK, [TEXT_TASK.validation[2]])
    (ids,) = generate_token_ids(loaded.method, data)
    assert len(ids) > 1
    assert len(answer["tokens"]) == len(ids)
    assert [column[0] for column in answer["words"][-1]] == answer["tokens"], "the last layer writes the text"
    assert answer["text"] == TEXT_TASK.validation[2].text
    batch = replace(data.make_batch([0]), targets=torch.tensor([ids]))
    with torch.no_grad():
        *_, last = target_logit_lens(loaded.backbone, batch, loaded.method(batch), data.readout)
        own = loaded.backbone(batch, loaded.method(batch), data.readout).logits
    torch.testing.assert_close(last, own, atol=1e-4, rtol=1e-4)


@METHODS
@BOTH
def test_rows_are_shares_of_attention(backbone: str, method: str) -> None:
    answer, weights = measure(load(backbone, method))
    sites, _, written, m = weights.shape
    assert (sites, written, m) == (len(answer["sites"]), len(answer["tokens"]), len(answer["prompt"]))
    assert sites
    assert np.isfinite(weights).all()
    sums = weights.sum(-1)
    assert (sums > 0).all()
    assert (sums < 1).all(), "the input gets the rest"
    if backbone == "tiny-encoder-decoder":
        assert any(name.endswith("cross") for name in answer["sites"])
        assert any(name.endswith("decoder") for name in answer["sites"]) == (method == "p-tuning-v2")


def test_a_decoder_gives_what_transformers_eager_attention_gives() -> None:
    loaded = load("tiny-decoder")
    _, weights = measure(loaded)
    backbone, data = loaded.backbone, loaded.encode(TEXT_TASK, TEXT_TASK.validation[:1])
    (ids,) = generate_token_ids(loaded.method, data)
    batch = data.make_batch([0])
    with torch.no_grad():
        x = backbone.fill_slots(batch, batch.embeddings, loaded.method(batch))
        x = torch.cat([x, backbone.embed_tokens(torch.tensor([ids[:-1]]))], 1)
        model = backbone.model.base_model
        own = model.config._attn_implementation
        model.set_attn_implementation("eager")
        try:
            whole = model(inputs_embeds=x, output_attentions=True, use_cache=False).attentions
        finally:
            model.set_attn_implementation(own)
    rows = batch.input_ids.shape[1] - 1 + np.arange(len(ids))
    for site, found in enumerate(whole):
        expected = found[0][:, rows][:, :, batch.slots[0].nonzero()[:, 0]]
        np.testing.assert_allclose(weights[site], expected, atol=1e-3)


def test_an_encoder_decoder_gives_what_its_eager_cross_attention_gives() -> None:
    loaded = load("tiny-encoder-decoder")
    _, weights = measure(loaded)
    backbone, data = loaded.backbone, loaded.encode(TEXT_TASK, TEXT_TASK.validation[:1])
    (ids,) = generate_token_ids(loaded.method, data)
    batch, model = data.make_batch([0]), backbone.model
    start = model.config.decoder_start_token_id
    own = model.config._attn_implementation
    with torch.no_grad():
        x = backbone.fill_slots(batch, batch.embeddings, loaded.method(batch))
        model.set_attn_implementation("eager")
        try:
            found = model(
                inputs_embeds=x, decoder_input_ids=torch.tensor([[start, *ids[:-1]]]), output_attentions=True
            ).cross_attentions
        finally:
            model.set_attn_implementation(own)
    assert len(found) == len(weights)
    for expected, got in zip(found, weights, strict=True):
        np.testing.assert_allclose(got, expected[0][:, :, batch.slots[0]], atol=1e-3)


def test_a_text_as_long_as_the_input_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load("tiny-encoder-decoder", "p-tuning-v2")
    data = loaded.encode(TEXT_TASK, TEXT_TASK.validation[:1])
    width = data.make_batch([0]).input_ids.shape[1]
    results = []
    for count in (width, width + 1):
        monkeypatch.setattr(
            "ptviz.probes.generated_tokens.generate_token_ids", lambda *_, n=count: [[*range(20, 20 + n)]]
        )
        results.append(measure(loaded))
    (equal, weights), (longer, expected) = results
    assert equal["sites"] == longer["sites"]
    assert len(equal["tokens"]) == len(equal["words"][0]) == width
    np.testing.assert_allclose(weights, expected[:, :, :width], atol=1e-3)


def test_what_has_no_written_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load("tiny-decoder")
    with pytest.raises(StoreError, match="expected a text-to-text task"):
        measure(replace(loaded, task=CHOICE_TASK))
    monkeypatch.setattr("ptviz.probes.generated_tokens.generate_token_ids", lambda *_: [[]])
    with pytest.raises(StoreError, match="ends before its first token"):
        measure(loaded)
