"""Cases in which one method must equal another, or no prompt at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ptviz.methods import DPT, DePT, PromptMethod, PTMoE, SMoP, StaticPrompt, XPrompt, build_method
from ptviz.prompt import Prompt
from tests.families import TASK, backbone_of, case, method_of

FAMILIES = pytest.mark.parametrize("family", ["bert", "pooled", "modernbert", "gpt2", "llama", "t5", "bart"])
M = 4


def scores(family: str, prompt_of: Callable[..., Prompt], m: int) -> Tensor:
    backbone, batch, readout = case(family, m)
    with torch.no_grad():
        return backbone(batch, prompt_of(batch), readout).logits


def with_prompt(method: PromptMethod, P: Tensor) -> PromptMethod:
    """Return a copy of prompt tuning with this prompt."""
    twin = build_method("prompt-tuning", backbone_of("bert").make_spec(64, TASK.label_words), {"m": len(P)}).eval()
    with torch.no_grad():
        twin.P.copy_(P)
    return twin


@FAMILIES
def test_smop_with_one_expert_is_prompt_tuning(family: str) -> None:
    method = method_of("smop", backbone_of(family), m=M, k=1)
    assert isinstance(method, SMoP)
    ours, plain = scores(family, method, M), scores(family, with_prompt(method, method.P[0]), M)
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(scores(family, method_of("smop", backbone_of(family), m=M, k=2), M), plain, atol=1e-3)


@FAMILIES
def test_dept_without_a_shift_is_prompt_tuning(family: str) -> None:
    method = method_of("dept", backbone_of(family), m=M)
    assert isinstance(method, DePT)
    plain = scores(family, with_prompt(method, method.P), M)
    assert not torch.allclose(scores(family, method, M), plain, atol=1e-3)
    torch.nn.init.zeros_(method.B)
    assert torch.equal(scores(family, method, M), plain)


@FAMILIES
def test_dept_starts_as_prompt_tuning(family: str) -> None:
    method = build_method("dept", backbone_of(family).make_spec(64, TASK.label_words), {"m": M}).eval()
    assert (method.A != 0).all()
    assert torch.equal(scores(family, method, M), scores(family, with_prompt(method, method.P), M))


@FAMILIES
@pytest.mark.parametrize("pruned", ["zero", "drop"])
def test_xprompt_with_nothing_pruned_is_prompt_tuning(family: str, pruned: str) -> None:
    """Bit for bit: a mask of ones changes no product, and one that hides nothing no attention."""
    method = method_of("xprompt", backbone_of(family), m=M, pruned=pruned)
    assert isinstance(method, XPrompt)
    plain = scores(family, with_prompt(method, method.P), M)
    assert torch.equal(scores(family, method, M), plain)
    method.gamma[1] = 0.0
    assert not torch.allclose(scores(family, method, M), plain, atol=1e-3)


@FAMILIES
def test_xprompt_drops_a_token_for_good(family: str) -> None:
    """The values of a dropped token have no effect; a token of 0 can still be attended to."""
    zero, drop = (method_of("xprompt", backbone_of(family), m=M, pruned=pruned) for pruned in ("zero", "drop"))
    for method in (zero, drop):
        method.gamma[1] = 0.0
    assert not torch.allclose(scores(family, zero, M), scores(family, drop, M), atol=1e-3)
    keep = torch.tensor([True, False, True, True])
    hidden = scores(family, lambda b: replace(with_prompt(drop, drop.P)(b), keep=keep), M)
    torch.testing.assert_close(scores(family, drop, M), hidden, atol=1e-5, rtol=1e-5)


@FAMILIES
def test_pt_moe_with_one_expert_is_dpt(family: str) -> None:
    method = method_of("pt-moe", backbone_of(family), m=M, r=3, k=1)
    twin = method_of("dpt", backbone_of(family), m=M, r=3)
    assert isinstance(method, PTMoE)
    assert isinstance(twin, DPT)
    with torch.no_grad():
        twin.A.copy_(method.A[0])
        twin.B.copy_(method.B)
    torch.testing.assert_close(scores(family, method, M), scores(family, twin, M), atol=1e-5, rtol=1e-5)
    two = method_of("pt-moe", backbone_of(family), m=M, r=3, k=2)
    assert not torch.allclose(scores(family, two, M), scores(family, twin, M), atol=1e-3)


@pytest.mark.parametrize("name", ["dpt", "pt-moe"])
@pytest.mark.parametrize("r", [1, 2, 3])
def test_decomposed_prompts_have_no_more_than_their_rank(name: str, r: int) -> None:
    """And no less, with large parameters: the factors set the bound, not chance."""
    method = method_of(name, backbone_of("bert"), m=M, r=r)
    for prompt in method(case("bert", M)[1]).embeddings:
        assert torch.linalg.matrix_rank(prompt, rtol=1e-5) == r


@FAMILIES
@pytest.mark.parametrize("name", ["dpt", "dept", "xprompt"])
def test_folding_leaves_the_scores(family: str, name: str) -> None:
    method = method_of(name, backbone_of(family), m=M)
    if isinstance(method, XPrompt):
        method.pruned = "drop"
        method.gamma[2], method.zeta[0, :5] = 0.0, 0.0
    merged = method.merge()
    assert isinstance(merged, StaticPrompt)
    assert not list(merged.parameters())
    torch.testing.assert_close(scores(family, merged, M), scores(family, method, M), atol=1e-6, rtol=1e-6)
    whole = scores(family, method, M)
    merged.embeddings[0, 0].neg_()
    assert not torch.allclose(scores(family, merged, M), whole, atol=1e-3)


@FAMILIES
def test_keeping_every_token_is_prompt_tuning(family: str) -> None:
    method = method_of("prompt-tuning", backbone_of(family), m=M)
    keep = torch.ones(M, dtype=torch.bool)
    kept = scores(family, lambda batch: replace(method(batch), keep=keep), M)
    torch.testing.assert_close(kept, scores(family, method, M), atol=1e-6, rtol=1e-6)


@FAMILIES
def test_keeping_no_token_is_no_prompt(family: str) -> None:
    """A fully masked prefix; positions count what is visible, so it holds for learned positions too."""
    method = method_of("prompt-tuning", backbone_of(family), m=M)
    keep = torch.zeros(M, dtype=torch.bool)
    gone = scores(family, lambda batch: replace(method(batch), keep=keep), M)
    if family == "bart":
        pytest.skip("BART counts positions by column: unskip where its backbone passes positions of its own")
    torch.testing.assert_close(gone, scores(family, lambda batch: Prompt(), 0), atol=2e-5, rtol=2e-5)
    assert not torch.allclose(gone, scores(family, method, M), atol=1e-3)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_pruned_tokens_of_a_causal_model_are_equal_to_none(family: str) -> None:
    method = method_of("prompt-tuning", backbone_of(family), m=M)
    keep = torch.tensor([True, False, False, True])
    pruned = scores(family, lambda batch: replace(method(batch), keep=keep), M)
    short = scores(family, with_prompt(method, method.P[keep]), 2)
    torch.testing.assert_close(pruned, short, atol=1e-5, rtol=1e-5)


@FAMILIES
def test_a_prefix_of_length_zero_is_no_prefix(family: str) -> None:
    backbone = backbone_of(family)
    empty = torch.zeros(backbone.sites, 2, 1, backbone.heads, 0, backbone.head_width)
    assert torch.equal(scores(family, lambda batch: Prompt(key_values=empty), 0), scores(family, lambda b: Prompt(), 0))


@FAMILIES
def test_a_shift_of_zero_is_no_shift(family: str) -> None:
    plain = scores(family, lambda batch: Prompt(), 0)
    assert torch.equal(scores(family, lambda b: Prompt(delta=torch.zeros_like(b.embeddings)), 0), plain)


@FAMILIES
def test_one_prompt_for_all_is_the_same_prompt_for_each(family: str) -> None:
    """Batch axis 1 says that a prompt is static; spelled out row by row it gives the same scores."""
    backbone = backbone_of(family)
    P, method = torch.randn(1, M, 32), method_of("p-tuning-v2", backbone, m=M)
    shared = scores(family, lambda batch: Prompt(embeddings=P), M)
    spelled = scores(family, lambda batch: Prompt(embeddings=P.expand(len(batch), -1, -1)), M)
    torch.testing.assert_close(shared, spelled, atol=1e-5, rtol=1e-5)
    shared = scores(family, method, 0)
    spelled = scores(family, lambda b: Prompt(key_values=method(b).key_values.expand(-1, -1, len(b), -1, -1, -1)), 0)
    torch.testing.assert_close(shared, spelled, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["prompt-tuning", "p-tuning-v2", "dept", "dpt", "xprompt"])
def test_static_prompts_have_batch_axis_one(name: str) -> None:
    backbone = backbone_of("bert")
    method = method_of(name, backbone)
    prompt = method(case("bert", method.slots)[1])
    assert prompt.is_static
    assert prompt.embeddings is None or len(prompt.embeddings) == 1
    assert prompt.key_values is None or prompt.key_values.shape[2] == 1


@pytest.mark.parametrize("name", ["smop", "pt-moe"])
def test_routed_prompts_are_not_static(name: str) -> None:
    method = method_of(name, backbone_of("bert"))
    prompt = method(case("bert", method.slots)[1])
    assert not prompt.is_static
    torch.testing.assert_close(prompt.routing.sum(1), torch.ones(8))
