"""Helpers for the tests of pages: a settled page, its figures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent import futures
from typing import TypeVar

from streamlit.testing.v1 import AppTest

from tests.app_server import HANGS_SECONDS

T = TypeVar("T")


def settled(at: AppTest) -> AppTest:
    """Return the page once all requests are answered."""
    asked = at.session_state["inside-asked"] if "inside-asked" in at.session_state else {}  # noqa: SIM401
    assert not futures.wait(asked.values(), HANGS_SECONDS).not_done, f"never answered: {list(asked)}"
    return at.run()


def wait_for(found: Callable[[], T]) -> T:
    """What a function returns, once that is something."""
    until = time.monotonic() + HANGS_SECONDS
    while not (it := found()):
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)
    return it


def well(at: AppTest) -> AppTest:
    assert not at.exception
    assert not at.error
    assert "Problem" not in " ".join(m.value for m in at.markdown if "-badge[" in m.value), [t.value for t in at.text]
    return at


def figures(at: AppTest) -> dict[str, dict]:
    found = {}
    for element in at.get("bidi_component"):
        data = json.loads(element.proto.json or "{}")
        if "figure" in data:
            assert len(data["alt"]) > 20, "every figure has an alternative text"
            found[data["name"] or "moment"] = json.loads(data["figure"])
    return found
