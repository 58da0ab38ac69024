"""An equation on a page: a symbol that is pointed at or focused shows its meaning."""

from __future__ import annotations

import re
from pathlib import Path

import streamlit as st

from ptviz.backbones import BackboneInfo
from ptviz.figures.mathml import key, to_mathml
from ptviz.methods import list_methods
from ptviz.methods.equation_symbols import COMMON_SYMBOLS
from ptviz.plots.method_panels import build_method_panel
from ptviz.ui.learn.method_details import PRODUCT_SIGN, list_symbols

_HTML = """
<div class="ptviz-equation" data-testid="ptviz-equation"></div>
<div class="ptviz-symbol-meaning" role="status"></div>
"""
_CSS = """
.ptviz-equation {
  color: var(--st-text-color); font-size: 1.3rem; overflow-x: auto; padding: 0.2rem 0 0.5rem;
  line-height: 1.9;
}
math { font-family: "Latin Modern Math", "STIX Two Math", "Cambria Math", math, KaTeX_Main, serif; }
.term { cursor: help; border-radius: 3px; }
.term:hover, .term:focus-visible, .term.shown {
  color: var(--st-primary-color); background: color-mix(in srgb, var(--st-primary-color) 12%, transparent);
}
.term:focus { outline: none; }
.term:focus-visible { outline: 2px solid var(--st-primary-color); }
.ptviz-symbol-meaning {
  color: var(--st-text-color); font-family: var(--st-font); font-size: 0.95rem; min-height: 2.8em; line-height: 1.4;
  border-left: 3px solid var(--st-primary-color); padding: 0.1rem 0 0.1rem 0.7rem; margin-bottom: 0.6rem;
}
"""
HINT = "Point at a symbol, or focus it with the Tab key, to see its meaning."

_COMPONENT = st.components.v2.component(
    "ptviz_equation", html=_HTML, css=_CSS, js=(Path(__file__).parent / "equation.js").read_text(encoding="utf-8")
)


def render_equation(name: str, shape: BackboneInfo) -> None:
    """Show a method's equation with every symbol explained; shapes are those on a backbone."""
    data = {"mathml": to_mathml(list_methods()[name].card.equation, explain_symbols(name, shape)), "hint": HINT}
    _COMPONENT(key=f"equation-{name}", data=data)


def explain_symbols(name: str, shape: BackboneInfo) -> dict[str, str]:
    """Return the meaning of every symbol of a method's equation by its key, with axes and sizes where it has some."""
    rows = list_symbols(name, shape, build_method_panel(name, shape))
    shapes = {row["part"]: f"{row['axes']}: {row['shape']}" for row in rows}
    sizes = {
        axis: size
        for row in rows
        for axis, size in zip(row["axes"].split(", "), row["shape"].split(PRODUCT_SIGN), strict=True)
    }
    meanings = {}
    for term in (*COMMON_SYMBOLS, *list_methods()[name].card.symbols):
        part = term.tensor or re.sub(r"[\\{}\s]", "", term.latex)
        words = [term.meaning]
        if part in shapes:
            words.append(f"({shapes[part]})")
        elif term.latex in sizes:
            words.append(f"(here {sizes[term.latex]})")
        meanings[key(term.latex)] = " ".join(words)
    return meanings
