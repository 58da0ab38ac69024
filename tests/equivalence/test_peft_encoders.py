"""Prompts from an encoder agree with Hugging Face's PEFT on the same weights: scores and gradients.

Each equality has a companion that breaks one thing and must differ.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ptviz.backbones.label_tokens import assign_label_tokens
from ptviz.backbones.tiny import make_tiny_tokeniser
from ptviz.methods import PrefixTuning, PromptMethod, PTuning
from ptviz.prompt import Batch
from tests.families import TASK, case, fresh, method_of, model_of

M, HIDDEN = 5, 11
CLOSE = {"atol": 1e-5, "rtol": 1e-4}
WORDS = assign_label_tokens(make_tiny_tokeniser(), TASK.label_words)
ENCODERS = pytest.mark.parametrize("encoder", ["lstm", "mlp"])


def peft_of(family: str, config: str, **settings: Any) -> Any:
    """Return a tiny decoder in PEFT, with transformers' eager attention, in evaluation mode."""
    import peft

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's own remarks on its defaults
        made = getattr(peft, config)(
            task_type="CAUSAL_LM", num_virtual_tokens=M, encoder_hidden_size=HIDDEN, **settings
        )
        return peft.get_peft_model(model_of(family), made).eval()


def last_scores(reference: Any, batch: Batch, skip: int) -> Tensor:
    """Return label words' scores at each row's last token; ``skip`` columns of slots precede the texts."""
    ids, mask = batch.input_ids[:, skip:], batch.mask[:, skip:]
    logits = reference(input_ids=ids, attention_mask=mask.long()).logits
    ahead = logits.shape[1] - ids.shape[1]
    return logits[torch.arange(len(ids)), batch.readout_mask.long().argmax(1) - skip + ahead][:, WORDS]


def compared(family: str, method: PromptMethod, reference: Any) -> tuple[Tensor, Tensor]:
    """Return scores of both sides; the gradients of their losses are left in the parameters."""
    backbone, batch, readout = case(family, method.slots)
    ours = backbone(batch, method(batch), readout).logits
    theirs = last_scores(reference, batch, method.slots)
    for found in (ours, theirs):
        F.cross_entropy(found, batch.labels).backward()
    return ours.detach(), theirs.detach()


def alike(ours: torch.nn.Module, theirs: torch.nn.Module) -> None:
    """Check that every weight has the same gradient, and none is zero."""
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, **CLOSE)
        assert expected[name].grad.abs().max() > 1e-6, name
    assert len(expected) == len(list(ours.parameters()))


def p_tuned(family: str, encoder: str) -> tuple[PTuning, Any]:
    """Return P-Tuning and PEFT's, with the same weights."""
    method = method_of("p-tuning", fresh(family), m=M, encoder=encoder, hidden=HIDDEN)
    assert isinstance(method, PTuning)
    reference = peft_of(
        family, "PromptEncoderConfig", encoder_reparameterization_type=encoder.upper(), encoder_dropout=0.0
    )
    theirs = reference.prompt_encoder["default"]
    theirs.embedding.weight.data.copy_(method.P.data)
    theirs.mlp_head.load_state_dict(method.MLP.state_dict())
    if method.LSTM is not None:
        theirs.lstm_head.load_state_dict(method.LSTM.state_dict())
    return method, reference


@ENCODERS
@pytest.mark.parametrize("family", ["gpt2", "llama", "opt", "qwen3"])
def test_p_tuning_on_decoders(family: str, encoder: str) -> None:
    method, reference = p_tuned(family, encoder)
    ours, theirs = compared(family, method, reference)
    torch.testing.assert_close(ours, theirs, **CLOSE)
    encoders = reference.prompt_encoder["default"]
    torch.testing.assert_close(method.P.grad, encoders.embedding.weight.grad, **CLOSE)
    alike(method.MLP, encoders.mlp_head)
    if method.LSTM is not None:
        alike(method.LSTM, encoders.lstm_head)


@ENCODERS
@torch.no_grad()
def test_a_ramp_that_is_left_out_is_noticed(encoder: str) -> None:
    """Companion: our MLP without its first ReLU."""
    method, reference = p_tuned("gpt2", encoder)
    backbone, batch, readout = case("gpt2", M)
    theirs = last_scores(reference, batch, M)
    method.MLP[1] = torch.nn.Identity()
    assert (backbone(batch, method(batch), readout).logits - theirs).abs().max() > 1e-3


@torch.no_grad()
def test_an_lstm_that_reads_the_other_way_is_noticed() -> None:
    """Companion: forward and backward weights of our first layer exchanged."""
    method, reference = p_tuned("gpt2", "lstm")
    backbone, batch, readout = case("gpt2", M)
    theirs = last_scores(reference, batch, M)
    assert method.LSTM is not None
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        ahead, back = method.LSTM.get_parameter(name), method.LSTM.get_parameter(name + "_reverse")
        kept = ahead.clone()
        ahead.copy_(back)
        back.copy_(kept)
    assert (backbone(batch, method(batch), readout).logits - theirs).abs().max() > 1e-3


def prefixed(family: str) -> tuple[PrefixTuning, Any]:
    """Return prefix tuning and PEFT's with projection, with the same weights; their P' is as wide as all heads."""
    backbone = fresh(family)
    method = method_of("prefix-tuning", backbone, m=M, hidden=HIDDEN)
    assert isinstance(method, PrefixTuning)
    reference = peft_of(
        family, "PrefixTuningConfig", prefix_projection=True, num_layers=backbone.sites,
        num_attention_heads=backbone.heads, token_dim=backbone.width,
    )  # fmt: skip
    theirs = reference.prompt_encoder["default"]
    theirs.embedding.weight.data.copy_(method.P.data)
    theirs.transform[0].load_state_dict(method.W_1.state_dict())
    theirs.transform[2].load_state_dict(method.W_2.state_dict())
    return method, reference


@pytest.mark.parametrize("family", ["gpt2", "opt"])
def test_prefix_tuning_with_projection_on_decoders(family: str) -> None:
    method, reference = prefixed(family)
    ours, theirs = compared(family, method, reference)
    torch.testing.assert_close(ours, theirs, **CLOSE)
    encoder = reference.prompt_encoder["default"]
    torch.testing.assert_close(method.P.grad, encoder.embedding.weight.grad, **CLOSE)
    alike(method.W_1, encoder.transform[0])
    alike(method.W_2, encoder.transform[2])


@pytest.mark.parametrize("family", ["gpt2", "opt"])
@torch.no_grad()
def test_keys_taken_for_values_are_noticed(family: str) -> None:
    """Companion: the MLP's output, with keys and values exchanged on our side."""
    method, reference = prefixed(family)
    backbone, batch, readout = case(family, 0)
    theirs = last_scores(reference, batch, 0)
    for part in (method.W_2.weight, method.W_2.bias):
        part.copy_(part.reshape(*method.shape, -1).flip(1).reshape(part.shape))
    assert (backbone(batch, method(batch), readout).logits - theirs).abs().max() > 1e-3
