"""A race in words: what the pictures show, for readers who cannot see them, and what a comparison is worth."""

from __future__ import annotations

from collections.abc import Sequence

from ptviz.analysis.comparison import LearningRateGrid, MethodSummary, PairedComparison, SeedBand, pareto_front
from ptviz.figures.comparison import COST_LABELS, cost_value
from ptviz.plots.method_style import method_title
from ptviz.ui.components.formatting import format_percent

FAIRNESS_TEXT = """
- **Same budget.** Every method makes the same number of updates on the same rows, in batches of the same size; a seed
  draws the same rows and batches for all. Methods with source tasks also train on those: it counts in their seconds.
- **Not the same length.** Left to themselves, methods have the number of prompt tokens of their papers, so a longer
  prompt may win by its length alone. Set *prompt tokens* for all to compare at one length; the axis of effective prompt
  length shows how far they differ.
- **Not the same care.** Learning rates are the best of a recorded sweep per method and backbone, over few rates. A
  method that needs finer tuning may do better than it does here; the stability grid shows how much the rate matters.
- **Few seeds.** An interval over three seeds spans the lowest to the highest and holds the true middle about three
  times in four. Trust an order when it holds seed by seed, and run more seeds when it matters.
- **Seconds** are those of this machine and of what else it did. **Memory** is the rise of the process's peak above what
  it held before; older runs did not record it.
"""
COLUMN_NOTES = (
    "Test is the mean over seeds; sd and interval are over seeds. Length counts prompt positions. To 90, 95 %: updates "
    "until a run first reached these shares of its own best."
)
CAPTIONS = {
    "Curves": "How to read it: one line a method, the mean over seeds; the band reaches from the lowest to the highest "
    "seed. Further left is faster, narrower is steadier. Click a name to hide a method, double-click to see it alone.",
    "Side by side": "How to read it: one panel a method, all on the same axes. The dashed line is the backbone without "
    "a prompt.",
    "Against cost": "How to read it: up is better, left is cheaper. Nothing shown is both cheaper and better than a "
    "method on the grey line. The bars are 95 % intervals over seeds.",
    "Convergence": "How to read it: left is sooner. The open mark is at 90 %, the filled one at 95 % of a run's own "
    "best validation accuracy, so a method that never gets far may still be quick. No finer than runs were evaluated.",
    "Seeds": "How to read it: one point a seed, a tick at the mean, and the 95 % interval as a bar. Methods whose bars "
    "overlap may still differ seed by seed: the table below says so.",
}


def _title(method: str) -> str:
    return method_title(method)


def describe_seed_bands(bands: Sequence[SeedBand]) -> str:
    """The curves in words."""
    told = [band for band in bands if band.steps]
    if not told:
        return "Validation accuracy over steps: nothing was evaluated yet."
    ends = "; ".join(f"{_title(band.method)} {format_percent(band.mean[-1])} ({band.seeds} seeds)" for band in told)
    return f"Validation accuracy over {max(band.steps[-1] for band in told)} updates. At the end: {ends}."


def describe_pareto_front(standings: Sequence[MethodSummary], cost: str) -> str:
    """Accuracy against a cost in words."""
    known = [one for one in standings if cost_value(one, cost) is not None]
    if not known:
        return f"Test accuracy against {COST_LABELS[cost]}: no finished run tells it."
    best = pareto_front([cost_value(one, cost) for one in known], [one.mean for one in known])
    ahead = ", ".join(
        f"{_title(known[i].method)} ({cost_value(known[i], cost):,.4g}, {format_percent(known[i].mean)})" for i in best
    )
    return f"Test accuracy against {COST_LABELS[cost]} of {len(known)} methods. Not beaten in both: {ahead}."


def describe_convergence(standings: Sequence[MethodSummary]) -> str:
    """Steps to 90 and 95 % in words."""
    known = [s for s in standings if s.steps90 is not None and s.steps95 is not None]
    if not known:
        return "Updates to 90 and 95 % of a method's own best: no finished run tells it."
    told = "; ".join(f"{_title(s.method)} {s.steps90:,.0f} and {s.steps95:,.0f}" for s in known)
    return f"Updates to 90 and 95 % of a method's own best validation accuracy: {told}."


def describe_budget(lengths: Sequence[int | None], steps: int, batch: int, seeds: int) -> str:
    """What was the same for all methods of a race, and what was not."""
    known = sorted({length for length in lengths if length is not None})
    same = f"Same budget for all: {steps:,} updates of {batch} rows, {seeds} seed{'s' if seeds > 1 else ''}."
    if len(known) < 2:
        return f"{same} Same length: {known[0]} prompt positions." if known else same
    return f"{same} Not the same length: {known[0]} to {known[-1]} prompt positions. Set prompt tokens to make it so."


def describe_seed_spread(standings: Sequence[MethodSummary]) -> str:
    """The strip of seeds in words."""
    if not standings:
        return "Test accuracy of every seed: no run has finished yet."
    told = "; ".join(
        f"{_title(s.method)} {format_percent(min(s.tests))} to {format_percent(max(s.tests))}" for s in standings
    )
    return f"Test accuracy of every seed, the best mean first: {told}."


def describe_learning_rate_grid(grid: LearningRateGrid) -> str:
    """The heat map in words."""
    values = [value for row in grid.accuracies for value in row if value is not None]
    if not values:
        return "Test accuracy by learning rate and seed: no run has finished yet."
    share = (
        ""
        if grid.share_above_zero_shot is None
        else f" {format_percent(grid.share_above_zero_shot, 0)} of the runs beat zero-shot."
    )
    return (
        f"Test accuracy of {_title(grid.method)} at {len(grid.learning_rates)} learning rates and {len(grid.seeds)} seeds: "
        f"{format_percent(min(values))} to {format_percent(max(values))}.{share}"
    )


def describe_paired_result(pairing: PairedComparison) -> str:
    """What a paired comparison says."""
    if pairing.interval is None:
        return "one seed: cannot tell"
    if pairing.significant:
        return "ahead on these seeds" if pairing.mean > 0 else "behind on these seeds"
    return "not told apart"
