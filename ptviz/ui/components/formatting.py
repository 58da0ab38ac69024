"""Format numbers, times and states for the pages."""

from __future__ import annotations

import html
import time
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import streamlit as st

from ptviz.analysis import score_text
from ptviz.tasks.metrics import Metric

K = TypeVar("K", bound=Hashable)

ICON = str(Path(__file__).parent / "icon.svg")
"""The page's own icon: a named one would be fetched from a content network."""

STATE_BADGES = {
    "queued": ("waiting", ":material/hourglass_empty:", "gray"),
    "running": ("training", ":material/play_circle:", "blue"),
    "stopping": ("stopping", ":material/stop_circle:", "orange"),
    "stopped": ("stopped", ":material/pause_circle:", "orange"),
    "finished": ("finished", ":material/check_circle:", "green"),
    "failed": ("failed", ":material/error:", "red"),
}


def format_percent(share: float | None, digits: int = 1) -> str:
    """Return a share (0 to 1) in percent; a dash for None."""
    return score_text.format_percent(share, digits, missing="—")


def format_score(metric: Metric, score: float | None) -> str:
    """Return a score by a metric as it is shown; a dash for None."""
    return score_text.format_score(metric, score, missing="—")


def delta_options(shown: str, colour: Literal["normal", "inverse"] = "normal") -> dict[str, Any]:
    """Return the options of ``st.metric`` for a change as it is shown; one that rounds to zero is no rise and no fall.

    ``colour`` "inverse" is for what should fall.
    """
    # Streamlit takes every text without a minus for a rise, "+0.0" too.
    if any(digit in shown for digit in "123456789"):
        return {"delta": shown, "delta_color": colour}
    return {"delta": shown, "delta_color": "off", "delta_arrow": "off"}


def score_format(metrics: Sequence[Metric]) -> tuple[int, str]:
    """Return what a table multiplies the scores of a column with, and how it shows them, so that they are numbers.

    Percentages if all are shares; scores from -1 to 1 if one of them is a correlation.
    """
    if all(metric.unit for metric in metrics):
        return 100, "%.1f%%"  # Streamlit's own percent leaves out the zero of 91.0%.
    return 1, "%.3f" if any(metric.unit for metric in metrics) else "%.2f"


def format_duration(seconds: float | None) -> str:
    """Return a time span as "42 s", "3 min 20 s" or "2 h 5 min"; a dash for None."""
    if seconds is None:
        return "—"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 3600:
        return f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def format_age(moment: float, now: float | None = None) -> str:
    """Return how long ago a time (seconds since 1970) was."""
    passed = (time.time() if now is None else now) - moment
    if passed < 90:
        return "just now"
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if (count := int(passed // length)) >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def shorten_text(text: str, longest: int = 120) -> str:
    """Return a text on one line, cut to at most ``longest`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def unique_labels(names: Mapping[K, str]) -> dict[K, str]:
    """Return names without duplicates, as a select box needs: equal ones get their id appended.

    A key is an id, or a tuple that ends in one.
    """
    counts = Counter(names.values())
    ids = {key: key[-1] if isinstance(key, tuple) else key for key in names}
    return {key: name if counts[name] == 1 else f"{name} {ids[key]}" for key, name in names.items()}


def render_heading(text: str) -> None:
    """Render a heading that may contain untrusted text, never read as Markdown or HTML."""
    style = "font-size:1.5rem;font-weight:600;line-height:1.25;overflow-wrap:anywhere"
    st.html(f'<div role="heading" aria-level="1" style="{style}">{html.escape(text)}</div>', width="content")


def state_badge(state: str) -> None:
    """Render the state of a run as a coloured badge with an icon."""
    label, icon, colour = STATE_BADGES.get(state, (state, ":material/help:", "gray"))
    st.badge(label, icon=icon, color=colour)  # type: ignore[arg-type]
