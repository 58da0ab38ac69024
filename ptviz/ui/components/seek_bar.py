"""A slider over the steps of a run that the page itself moves while it plays.

``st.slider`` cannot do that: the browser returns its value with every rerun, so that a value which is one frame late
looks like a choice of the reader, and the page jumps back to it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

_HTML = """
<label class="seek"><span>step</span><input type="range" step="1"><output></output></label>
"""
_CSS = """
.seek {
  display: flex; gap: 0.75rem; align-items: center; color: var(--st-text-color); font-family: var(--st-font);
  font-size: 0.875rem;
}
input { flex: 1; min-width: 6rem; accent-color: var(--st-primary-color); }
output { white-space: nowrap; font-variant-numeric: tabular-nums; }
"""

_COMPONENT = st.components.v2.component(
    "ptviz_seek_bar",
    html=_HTML,
    css=_CSS,
    js=(Path(__file__).parent / "seek_bar.js").read_text(encoding="utf-8"),
)


def seek_bar(value: int, first: int, last: int, *, key: str, on_seek: Callable[[int], None]) -> None:
    """Show the slider at ``value``; ``on_seek`` is called with a step from ``first`` to ``last`` that was chosen."""

    def sought() -> None:
        if (chosen := st.session_state[key].sought) is not None:
            on_seek(int(chosen))

    _COMPONENT(key=key, data={"value": value, "first": first, "last": last}, on_sought_change=sought)
