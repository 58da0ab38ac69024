"""Hidden states and attention weights do not change scores and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ptviz.prompt import Prompt
from tests.families import DECODERS, ENCODERS, MODELS, SITES, case

M = 3
EVERY = pytest.mark.parametrize("family", MODELS)
WAYS = pytest.mark.parametrize("ways", ["embeddings", "key_values", "embeddings delta", "embeddings key_values"])


def prompt_for(backbone: torch.nn.Module, batch: object, ways: str) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    shapes = {
        "embeddings": (1, M, 32),
        "key_values": (backbone.sites, 2, 1, backbone.heads, M, backbone.head_width),
        "delta": tuple(batch.embeddings.shape),
    }
    parts = {way: torch.randn(*shapes[way], generator=draw) for way in ways.split()}
    if "delta" in parts:
        parts["delta"] *= batch.text_mask[..., None]
    return {way: part.requires_grad_() for way, part in parts.items()}


@WAYS
@EVERY
def test_shortcuts_and_the_full_pass_agree(family: str, ways: str) -> None:
    """Training takes every shortcut of a family; requesting hidden states runs the full model."""
    backbone, batch, readout = case(family, M if "embeddings" in ways else 0)
    found = []
    for hidden in (False, True):
        parts = prompt_for(backbone, batch, ways)
        output = backbone(batch, Prompt(**parts), readout, hidden=hidden)
        output.loss.backward()
        found.append((output.nll.detach(), {way: part.grad for way, part in parts.items()}))
    (fast, gradients), (full, expected) = found
    torch.testing.assert_close(fast, full, atol=2e-5, rtol=2e-5)
    for way, gradient in expected.items():
        assert gradient.abs().max() > 1e-6, f"{way} gets no gradient: this compares nothing"
        torch.testing.assert_close(gradients[way], gradient, atol=2e-5, rtol=2e-4)


@EVERY
@torch.no_grad()
def test_hidden_states_come_layer_by_layer_at_the_answer(family: str) -> None:
    backbone, batch, readout = case(family, M)
    prompt = Prompt(embeddings=torch.randn(1, M, 32))
    output = backbone(batch, prompt, readout, hidden=True)
    assert output.hidden_states.shape == (3, len(batch), 32), "the embedding and two layers"
    last = backbone.transform(output.hidden_states[-1]) if family in ENCODERS else output.hidden_states[-1]
    torch.testing.assert_close(readout.scores(last), output.logits, atol=1e-5, rtol=1e-5)
    assert backbone(batch, prompt, readout).hidden_states is None


@EVERY
@torch.no_grad()
def test_attention_can_be_recorded_at_every_site(family: str) -> None:
    backbone, batch, readout = case(family, M)
    prompt = Prompt(
        **{way: part.detach() for way, part in prompt_for(backbone, batch, "embeddings key_values").items()}
    )
    seen: dict[int, Tensor] = {}
    watched = backbone(batch, prompt, readout, on_attention=seen.__setitem__)
    assert list(seen) == list(range(SITES[family]))
    columns = batch.input_ids.shape[1]
    for weights in seen.values():
        assert weights.shape[:2] == (len(batch), 4), "one map per row and query head"
        assert weights.shape[3] in (M + 1, M + columns)
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
        assert (weights[..., :M] > 0).all(), "the prefix is always in sight"
        if weights.shape[3] == M + columns:
            assert (weights[..., M:].masked_select(~batch.mask[:, None, None]) == 0).all(), "padding never is"
    torch.testing.assert_close(watched.logits, backbone(batch, prompt, readout).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", DECODERS)
@torch.no_grad()
def test_causal_models_never_look_ahead(family: str) -> None:
    backbone, batch, readout = case(family, M)
    seen: dict[int, Tensor] = {}
    backbone(batch, Prompt(embeddings=torch.randn(1, M, 32)), readout, on_attention=seen.__setitem__)
    for weights in seen.values():
        real = weights.masked_select(batch.mask[:, None, :, None]).reshape(-1)
        assert real.numel() > 0
        assert torch.equal(weights.tril(), weights)
