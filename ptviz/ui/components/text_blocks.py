"""Rows of texts that can be read in full on any screen: a block for each row, its parts side by side or stacked."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ptviz.analysis.text_difference import Piece

_STYLE = """<style>
.ptviz-texts { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .4rem 1.2rem;
  margin: 0 !important; padding: .6rem 0 !important; border-bottom: 1px solid rgba(128, 128, 128, .3); }
.ptviz-texts div, .ptviz-texts dt, .ptviz-texts dd { margin: 0 !important; padding: 0 !important; }
.ptviz-texts dt { font-size: .8rem; opacity: .75; }
.ptviz-texts dd { overflow-wrap: anywhere; white-space: pre-wrap; }
.ptviz-texts mark { color: inherit; background: rgba(230, 159, 0, .25); text-decoration: underline; }
.ptviz-note { font-size: .8rem; font-weight: 600; white-space: nowrap; }
</style>"""


class TextPart(NamedTuple):
    """One part of a row: its name, its text (or its pieces, of which those that differ are marked), and a note."""

    name: str
    text: str | Sequence[Piece]
    note: str = ""


def text_blocks_html(rows: Iterable[Sequence[TextPart]]) -> str:
    """Return rows as HTML in which every text is only text."""
    return _STYLE + "".join(f"<dl class='ptviz-texts'>{''.join(map(_part_html, parts))}</dl>" for parts in rows)


def _part_html(part: TextPart) -> str:
    pieces = [Piece(part.text, False)] if isinstance(part.text, str) else part.text
    text = "".join(
        f"<mark>{html.escape(piece.text)}</mark>" if piece.differs else html.escape(piece.text) for piece in pieces
    )
    note = f"<span class='ptviz-note'>{html.escape(part.note)}</span>" if part.note else ""
    return f"<div><dt>{html.escape(part.name)}</dt><dd>{text or '<i>(nothing)</i>'} {note}</dd></div>"
