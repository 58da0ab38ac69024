"""The cache of results holds a bounded number of bytes, whatever people open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from ptviz.plots import cache
from ptviz.plots.cache import MAX_BYTES, cached_by_signature, size_in_bytes


@pytest.fixture(autouse=True)
def _emptied() -> Iterator[None]:
    cache._CACHE.clear()
    yield
    cache._CACHE.clear()


def held() -> int:
    return sum(size_in_bytes(value) for value in cache._CACHE.values())


def test_many_large_results_do_not_add_up():
    for i in range(40):
        cached_by_signature(("map", i), lambda: SimpleNamespace(words=np.zeros(2**20, dtype=np.float64), i=0))
        assert held() <= MAX_BYTES
    assert held() > MAX_BYTES / 2


def test_many_small_results_do_not_add_up():
    for i in range(1000):
        cached_by_signature(("small", i), lambda: "x")
    assert len(cache._CACHE) <= 192


def test_a_result_is_computed_once_and_the_least_used_goes_first():
    made: list[str] = []

    def get(key: str) -> np.ndarray:
        return cached_by_signature(key, lambda: (made.append(key), np.zeros(MAX_BYTES // 32))[1])

    for key in ("first", "second", "first", "third", "fourth", "first"):
        get(key)
    for i in range(3):
        get(f"more {i}")
        get("first")
    assert made.count("first") == 1
    get("second")
    assert made.count("second") == 2


def test_what_is_too_large_is_returned_and_not_kept():
    large = cached_by_signature("large", lambda: np.zeros(MAX_BYTES // 8 + 1))
    assert large.nbytes > MAX_BYTES
    assert not cache._CACHE


def test_sizes(tmp_path: Path):
    array = np.zeros(1000)
    assert size_in_bytes(array) == 8000
    assert size_in_bytes(torch.zeros(1000)) == 4000
    assert size_in_bytes({"a": [array, array]}) < 8200, "the same array counts once"
    assert size_in_bytes(pd.DataFrame({"a": ["x" * 1000]})) > 1000
    itself: list[object] = []
    itself.append(itself)
    assert size_in_bytes(itself) == 16
    np.save(tmp_path / "table.npy", array)
    assert size_in_bytes(np.load(tmp_path / "table.npy", mmap_mode="r")) == 0
