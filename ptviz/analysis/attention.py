r"""Attention on the prompt: by site and head, by prompt token, and by query.

Weights are (S, N, Q, m): S sites, N query heads, Q queries (the text's tokens, then the answer), m prompt tokens. A
softmax sums to 1 over prompt and text together, so the mass on the prompt is the gate of He et al. 2022, section 3.1:

.. math:: \text{mass} = \sum_{j \le m} a_j = \lambda(x), \qquad
          \text{Attn} = (1 - \lambda)\, \text{Attn}(\text{text}) + \lambda\, \text{Attn}(\text{prompt})

"Towards a Unified View of Parameter-Efficient Transfer Learning", https://arxiv.org/abs/2110.04366
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class PromptMass:
    """Shares of attention (0 to 1) on the prompt; NaN where a site has no such query or does not see the prompt.

    ``answer`` and ``text`` (S, N) are the mass on all prompt tokens, of the answer and averaged over the text's tokens.
    ``by_site`` (S, m) is the answer's attention on each prompt token averaged over heads, ``by_token`` (m) over heads
    and sites. ``uniform`` (S) is the mass on the prompt under uniform attention of the answer.
    """

    answer: Float[np.ndarray, "S N"]
    text: Float[np.ndarray, "S N"]
    by_site: Float[np.ndarray, "S m"]
    by_token: Float[np.ndarray, " m"]
    uniform: Float[np.ndarray, " S"]


def site_word(sites: Sequence[str]) -> str:
    """Return what attention sites of these names are: layers, unless a layer has several, as in an encoder-decoder."""
    return "layer" if all(name.isdigit() for name in sites) else "site"


def prompt_mass(
    weights: Float[np.ndarray, "S N Q m"], others: Int[np.ndarray, " S"], visible: Int[np.ndarray, " S"]
) -> PromptMass:
    """Return the attention mass on the prompt.

    At each site ``visible`` counts the prompt tokens that can be attended to, ``others`` the other keys.

    Raises:
        ValueError: if there is no query.
    """
    w = np.asarray(weights, dtype=np.float64)
    if not w.shape[2]:
        raise ValueError(f"expected at least one query, the answer as the last of them; got weights {w.shape}")
    answer = w[:, :, -1]
    by_site = _nan_mean(answer, (1,))
    uniform = visible / np.maximum(np.asarray(visible) + others, 1)
    # Where the site does not see the prompt, or has no answer token, uniform attention means nothing either.
    uniform = np.where(np.isnan(answer).all((1, 2)), np.nan, uniform)
    return PromptMass(
        answer=_nan_sum(answer),
        text=_nan_mean(_nan_sum(w[:, :, :-1]), (2,)),
        by_site=by_site,
        by_token=_nan_mean(by_site, (0,)),
        uniform=uniform,
    )


def attention_given(
    weights: Float[np.ndarray, "S N Q m"], site: int | None = None, head: int | None = None
) -> Float[np.ndarray, "Q m"]:
    """Return the attention of each query on each prompt token at one site and head; None averages over all of them."""
    selected = np.asarray(weights, dtype=np.float64)
    selected = selected if site is None else selected[site : site + 1]
    return _nan_mean(selected if head is None else selected[:, head : head + 1], (0, 1))


def _nan_mean(values: Float[np.ndarray, ...], axes: tuple[int, ...]) -> Float[np.ndarray, ...]:
    """Return the mean of the values that are not NaN; NaN where all are, without numpy's warning."""
    finite = ~np.isnan(values)
    count = finite.sum(axes)
    sums = np.where(finite, values, 0.0).sum(axes)
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)


def _nan_sum(values: Float[np.ndarray, "... m"]) -> Float[np.ndarray, ...]:
    """Return the sum along the last axis of the values that are not NaN; NaN where all are."""
    finite = ~np.isnan(values)
    return np.where(finite.any(-1), np.where(finite, values, 0.0).sum(-1), np.nan)
