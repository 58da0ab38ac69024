"""A static prompt of a causal model runs once per batch, with the loss and gradient of running it per row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from ptviz.backbones import Backbone, Readout, decoder
from ptviz.backbones.decoder import DecoderBackbone
from ptviz.prompt import Batch, Prompt
from ptviz.tasks.collate import collate
from ptviz.tasks.template import Template
from tests.families import DECODERS, TASK, backbone_of, case, copied, precisely

M = 4


@pytest.fixture(params=["packed", "two passes"])
def shared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record how many leading columns were shared in each call, by one pass of packed tokens or by two passes."""
    calls: list[int] = []
    if request.param == "two passes":
        monkeypatch.setattr(decoder, "can_pack", lambda *arguments: False)
    name = "run_packed_rows" if request.param == "packed" else "run_shared_prompt"
    original = getattr(DecoderBackbone, name)

    def watched(self: Any, batch: Any, x: Any, mask: Any, prompt: Any, lead: int) -> Any:
        calls.extend([lead] if lead else [])
        return original(self, batch, x, mask, prompt, lead)

    monkeypatch.setattr(DecoderBackbone, name, watched)
    return calls


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def leaves(backbone: Backbone, batch: Batch, ways: str) -> dict[str, Any]:
    """Return the trainable tensors of a prompt of these kinds."""
    found: dict[str, Any] = {"embeddings": random(1, M, 32)}
    if "delta" in ways:
        # As DePT's: a function of the place among the text's tokens, nothing elsewhere.
        place = (batch.text_mask.cumsum(1) - 1).clamp(min=0)
        found["delta"] = random(64, 32, seed=1)[place] * batch.text_mask[..., None]
    if "key_values" in ways:
        found["key_values"] = random(backbone.sites, 2, 1, backbone.heads, M, backbone.head_width, seed=2)
    return {name: tensor.requires_grad_() for name, tensor in found.items()}


def answer(
    backbone: Backbone, batch: Batch, readout: Readout, ways: str, per_row: bool, dtype: torch.dtype
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return losses and gradients; requesting hidden states makes the decoder run every row in full."""
    parts = {name: t.detach().to(dtype).requires_grad_() for name, t in leaves(backbone, batch, ways).items()}
    keep = torch.tensor([True, False, True, True]) if "keep" in ways else None
    output = backbone(batch, Prompt(**parts, keep=keep), readout, hidden=per_row)
    output.loss.backward()
    return output.nll.detach(), {name: part.grad for name, part in parts.items()}


WAYS = ("plain", "delta", "keep", "key_values", "delta keep key_values")


@pytest.mark.parametrize("ways", WAYS)
@pytest.mark.parametrize("family", DECODERS)
def test_sharing_changes_neither_loss_nor_gradient(family: str, ways: str, shared: list[int]) -> None:
    backbone, batch, readout = case(family, M)
    fast, gradients = answer(backbone, batch, readout, ways, False, torch.float32)
    assert len(shared) == 1, "the fast path was not taken"
    slow, expected = answer(backbone, batch, readout, ways, True, torch.float32)
    assert len(shared) == 1, "the slow path was not taken"
    torch.testing.assert_close(fast, slow, atol=2e-5, rtol=1e-5)
    for name, gradient in expected.items():
        assert gradient.abs().max() > 1e-6, f"{name} gets no gradient: this compares nothing"
        torch.testing.assert_close(gradients[name], gradient, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("ways", WAYS)
def test_sharing_is_exact_in_float64(ways: str, shared: list[int]) -> None:
    """GPT-2 computes everything in its weights' type, so only the order of sums can differ."""
    backbone, batch, readout = case("gpt2", M)
    precise = copied(backbone, torch.float64)
    with precisely():
        batch = replace(batch, embeddings=batch.embeddings.double())
        readout = replace(readout, weight=readout.weight.double())
        fast, gradients = answer(precise, batch, readout, ways, False, torch.float64)
        slow, expected = answer(precise, batch, readout, ways, True, torch.float64)
    assert shared == [M]
    torch.testing.assert_close(fast, slow, atol=1e-12, rtol=1e-12)
    for name in expected:
        torch.testing.assert_close(gradients[name], expected[name], atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("pattern", ["Question: {prompt}\n{text}\n{cue}", "{prompt}\n{text}\n{cue}"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_common_words_before_the_prompt_are_shared_too(family: str, pattern: str, shared: list[int]) -> None:
    backbone, batch, readout = laid_out(family, pattern)
    fast, gradients = answer(backbone, batch, readout, "delta", False, torch.float32)
    assert shared == [int(batch.slots[0].nonzero()[-1]) + 1]
    slow, expected = answer(backbone, batch, readout, "delta", True, torch.float32)
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradients["embeddings"], expected["embeddings"], atol=1e-5, rtol=1e-4)
    # Of the shift, every row has its own gradient behind the prompt; ahead of it only the sum over rows counts.
    torch.testing.assert_close(gradients["delta"].sum(0), expected["delta"].sum(0), atol=1e-5, rtol=1e-4)


def laid_out(family: str, pattern: str) -> tuple[Backbone, Batch, Readout]:
    backbone = backbone_of(family)
    template = Template(pattern, "last", TASK.cue)
    rows = [template.encode(row.text, backbone.tokeniser, M, 64)._replace(label=row.label) for row in TASK.train[:6]]
    return (
        backbone,
        collate(rows, backbone.pad_id, backbone.embed_tokens),
        backbone.make_readout(TASK.label_words, TASK.descriptions),
    )


def rows_differ(batch: Batch) -> tuple[Batch, Prompt]:
    return batch, Prompt(embeddings=random(len(batch), M, 32))


def tokens_differ(batch: Batch) -> tuple[Batch, Prompt]:
    """Use another word before the prompt in one row."""
    ids = batch.input_ids.clone()
    ids[1, 0] = 77
    embeddings = batch.embeddings.clone()
    embeddings[1, 0] = random(32, seed=5)
    return replace(batch, input_ids=ids, embeddings=embeddings), Prompt(embeddings=random(1, M, 32))


def shifts_differ(batch: Batch) -> tuple[Batch, Prompt]:
    """Shift the same word before the prompt differently in every row."""
    delta = random(*batch.embeddings.shape, seed=6) * batch.text_mask[..., None]
    return batch, Prompt(embeddings=random(1, M, 32), delta=delta)


def keys_differ(batch: Batch) -> tuple[Batch, Prompt]:
    return batch, Prompt(embeddings=random(1, M, 32), key_values=random(2, 2, len(batch), 2, M, 8))


def places_differ(batch: Batch) -> tuple[Batch, Prompt]:
    """Pad one row on the left, so that its prompt is one column further."""
    at = {name: getattr(batch, name).clone() for name in ("input_ids", "mask", "slots", "readout_mask", "embeddings")}
    for name, tensor in at.items():
        fill = torch.zeros_like(tensor[0, :1])
        at[name] = torch.cat([tensor, torch.stack([fill] * len(tensor))], 1)
        at[name][2] = torch.cat([fill, tensor[2]])
    return replace(batch, **at), Prompt(embeddings=random(1, M, 32))


@pytest.mark.parametrize("vary", [rows_differ, tokens_differ, shifts_differ, keys_differ, places_differ])
def test_columns_that_differ_by_row_are_not_shared(
    vary: Callable[[Batch], tuple[Batch, Prompt]], shared: list[int]
) -> None:
    backbone, batch, readout = laid_out("llama", "Question: {prompt}\n{text}\n{cue}")
    batch, prompt = vary(batch)
    with torch.no_grad():
        ours = backbone(batch, prompt, readout).logits
        assert shared == []
        alone = torch.cat([backbone(*row(batch, prompt, i), readout).logits for i in range(len(batch))])
    torch.testing.assert_close(ours, alone, atol=1e-5, rtol=1e-5)


def row(batch: Batch, prompt: Prompt, i: int) -> tuple[Batch, Prompt]:
    """Return one row of a batch without its padding, and its part of the prompt."""
    real, own = batch.mask[i], slice(i, i + 1)
    names = ("input_ids", "mask", "slots", "readout_mask", "embeddings")
    columns = {name: getattr(batch, name)[own, real] for name in names}
    share: dict[str, Tensor] = {}
    if prompt.embeddings is not None and len(prompt.embeddings) > 1:
        share["embeddings"] = prompt.embeddings[own]
    if prompt.key_values is not None:
        share["key_values"] = prompt.key_values[:, :, own]
    if prompt.delta is not None:
        share["delta"] = prompt.delta[own, real]
    return Batch(**columns, labels=batch.labels[own], task_ids=batch.task_ids[own]), replace(prompt, **share)


@torch.no_grad()
def test_a_prefix_is_the_past_of_a_causal_model() -> None:
    """Keys and values of real tokens, given as a prefix, continue those tokens (GPT-2, Llama)."""
    for family in ("gpt2", "llama"):
        backbone, batch, readout = case(family, 0)
        past = torch.tensor([[30, 41, 52, 63]])
        left: dict[int, tuple[Tensor, Tensor]] = {}
        backbone.model.base_model(input_ids=past, collect_kv=left, use_cache=False)
        kv = torch.stack([torch.stack(left[site]) for site in range(backbone.sites)])
        ours = backbone(batch, Prompt(key_values=kv), readout).logits
        ahead = past.expand(len(batch), -1)
        true = torch.ones_like(ahead, dtype=torch.bool)
        longer = Batch(
            torch.cat([ahead, batch.input_ids], 1), torch.cat([true, batch.mask], 1),
            torch.cat([~true, batch.slots], 1), torch.cat([~true, batch.readout_mask], 1), batch.labels, batch.task_ids,
            torch.cat([backbone.embed_tokens(ahead), batch.embeddings], 1),
        )  # fmt: skip
        torch.testing.assert_close(ours, backbone(longer, Prompt(), readout).logits, atol=1e-5, rtol=1e-5)
