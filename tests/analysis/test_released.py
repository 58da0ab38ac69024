"""Known facts about published prompts: effective ranks, similarities, outlier rows."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import spearmanr

from ptviz.analysis.prompt_similarity import compute_similarity
from ptviz.analysis.spectrum import compute_spectrum
from ptviz.prompt_statistics import find_outliers
from tests.analysis.prompts import TASKS, TYPES, needs_prompts, released

pytestmark = needs_prompts
RANKS = {"MNLI": 7.4, "snli": 8.5, "QQP": 27, "QNLI": 45, "SST2": 51, "IMDB": 66, "MRPC": 79, "random": 93}
NLI = ("MNLI", "snli", "QNLI", "QQP")
SENTIMENT = ("SST2", "IMDB", "laptop", "restaurant", "movierationales", "tweetevalsentiment")
# Zero-shot accuracy (%) of thunlp's RoBERTa-base prompts: rows target, columns source, both in the order of TASKS
# below the table's own order; from the result files of github.com/thunlp/Prompt-Transferability.
ORDER = (
    "IMDB", "SST2", "laptop", "restaurant", "movierationales", "tweetevalsentiment", "MNLI", "QNLI", "snli",
    "ethicsdeontology", "ethicsjustice", "QQP", "MRPC",
)  # fmt: skip
ACCURACY = """
89.7 73.6 79.8 68.0 85.8 78.4 57.1 50.3 57.7 51.3 62.7 58.4 50.3
86.1 93.3 86.8 85.6 74.2 86.3 58.5 51.2 55.4 50.8 51.7 51.2 50.4
45.3 65.5 75.3 72.3 31.9 73.1 53.1 51.2 53.8  3.1  2.5 25.9  2.5
59.8 74.2 78.7 79.5 28.7 77.2 66.5 60.8 65.6  1.4  1.1 37.2  1.3
81.8 71.4 69.3 66.7 76.0 72.9 52.1 50.5 54.7 51.6 56.8 52.1 50.5
32.5 45.5 53.4 57.1 33.2 74.5 40.0 40.9 41.1 41.0 41.5 46.1 41.0
36.6 35.8 34.3 33.1 32.8 38.9 79.9 47.5 73.9 32.7 32.8 34.3 32.7
55.5 52.1 50.5 52.4 50.8 52.6 75.5 90.5 69.5 50.5 50.6 43.5 50.5
34.1 34.2 34.5 33.6 33.3 36.4 77.0 55.6 88.5 33.3 33.3 30.1 33.3
49.7 49.6 50.3 49.6 50.8 49.7 49.7 50.3 49.6 71.7 61.9 50.4 50.3
50.1 50.1 50.0 49.5 50.6 50.0 50.1 49.9 50.1 58.9 67.8 50.0 49.8
39.7 56.8 53.8 45.2 36.8 48.9 49.9 36.9 59.6 36.9 39.2 86.9 66.9
68.0 52.6 43.8 65.4 68.5 51.8 65.9 68.0 59.9 63.5 56.8 70.0 84.4
"""


@pytest.fixture(scope="module")
def prompts() -> dict[str, np.ndarray]:
    return released()


def between(prompts, metric, left, right=None, **options):
    """Return the mean similarity of the pairs within one group, or between two."""
    pairs = combinations(left, 2) if right is None else [(a, b) for a in left for b in right]
    found = [compute_similarity([prompts[a], prompts[b]], metric, **options).values[0, 1] for a, b in pairs]
    return float(np.mean(found))


def test_effective_ranks(prompts):
    for name, expected in RANKS.items():
        found = compute_spectrum(prompts[name], centred=True)
        # Given to two digits: half a unit of the last one.
        assert found.effective_rank == pytest.approx(expected, abs=0.05 if expected < 10 else 0.5), name
    collapsed = {name for name in prompts if compute_spectrum(prompts[name], centred=True).is_collapsed}
    assert {"MNLI", "snli"} <= collapsed
    assert "random" not in collapsed


def test_mean_tokens_separate_task_families(prompts):
    assert between(prompts, "mean", NLI) == pytest.approx(0.661, abs=0.01)
    assert between(prompts, "mean", ("ethicsdeontology", "ethicsjustice")) == pytest.approx(0.556, abs=0.01)
    assert between(prompts, "mean", ("snli",), ("QNLI",)) == pytest.approx(0.72, abs=0.01)
    assert between(prompts, "mean", ("snli",), ("movierationales",)) == pytest.approx(0.18, abs=0.01)
    control = [abs(between(prompts, "mean", ("random",), (name,))) for name in TASKS]
    assert max(control) < 0.04


def test_entailment_against_sentiment(prompts):
    assert between(prompts, "mean", NLI, SENTIMENT) == pytest.approx(0.372, abs=0.01)


def test_the_flat_cosine_fails(prompts):
    within, across = between(prompts, "concatenated", NLI), between(prompts, "concatenated", NLI, SENTIMENT)
    assert within == pytest.approx(0.030, abs=0.01)
    assert across == pytest.approx(0.060, abs=0.01)


def test_row_0_is_an_outlier_in_trained_prompts(prompts):
    for name in ("MNLI", "SST2", "QQP"):
        assert find_outliers(prompts[name])[0], name
    assert not find_outliers(prompts["random"]).any()
    norms = np.linalg.norm(prompts["MNLI"], axis=1)
    assert norms[0] == pytest.approx(399, abs=0.5)
    assert np.median(norms[1:]) == pytest.approx(28.9, abs=0.05)


def correlation(values: np.ndarray) -> float:
    """Return the mean Spearman correlation of similarity and zero-shot accuracy, without a target's own prompt."""
    accuracy = np.array([line.split() for line in ACCURACY.strip().splitlines()], dtype=float)
    found = []
    for row in range(len(ORDER)):
        others = np.arange(len(ORDER)) != row
        found.append(spearmanr(values[row, others], accuracy[row, others]).statistic)
    return float(np.mean(found))


@pytest.mark.parametrize(
    ("metric", "every", "live", "same", "apart"),
    [
        ("mean", 0.349, 0.400, 0.531, 0.376),
        ("tokens", 0.385, 0.387, 0.0396, 0.0293),
        ("concatenated", 0.196, 0.329, 0.088, 0.043),
        ("euclidean", -0.015, -0.044, 0.0173, 0.0082),
        ("euclidean tokens", -0.055, -0.052, 0.134, 0.073),
    ],
)
def test_the_dead_row_misleads(prompts, metric, every, live, same, apart):
    chosen = [prompts[name] for name in ORDER]
    dead = [np.arange(100) == 0] * len(chosen)
    assert correlation(compute_similarity(chosen, metric).values) == pytest.approx(every, abs=0.01)
    without = compute_similarity(chosen, metric, leave_out=dead).values
    assert correlation(without) == pytest.approx(live, abs=0.01)
    kind = {name: i for i, group in enumerate(TYPES) for name in group}
    pairs = [(kind[ORDER[i]] == kind[ORDER[j]], without[i, j]) for i, j in combinations(range(len(ORDER)), 2)]
    assert np.mean([value for alike, value in pairs if alike]) == pytest.approx(same, abs=0.01)
    assert np.mean([value for alike, value in pairs if not alike]) == pytest.approx(apart, abs=0.01)
