"""A panel of one method in words and as rows: for readers who cannot see it, and for those who count."""

from __future__ import annotations

from collections.abc import Sequence

from ptviz.analysis.method_diagram import DiagramItem, DiagramPanel
from ptviz.figures.diagrams.scene import Table

STATE_LABELS = {
    "trained": "trained",
    "frozen": "held fixed",
    "processed": "made from what lies below",
    "input": "the text",
}


def format_shape(item: DiagramItem) -> str:
    """A tensor's sizes: 10 x 384."""
    return " × ".join(map(str, item.sizes))  # noqa: RUF001  # the sign of a product


def describe_panel(panel: DiagramPanel) -> str:
    """The panel in words, for readers who cannot see it."""
    told = [f"{panel.title}, {panel.citation}."]
    for item in panel.items.values():
        if item.kind in ("tensor", "result"):
            told.append(f"{item.label} ({format_shape(item)}): {STATE_LABELS[item.state]}.")
        elif item.kind in ("encoder", "router"):
            told.append(f"{item.kind} {item.label} with {item.scalars:,} numbers.")
    doors = [
        words
        for key, words in (
            (panel.prompt, "a prompt in front of the text"),
            (panel.key_values, "keys and values at every attention site"),
            (panel.tokens if panel.tokens and panel.incoming_edges(panel.tokens) else None, "shifted word embeddings"),
        )
        if key
    ]
    told.append(f"Into the frozen backbone go {' and '.join(doors) or 'the words of the text alone'}.")
    if panel.trainable_parameters:
        told.append(f"{panel.trainable_parameters:,} numbers are trained.")
    if panel.note:
        told.append(f"{panel.note[0].upper()}{panel.note[1:]}.")
    return " ".join(told)


def table_rows(panels: Sequence[DiagramPanel]) -> Table:
    """The items of panels as rows: what is drawn, as data."""
    head = ("method", "item", "kind", "is", "axes", "shape", "numbers")
    rows = [
        (panel.name, item.label, item.kind, item.state, " ".join(item.axes), "x".join(map(str, item.sizes)),
         str(item.scalars or ""))
        for panel in panels
        for item in panel.items.values()
    ]  # fmt: skip
    return (head, *rows)
