"""Short names made from any text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptviz.safe_text import slug


@given(st.text())
def test_slugs_are_safe_folder_names(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9](-?[a-z0-9])*", slug(text))
    assert len(slug(text)) <= 40


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("My reviews (2)", "my-reviews-2"),
        ("Отзывы_2024", "отзывы_2024"),
        ("__x__", "x"),
        ("?!", "table"),
        ("a" * 39 + "-b", "a" * 39),
    ],
)
def test_names_of_tables_keep_letters_of_other_scripts(text: str, expected: str) -> None:
    assert slug(text, empty="table", ascii_only=False) == expected
