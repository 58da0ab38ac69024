"""A method's panel as alternative text and as table rows."""

from __future__ import annotations

from collections.abc import Sequence

from ptviz.analysis.method_diagram import DiagramItem, DiagramPanel
from ptviz.figures.diagrams.scene import Table

STATE_LABELS = {
    "trained": "trained",
    "frozen": "held fixed",
    "processed": "computed from the items below",
    "input": "the text",
}


def format_shape(item: DiagramItem) -> str:
    """Format a tensor's sizes: 10 x 384."""
    return " × ".join(map(str, item.sizes))  # noqa: RUF001  # the sign of a product


def describe_panel(panel: DiagramPanel) -> str:
    """Describe the panel: its tensors and modules, and what enters the backbone."""
    described = [f"{panel.title}, {panel.citation}."]
    for item in panel.items.values():
        if item.kind in ("tensor", "result"):
            described.append(f"{item.label} ({format_shape(item)}): {STATE_LABELS[item.state]}.")
        elif item.kind in ("encoder", "router"):
            described.append(f"{item.kind} {item.label} with {item.scalars:,} parameters.")
    inputs = [
        words
        for key, words in (
            (panel.prompt, "a prompt in front of the text"),
            (panel.key_values, "keys and values at every attention site"),
            (panel.tokens if panel.tokens and panel.incoming_edges(panel.tokens) else None, "shifted word embeddings"),
        )
        if key
    ]
    described.append(f"The frozen backbone gets {' and '.join(inputs) or 'the text without a prompt'}.")
    if panel.trainable_parameters:
        described.append(f"{panel.trainable_parameters:,} trainable parameters.")
    if panel.note:
        described.append(f"{panel.note[0].upper()}{panel.note[1:]}.")
    return " ".join(described)


def table_rows(panels: Sequence[DiagramPanel]) -> Table:
    """Return the items of panels as table rows."""
    head = ("method", "item", "kind", "state", "axes", "shape", "parameters")
    rows = [
        (panel.name, item.label, item.kind, item.state, " ".join(item.axes), shape, str(item.scalars or ""))
        for panel in panels
        for item in panel.items.values()
        for shape in ("x".join(map(str, item.sizes)),)
    ]
    return (head, *rows)
