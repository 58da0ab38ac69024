"""Addresses that name no page, or a parameter twice, say so."""

from __future__ import annotations

import pytest

from ptviz.ui.address_problems import nearest_pages, unknown_path

TITLES = {"": "Home", "decompositions": "Decompositions", "new-run": "New run", "runs": "All runs", "watch": "Watch"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8501/", None),
        ("http://127.0.0.1:8501", None),
        ("http://127.0.0.1:8501/runs", None),
        ("http://127.0.0.1:8501/runs/?pick=a/b", None),
        ("", None),
        ("http://127.0.0.1:8501/factors", "factors"),
        ("http://host/ptviz/watc", "watc"),
    ],
)
def test_a_path_of_no_page_is_found(url: str, expected: str | None) -> None:
    assert unknown_path(url, TITLES) == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("decomposition", "decompositions"), ("newrun", "new-run"), ("all-runs", "runs"), ("Watches", "watch")],
)
def test_the_nearest_page_is_suggested_by_path_or_title(asked: str, expected: str) -> None:
    assert nearest_pages(asked, TITLES)[0] == expected


def test_nothing_like_any_page_suggests_none() -> None:
    assert nearest_pages("zzzzzz", TITLES) == []
