r"""Routing weights over experts or source prompts: by step, by input and by class.

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
"""An expert that wins less than this share of the inputs is called dead."""


@dataclass(frozen=True, eq=False)
class ExpertLoadCurve:
    """The load of k experts during training: ``loads`` (steps, k), the share of each batch that each expert wins.

    ``smoothed_loads`` are averaged over neighbouring steps; ``entropy`` (nats) and ``balance`` (1/k to 1, uniform) are
    those of the smoothed loads.
    """

    steps: Int[np.ndarray, " steps"]
    loads: Float[np.ndarray, "steps k"]
    smoothed_loads: Float[np.ndarray, "steps k"]
    entropy: Float[np.ndarray, " steps"]
    balance: Float[np.ndarray, " steps"]


@dataclass(frozen=True, eq=False)
class RoutingSummary:
    """The routing of n inputs over k experts: the mean weight and the share of inputs won, by expert.

    ``entropy`` is the mean over inputs of the entropy of their weights (nats; 0: one-hot, log k: uniform); ``balance``
    is exp(entropy of ``win_shares``) / k (1/k to 1). ``class_counts`` (c, k) counts inputs by class and expert;
    ``mutual_information`` of class and expert is in nats, at most the entropy of the classes, ``class_entropy``.
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
    """The loss of n inputs at each of k experts, compared with the method's own routing; losses in nats.

    ``loss`` and ``accuracy`` (k) are those with every input at one expert; ``as_routed`` and ``best_case`` are (loss,
    accuracy) of the method's own routing, and with each input at its expert of lowest loss. ``chosen_experts`` and
    ``best_experts`` (n) are these two, ``choice_counts`` (k chosen, k best) counts them, ``agreement`` is the share of
    inputs where they are the same. ``loss_increases`` (n, k) is each expert's loss minus that of the own routing.
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
    correct: Bool[np.ndarray, "n k"],
    routed_loss: Float[np.ndarray, " n"],
    routed_correct: Bool[np.ndarray, " n"],
) -> RoutingCounterfactual:
    """Compare loss and answer of each input at each expert with those of the method's own routing.

    Raises:
        ValueError: if there is no input, or no expert.
    """
    w, x = np.asarray(weights, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if not x.size:
        raise ValueError(f"expected at least one input and one expert; got losses of {x.shape}")
    chosen, best, rows = w.argmax(1), x.argmin(1), np.arange(len(x))
    counts = np.zeros((x.shape[1], x.shape[1]), dtype=np.int64)
    np.add.at(counts, (chosen, best), 1)
    hits = np.asarray(correct, dtype=bool)
    own = np.asarray(routed_loss, dtype=np.float64)
    return RoutingCounterfactual(
        loss=x.mean(0),
        accuracy=hits.mean(0),
        as_routed=(float(own.mean()), float(np.mean(routed_correct))),
        best_case=(float(x[rows, best].mean()), float(hits[rows, best].mean())),
        chosen_experts=chosen,
        best_experts=best,
        choice_counts=counts,
        agreement=float((chosen == best).mean()),
        loss_increases=x - own[:, None],
    )


def rescale_temperature(weights: Float[np.ndarray, "n k"], factor: float) -> Float[np.ndarray, "n k"]:
    r"""Return softmax weights at ``factor`` times their temperature: 0 is one-hot, infinity uniform.

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
    """Return the entropy of each row in nats; rows are scaled to sum to 1."""
    w = np.asarray(weights, dtype=np.float64)
    totals = w.sum(1, keepdims=True)
    shares = w / np.where(totals > 0, totals, 1)
    logs = np.log(np.where(shares > 0, shares, 1))
    found: Float[np.ndarray, " n"] = -(shares * logs).sum(1)
    return found


def compute_expert_load(
    steps: Int[np.ndarray, " steps"], loads: Float[np.ndarray, "steps k"], window: int = 15
) -> ExpertLoadCurve:
    """Compute loads smoothed by a centred mean over ``window`` steps, with their entropy and balance.

    Raises:
        ValueError: if the window is below 1.
    """
    if window < 1:
        raise ValueError(f"expected a window of at least one step; got {window}")
    x = np.asarray(loads, dtype=np.float64)
    windows = pd.DataFrame(x).rolling(window // 2 * 2 + 1, center=True, min_periods=1)
    smoothed = windows.mean().to_numpy(dtype=np.float64)
    spread = entropy(smoothed)
    balance = np.exp(spread) / max(x.shape[1], 1)
    return ExpertLoadCurve(steps=steps, loads=x, smoothed_loads=smoothed, entropy=spread, balance=balance)


def summarise_routing(weights: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " l"], classes: int) -> RoutingSummary:
    """Summarise the routing of n inputs of known classes (0 to ``classes`` - 1), or of none, over k experts.

    Raises:
        ValueError: if a label is out of range.
    """
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(f"expected labels of 0 to {classes - 1}; got {labels.min()} to {labels.max()}")
    w = np.asarray(weights, dtype=np.float64)
    count, k = w.shape
    experts = w.argmax(1) if k else np.zeros(count, dtype=np.int64)
    counts = np.zeros((classes, k), dtype=np.int64)
    if len(labels):
        np.add.at(counts, (labels, experts), 1)
    shares = np.bincount(experts, minlength=k)[:k] / max(count, 1)
    expert_entropy = float(entropy(shares[None])[0]) if count else 0.0
    class_entropy = float(entropy(counts.sum(1)[None].astype(np.float64))[0]) if classes else 0.0
    joint_entropy = float(entropy(counts.reshape(1, -1).astype(np.float64))[0]) if counts.size else 0.0
    return RoutingSummary(
        experts=experts,
        mean_weights=w.mean(0) if count else np.zeros(k),
        win_shares=shares,
        entropy=float(entropy(w).mean()) if count else 0.0,
        balance=float(np.exp(expert_entropy)) / k if k and count else 0.0,
        dead=(shares < DEAD_SHARE) if count else np.zeros(k, dtype=bool),
        class_counts=counts,
        mutual_information=max(class_entropy + expert_entropy - joint_entropy, 0.0) if len(labels) else 0.0,
        class_entropy=class_entropy,
    )
