"""The attention function against loops in float64, and as attention over a concatenation."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import pad

from ptviz.backbones import BackboneError
from ptviz.backbones.prompt_attention import attend, join_key_values
from tests.families import precisely


def site(index: int = 0) -> nn.Module:
    """Return an attention layer with its site index."""
    module = nn.Identity()
    module.site = index
    return module


def looped(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """Compute softmax(q k / scale + bias) v in loops; heads are shared by groups of queries."""
    B, N, Q, h = q.shape
    groups = N // k.shape[1]
    out = torch.zeros(B, Q, N, h, dtype=torch.float64)
    for b in range(B):
        for n in range(N):
            for i in range(Q):
                scores = []
                for j in range(k.shape[2]):
                    dot = sum(float(q[b, n, i, c]) * float(k[b, n // groups, j, c]) for c in range(h)) * scale
                    dot += 0.0 if bias is None else float(bias[0, n, i, j])
                    scores.append(dot if bool(allowed[b, 0, i, j]) else -math.inf)
                top = max(scores)
                weights = [math.exp(score - top) for score in scores]
                for j, weight in enumerate(weights):
                    for c in range(h):
                        out[b, i, n, c] += weight / sum(weights) * float(v[b, n // groups, j, c])
    return out


@st.composite
def situations(draw: st.DrawFn) -> dict[str, Any]:
    size = {name: draw(st.integers(1, 3)) for name in ("B", "H", "h", "n", "Q")}
    size["groups"], size["m"] = draw(st.integers(1, 2)), draw(st.integers(0, 3))
    flags = {name: draw(st.booleans()) for name in ("shared", "biased", "masked")}
    return {**size, **flags, "seed": draw(st.integers(0, 1000))}


@settings(max_examples=40)
@given(situations())
def test_attention_with_a_prefix_is_attention_over_the_concatenation(s: dict[str, Any]) -> None:
    make = torch.Generator().manual_seed(s["seed"])

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=make, dtype=torch.float64)

    q = random(s["B"], s["H"] * s["groups"], s["Q"], s["h"])
    k, v = random(s["B"], s["H"], s["n"], s["h"]), random(s["B"], s["H"], s["n"], s["h"])
    prefix = random(1, 2, 1 if s["shared"] else s["B"], s["H"], s["m"], s["h"])
    bias = random(1, s["H"] * s["groups"], s["Q"], s["n"]) if s["biased"] else None
    mask = torch.rand(s["B"], 1, s["Q"], s["n"], generator=make) < 0.6 if s["masked"] else None
    if mask is not None:
        mask[..., 0] = True  # a query with nothing to see has no answer
    with precisely():
        ours, _ = attend(site(), q, k, v, mask, scaling=0.7, position_bias=bias, prompt_kv=prefix)
    wide = prefix.expand(-1, -1, s["B"], -1, -1, -1)
    keys, values = torch.cat([wide[0, 0], k], 2), torch.cat([wide[0, 1], v], 2)
    allowed = torch.ones(s["B"], 1, s["Q"], s["n"], dtype=torch.bool) if mask is None else mask
    allowed, bias = pad(allowed, (s["m"], 0), value=True), None if bias is None else pad(bias, (s["m"], 0))
    whole = looped(q, keys, values, allowed, bias, 0.7)
    torch.testing.assert_close(ours, whole, atol=1e-12, rtol=1e-12)


@settings(max_examples=25)
@given(situations())
def test_visiting_changes_nothing_and_weights_sum_to_one(s: dict[str, Any]) -> None:
    make = torch.Generator().manual_seed(s["seed"])
    q = torch.randn(s["B"], s["H"] * s["groups"], s["Q"], s["h"], generator=make)
    k, v = torch.randn(2, s["B"], s["H"], s["n"], s["h"], generator=make)
    prefix = torch.randn(4, 2, 1, s["H"], s["m"], s["h"], generator=make)
    mask = torch.rand(s["B"], 1, s["Q"], s["n"], generator=make) < 0.6
    mask[..., 0] = True
    bias = torch.randn(1, s["H"] * s["groups"], s["Q"], s["n"], generator=make) if s["biased"] else None
    seen: dict[int, Tensor] = {}
    plain, none = attend(site(3), q, k, v, mask, position_bias=bias, prompt_kv=prefix)
    watch = seen.__setitem__
    watched, weights = attend(site(3), q, k, v, mask, position_bias=bias, prompt_kv=prefix, on_attention=watch)
    assert none is None
    assert weights is seen[3]
    assert list(seen) == [3]
    assert weights.shape == (s["B"], s["H"] * s["groups"], s["Q"], s["m"] + s["n"])
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    hidden = ~mask.expand(-1, weights.shape[1], -1, -1)
    assert (weights[..., s["m"] :][hidden] == 0).all()
    torch.testing.assert_close(plain, watched, atol=1e-6, rtol=1e-5)


def test_each_site_uses_its_own_prefix() -> None:
    q, k, v = torch.randn(3, 1, 2, 4, 3, generator=torch.Generator().manual_seed(0))
    prefix = torch.randn(2, 2, 1, 2, 5, 3, generator=torch.Generator().manual_seed(1))
    first, _ = attend(site(0), q, k, v, None, prompt_kv=prefix)
    again, _ = attend(site(0), q, k, v, None, prompt_kv=prefix[:1])
    second, _ = attend(site(1), q, k, v, None, prompt_kv=prefix)
    assert torch.equal(first, again)
    assert not torch.allclose(first, second)


def test_softmax_runs_in_float32_and_the_result_has_the_models_type() -> None:
    q, k, v = torch.randn(3, 1, 2, 4, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    mixed, _ = attend(site(), q, k, v, None)
    assert mixed.dtype == torch.bfloat16
    exact, _ = attend(site(), q.float(), k.float(), v.float(), None)
    assert torch.equal(mixed, exact.bfloat16())


@pytest.mark.parametrize("variant", ["s_aux", "sinks"])
def test_unsupported_variants_are_refused(variant: str) -> None:
    q = torch.zeros(1, 1, 2, 4)
    with pytest.raises(BackboneError, match=f"{variant}.*choose another backbone"):
        attend(site(), q, q, q, None, **{variant: torch.ones(1)})
    attend(site(), q, q, q, None, **{variant: None})


def test_masks_that_are_no_masks_and_second_calls_are_refused() -> None:
    q = torch.zeros(1, 1, 2, 4)
    with pytest.raises(BackboneError, match=r"mask holds scores of its own.*choose another backbone"):
        attend(site(), q, q, q, torch.zeros(1, 1, 2, 2))
    module, seen = site(), {}
    attend(module, q, q, q, None, list_sites=seen)
    with pytest.raises(BackboneError, match=r"computed twice a layer.*choose another backbone"):
        attend(module, q, q, q, None, list_sites=seen)


def test_rows_that_see_nothing_stay_finite() -> None:
    q = torch.randn(1, 1, 2, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    mask = torch.tensor([[[[True, True], [False, False]]]])
    mixed, _ = attend(site(), q, q, q, mask, softcap=1.0)
    mixed[0, 0].sum().backward()
    assert mixed.isfinite().all()
    assert q.grad is not None
    assert q.grad.isfinite().all()


def test_joined_prefixes_are_concatenated() -> None:
    first = torch.randn(2, 2, 1, 2, 3, 4)
    second = {1: (torch.randn(1, 2, 5, 4), torch.randn(1, 2, 5, 4)), 0: (torch.randn(1, 2, 5, 4),) * 2}
    joined = join_key_values(first, second)
    for index in (0, 1):
        for part in (0, 1):
            assert torch.equal(joined[index][part], torch.cat([first[index, part], second[index][part]], -2))
