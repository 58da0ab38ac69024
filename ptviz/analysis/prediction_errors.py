"""The errors of a classifier or writer on its test examples: confusion, changes by the prompt, calibration, length.

Calibration: the reliability diagram of DeGroot and Fienberg ("The Comparison and Evaluation of Forecasters", The
Statistician 1983, https://doi.org/10.2307/2987588), and the expected calibration error with bins of equal width of Guo
et al. ("On Calibration of Modern Neural Networks", ICML 2017, equation 3, https://arxiv.org/abs/1706.04599). Its value
under perfect calibration is found by consistency resampling (Bröcker and Smith, "Increasing the Reliability of
Reliability Diagrams", Weather and Forecasting 2007, https://doi.org/10.1175/WAF993.1): with few examples it is well
above 0. Changes: McNemar's exact test ("Note on the Sampling Error of the Difference Between Correlated Proportions",
Psychometrika 1947, https://doi.org/10.1007/BF02295996).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ptviz.analysis.statistics import ConfidenceInterval, bootstrap_rows, wilson_interval

CALIBRATION_BINS = 10
MAX_BINS = 100
LENGTH_GROUPS = 5
_RESAMPLES = 1000


@dataclass(frozen=True)
class ConfusionMatrix:
    """``counts[i, j]`` examples of class i were predicted as class j."""

    classes: tuple[str, ...]
    counts: Int[np.ndarray, "c c"]

    @property
    def shares(self) -> Float[np.ndarray, "c c"]:
        """Return the counts as shares of their row; NaN in the row of a class without examples."""
        totals = self.counts.sum(1, keepdims=True)
        shares: Float[np.ndarray, "c c"] = np.full(self.counts.shape, np.nan)
        np.divide(self.counts, totals, out=shares, where=totals > 0)
        return shares


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and F1 of one class, None where they are not defined; ``support`` counts its examples.

    ``zero_shot_recall`` is the recall without a prompt, None if it is unknown.
    """

    name: str
    support: int
    precision: float | None
    recall: float | None
    f1: float | None
    zero_shot_recall: float | None = None


@dataclass(frozen=True)
class CalibrationBin:
    """The examples with a confidence in (``low``, ``high``]: their mean confidence, accuracy, and its 95% interval."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float
    interval: ConfidenceInterval


@dataclass(frozen=True)
class Calibration:
    """The bins with examples, and the expected calibration error (ECE): the mean gap weighted by count.

    ``perfect`` is the mean ECE of a perfectly calibrated model with the same certainties, on as many examples.
    """

    bins: tuple[CalibrationBin, ...]
    number_of_bins: int
    error: float
    perfect: float
    count: int


@dataclass(frozen=True)
class LengthGroup:
    """The examples with ``shortest`` to ``longest`` words, their mean score and its 95% interval over examples."""

    shortest: int
    longest: int
    count: int
    score: float
    interval: ConfidenceInterval | None
    zero_shot: float | None = None


@dataclass(frozen=True)
class PromptChanges:
    """Examples by whether they are right with the prompt and without it.

    ``p`` is that of McNemar's exact test, two-sided: as many fixed as broken, or more unequal, if each were as likely.
    """

    both_right: int
    fixed: int
    broken: int
    both_wrong: int
    p: float


def count_confusions(labels: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> ConfusionMatrix:
    """Count the examples of each class by their predicted class.

    Raises:
        ValueError: if a label or prediction is none of the classes.
    """
    from sklearn.metrics import confusion_matrix

    if unknown := sorted({*labels, *predicted} - set(classes)):
        raise ValueError(f"expected labels among {', '.join(classes)}; got {unknown[0]!r}")
    if not labels:
        return ConfusionMatrix(tuple(classes), np.zeros((len(classes),) * 2, dtype=np.int64))
    counts = confusion_matrix(list(labels), list(predicted), labels=list(classes))
    return ConfusionMatrix(tuple(classes), counts.astype(np.int64))


def score_classes(matrix: ConfusionMatrix, zero_shot: ConfusionMatrix | None = None) -> tuple[ClassScores, ...]:
    """Return precision, recall and F1 of each class."""
    rights, support, guesses = matrix.counts.diagonal(), matrix.counts.sum(1), matrix.counts.sum(0)
    zero = None if zero_shot is None else zero_shot.counts.diagonal()
    return tuple(
        ClassScores(
            name=name,
            support=int(support[i]),
            precision=_ratio(rights[i], guesses[i]),
            recall=_ratio(rights[i], support[i]),
            f1=_ratio(2 * rights[i], support[i] + guesses[i]),
            zero_shot_recall=None if zero is None else _ratio(zero[i], support[i]),
        )
        for i, name in enumerate(matrix.classes)
    )


def _ratio(part: np.integer, whole: np.integer) -> float | None:
    return float(part) / float(whole) if whole else None


def compute_calibration(
    confidence: Sequence[float] | Float[np.ndarray, " n"],
    right: Sequence[bool] | Bool[np.ndarray, " n"],
    bins: int = CALIBRATION_BINS,
) -> Calibration:
    """Compare confidence, the probability of the predicted class, with accuracy, in bins of equal width from 0 to 1.

    Raises:
        ValueError: for a number of bins outside 1 to 100, or a confidence outside 0 to 1.
    """
    if not 1 <= bins <= MAX_BINS:
        raise ValueError(f"bins: expected 1 to {MAX_BINS}; got {bins}")
    sure, hits = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=bool)
    if len(sure) and not (np.isfinite(sure).all() and sure.min() >= 0 and sure.max() <= 1 + 1e-6):
        raise ValueError("confidence: expected probabilities from 0 to 1")
    # (low, high], as Guo et al.; a confidence of 0 is in the first bin.
    number = np.clip(np.ceil(sure.clip(max=1) * bins).astype(int) - 1, 0, bins - 1)
    found = []
    for index in np.unique(number):
        inside = number == index
        count, correct = int(inside.sum()), int(hits[inside].sum())
        interval = wilson_interval(correct, count)
        mean = float(sure[inside].mean())
        found.append(CalibrationBin(index / bins, (index + 1) / bins, count, mean, correct / count, interval))
    # The same draws at every call: equal predictions give an equal value.
    rng = np.random.default_rng(0)
    drawn = [_ece(number, sure, rng.random(len(sure)) < sure, bins) for _ in range(_RESAMPLES)] if len(sure) else []
    perfect = float(np.mean(drawn)) if drawn else float("nan")
    return Calibration(tuple(found), bins, _ece(number, sure, hits, bins), perfect, len(sure))


def _ece(
    number: Int[np.ndarray, " n"], sure: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"], bins: int
) -> float:
    """Return the sum over bins of count / n times |accuracy - mean confidence|; NaN without examples."""
    if not len(sure):
        return float("nan")
    gaps = np.bincount(number, weights=right - sure, minlength=bins)
    return float(np.abs(gaps).sum() / len(sure))


def count_changes(right: Sequence[bool], zero_shot_right: Sequence[bool]) -> PromptChanges:
    """Count the examples that the prompt fixed and broke against zero-shot."""
    from scipy.stats import binomtest

    with_prompt, without = np.asarray(right, dtype=bool), np.asarray(zero_shot_right, dtype=bool)
    fixed, broken = int((with_prompt & ~without).sum()), int((~with_prompt & without).sum())
    p = float(binomtest(fixed, fixed + broken).pvalue) if fixed + broken else 1.0
    both = int((with_prompt & without).sum())
    return PromptChanges(both, fixed, broken, len(with_prompt) - both - fixed - broken, p)


def group_by_words(
    texts: Sequence[str],
    scores: Sequence[float],
    zero_shot: Sequence[float] | None = None,
    groups: int = LENGTH_GROUPS,
) -> tuple[LengthGroup, ...]:
    """Return mean scores by the number of words, in at most ``groups`` groups of about equally many examples.

    Texts of equal length are in one group. Scores of 0 and 1 have Wilson's interval, others a bootstrap's.
    """
    lengths = np.array([len(text.split()) for text in texts], dtype=np.int64)
    values = np.asarray(scores, dtype=np.float64)
    if not len(lengths):
        return ()
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, groups + 1)[1:-1], method="lower"))
    number, found = np.searchsorted(edges, lengths, side="left"), []
    for index in np.unique(number):
        inside = number == index
        own, count = values[inside], int(inside.sum())
        known = own[np.isfinite(own)]
        exact = bool(np.isin(known, (0, 1)).all())
        interval = wilson_interval(int(known.sum()), len(known)) if exact and len(known) else bootstrap_rows(known)
        zero = None if zero_shot is None else float(np.nanmean(np.asarray(zero_shot, dtype=np.float64)[inside]))
        span = int(lengths[inside].min()), int(lengths[inside].max())
        found.append(LengthGroup(*span, count, float(known.mean()) if len(known) else float("nan"), interval, zero))
    return tuple(found)
