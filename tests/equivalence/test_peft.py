"""Prompt and prefix tuning agree with Hugging Face's PEFT on the same weights: scores and gradients.

Each equality has companions that break one thing and must differ, or the equality would prove nothing.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ptviz.backbones import Backbone, Readout
from ptviz.backbones.label_tokens import assign_label_tokens
from ptviz.backbones.tiny import make_tiny_tokeniser
from ptviz.prompt import Batch, Prompt
from tests.families import TASK, case, fresh, method_of, model_of, rows_of

M = 5
CLOSE = {"atol": 1e-5, "rtol": 1e-4}
WORDS = assign_label_tokens(make_tiny_tokeniser(), TASK.label_words)


def peft_of(family: str, kind: str, **settings: Any) -> Any:
    """Return a tiny model in PEFT, with transformers' eager attention, in evaluation mode."""
    import peft

    config = {"prompt": peft.PromptTuningConfig, "prefix": peft.PrefixTuningConfig}[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's own remarks on its defaults
        return peft.get_peft_model(model_of(family), config(num_virtual_tokens=M, **settings)).eval()


def weight_of(reference: Any) -> Tensor:
    return reference.prompt_encoder["default"].embedding.weight


def last_scores(reference: Any, batch: Batch, skip: int) -> Tensor:
    """Return label words' scores at each row's last token; ``skip`` columns of slots precede the texts."""
    ids, mask = batch.input_ids[:, skip:], batch.mask[:, skip:]
    logits = reference(input_ids=ids, attention_mask=mask.long()).logits
    ahead = logits.shape[1] - ids.shape[1]
    return logits[torch.arange(len(ids)), batch.readout_mask.long().argmax(1) - skip + ahead][:, WORDS]


def first_scores(reference: Any, batch: Batch, skip: int) -> Tensor:
    """Return label words' scores at an encoder-decoder's start token."""
    ids, mask = batch.input_ids[:, skip:], batch.mask[:, skip:]
    start = torch.zeros(len(ids), 1, dtype=torch.long)
    return reference(input_ids=ids, attention_mask=mask.long(), decoder_input_ids=start).logits[:, 0][:, WORDS]


def both(ours: Tensor, theirs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the gradients of both losses, and return the losses."""
    losses = F.cross_entropy(ours, labels), F.cross_entropy(theirs, labels)
    for loss in losses:
        loss.backward()
    return losses


def prompt_tuned(family: str, scores_of: Callable[..., Tensor], **settings: Any) -> tuple[Tensor, ...]:
    """Return scores and prompt gradients of both sides."""
    method = method_of("prompt-tuning", fresh(family), m=M)
    backbone, batch, readout = case(family, M)
    reference = peft_of(family, "prompt", **settings)
    weight_of(reference).data.copy_(method.P.data)
    ours = backbone(batch, method(batch), readout).logits
    theirs = scores_of(reference, batch, M)
    both(ours, theirs, batch.labels)
    return ours.detach(), theirs.detach(), method.P.grad, weight_of(reference).grad


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt", "qwen3"])
def test_prompt_tuning_on_decoders(family: str) -> None:
    ours, theirs, gradient, expected = prompt_tuned(family, last_scores, task_type="CAUSAL_LM")
    torch.testing.assert_close(ours, theirs, **CLOSE)
    torch.testing.assert_close(gradient, expected, **CLOSE)
    assert expected.abs().max() > 1e-3


def test_prompt_tuning_on_t5s_encoder() -> None:
    settings = {"task_type": "SEQ_2_SEQ_LM", "num_transformer_submodules": 1}
    ours, theirs, gradient, expected = prompt_tuned("t5", first_scores, **settings)
    torch.testing.assert_close(ours, theirs, **CLOSE)
    torch.testing.assert_close(gradient, expected, **CLOSE)


def on_encoder(sequential: bool) -> tuple[Tensor, ...]:
    """Return an encoder with the prompt before [CLS], as in PEFT; the text's mean is scored."""
    backbone = fresh("pooled")
    backbone.sequential_positions = sequential
    rows = rows_of(backbone, 0)
    bare, readout = rows.make_batch(range(8)), rows.readout
    lead = torch.zeros(8, M, dtype=torch.long)
    slots = F.pad(torch.zeros_like(bare.slots), (M, 0), value=True)
    batch = Batch(
        torch.cat([lead, bare.input_ids], 1), F.pad(bare.mask, (M, 0), value=True), slots,
        F.pad(bare.readout_mask, (M, 0), value=False), bare.labels, bare.task_ids,
        F.pad(bare.embeddings, (0, 0, M, 0)),
    )  # fmt: skip
    method = method_of("prompt-tuning", backbone, m=M)
    reference = peft_of("pooled", "prompt", task_type="FEATURE_EXTRACTION")
    weight_of(reference).data.copy_(method.P.data)
    ours = backbone(batch, method(batch), readout).logits
    state = reference(input_ids=bare.input_ids, attention_mask=bare.mask.long()).last_hidden_state[:, M:]
    weight = bare.readout_mask[..., None].float()
    theirs = readout.scores((state * weight).sum(1) / weight.sum(1))
    both(ours, theirs, batch.labels)
    return ours.detach(), theirs.detach(), method.P.grad, weight_of(reference).grad


def test_prompt_tuning_on_encoders_with_sequential_positions() -> None:
    ours, theirs, gradient, expected = on_encoder(sequential=True)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(gradient, expected, atol=1e-4, rtol=1e-3)


def test_texts_at_their_own_positions_score_differently() -> None:
    """Companion: ptviz's own layout, where the text keeps the positions it has without a prompt."""
    ours, theirs, _, _ = on_encoder(sequential=False)
    assert (ours - theirs).abs().max() > 1e-2


def prefixed(family: str, batch: Batch, backbone: Backbone, readout: Readout) -> tuple[Any, Any, Tensor, Tensor]:
    """Return P-Tuning v2 without dropout and PEFT's prefix tuning without projection, with the same keys and values."""
    method = method_of("p-tuning-v2", backbone, m=M, dropout=0.0)
    width = backbone.heads * backbone.head_width
    reference = peft_of(
        family, "prefix", task_type="CAUSAL_LM", num_layers=backbone.sites,
        num_attention_heads=backbone.heads, token_dim=width,
    )  # fmt: skip
    weight_of(reference).data.copy_(method.KV.data.permute(3, 0, 1, 2, 4).flatten(1))
    ours = backbone(batch, method(batch), readout).logits
    return method, reference, ours, last_scores(reference, batch, 0)


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt", "qwen3"])
def test_prefix_tuning_on_decoders(family: str) -> None:
    backbone, batch, readout = case(family, 0)
    method, reference, ours, theirs = prefixed(family, batch, backbone, readout)
    both(ours, theirs, batch.labels)
    torch.testing.assert_close(ours, theirs, **CLOSE)
    expected = weight_of(reference).grad.reshape(M, backbone.sites, 2, backbone.heads, backbone.head_width)
    torch.testing.assert_close(method.KV.grad, expected.permute(1, 2, 3, 0, 4), **CLOSE)
    assert expected.abs().max() > 1e-3


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@torch.no_grad()
def test_one_zero_site_is_noticed(family: str) -> None:
    """Companion: the prefix of one site set to zero on our side."""
    backbone, batch, readout = case(family, 0)
    method, _, _, theirs = prefixed(family, batch, backbone, readout)
    for site in range(backbone.sites):
        kv = method(batch).key_values.clone()
        kv[site] = 0
        assert (backbone(batch, Prompt(key_values=kv), readout).logits - theirs).abs().max() > 1e-3


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@torch.no_grad()
def test_positions_that_do_not_count_the_prefix_are_noticed(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Companion: texts that begin at position 0 after a prefix."""
    backbone, batch, readout = case(family, 0)
    method, _, ours, theirs = prefixed(family, batch, backbone, readout)
    trunk = type(backbone.model.base_model)
    original = trunk.forward

    def unshifted(self: Any, *arguments: Any, position_ids: Tensor, **keywords: Any) -> Any:
        return original(self, *arguments, position_ids=position_ids - M, **keywords)

    monkeypatch.setattr(trunk, "forward", unshifted)
    assert (backbone(batch, method(batch), readout).logits - theirs).abs().max() > 1e-3
    assert (ours - theirs).abs().max() < 1e-4


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@torch.no_grad()
def test_positions_that_do_not_count_the_prompt_are_noticed(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Companion: texts that begin at position 0 after prompt tokens."""
    backbone, batch, readout = case(family, M)
    method = method_of("prompt-tuning", backbone, m=M)
    reference = peft_of(family, "prompt", task_type="CAUSAL_LM")
    weight_of(reference).copy_(method.P)
    theirs = last_scores(reference, batch, M)
    trunk = type(backbone.model.base_model)
    original = trunk.forward

    def unshifted(self: Any, *arguments: Any, position_ids: Tensor, **keywords: Any) -> Any:
        text = position_ids >= M
        return original(self, *arguments, position_ids=position_ids - M * text.long(), **keywords)

    monkeypatch.setattr(trunk, "forward", unshifted)
    assert (backbone(batch, method(batch), readout).logits - theirs).abs().max() > 1e-3


@pytest.mark.parametrize(("family", "kind"), [("gpt2", "CAUSAL_LM"), ("t5", "SEQ_2_SEQ_LM")])
@torch.no_grad()
def test_prompt_tokens_in_another_order_are_noticed(family: str, kind: str) -> None:
    backbone, batch, readout = case(family, M)
    method = method_of("prompt-tuning", backbone, m=M)
    reference = peft_of(family, "prompt", task_type=kind, num_transformer_submodules=1)
    weight_of(reference).copy_(method.P.flip(0))
    theirs = (last_scores if kind == "CAUSAL_LM" else first_scores)(reference, batch, M)
    assert (backbone(batch, method(batch), readout).logits - theirs).abs().max() > 1e-3


def multitask(family: str, task: int) -> tuple[Tensor, ...]:
    """Return MPT and PEFT's multitask prompt tuning at rank 1 with the same factors."""
    import peft

    kind, scores_of = ("SEQ_2_SEQ_LM", first_scores) if family == "t5" else ("CAUSAL_LM", last_scores)
    settings = {"task_type": kind, "num_virtual_tokens": M, "num_tasks": 2, "num_transformer_submodules": 1}
    method = method_of("mpt", fresh(family), m=M)
    backbone, batch, readout = case(family, M)
    reference = peft.get_peft_model(model_of(family), peft.MultitaskPromptTuningConfig(**settings)).eval()
    encoder = reference.prompt_encoder["default"]
    with torch.no_grad():
        encoder.embedding.weight.copy_(method.P)
        encoder.prefix_task_cols[1, :, 0].copy_(method.u)
        encoder.prefix_task_rows[1, 0].copy_(method.v)
    asked = functools.partial(reference, task_ids=torch.full((len(batch),), task))
    if family == "t5":  # with one submodule PEFT drops the decoder's input; labels make T5 write its start token
        asked = functools.partial(asked, labels=torch.zeros(len(batch), 1, dtype=torch.long))
    ours = backbone(batch, method(batch), readout).logits
    theirs = scores_of(asked, batch, M)
    both(ours, theirs, batch.labels)
    found = method.P.grad, method.u.grad, method.v.grad
    expected = (
        encoder.embedding.weight.grad,
        encoder.prefix_task_cols.grad[1, :, 0],
        encoder.prefix_task_rows.grad[1, 0],
    )
    return ours.detach(), theirs.detach(), *found, *expected


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_mpts_target_prompt(family: str) -> None:
    """P* o (u v^T), its scores and the gradients of P*, u and v."""
    ours, theirs, *gradients = multitask(family, task=1)
    torch.testing.assert_close(ours, theirs, **CLOSE)
    for gradient, expected in zip(gradients[:3], gradients[3:], strict=True):
        torch.testing.assert_close(gradient, expected, **CLOSE)
        assert expected.abs().max() > 1e-3


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_another_tasks_factors_are_noticed(family: str) -> None:
    """Companion: PEFT's other task, whose factors are still N(0, 0.02)."""
    ours, theirs, *_ = multitask(family, task=0)
    assert (ours - theirs).abs().max() > 1e-3
