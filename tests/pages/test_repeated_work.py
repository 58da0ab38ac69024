"""A page that is opened again does not compute again what cannot have changed: a class opens it thirty times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from ptviz import methods
from ptviz.experiments import transfer_results
from ptviz.runs import RunConfig, Store

pytestmark = pytest.mark.usefixtures("gallery")
Page = Callable[..., AppTest]
MANY_RUNS = 50
"""Fewer than the recorded runs, and far fewer than the runs that the findings or a sweep plan."""


def count_calls(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[None]:
    """Return a list that grows with every call of ``owner.name``."""
    calls: list[None] = []
    called = getattr(owner, name)

    def count(*args: Any, **options: Any) -> Any:
        calls.append(None)
        return called(*args, **options)

    monkeypatch.setattr(owner, name, count)
    return calls


@pytest.mark.parametrize(
    ("path", "owner", "name", "most"),
    [
        ("learn/findings.py", RunConfig, "to_json", MANY_RUNS),
        ("learn/findings.py", RunConfig, "checked", MANY_RUNS),
        ("compare/sweep.py", methods, "build_method", 0),
        ("compare/transfer.py", transfer_results, "file_digest", 600),  # One for every pair, 2,500, before.
        ("learn/teaching.py", Store, "_read_summary", MANY_RUNS),
        ("look/embeddings.py", Store, "_read_summary", MANY_RUNS),
    ],
)
def test_a_second_view_computes_little_again(
    page: Page, monkeypatch: pytest.MonkeyPatch, path: str, owner: Any, name: str, most: int
) -> None:
    app = page(path)
    calls = count_calls(monkeypatch, owner, name)
    app.run()
    assert not app.exception
    assert len(calls) <= most
