r"""Who goes where: how routing weights spread over experts or source prompts, by step, by input and by class.

A routing is a matrix (n, k) whose rows sum to 1. The expert of an input is the one with its largest weight.

.. math:: H = -\sum_j \bar a_j \log \bar a_j, \qquad \text{balance} = e^{H} / k, \qquad
          I(\text{class}; \text{expert}) = \sum_{c,j} p(c, j) \log \frac{p(c, j)}{p(c)\, p(j)}

Cover and Thomas, "Elements of Information Theory", 2nd edition 2006, chapter 2, https://doi.org/10.1002/047174882X
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

DEAD_SHARE = 0.01
"""An expert that gets less than this share of the inputs is called dead."""


@dataclass(frozen=True, eq=False)
class ExpertLoadCurve:
    """How the load spread while a run trained: ``loads`` (steps, k), each row the share of one batch each expert won.

    ``smooth`` is averaged over neighbouring steps, ``entropy`` (nats) and ``balance`` (1/k to 1; 1 is even) are
    those of the smoothed load.
    """

    steps: Int[np.ndarray, " steps"]
    loads: Float[np.ndarray, "steps k"]
    smoothed_loads: Float[np.ndarray, "steps k"]
    entropy: Float[np.ndarray, " steps"]
    balance: Float[np.ndarray, " steps"]


@dataclass(frozen=True, eq=False)
class RoutingSummary:
    """n inputs over k experts. ``load`` is the mean weight and ``share`` the part of inputs each expert wins.

    ``entropy`` is that of one input's weights, averaged (nats; 0 is decided, log k is undecided); ``balance`` is
    exp(entropy of share) / k (1/k to 1). ``table`` (c, k) counts inputs by class and expert, and ``information`` is
    their mutual information in nats, at most the entropy of the classes, ``class_entropy``.
    """

    experts: Int[np.ndarray, " n"]
    mean_weights: Float[np.ndarray, " k"]
    win_shares: Float[np.ndarray, " k"]
    entropy: float
    balance: float
    dead: Bool[np.ndarray, " k"]
    class_counts: Int[np.ndarray, "c k"]
    mutual_information: float
    class_entropy: float


@dataclass(frozen=True, eq=False)
class RoutingCounterfactual:
    """What n inputs would cost at each of k experts, against the method's own choice; losses in nats.

    ``loss`` and ``accuracy`` (k) are those of every input going to one expert; ``own`` and ``ideal`` are (loss,
    accuracy) as the method routes, and with each input at the expert where it costs least. ``chosen`` and ``best``
    name both experts of each input, ``table`` (k chosen, k best) counts them, ``agreement`` is the share where they
    are the same, and ``rises`` (n, k) is how much more each expert costs than the method's own routing.
    """

    loss: Float[np.ndarray, " k"]
    accuracy: Float[np.ndarray, " k"]
    as_routed: tuple[float, float]
    best_case: tuple[float, float]
    chosen_experts: Int[np.ndarray, " n"]
    best_experts: Int[np.ndarray, " n"]
    choice_counts: Int[np.ndarray, "k k"]
    agreement: float
    loss_increases: Float[np.ndarray, "n k"]


def compute_counterfactual(
    weights: Float[np.ndarray, "n k"],
    losses: Float[np.ndarray, "n k"],
    right: Bool[np.ndarray, "n k"],
    loss: Float[np.ndarray, " n"],
    hit: Bool[np.ndarray, " n"],
) -> RoutingCounterfactual:
    """Compare each expert's loss and answer on each input with those of the method's own routing, ``loss`` and ``hit``.

    Raises:
        ValueError: if there is no input, or no expert.
    """
    w, x = np.asarray(weights, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if not x.size:
        raise ValueError(f"expected at least one input and one expert; got losses of {x.shape}")
    chosen, best, rows = w.argmax(1), x.argmin(1), np.arange(len(x))
    table = np.zeros((x.shape[1], x.shape[1]), dtype=np.int64)
    np.add.at(table, (chosen, best), 1)
    hits = np.asarray(right, dtype=bool)
    own = np.asarray(loss, dtype=np.float64)
    return RoutingCounterfactual(
        x.mean(0),
        hits.mean(0),
        (float(own.mean()), float(np.mean(hit))),
        (float(x[rows, best].mean()), float(hits[rows, best].mean())),
        chosen,
        best,
        table,
        float((chosen == best).mean()),
        x - own[:, None],
    )


def rescale_temperature(weights: Float[np.ndarray, "n k"], factor: float) -> Float[np.ndarray, "n k"]:
    r"""Softmax weights as they would be at ``factor`` times their temperature: 0 is one-hot, infinity even.

    A softmax at :math:`f \tau` is :math:`a_j^{1/f} / \sum_i a_i^{1/f}` of the one at :math:`\tau`.

    Raises:
        ValueError: if the factor is negative.
    """
    if not factor >= 0:
        raise ValueError(f"expected a factor of 0 or more; got {factor}")
    w = np.asarray(weights, dtype=np.float64)
    if not w.size or factor == 1:
        return w
    if factor == 0:
        sharp: Float[np.ndarray, "n k"] = np.eye(w.shape[1])[w.argmax(1)]
        return sharp
    if np.isinf(factor):
        return np.full_like(w, 1 / w.shape[1])
    with np.errstate(divide="ignore"):
        scores = np.log(w) / factor
    raised = np.exp(scores - scores.max(1, keepdims=True))
    shares: Float[np.ndarray, "n k"] = raised / raised.sum(1, keepdims=True)
    return shares


def entropy(weights: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
    """The entropy of each row in nats; rows are scaled to sum to 1."""
    w = np.asarray(weights, dtype=np.float64)
    totals = w.sum(1, keepdims=True)
    shares = w / np.where(totals > 0, totals, 1)
    logs = np.log(np.where(shares > 0, shares, 1))
    found: Float[np.ndarray, " n"] = -(shares * logs).sum(1)
    return found


def compute_expert_load(
    steps: Int[np.ndarray, " steps"], loads: Float[np.ndarray, "steps k"], window: int = 15
) -> ExpertLoadCurve:
    """The load over the steps, smoothed by a centred mean over ``window`` of them.

    Raises:
        ValueError: if the window is below 1.
    """
    if window < 1:
        raise ValueError(f"expected a window of at least one step; got {window}")
    x = np.asarray(loads, dtype=np.float64)
    around = pd.DataFrame(x).rolling(window // 2 * 2 + 1, center=True, min_periods=1)
    smooth = around.mean().to_numpy(dtype=np.float64)
    spread = entropy(smooth)
    return ExpertLoadCurve(steps, x, smooth, spread, np.exp(spread) / max(x.shape[1], 1))


def summarise_routing(weights: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"], classes: int) -> RoutingSummary:
    """How n inputs of known classes (0 to ``classes`` - 1) spread over k experts.

    Raises:
        ValueError: if a label is out of range.
    """
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(f"expected labels of 0 to {classes - 1}; got {labels.min()} to {labels.max()}")
    w = np.asarray(weights, dtype=np.float64)
    count, k = w.shape
    experts = w.argmax(1) if k else np.zeros(count, dtype=np.int64)
    table = np.zeros((classes, k), dtype=np.int64)
    np.add.at(table, (labels, experts), 1)
    share = table.sum(0) / max(count, 1)
    spread = float(entropy(share[None])[0]) if count else 0.0
    class_spread = float(entropy(table.sum(1)[None].astype(np.float64))[0]) if classes else 0.0
    joint = float(entropy(table.reshape(1, -1).astype(np.float64))[0]) if table.size else 0.0
    return RoutingSummary(
        experts,
        w.mean(0) if count else np.zeros(k),
        share,
        float(entropy(w).mean()) if count else 0.0,
        float(np.exp(spread)) / k if k and count else 0.0,
        (share < DEAD_SHARE) if count else np.zeros(k, dtype=bool),
        table,
        max(class_spread + spread - joint, 0.0),
        class_spread,
    )
