"""Captions of the comparison of methods, and what a comparison can show."""

from __future__ import annotations

from collections.abc import Sequence

from ptviz.analysis.comparison import MethodSummary, PairedComparison
from ptviz.analysis.statistics import MIN_SEEDS
from ptviz.methods import list_methods
from ptviz.tasks.metrics import Metric

FAIRNESS_TEXT = """
- **Same budget.** Every method makes the same number of updates on the same examples, with the same batch size; a seed
  draws the same examples and batches for all. Methods with source tasks also train on those, which counts in their
  seconds.
- **Different lengths.** By default, methods have the number of prompt tokens of their papers, so a longer prompt may
  win by its length. Set *prompt tokens* to compare all methods at one length; the axis of effective prompt length shows
  how far they differ.
- **Little tuning.** Learning rates are the best of a recorded sweep per method and backbone, over few rates. A method
  that needs finer tuning may do better than it does here; the grid of learning rates shows how much they matter.
- **Few seeds.** Each is a [[confidence interval]] over seeds: with three seeds it is wide, and a verdict needs five.
  With one seed, the interval is over its test examples, marked (examples): it says nothing about another seed.
- **Seconds** are measured on this machine, under its load at the time. **Memory** is the rise of the process's peak
  above its level before the run; older runs did not record it.
"""
_COLUMN_NOTES = (
    "Length counts prompt positions. Steps to 90 / 95% of best: updates until a run first reached these shares of its "
    "own best {metric}."
)
CAPTIONS = {
    "Curves": "How to read it: one line per method, the mean over seeds; the band spans the lowest to the highest "
    "seed. Further left is faster, narrower is steadier. Click a name to hide a method, double-click to show only "
    "that one.",
    "Side by side": "How to read it: one panel per method, all on the same axes. The dashed line is the zero-shot "
    "{metric}.",
    "Against cost": "How to read it: up is better, left is cheaper.",
    "Convergence": "How to read it: left is sooner. The open mark is at 90%, the filled one at 95% of a run's own "
    "best validation {metric}, so a weak method may still converge fast. Resolution: the interval of evaluations.",
    "Seeds": "How to read it: one point per seed, a tick at the mean, and the 95% interval as a bar. Methods whose "
    "bars overlap may still differ seed by seed: see the table below.",
}

REFERENCE_LINES = (
    "Dotted lines are references, which train the backbone itself: their best validation score, the mean over the "
    "same seeds."
)


def describe_columns(summaries: Sequence[MethodSummary], metric: Metric) -> str:
    """Return what the columns of the table are, and what each interval is over."""
    if all(len(one.seeds) == 1 for one in summaries):
        test = "Test is the score of one seed"
        test += "; its interval is over test examples, marked (examples)" if describe_intervals(summaries) else ""
    else:
        test = "Test is the mean over seeds; sd and interval are over seeds"
        if any(one.interval and one.interval.over == "rows" for one in summaries):
            test += "; with one seed the interval is over its test examples, marked (examples)"
    return f"{test}. {_COLUMN_NOTES.format(metric=metric.noun)}{_describe_shared_sources(summaries)}"


def _describe_shared_sources(summaries: Sequence[MethodSummary]) -> str:
    """Return what intervals over seeds leave out where all seeds of a method start from the same source prompts."""
    cards = list_methods()
    shared = [cards[one.method].card.title for one in summaries
              if one.seed_count > 1 and one.method in cards and cards[one.method].needs_source_prompts]  # fmt: skip
    if not shared:
        return ""
    return f" All seeds of {', '.join(shared)} start from one set of source prompts: how these vary is in no interval."


def describe_intervals(summaries: Sequence[MethodSummary]) -> str:
    """Return what the intervals of methods are over; "" without any."""
    over = {one.interval.over for one in summaries if one.interval}
    if over == {"seeds", "rows"}:
        return "over seeds, of methods with one seed over its test examples"
    return "" if not over else "over seeds" if "seeds" in over else "over test examples"


def describe_cost_marks(summaries: Sequence[MethodSummary]) -> str:
    """Return what the line and the bars of the chart against cost mean, as far as they are drawn."""
    drawn = []
    if len(summaries) > 1:
        drawn.append("No method shown is both cheaper and better than one on the grey line.")
    if over := describe_intervals(summaries):
        drawn.append(f"The bars are 95% intervals {over}.")
    return " ".join(drawn)


def describe_zero_shot(scores: Sequence[float], metric: Metric) -> str:
    """Return what the zero-shot line is, where runs were evaluated on different examples; "" where they were not."""
    if not scores or round(max(scores) - min(scores), 6) == 0:
        return ""
    return (
        f"The zero-shot line is a mean: seeds draw their own validation examples, on which it is "
        f"{metric.format(min(scores))} to {metric.format(max(scores))}."
    )


def describe_budget(lengths: Sequence[int | None], steps: int, batch: int, seeds: int) -> str:
    """Return what was the same for all methods of a comparison, and what was not."""
    known = sorted({length for length in lengths if length is not None})
    same = f"Same budget for all: {steps:,} updates with batches of {batch}, {seeds} seed{'s' if seeds > 1 else ''}."
    if len(known) < 2:
        return f"{same} Same length: {known[0]} prompt positions." if known else same
    return f"{same} Different lengths: {known[0]} to {known[-1]} prompt positions. Set prompt tokens to equalise them."


def describe_paired_result(comparison: PairedComparison) -> str:
    """Return the result of a paired comparison in words."""
    if len(comparison.seeds) < MIN_SEEDS:
        return f"unclear: {len(comparison.seeds)} of {MIN_SEEDS} seeds"
    if comparison.adjusted is None:
        return "unclear: every seed gave the same difference"
    return {"better": "better", "worse": "worse", "unclear": "unclear: no significant difference"}[comparison.verdict]
