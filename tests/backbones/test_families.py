"""Every family of transformers models: scores are the model's own, and a prefix reaches every attention site."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers as T

from ptviz.backbones import BackboneError, load_backbone, wrap_model
from ptviz.backbones.label_tokens import assign_label_tokens
from ptviz.backbones.tiny import TINY_SIZES, make_tiny_tokeniser
from ptviz.prompt import Batch, Prompt
from tests.families import DECODERS, ENCODER_DECODERS, ENCODERS, MODELS, SITES, TASK, backbone_of, case, model_of


def eager_logits(family: str, batch: Batch) -> torch.Tensor:
    """Return the label words' logits of the original model with transformers' eager attention and masks."""
    model = model_of(family, "eager")
    mask, where = batch.mask.long(), batch.readout_mask.long().argmax(1)
    rows = torch.arange(len(batch))
    if family in ENCODER_DECODERS:
        start = torch.full((len(batch), 1), model.config.decoder_start_token_id)
        logits = model(input_ids=batch.input_ids, attention_mask=mask, decoder_input_ids=start).logits[:, 0]
    elif family in DECODERS:
        logits = model(input_ids=batch.input_ids, attention_mask=mask).logits[rows, where]
    else:
        # Ids would not do: this vocabulary's [CLS] has the number that RoBERTa takes for padding.
        words = model.get_input_embeddings()(batch.input_ids)
        logits = model(inputs_embeds=words, attention_mask=mask).logits[rows, where]
    return logits[:, assign_label_tokens(make_tiny_tokeniser(), TASK.label_words)]


@pytest.mark.parametrize("family", [*ENCODERS, *DECODERS, *ENCODER_DECODERS])
@torch.no_grad()
def test_scores_without_a_prompt_are_the_models_own(family: str) -> None:
    backbone, batch, readout = case(family, 0)
    assert not batch.mask.all(), "the batch should hold padding"
    ours = backbone(batch, Prompt(), readout).logits
    torch.testing.assert_close(ours, eager_logits(family, batch), atol=2e-5, rtol=2e-5)
    assert ours.std(0).min() > 1e-3, "rows should score differently, or this compares nothing"


@torch.no_grad()
def test_pooled_scores_are_cosines_of_means() -> None:
    backbone, batch, readout = case("pooled", 0)
    model, tokeniser = model_of("pooled"), make_tiny_tokeniser()

    def mean(ids: list[int]) -> torch.Tensor:
        state = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        return state.mean(0)

    ours = backbone(batch, Prompt(), readout).logits
    described = [mean(tokeniser(description)["input_ids"]) for description in TASK.descriptions]
    for row in range(len(batch)):
        text = mean(batch.input_ids[row][batch.mask[row]].tolist())
        cosines = torch.stack([torch.cosine_similarity(text, other, 0) for other in described])
        torch.testing.assert_close(ours[row], 20 * cosines, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", MODELS)
def test_a_prefix_reaches_every_site(family: str) -> None:
    backbone, batch, readout = case(family, 0)
    assert backbone.sites == SITES[family]
    draw = torch.Generator().manual_seed(0)
    kv = torch.randn(backbone.sites, 2, 1, backbone.heads, 3, backbone.head_width, generator=draw).requires_grad_()
    backbone(batch, Prompt(key_values=kv), readout).loss.backward()
    reached = kv.grad.abs().sum((2, 5))  # (sites, key or value, heads, prompt tokens)
    if family in ENCODER_DECODERS:
        # A lone start token attends only to the prefix and itself in the decoder: all else must still be reached.
        assert (reached > 0).float().mean() > 0.9
        assert (reached.sum((1, 2, 3)) > 0).all()
    else:
        assert (reached > 0).all(), reached


@pytest.mark.parametrize("family", MODELS)
def test_every_site_of_a_prefix_matters(family: str) -> None:
    backbone, batch, readout = case(family, 0)
    draw = torch.Generator().manual_seed(0)
    kv = torch.randn(backbone.sites, 2, 1, backbone.heads, 3, backbone.head_width, generator=draw)
    with torch.no_grad():
        whole = backbone(batch, Prompt(key_values=kv), readout).logits
        for site in range(backbone.sites):
            silenced = kv.clone()
            silenced[site] = 0
            assert (backbone(batch, Prompt(key_values=silenced), readout).logits - whole).abs().max() > 1e-4, site


@pytest.mark.parametrize("family", MODELS)
def test_input_prompts_change_every_row_and_get_gradients(family: str) -> None:
    backbone, batch, readout = case(family, 4)
    P = torch.randn(1, 4, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    output = backbone(batch, Prompt(embeddings=P), readout)
    output.loss.backward()
    assert (P.grad.abs().sum(-1) > 0).all()
    with torch.no_grad():
        other = backbone(batch, Prompt(embeddings=P.flip(-1)), readout).logits
    assert ((other - output.logits).abs().amax(1) > 1e-4).all()


@pytest.mark.parametrize("family", MODELS)
def test_frozen_parameters_require_no_gradients(family: str) -> None:
    backbone = backbone_of(family)
    assert not any(p.requires_grad for p in backbone.parameters())
    assert not backbone.model.training
    assert not backbone.embedding_table.requires_grad


def test_deberta_is_refused_by_name(tmp_path: Path) -> None:
    T.DebertaV2Config(**TINY_SIZES).save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match=r"deberta-v2 family: its attention does not go.*BERT.*Llama"):
        load_backbone(str(tmp_path), "cpu")


def test_a_model_with_its_own_attention_is_refused() -> None:
    config = T.XLNetConfig(vocab_size=600, d_model=32, n_layer=2, n_head=4, d_inner=37)
    with pytest.raises(BackboneError, match="XLNetModel does not route its attention"):
        wrap_model("odd", "odd", T.XLNetModel(config), make_tiny_tokeniser())
