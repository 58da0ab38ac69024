"""Packed tokens: the same losses and gradients as a padded batch, and which models and prompts are packed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ptviz.backbones import Backbone, decoder, wrap_model
from ptviz.backbones.families import FAMILIES
from ptviz.backbones.packed_attention import Packing, attend_packed
from ptviz.backbones.packed_decoder import PACKED_FAMILIES, can_pack
from ptviz.backbones.tiny import make_tiny_tokeniser
from ptviz.methods import REGISTRY
from ptviz.prompt import Prompt
from tests.backbones.family_models import make_config, make_model
from tests.families import backbone_of, case, fresh, method_of


@pytest.mark.parametrize("shared", [0, 3])
@pytest.mark.parametrize("past", [0, 2])
def test_gradients_are_those_of_finite_differences(shared: int, past: int) -> None:
    packing = Packing.of(torch.tensor([[True, True, False], [True, False, False], [True, True, True]]), shared)
    draw = torch.Generator().manual_seed(0)
    tokens = shared + 6

    def random(heads: int, count: int) -> Tensor:
        return torch.randn(1, heads, count, 2, generator=draw, dtype=torch.float64).requires_grad_()

    q, k, v, past_k, past_v = random(4, tokens), *(random(2, n) for n in (tokens, tokens, past, past))

    def attended(*given: Tensor) -> Tensor:
        return attend_packed(*given[:3], packing, 0.7, given[3:] if past else None)

    assert torch.autograd.gradcheck(attended, (q, k, v, *((past_k, past_v) if past else ())))


def test_a_packing_numbers_the_real_tokens_in_order() -> None:
    packing = Packing.of(torch.tensor([[False, True, True], [True, False, False]]), 4)
    assert packing.token.tolist() == [[4, 5], [6, 4]]
    assert packing.real.tolist() == [[True, True], [True, False]]


def losses_and_gradients(backbone: Backbone, name: str, **values: object) -> tuple[Tensor, list[Tensor]]:
    method = method_of(name, backbone, **values)
    _, batch, readout = case(backbone, method.slots)
    output = backbone(batch, method(batch), readout)
    parameters = [p for p in method.parameters() if p.requires_grad]
    found = torch.autograd.grad(output.loss, parameters, allow_unused=True)
    return output.nll.detach(), [g for g in found if g is not None]


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("name", REGISTRY)
def test_every_method_gets_the_gradients_of_a_padded_batch(
    name: str, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = fresh(family)
    packed = losses_and_gradients(backbone, name)
    monkeypatch.setattr(decoder, "can_pack", lambda *given: False)
    padded = losses_and_gradients(backbone, name)
    torch.testing.assert_close(packed[0], padded[0], atol=2e-5, rtol=1e-5)
    assert len(packed[1]) == len(padded[1])
    for ours, expected in zip(packed[1], padded[1], strict=True):
        torch.testing.assert_close(ours, expected, atol=2e-5, rtol=1e-4)


def windowed(model_type: str, window: int) -> Backbone:
    """A tiny model of a family, with a sliding window of this size if the family has any."""
    family = next(one for one in FAMILIES if one.model_type == model_type)
    settings = {"sliding_window": window} if getattr(make_config(model_type), "sliding_window", None) else {}
    return wrap_model(model_type, model_type, make_model(family, **settings), make_tiny_tokeniser(), random=True)


@pytest.mark.parametrize("model_type", PACKED_FAMILIES)
def test_every_packed_family_gets_the_gradients_of_a_padded_batch(
    model_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = windowed(model_type, 200)
    assert can_pack(backbone.model, Prompt(), 40)
    packed = losses_and_gradients(backbone, "prompt-tuning", m=4)
    monkeypatch.setattr(decoder, "can_pack", lambda *given: False)
    padded = losses_and_gradients(backbone, "prompt-tuning", m=4)
    torch.testing.assert_close(packed[0], padded[0], atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(packed[1][0], padded[1][0], atol=2e-5, rtol=2e-4)


@pytest.mark.parametrize("model_type", ["mistral", "gemma3_text", "olmo3"])
def test_a_window_shorter_than_the_keys_is_not_packed(model_type: str) -> None:
    model = windowed(model_type, 12).model
    prefix = Prompt(key_values=torch.zeros(2, 2, 1, 2, 5, 8))
    for prompt, columns, expected in (
        (Prompt(), 12, False),
        (Prompt(), 11, True),
        (prefix, 7, False),
        (prefix, 6, True),
    ):
        assert can_pack(model, prompt, columns) is expected


def test_what_is_not_known_is_not_packed() -> None:
    model = backbone_of("llama").model
    assert can_pack(model, Prompt(), 30)
    assert not can_pack(model, Prompt(), 300), "scores would take more memory than hidden states"
    assert not can_pack(model, Prompt(key_values=torch.zeros(2, 2, 3, 2, 1, 8)), 30), "keys differ by row"
    assert not can_pack(backbone_of("t5").model, Prompt(), 30)


def test_low_precision_is_packed_within_its_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = fresh("llama").to(torch.bfloat16)
    packed = losses_and_gradients(backbone, "prompt-tuning", m=4)
    monkeypatch.setattr(decoder, "can_pack", lambda *given: False)
    padded = losses_and_gradients(backbone, "prompt-tuning", m=4)
    torch.testing.assert_close(packed[0], padded[0], atol=0.05, rtol=0.05)
