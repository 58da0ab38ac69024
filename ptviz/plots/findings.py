"""The replicated findings of the papers, as a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from ptviz.experiments.replication import STUDIES, StudyRecord
from ptviz.experiments.replication.comparison_text import describe_comparison
from ptviz.experiments.replication.metrics import COUNT_METRICS
from ptviz.experiments.replication.verdict import StudyResult
from ptviz.figures.findings import FindingRow, draw_findings
from ptviz.plots.alt_text import with_alt


def plot_findings(findings: Sequence[str] = (), *, answer: Sequence[StudyResult] | None = None) -> go.Figure:
    """Draw the mean difference of every replicated comparison with its 95% interval over seeds, in points.

    ``findings`` selects by id, as ``ptviz findings`` lists them; all by default. ``answer`` holds their results if they
    were read before. Comparisons of counts, such as parameters, are left out: they have no common axis with scores.

    Raises:
        ValueError: for an unknown id, or if the record of findings is damaged.
    """
    known = {study.id: study for study in STUDIES}
    if unknown := [name for name in findings if name not in known]:
        raise ValueError(f"findings: expected some of {', '.join(known)}; got {', '.join(unknown)}")
    if answer is None:
        record = StudyRecord()
        answer = [record.evaluate(known[name]) for name in findings or known]
    rows = finding_rows(answer)
    return with_alt(draw_findings(rows), _describe(rows))


def finding_rows(results: Sequence[StudyResult]) -> list[FindingRow]:
    """Return one row per measured comparison of scores, differences in points."""
    return [
        FindingRow(
            f"{result.study.id}: {describe_comparison(one.compared)}",
            100 * one.mean,
            100 * one.interval.low if one.interval else math.nan,
            100 * one.interval.high if one.interval else math.nan,
            len(one.differences),
            one.verdict,
            100 * one.compared.margin,
        )
        for result in results
        for one in result.differences
        if one.verdict != "not run" and one.compared.metric not in COUNT_METRICS
    ]


def _describe(rows: Sequence[FindingRow]) -> str:
    if not rows:
        return "Replicated findings: nothing was measured yet."
    lines = (f"{row.label}: {row.mean:+.1f} points over {row.seeds} seeds, {row.verdict}" for row in rows)
    return f"Replicated findings with 95% intervals. {'; '.join(lines)}."
