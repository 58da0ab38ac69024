"""The loss of target texts: that of transformers and of PEFT, whatever is padded, shared or routed."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ptviz.backbones import Backbone, decoder
from ptviz.backbones.decoder import DecoderBackbone
from ptviz.backbones.errors import BackboneError
from ptviz.methods import REGISTRY
from ptviz.prompt import NO_TARGET, Batch, Prompt
from tests.families import DECODERS, ENCODER_DECODERS, backbone_of, case, fresh, method_of, model_of

M = 4
CLOSE = {"atol": 2e-5, "rtol": 1e-4}
TARGETS = [[17, 230, 4], [99], [300, 301, 302, 303, 4], [45, 46], [7, 7, 7, 4], [512], [18, 19, 20], [210, 4]]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def padded(rows: list[list[int]]) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[NO_TARGET] * (width - len(row))] for row in rows])


def with_targets(family: str | Backbone, m: int) -> tuple[Backbone, Batch, Any]:
    backbone, batch, _ = case(family, m)
    return backbone, replace(batch, targets=padded(TARGETS)), backbone.make_vocabulary_readout()


def prompt_for(backbone: Backbone, ways: str) -> Prompt:
    kv = random(backbone.sites, 2, 1, backbone.heads, M, backbone.head_width, seed=1) if "kv" in ways else None
    return Prompt(random(1, M, backbone.width).requires_grad_(), kv)


def alone(backbone: Backbone, batch: Batch, prompt: Prompt, row: int) -> Tensor:
    """A row's target losses by the model's own logits, without padding and without anything shared."""
    model, kv = backbone.model, {} if prompt.key_values is None else {"prompt_kv": prompt.key_values}
    past = 0 if prompt.key_values is None else prompt.key_values.shape[-2]
    real, target = batch.mask[row], torch.tensor(TARGETS[row])
    x = backbone.fill_slots(batch, batch.embeddings, prompt)[row : row + 1, real]
    if backbone.family == "decoder":
        whole = torch.cat([x, model.get_input_embeddings()(target[None])], 1)
        positions = torch.arange(whole.shape[1])[None] + past
        logits = model(inputs_embeds=whole, position_ids=positions, use_cache=False, **kv).logits
        logits = logits[0, x.shape[1] - 1 : -1]
    else:
        start = torch.tensor([[model.config.decoder_start_token_id, *TARGETS[row][:-1]]])
        encoded = model.get_encoder()(inputs_embeds=x, **kv)
        logits = model(encoder_outputs=encoded, decoder_input_ids=start, use_cache=False, **kv).logits[0]
    return F.cross_entropy(logits, target, reduction="none")


@pytest.mark.parametrize("ways", ["plain", "kv"])
@pytest.mark.parametrize("family", [*DECODERS, *ENCODER_DECODERS])
def test_the_loss_is_that_of_every_row_alone(family: str, ways: str) -> None:
    backbone, batch, readout = with_targets(family, M)
    prompt = prompt_for(backbone, ways)
    output = backbone(batch, prompt, readout)
    losses = [alone(backbone, batch, prompt, row) for row in range(len(batch))]
    torch.testing.assert_close(output.nll, torch.stack([one.mean() for one in losses]), **CLOSE)
    torch.testing.assert_close(output.loss, torch.cat(losses).mean(), **CLOSE)
    assert len(output.logits) == sum(map(len, TARGETS))
    (ours,) = torch.autograd.grad(output.loss, [prompt.embeddings])
    (expected,) = torch.autograd.grad(torch.cat(losses).mean(), [prompt.embeddings])
    torch.testing.assert_close(ours, expected, **CLOSE)
    assert expected.abs().max() > 1e-4


@pytest.mark.parametrize("way", ["run_packed_rows", "run_shared_prompt"])
@pytest.mark.parametrize("family", DECODERS)
def test_a_shared_prompt_gives_the_loss_of_one_run_per_row(
    family: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, batch, readout = with_targets(family, M)
    prompt = prompt_for(backbone, "kv")
    leads: list[int] = []
    original = getattr(DecoderBackbone, way)

    def watched(self: Any, *arguments: Any) -> Any:
        leads.append(arguments[4])
        return original(self, *arguments)

    monkeypatch.setattr(DecoderBackbone, way, watched)
    if way == "run_shared_prompt":
        monkeypatch.setattr(decoder, "can_pack", lambda *given: False)
    shared = backbone(batch, prompt, readout)
    per_row = backbone(batch, prompt, readout, hidden=True)
    assert leads == [M]
    torch.testing.assert_close(shared.logits, per_row.logits, **CLOSE)
    assert per_row.hidden_states is not None
    assert per_row.hidden_states.shape[1] == len(batch)


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_the_loss_is_pefts(family: str) -> None:
    import peft

    backbone, batch, readout = with_targets(family, M)
    prompt = prompt_for(backbone, "plain")
    seq2seq = family in ENCODER_DECODERS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's own remarks on its defaults
        config = peft.PromptTuningConfig(
            task_type="SEQ_2_SEQ_LM" if seq2seq else "CAUSAL_LM",
            num_virtual_tokens=M,
            **({"num_transformer_submodules": 1} if seq2seq else {}),
        )
        reference = peft.get_peft_model(model_of(family), config).eval()
    weight = reference.prompt_encoder["default"].embedding.weight
    weight.data.copy_(prompt.embeddings[0])
    if seq2seq:
        ids, mask = batch.input_ids[:, M:], batch.mask[:, M:].long()
        theirs = reference(input_ids=ids, attention_mask=mask, labels=batch.targets).loss
    else:
        rows = [[*batch.input_ids[row, batch.text_mask[row]].tolist(), *target] for row, target in enumerate(TARGETS)]
        width = max(map(len, rows))
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        labels = torch.full_like(ids, NO_TARGET)
        for row, target in enumerate(TARGETS):
            labels[row, len(rows[row]) - len(target) : len(rows[row])] = torch.tensor(target)
        theirs = reference(input_ids=ids, attention_mask=mask, labels=labels).loss
    ours = backbone(batch, prompt, readout).loss
    torch.testing.assert_close(ours, theirs, **CLOSE)
    (gradient,) = torch.autograd.grad(ours, [prompt.embeddings])
    (expected,) = torch.autograd.grad(theirs, [weight])
    torch.testing.assert_close(gradient[0], expected, **CLOSE)


@pytest.mark.parametrize("name", REGISTRY)
def test_no_prompt_looks_at_the_target(name: str) -> None:
    """Routers, shifts by position and pooled encoders read the input: another target, the same prompt."""
    backbone = fresh("llama")
    method = method_of(name, backbone)
    _, batch, readout = with_targets(backbone, method.slots)
    other = replace(batch, targets=padded([[31, 32, 33, 34, 35, 36]] * len(batch)))
    first, second = method(batch), method(other)
    for field in ("embeddings", "key_values", "delta", "routing"):
        one, two = getattr(first, field), getattr(second, field)
        assert (one is None) == (two is None)
        assert one is None or torch.equal(one, two)
    output = backbone(batch, first, readout)
    if any(parameter.requires_grad for parameter in method.parameters()):
        output.loss.backward()
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in method.parameters())
    for row in (0, 3):
        own = replace(
            first,
            embeddings=None if first.embeddings is None else first.embeddings.expand(len(batch), -1, -1)[row : row + 1],
        )
        if first.delta is None and first.keep is None and own.embeddings is not None:
            expected = alone_of(backbone, batch, own, row)
            torch.testing.assert_close(output.nll[row], expected, **CLOSE)


def alone_of(backbone: Backbone, batch: Batch, prompt: Prompt, row: int) -> Tensor:
    whole = replace(prompt, embeddings=prompt.embeddings.expand(len(batch), -1, -1))
    return alone(backbone, batch, whole, row).mean()


def test_labels_are_scored_as_before_where_there_is_no_target() -> None:
    backbone, batch, readout = case("llama", M)
    prompt = prompt_for(backbone, "plain")
    output = backbone(batch, prompt, readout)
    assert output.target_lengths is None
    torch.testing.assert_close(output.loss, F.cross_entropy(output.logits, batch.labels))


def test_an_encoder_refuses_targets() -> None:
    backbone, batch, readout = case("bert", M)
    with pytest.raises(BackboneError, match="reads texts and generates none"):
        backbone(replace(batch, targets=padded(TARGETS)), prompt_for(backbone, "plain"), readout)
    with pytest.raises(BackboneError, match="reads texts and generates none"):
        backbone_of("bert").make_vocabulary_readout()
