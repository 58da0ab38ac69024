r"""The similarity of two prompts by eight measures, which can disagree.

For prompts :math:`P, Q \in \mathbb{R}^{m \times d}` with rows :math:`p_i, q_j`, and :math:`\tilde P = P - \bar p`:

.. math::
    \text{mean} &= \cos(\bar p, \bar q) \\
    \text{tokens} &= \tfrac{1}{m^2} \textstyle\sum_{ij} \cos(p_i, q_j) \\
    \text{concatenated} &= \cos(\mathrm{vec} P, \mathrm{vec} Q) \\
    \text{euclidean} &= 1 / (1 + \lVert P - Q \rVert_F) \\
    \text{euclidean tokens} &= 1 / (1 + \tfrac{1}{m^2} \textstyle\sum_{ij} \lVert p_i - q_j \rVert_2) \\
    \text{CKA} &= h(P P^\top, Q Q^\top) / \sqrt{h(P P^\top, P P^\top)\, h(Q Q^\top, Q Q^\top)} \\
    \text{subspace} &= \lVert U_P^\top U_Q \rVert_F^2 / r \\
    \text{neurons} &= |A_P \cap A_Q| / \sqrt{|A_P| |A_Q|}

Mean and tokens: Vu et al., "SPoT: Better Frozen Model Adaptation through Soft Prompt Transfer", ACL 2022, section 3,
https://aclanthology.org/2022.acl-long.346. Concatenated and the Euclidean two: Su et al., "On Transferability of Prompt
Tuning for Natural Language Processing", NAACL 2022, section 5, https://aclanthology.org/2022.naacl-main.290. Linear
CKA: Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019,
https://arxiv.org/abs/1905.00414, debiased as by Nguyen et al., "Do Wide and Deep Networks Learn the Same Things?", ICLR
2021, https://arxiv.org/abs/2010.15327: h is the unbiased estimator of the Hilbert-Schmidt independence criterion. The
biased one is near 1 for unrelated prompts, which have far fewer rows than dimensions. Subspace overlap is our addition:
U holds the r leading right singular vectors, r = 8 or the smaller rank of the two. Neurons: Su et al., section 5.1, the
cosine of which neurons of the frozen backbone each prompt activates (A), over all layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float

from ptviz.nearest_tokens import normalise_rows

SimilarityMetric = Literal["mean", "tokens", "concatenated", "euclidean", "euclidean tokens", "CKA", "subspace"]
SIMILARITY_METRICS: tuple[SimilarityMetric, ...] = get_args(SimilarityMetric)
NEURON_METRIC: Literal["neurons"] = "neurons"
"""The measure that compares the neurons a prompt activates in the backbone, see ``neuron_overlap``."""
ROWWISE_METRICS: tuple[SimilarityMetric, ...] = ("concatenated", "euclidean", "CKA")
"""Measures that compare row i with row i: both prompts need the same rows."""
_SUBSPACE_RANK = 8
_MIN_CKA_ROWS = 4
"""Rows below which the unbiased estimator behind CKA is not defined."""
_RANDOM_PAIRS = 100
"""Pairs of random prompts, at least, behind the value of unrelated prompts."""


@dataclass(frozen=True, eq=False)
class SimilarityMatrix:
    """The similarity of every pair of n prompts under one measure.

    Values are NaN where the measure is not defined: CKA of fewer than four rows.
    ``compared_rows`` is how many rows a row-by-row measure compared; None if all prompts were used completely.
    ``centred`` is whether the mean of all prompts was subtracted first.
    """

    metric: SimilarityMetric | Literal["neurons"]
    values: Float[np.ndarray, "n n"]
    compared_rows: int | None = None
    centred: bool = False


def compute_similarity(
    prompts: Sequence[Float[np.ndarray, "_ _"]],
    metric: SimilarityMetric = "mean",
    *,
    leave_out: Sequence[Bool[np.ndarray, " _"]] | None = None,
    centred: bool = False,
) -> SimilarityMatrix:
    """Compute the similarity of every pair of prompts (m, d).

    ``leave_out`` marks rows of each prompt to ignore, such as ``prompt_statistics.find_outliers``; a row-by-row measure
    ignores a row that either of a pair ignores. ``centred`` first subtracts the mean of the prompts' mean tokens, which
    prompts of one backbone tend to share. Row-by-row measures cut prompts of different lengths to the shortest.

    Raises:
        ValueError: for an unknown metric, widths that differ, or a prompt without rows left.
    """
    if metric not in SIMILARITY_METRICS:
        raise ValueError(f"expected a metric of {', '.join(SIMILARITY_METRICS)}; got {metric!r}")
    widths = {prompt.shape[1] for prompt in prompts}
    if len(widths) > 1:
        raise ValueError(f"expected prompts of one width d; got {sorted(widths)}: they belong to different backbones")
    found = [np.asarray(prompt, dtype=np.float64) for prompt in prompts]
    ignored = [np.asarray(rows, dtype=bool) for rows in leave_out or [np.zeros(len(p), dtype=bool) for p in found]]
    empty = [i for i, (p, out) in enumerate(zip(found, ignored, strict=True)) if not (~out).any()]
    if empty:
        raise ValueError(f"expected at least one row of every prompt; nothing is left of number {empty[0] + 1}")
    if centred and found:
        shared = np.mean([p[~out].mean(0) for p, out in zip(found, ignored, strict=True)], axis=0)
        found = [p - shared for p in found]
    values = np.eye(len(found))
    shortest = min((len(p) for p in found), default=0)
    trimmed = metric in ROWWISE_METRICS and any(len(p) != shortest for p in found)
    for i in range(len(found)):
        for j in range(i, len(found)):
            pair = _comparable_rows(found[i], found[j], ignored[i], ignored[j], metric in ROWWISE_METRICS)
            values[i, j] = values[j, i] = _METRIC_FUNCTIONS[metric](*pair)
    return SimilarityMatrix(metric, values, shortest if trimmed else None, centred)


@dataclass(frozen=True)
class RandomSimilarity:
    """The similarity of unrelated prompts: the median over ``pairs`` of random ones, and the middle 95%.

    NaN with fewer than two prompts, or where the measure is not defined.
    """

    median: float
    low: float
    high: float
    pairs: int
    seed: int


def draw_random_prompts(prompts: Sequence[Float[np.ndarray, "_ _"]], seed: int = 0) -> list[Float[np.ndarray, "_ _"]]:
    """Draw an independent random prompt for each given one: of its shape, and of the same root mean square entry."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=p.shape) * math.sqrt(float(np.square(p, dtype=np.float64).mean())) for p in prompts]


def random_similarity(
    prompts: Sequence[Float[np.ndarray, "_ _"]],
    metric: SimilarityMetric = "mean",
    *,
    leave_out: Sequence[Bool[np.ndarray, " _"]] | None = None,
    centred: bool = False,
    seed: int = 0,
) -> RandomSimilarity:
    """Compute what a measure gives for unrelated prompts of the same shapes: what a similarity has to exceed.

    The other options are those of ``compute_similarity``, and so are the errors.
    """
    count = len(prompts)
    if count < 2:
        return summarise_random_similarity([], seed)
    draws = math.ceil(_RANDOM_PAIRS / (count * (count - 1) / 2))
    found = [
        compute_similarity(
            draw_random_prompts(prompts, seed + draw), metric, leave_out=leave_out, centred=centred
        ).values
        for draw in range(draws)
    ]
    return summarise_random_similarity(found, seed)


def summarise_random_similarity(found: Sequence[Float[np.ndarray, "n n"]], seed: int) -> RandomSimilarity:
    """Return the median and the middle 95% of the pairs in similarity matrices of random prompts."""
    values = np.concatenate([one[np.triu_indices(len(one), 1)] for one in found]) if found else np.zeros(0)
    if not values.size or not np.isfinite(values).all():
        return RandomSimilarity(math.nan, math.nan, math.nan, 0, seed)
    low, median, high = np.quantile(values, (0.025, 0.5, 0.975)).tolist()
    return RandomSimilarity(median, low, high, len(values), seed)


def neuron_overlap(active: Sequence[Bool[np.ndarray, "layers n"]]) -> SimilarityMatrix:
    """Compute the overlap of the neurons that two prompts activate, for every pair: 1 the same, 0 none in common.

    Raises:
        ValueError: if the prompts were run on different backbones.
    """
    shapes = {one.shape for one in active}
    if len(shapes) > 1:
        raise ValueError(f"expected the neurons of one backbone; got shapes {sorted(shapes)}")
    values = np.eye(len(active))
    flat = [np.asarray(one, dtype=np.float64).ravel() for one in active]
    for i in range(len(flat)):
        for j in range(i):
            values[i, j] = values[j, i] = _cosine(flat[i], flat[j])
    return SimilarityMatrix(NEURON_METRIC, values)


def _comparable_rows(
    p: np.ndarray, q: np.ndarray, out_p: np.ndarray, out_q: np.ndarray, aligned: bool
) -> tuple[np.ndarray, np.ndarray]:
    if not aligned:
        return p[~out_p], q[~out_q]
    rows = min(len(p), len(q))
    live = ~(out_p[:rows] | out_q[:rows])
    if not live.any():
        raise ValueError("expected at least one row that neither prompt leaves out; there is none")
    return p[:rows][live], q[:rows][live]


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 0 else 0.0


def _mean_cosine(p: np.ndarray, q: np.ndarray) -> float:
    return _cosine(p.mean(0), q.mean(0))


def _token_cosine(p: np.ndarray, q: np.ndarray) -> float:
    return float((normalise_rows(p) @ normalise_rows(q).T).mean())


def _concatenated_cosine(p: np.ndarray, q: np.ndarray) -> float:
    return _cosine(p.ravel(), q.ravel())


def _euclidean_similarity(p: np.ndarray, q: np.ndarray) -> float:
    return 1 / (1 + float(np.linalg.norm(p - q)))


def _euclidean_token_similarity(p: np.ndarray, q: np.ndarray) -> float:
    squares = (p**2).sum(1)[:, None] + (q**2).sum(1)[None] - 2 * p @ q.T
    return 1 / (1 + float(np.sqrt(np.maximum(squares, 0)).mean()))


def _cka(p: np.ndarray, q: np.ndarray) -> float:
    if len(p) < _MIN_CKA_ROWS:
        return math.nan
    grams = [x @ x.T for x in (p - p.mean(0), q - q.mean(0))]
    size = _unbiased_hsic(grams[0], grams[0]) * _unbiased_hsic(grams[1], grams[1])
    return _unbiased_hsic(grams[0], grams[1]) / math.sqrt(size) if size > 0 else 0.0


def _unbiased_hsic(k: np.ndarray, q: np.ndarray) -> float:
    """Return the unbiased estimate of the Hilbert-Schmidt independence criterion from two Gram matrices (n, n).

    Source: Song et al., "Feature Selection via Dependence Maximization", JMLR 2012, section 4.1,
    https://jmlr.org/papers/v13/song12a.html.
    """
    n = len(k)
    k, q = (np.where(np.eye(n, dtype=bool), 0, gram) for gram in (k, q))
    rows_k, rows_q = k.sum(0), q.sum(0)
    shared = rows_k.sum() * rows_q.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (rows_k @ rows_q)
    return float(((k * q).sum() + shared) / (n * (n - 3)))


def _subspace_overlap(p: np.ndarray, q: np.ndarray) -> float:
    found = [np.linalg.svd(x, full_matrices=False)[1:] for x in (p, q)]
    # Directions beyond the rank of a collapsed prompt are rounding error.
    ranks = [int((sizes > 1e-6 * sizes[0]).sum()) for sizes, _ in found]
    rank = min(_SUBSPACE_RANK, *ranks)
    if not rank:
        return 0.0
    bases = [directions[:rank] for _, directions in found]
    return float(((bases[0] @ bases[1].T) ** 2).sum() / rank)


_METRIC_FUNCTIONS: dict[SimilarityMetric, Callable[[np.ndarray, np.ndarray], float]] = {
    "mean": _mean_cosine,
    "tokens": _token_cosine,
    "concatenated": _concatenated_cosine,
    "euclidean": _euclidean_similarity,
    "euclidean tokens": _euclidean_token_similarity,
    "CKA": _cka,
    "subspace": _subspace_overlap,
}
