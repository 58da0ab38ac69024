"""A race in words: what the pictures show, for readers who cannot see them, and what a comparison is worth."""

from __future__ import annotations

from collections.abc import Sequence

from ptviz.analysis.comparison import Band, Grid, Pairing, Standing, front
from ptviz.figures.comparison import COSTS, cost_of
from ptviz.plots.method_style import title_of
from ptviz.ui.components.formatting import percent

FAIRNESS = """
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
COLUMNS = (
    "Test is the mean over seeds; sd and interval are over seeds. Length counts prompt positions. To 90, 95 %: updates "
    "until a run first reached these shares of its own best."
)
READ = {
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


def _named(method: str) -> str:
    return title_of(method)


def of_bands(bands: Sequence[Band]) -> str:
    """The curves in words."""
    told = [band for band in bands if band.steps]
    if not told:
        return "Validation accuracy over steps: nothing was evaluated yet."
    ends = "; ".join(f"{_named(band.method)} {percent(band.mean[-1])} ({band.seeds} seeds)" for band in told)
    return f"Validation accuracy over {max(band.steps[-1] for band in told)} updates. At the end: {ends}."


def of_front(standings: Sequence[Standing], cost: str) -> str:
    """Accuracy against a cost in words."""
    known = [one for one in standings if cost_of(one, cost) is not None]
    if not known:
        return f"Test accuracy against {COSTS[cost]}: no finished run tells it."
    best = front([cost_of(one, cost) for one in known], [one.mean for one in known])
    ahead = ", ".join(
        f"{_named(known[i].method)} ({cost_of(known[i], cost):,.4g}, {percent(known[i].mean)})" for i in best
    )
    return f"Test accuracy against {COSTS[cost]} of {len(known)} methods. Not beaten in both: {ahead}."


def of_convergence(standings: Sequence[Standing]) -> str:
    """Steps to 90 and 95 % in words."""
    known = [s for s in standings if s.steps90 is not None and s.steps95 is not None]
    if not known:
        return "Updates to 90 and 95 % of a method's own best: no finished run tells it."
    told = "; ".join(f"{_named(s.method)} {s.steps90:,.0f} and {s.steps95:,.0f}" for s in known)
    return f"Updates to 90 and 95 % of a method's own best validation accuracy: {told}."


def of_fairness(lengths: Sequence[int | None], steps: int, batch: int, seeds: int) -> str:
    """What was the same for all methods of a race, and what was not."""
    known = sorted({length for length in lengths if length is not None})
    same = f"Same budget for all: {steps:,} updates of {batch} rows, {seeds} seed{'s' if seeds > 1 else ''}."
    if len(known) < 2:
        return f"{same} Same length: {known[0]} prompt positions." if known else same
    return f"{same} Not the same length: {known[0]} to {known[-1]} prompt positions. Set prompt tokens to make it so."


def of_spread(standings: Sequence[Standing]) -> str:
    """The strip of seeds in words."""
    if not standings:
        return "Test accuracy of every seed: no run has finished yet."
    told = "; ".join(f"{_named(s.method)} {percent(min(s.tests))} to {percent(max(s.tests))}" for s in standings)
    return f"Test accuracy of every seed, the best mean first: {told}."


def of_grid(grid: Grid) -> str:
    """The heat map in words."""
    values = [value for row in grid.accuracies for value in row if value is not None]
    if not values:
        return "Test accuracy by learning rate and seed: no run has finished yet."
    share = "" if grid.beating is None else f" {percent(grid.beating, 0)} of the runs beat zero-shot."
    return (
        f"Test accuracy of {_named(grid.method)} at {len(grid.rates)} learning rates and {len(grid.seeds)} seeds: "
        f"{percent(min(values))} to {percent(max(values))}.{share}"
    )


def verdict(pairing: Pairing) -> str:
    """What a paired comparison says."""
    if pairing.interval is None:
        return "one seed: cannot tell"
    if pairing.clear:
        return "ahead on these seeds" if pairing.mean > 0 else "behind on these seeds"
    return "not told apart"
