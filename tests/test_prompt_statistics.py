"""Outlier tokens, effective rank and collapse: one definition for the pages of a run and of an opened checkpoint."""

from __future__ import annotations

import numpy as np
import pytest

from ptviz.analysis.prompt_tokens import compute_geometry
from ptviz.analysis.spectrum import compute_spectrum
from ptviz.checkpoints.bundle import NamedAxesArray, PromptBundle
from ptviz.checkpoints.diagnostics import PromptDiagnostics, diagnose
from ptviz.prompt_statistics import effective_rank, find_outliers, is_collapsed


def diagnosed(rows: np.ndarray) -> PromptDiagnostics:
    array = NamedAxesArray(rows.astype(np.float32), ("m", "d"))
    return diagnose(PromptBundle(name="p", format="array", kind="prompt", tensors={"P": array}))[0]


def of_norms(*norms: float) -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(len(norms), 16))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True) * np.array(norms)[:, None]


def test_an_outlier_is_longer_than_three_medians() -> None:
    rows = np.ones((6, 4))
    rows[2] *= 3.1
    assert find_outliers(rows).tolist() == [False, False, True, False, False, False]
    assert not find_outliers(rows, factor=4).any()
    assert find_outliers(rows[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("norms", "expected"),
    [
        ((0.4, 0.6, 0.8, 1.0, 1.3, 1.9, 3.5), (6,)),  # far from the median, but the others are spread widely too
        ((0.2, 1.0, 1.0, 1.1, 1.1, 1.2), ()),  # short: it dominates nothing
        ((1.0, 1.1, 9.0), (2,)),  # three tokens are enough for a median
    ],
)
def test_a_run_and_a_checkpoint_have_the_same_outliers(norms: tuple[float, ...], expected: tuple[int, ...]) -> None:
    rows = of_norms(*norms)
    assert tuple(np.flatnonzero(compute_geometry(rows).outliers)) == expected
    assert diagnosed(rows).outliers == expected


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_a_run_and_a_checkpoint_have_the_same_effective_rank(scale: float) -> None:
    rows = of_norms(*np.linspace(1, 4, 12).tolist()).astype(np.float32) * np.float32(scale)
    assert compute_spectrum(rows, centred=True).effective_rank == pytest.approx(diagnosed(rows).effective_rank)


def test_rounding_is_no_direction() -> None:
    same = np.full((7, 8), 0.1)
    assert (same - same.mean(0)).any()  # the mean of seven is not exactly each of them
    assert effective_rank(same, centred=True) == compute_spectrum(same, centred=True).effective_rank == 0
    assert diagnosed(same).effective_rank == 0


def test_only_a_prompt_of_many_tokens_can_collapse() -> None:
    assert is_collapsed(0.9, 10)
    assert not is_collapsed(1.0, 10)
    assert not is_collapsed(0.5, 9)
