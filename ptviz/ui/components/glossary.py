"""The terms of the field with their meanings: on hover and on focus in a text, as the help of a widget, and as a list.

All terms stand in ``glossary.toml`` beside this file, each with one sentence.
"""

from __future__ import annotations

import html
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import streamlit as st

_MARKED = re.compile(r"\[\[([^\]|]+)(?:\|([^\]]+))?\]\]")
_STYLE = """<style>
.ptviz-term { text-decoration: underline dotted; text-underline-offset: .2em; cursor: help;
  anchor-name: --ptviz-term; anchor-scope: --ptviz-term; }
.ptviz-term > span { position: absolute; position-anchor: --ptviz-term;
  position-area: bottom span-right; position-try-fallbacks: flip-inline, flip-block, flip-block flip-inline;
  width: max-content; max-width: min(22rem, 90vw); padding: .4rem .6rem; border-radius: .4rem; z-index: 1000;
  background: #262730; color: #fafafa; border: 1px solid #808495; font-size: .875rem; font-weight: 400;
  font-style: normal; line-height: 1.45; text-align: left; white-space: normal; }
.ptviz-term:hover > span, .ptviz-term:focus > span { display: block !important; }
</style>"""


@cache
def load_terms() -> Mapping[str, str]:
    """Return the meaning of every term, in alphabetical order."""
    text = (files("ptviz.ui.components") / "glossary.toml").read_text(encoding="utf-8")
    return dict(sorted(tomllib.loads(text).items(), key=lambda item: item[0].lower()))


def meaning(name: str) -> str:
    """Return the meaning of a term, as the help of a widget.

    Raises:
        KeyError: for a term that the glossary does not have.
    """
    terms = load_terms()
    if name not in terms:
        raise KeyError(f"the glossary has no term {name!r}: add it to ptviz/ui/components/glossary.toml")
    return terms[name]


def term(name: str, shown: str = "") -> str:
    """Return HTML of a term whose meaning is shown on hover and on focus; ``shown`` is another form of the word.

    Raises:
        KeyError: as ``meaning``.
    """
    explained = html.escape(meaning(name))
    # The meaning is part of the text for a screen reader, which reads what has the focus. It is hidden here too,
    # because the style may arrive after the text.
    return (
        f'<span class="ptviz-term" tabindex="0">{html.escape(shown or name)}'
        f'<span role="tooltip" style="display:none">{explained}</span></span>'
    )


def mark_terms(text: str) -> str:
    """Return Markdown in which ``[[term]]`` and ``[[term|shown]]`` are replaced by ``term(...)``.

    HTML in the text stays text.

    Raises:
        KeyError: as ``meaning``.
    """
    text = text.replace("<", "&lt;")
    return _MARKED.sub(lambda found: term(found[1], found[2] or ""), text)


def render_markdown(text: str) -> None:
    """Show Markdown of our own with its terms explained; never a text that a user or a file has given.

    Raises:
        KeyError: as ``meaning``.
    """
    st.markdown(mark_terms(text), unsafe_allow_html=True)


def render_caption(text: str) -> None:
    """Show a caption of our own with its terms explained, as ``render_markdown``.

    Raises:
        KeyError: as ``meaning``.
    """
    st.caption(mark_terms(text), unsafe_allow_html=True)


def render_term_style() -> None:
    """Add the style of explained terms to the page, once for each drawing of it."""
    st.html(_STYLE)


def render_glossary() -> None:
    """Show all terms that contain what the reader types, with their meanings."""
    wanted = st.text_input("Find a term", key="find", max_chars=100, bind="query-params").strip().lower()
    found = {name: text for name, text in load_terms().items() if wanted in f"{name} {text}".lower()}
    if not found:
        st.info("No term contains this. Try a shorter word.", icon=":material/search_off:")
    entries = (f"<dt><dfn>{html.escape(name)}</dfn></dt><dd>{html.escape(text)}</dd>" for name, text in found.items())
    st.html(f'<dl class="ptviz-glossary">{"".join(entries)}</dl>{_LIST_STYLE}')


_LIST_STYLE = """<style>
.ptviz-glossary { margin: 0 !important; padding: 0 !important; }
.ptviz-glossary dt { margin: .9rem 0 .1rem !important; font-weight: 600; }
.ptviz-glossary dfn { font-style: normal; }
.ptviz-glossary dd { margin: 0 !important; max-width: 46rem; overflow-wrap: anywhere; }
</style>"""
