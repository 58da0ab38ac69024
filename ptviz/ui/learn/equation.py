"""An equation on the page: point at a symbol, or reach it with the keyboard, and it says what it is."""

from __future__ import annotations

import re
from pathlib import Path

import streamlit as st

from ptviz.figures.diagrams.equation import key, to_mathml
from ptviz.methods import REGISTRY
from ptviz.methods.glossary import COMMON_SYMBOLS
from ptviz.ui.learn.method_diagrams import PRODUCT_SIGN, BackboneShape, get_method_panel, list_symbols

_HTML = """
<div class="ptviz-equation" data-testid="ptviz-equation"></div>
<div class="ptviz-told" role="status"></div>
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
.ptviz-told {
  color: var(--st-text-color); font-family: var(--st-font); font-size: 0.95rem; min-height: 2.8em; line-height: 1.4;
  border-left: 3px solid var(--st-primary-color); padding: 0.1rem 0 0.1rem 0.7rem; margin-bottom: 0.6rem;
}
"""
HINT = "Point at a symbol, or reach it with the Tab key: it says what it is."

_COMPONENT = st.components.v2.component(
    "ptviz_equation",
    html=_HTML,
    css=_CSS,
    js=(Path(__file__).parent / "equation.js").read_text(encoding="utf-8"),
)


def render_equation(name: str, shape: BackboneShape) -> None:
    """A method's equation with every symbol explained; shapes are those on a backbone."""
    data = {"mathml": to_mathml(REGISTRY[name].card.equation, explain_symbols(name, shape)), "hint": HINT}
    _COMPONENT(key=f"equation-{name}", data=data)


def explain_symbols(name: str, shape: BackboneShape) -> dict[str, str]:
    """What every symbol of a method's equation says, by its key: in words, with axes and sizes where it has some."""
    rows = list_symbols(name, shape, get_method_panel(name, shape))
    shapes = {row["part"]: f"{row['axes']}: {row['shape']}" for row in rows}
    sizes = {
        axis: size
        for row in rows
        for axis, size in zip(row["axes"].split(", "), row["shape"].split(PRODUCT_SIGN), strict=True)
    }
    told = {}
    for term in (*COMMON_SYMBOLS, *REGISTRY[name].card.symbols):
        part = term.tensor or re.sub(r"[\\{}\s]", "", term.latex)
        words = [term.meaning]
        if part in shapes:
            words.append(f"({shapes[part]})")
        elif term.latex in sizes:
            words.append(f"(here {sizes[term.latex]})")
        told[key(term.latex)] = " ".join(words)
    return told
