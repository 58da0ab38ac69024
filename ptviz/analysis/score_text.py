"""Scores and shares as text, for tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ptviz.tasks.metrics import Metric


def format_score(metric: Metric, score: float | None, missing: str = "-") -> str:
    """Return a score by a metric as text: 0.8375 as 83.8%, a correlation as 0.84; ``missing`` for None and NaN."""
    return missing if score is None or not math.isfinite(score) else metric.format(score)


def format_percent(share: float | None, digits: int = 1, missing: str = "-") -> str:
    """Return a share as text: 0.8375 as 83.8%; ``missing`` for None and NaN."""
    return missing if share is None or not math.isfinite(share) else f"{share:.{digits}%}"
