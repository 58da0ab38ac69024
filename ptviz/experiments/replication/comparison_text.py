"""The result of a comparison as text."""

from __future__ import annotations

import math

from ptviz.experiments.replication.metrics import COUNT_METRICS
from ptviz.experiments.replication.study import Comparison
from ptviz.experiments.replication.verdict import ComparisonResult

_METRIC_NOTES = {**COUNT_METRICS, "start": "before the first update"}
_AGGREGATE_NOTES = {"sd": "standard deviation", "best": "best by validation"}


def comparison_row(difference: ComparisonResult) -> tuple[str, str, str, str, str]:
    """Return the claim, both means, the first minus the second and its interval; accuracies in percent, "-" if unknown.

    The differences of a result are positive where they support the claim; here they have the sign of what is shown.
    """
    counts, span = difference.compared.metric in COUNT_METRICS, difference.interval
    sign = -1 if difference.compared.lower else 1
    ends = sorted((sign * span.low, sign * span.high)) if span else ()
    limits = " to ".join(_format_number(end, counts, True) for end in ends) if span else "-"
    return (
        describe_comparison(difference.compared), _format_number(difference.first, counts),
        _format_number(difference.second, counts), _format_number(sign * difference.mean, counts, True), limits,
    )  # fmt: skip


def describe_comparison(compared: Comparison) -> str:
    """Return what a comparison claims, in words."""
    counts = compared.metric in COUNT_METRICS
    relation = "below" if compared.lower else "above"
    if compared.margin:
        unit = "" if counts else " points"
        side = "above" if compared.lower else "below"
        relation = f"less than {_format_number(compared.margin, counts)}{unit} {side}"
    notes = ", ".join(filter(None, (_METRIC_NOTES.get(compared.metric), _AGGREGATE_NOTES.get(compared.across))))
    return f"{compared.first} is {relation} {compared.second}" + (f" ({notes})" if notes else "")


def _format_number(value: float, counts: bool, signed: bool = False) -> str:
    if not math.isfinite(value):
        return "-"
    sign = "+" if signed else ""
    return format(value, f"{sign},.4g") if counts else format(100 * value, f"{sign}.1f")
