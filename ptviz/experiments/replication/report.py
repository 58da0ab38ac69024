"""What came out of a comparison, in words and figures for people."""

from __future__ import annotations

import math

from ptviz.experiments.replication.metrics import COUNT_METRICS
from ptviz.experiments.replication.study import ComparisonResult


def comparison_row(difference: ComparisonResult) -> tuple[str, str, str, str, str]:
    """What was compared, both means, the difference and its interval; accuracies in percent, a dash if unknown."""
    compared = difference.compared
    counts = compared.metric in COUNT_METRICS
    sign = "<" if compared.lower else ">"
    what = "" if compared.metric == "test" else f" ({compared.metric})"
    spread = " (sd)" if compared.across == "sd" else ""
    slack = f" - {_format_number(compared.margin, counts)}" if compared.margin else ""
    span = difference.interval
    limits = f"{_format_number(span.low, counts, True)} to {_format_number(span.high, counts, True)}" if span else "-"
    return (
        f"{compared.first} {sign} {compared.second}{slack}{what}{spread}", _format_number(difference.first, counts),
        _format_number(difference.second, counts), _format_number(difference.mean, counts, True), limits,
    )  # fmt: skip


def _format_number(value: float, counts: bool, signed: bool = False) -> str:
    if not math.isfinite(value):
        return "-"
    sign = "+" if signed else ""
    return format(value, f"{sign},.4g") if counts else format(100 * value, f"{sign}.1f")
