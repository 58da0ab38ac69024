r"""How much attention goes to the prompt: by site and head, by prompt token, and by who gives it.

Weights are (S, N, Q, m): S sites, N query heads, Q givers (the text's tokens, then the answer), m prompt tokens. A
softmax sums to 1 over prompt and text together, so what the prompt gets is the gate of He et al. 2022, section 3.1:

.. math:: \text{mass} = \sum_{j \le m} a_j = \lambda(x), \qquad
          \text{Attn} = (1 - \lambda)\, \text{Attn}(\text{text}) + \lambda\, \text{Attn}(\text{prompt})

"Towards a Unified View of Parameter-Efficient Transfer Learning", https://arxiv.org/abs/2110.04366
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class PromptMass:
    """Shares of attention (0 to 1) that reach the prompt; NaN where a site has no such giver or does not see it.

    ``answer`` and ``text`` are given to the whole prompt by site and head, by the answer and by the text's tokens on
    average. ``by_site`` and ``by_token`` say what the answer gives to each prompt token, averaged over heads, and over
    heads and sites. ``even`` is what the whole prompt would get at a site if the answer looked at everything alike.
    """

    answer: Float[np.ndarray, "S N"]
    text: Float[np.ndarray, "S N"]
    by_site: Float[np.ndarray, "S m"]
    by_token: Float[np.ndarray, " m"]
    uniform: Float[np.ndarray, " S"]


def prompt_mass(
    weights: Float[np.ndarray, "S N Q m"], others: Int[np.ndarray, " S"], kept: Int[np.ndarray, " S"]
) -> PromptMass:
    """What the prompt gets; at each site ``kept`` counts the prompt tokens seen there, and ``others`` the other keys.

    Raises:
        ValueError: if nobody gives.
    """
    w = np.asarray(weights, dtype=np.float64)
    if not w.shape[2]:
        raise ValueError(f"expected at least one giver, the answer as the last of them; got weights {w.shape}")
    answer = w[:, :, -1]
    by_site = _nan_mean(answer, (1,))
    even = kept / np.maximum(np.asarray(kept) + others, 1)
    # Where the prompt is out of sight, or the answer is not there yet, there is no even share either.
    even = np.where(np.isnan(answer).all((1, 2)), np.nan, even)
    text = _nan_mean(_nan_sum(w[:, :, :-1]), (2,))
    return PromptMass(_nan_sum(answer), text, by_site, _nan_mean(by_site, (0,)), even)


def attention_given(
    weights: Float[np.ndarray, "S N Q m"], site: int | None = None, head: int | None = None
) -> Float[np.ndarray, "Q m"]:
    """What each giver gives to each prompt token at one site and head; None averages over all of them."""
    chosen = np.asarray(weights, dtype=np.float64)
    chosen = chosen if site is None else chosen[site : site + 1]
    return _nan_mean(chosen if head is None else chosen[:, head : head + 1], (0, 1))


def _nan_mean(values: Float[np.ndarray, ...], axes: tuple[int, ...]) -> Float[np.ndarray, ...]:
    """The mean of what is there; NaN where nothing is."""
    there = ~np.isnan(values)
    count = there.sum(axes)
    sums = np.where(there, values, 0.0).sum(axes)
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)


def _nan_sum(values: Float[np.ndarray, "... m"]) -> Float[np.ndarray, ...]:
    """The sum of what is there along the last axis; NaN where nothing is."""
    there = ~np.isnan(values)
    return np.where(there.any(-1), np.where(there, values, 0.0).sum(-1), np.nan)
