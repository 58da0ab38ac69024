"""The result of a comparison as text."""

from __future__ import annotations

import math

from ptviz.experiments.replication.metrics import COUNT_METRICS
from ptviz.experiments.replication.study import ComparisonResult


def comparison_row(difference: ComparisonResult) -> tuple[str, str, str, str, str]:
    """Return the comparison, both means, their difference and its interval; accuracies in percent, "-" if unknown."""
    compared, span = difference.compared, difference.interval
    counts = compared.metric in COUNT_METRICS
    sign = "<" if compared.lower else ">"
    metric = "" if compared.metric == "test" else f" ({compared.metric})"
    spread = " (sd)" if compared.across == "sd" else ""
    margin = f" - {_format_number(compared.margin, counts)}" if compared.margin else ""
    limits = " to ".join(_format_number(end, counts, True) for end in (span.low, span.high)) if span else "-"
    return (
        f"{compared.first} {sign} {compared.second}{margin}{metric}{spread}", _format_number(difference.first, counts),
        _format_number(difference.second, counts), _format_number(difference.mean, counts, True), limits,
    )  # fmt: skip


def _format_number(value: float, counts: bool, signed: bool = False) -> str:
    if not math.isfinite(value):
        return "-"
    sign = "+" if signed else ""
    return format(value, f"{sign},.4g") if counts else format(100 * value, f"{sign}.1f")
