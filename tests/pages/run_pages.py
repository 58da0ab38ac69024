"""What the pages that look inside a run are tested with: a settled page, its figures."""

from __future__ import annotations

import json
import time

from streamlit.testing.v1 import AppTest


def settled(at: AppTest) -> AppTest:
    """The page once every answer has come."""
    for _ in range(80):
        asked = at.session_state["inside-asked"] if "inside-asked" in at.session_state else {}  # noqa: SIM401
        if all(future.done() for future in asked.values()):
            break
        time.sleep(0.05)
    return at.run()


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
            assert len(data["alt"]) > 20, "every figure has words for who cannot see it"
            found[data["name"] or "moment"] = json.loads(data["figure"])
    return found
