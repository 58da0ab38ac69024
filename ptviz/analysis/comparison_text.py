"""The table of a comparison as text: headings and cells for the shell, Markdown, LaTeX and reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ptviz.analysis.comparison import MethodSummary, to_mebibytes
from ptviz.analysis.score_text import format_score
from ptviz.analysis.statistics import INTERVAL_MARKS
from ptviz.tasks.metrics import ACCURACY, Metric

HEADINGS = (
    *("method", "test", "sd", "95% interval", "zero-shot", "trained", "stored", "seconds", "memory MB", "length"),
    *("file MB", "steps to 90 / 95% of best", "seeds"),
)


def headings(metric: Metric) -> tuple[str, ...]:
    """Return ``HEADINGS`` with the metric of the scores, if that is not accuracy."""
    scores = () if metric.name == "accuracy" else ("test", "zero-shot")
    return tuple(f"{heading} {metric.noun}" if heading in scores else heading for heading in HEADINGS)


def pair_headings(metric: Metric) -> tuple[str, ...]:
    """Return the headings of ``pair_rows``."""
    difference = "points" if metric.unit else "difference"
    return ("against", difference, "95% interval", "seeds", "p", "p, corrected", "verdict")


def pair_rows(pairs: Iterable[Mapping[str, Any]], metric: Metric) -> list[tuple[str, ...]]:
    """Return paired differences, as plain data, between the first method and each other one."""

    def change(value: float) -> str:
        return metric.format_change(value, "")

    rows: list[tuple[str, ...]] = []
    for pair in pairs:
        interval, seeds = pair["interval"], len(pair["seeds"])
        limits = "-"
        if interval:
            limits = f"{change(interval['low'])} to {change(interval['high'])}{INTERVAL_MARKS[interval['over']]}"
        p_values = ("-" if p is None else format(p, ".2g") for p in (pair["p"], pair["adjusted"]))
        difference = change(pair["mean"]) if seeds else "-"
        rows.append((pair["second"], difference, limits, str(seeds), *p_values, pair["verdict"]))
    return rows


def table_cells(summary: MethodSummary, metric: Metric | None = None) -> tuple[str, ...]:
    """Return a row of the printed table, one cell for each of ``HEADINGS``; scores are accuracies without a metric."""

    def number(value: float | None, form: str = ",.0f") -> str:
        return "-" if value is None else format(value, form)

    def score(value: float | None) -> str:
        return format_score(metric or ACCURACY, value)

    interval = summary.interval
    steps = summary.steps95
    return (
        summary.method,
        score(summary.mean),
        score(summary.sd),
        f"{score(interval.low)} to {score(interval.high)}{INTERVAL_MARKS[interval.over]}" if interval else "-",
        score(summary.zero_shot),
        number(summary.trained),
        number(summary.stored),
        number(summary.seconds),
        number(to_mebibytes(summary.memory)),
        number(summary.length),
        number(to_mebibytes(summary.size), ".3g"),
        "-" if steps is None else f"{number(summary.steps90)} / {number(steps)}",
        str(summary.seed_count),
    )
