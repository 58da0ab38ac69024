"""The metrics of tasks: what each measures and how values are shown; ``ptviz.tasks.compute_metrics`` computes them.

Every value is a share from 0 to 1 or a correlation from -1 to 1, and higher is better. Shares are shown as percentages
with one decimal ("87.6%"), BLEU and chrF too, and correlations with two decimals ("0.58").
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from ptviz.tasks.example import TaskError

MetricKind = Literal["classification", "text", "several"]
"""What is scored: classes or places of choices, generated texts, or several tasks of both kinds."""

_CLASS_F1 = re.compile(r"f1:(\d{1,4})")


@dataclass(frozen=True)
class Metric:
    """A metric of tasks; ``name`` is its name on disk and in options.

    ``title`` begins a label ("Macro F1"), ``noun`` stands inside one ("validation macro F1"). Values lie from ``low``
    to ``high``. ``unit`` is "%" where a value is shown times 100, as a percentage, and empty for a correlation.
    ``label`` is the class of an F1 of one class. ``is_row_mean`` says whether the score is the mean of the scores of
    the examples, as accuracy is and BLEU is not.
    """

    name: str
    title: str
    noun: str
    kind: MetricKind
    definition: str
    source: str
    low: float = 0
    high: float = 1
    direction: Literal["higher"] = "higher"
    label: int = 1
    is_row_mean: bool = False

    @property
    def unit(self) -> str:
        """Return "%" if values are shown as percentages, else an empty text."""
        return "" if self.low < 0 else "%"

    @property
    def tick_format(self) -> str:
        """Return the format of the numbers on an axis, for Plotly: whole percentages, or at most two decimals."""
        return ".0%" if self.unit else ".2~f"

    @property
    def value_format(self) -> str:
        """Return the format of a value, for Python and for Plotly: ".1%" or ".2f"."""
        return ".1%" if self.unit else ".2f"

    @property
    def constant_answer(self) -> str:
        """Return the name of the baseline that always gives the most frequent answer of the training rows."""
        names = {"classification": "majority class", "text": "most frequent target", "several": "most frequent answer"}
        return names[self.kind]

    def format(self, value: float) -> str:
        """Return a value as it is shown: "87.6%", or "0.58" for a correlation."""
        return f"{value:z{self.value_format}}"  # z: no "-0.00"

    def format_short(self, value: float) -> str:
        """Return a value where there is little room: "88%", or "0.58" for a correlation."""
        return f"{value:.0%}" if self.unit else self.format(value)

    def format_change(self, change: float, unit: str = " points") -> str:
        """Return a difference of two values: "+3.2 points", or "+0.03" for a correlation."""
        return f"{100 * change:+z.1f}{unit}" if self.unit else f"{change:+z.2f}"


_GLUE = "Wang et al. 2019, GLUE, https://arxiv.org/abs/1804.07461"
_SUPERGLUE = "Wang et al. 2019, SuperGLUE, https://arxiv.org/abs/1905.00537"
_STS = "Cer et al. 2017, SemEval-2017 Task 1 (STS-B), https://arxiv.org/abs/1708.00055"
_SQUAD = "Rajpurkar et al. 2016, SQuAD, https://arxiv.org/abs/1606.05250"

_ALL = (
    Metric(
        "accuracy",
        "Accuracy",
        "accuracy",
        "classification",
        "Share of examples with the right class.",
        _GLUE,
        is_row_mean=True,
    ),
    Metric(
        "macro-f1",
        "Macro F1",
        "macro F1",
        "classification",
        "Mean of the F1 scores of the classes, each counted the same; classes that nothing has or gets are left out.",
        _SUPERGLUE,
    ),
    Metric(
        "f1",
        "F1",
        "F1",
        "classification",
        'Harmonic mean of precision and recall of class 1, counted from 0; "f1:2" is the F1 of class 2.',
        _GLUE,
    ),
    Metric(
        "matthews",
        "Matthews correlation",
        "Matthews correlation",
        "classification",
        "Correlation of the predicted with the right classes; 0 is chance, and 0 if all are of one class.",
        "Matthews 1975, https://doi.org/10.1016/0005-2795(75)90109-9",
        low=-1,
    ),
    Metric(
        "pearson",
        "Pearson correlation",
        "Pearson correlation",
        "text",
        "Linear correlation between generated and reference numbers; a text that is not a number counts as -1.",
        _STS,
        low=-1,
    ),
    Metric(
        "spearman",
        "Spearman correlation",
        "Spearman correlation",
        "text",
        "Rank correlation between generated and reference numbers; a text that is not a number counts as -1.",
        _GLUE,
        low=-1,
    ),
    Metric(
        "exact-match",
        "Exact match",
        "exact match",
        "text",
        "Share of texts equal to a reference, without case, punctuation, articles and extra blanks; numbers by value.",
        _SQUAD,
        is_row_mean=True,
    ),
    Metric(
        "token-f1",
        "Token F1",
        "token F1",
        "text",
        "F1 of the words shared with the best reference, compared as exact match compares them; mean over texts.",
        _SQUAD,
        is_row_mean=True,
    ),
    Metric(
        "rouge-l",
        "ROUGE-L",
        "ROUGE-L",
        "text",
        "F1 of the longest common subsequence of words (a-z, 0-9) with the best reference; mean over texts.",
        "Lin 2004, https://aclanthology.org/W04-1013",
        is_row_mean=True,
    ),
    Metric(
        "bleu",
        "BLEU",
        "BLEU",
        "text",
        "Precision of groups of one to four words over all texts, less a penalty for short ones (sacreBLEU, 13a).",
        "Papineni et al. 2002, https://aclanthology.org/P02-1040; Post 2018, https://aclanthology.org/W18-6319",
    ),
    Metric(
        "chrf",
        "chrF",
        "chrF",
        "text",
        "F2 of groups of one to six characters over all texts (sacreBLEU).",
        "Popović 2015, https://aclanthology.org/W15-3049",
    ),
)

MEAN_SCORE = Metric(
    "mean-score",
    "Mean score",
    "mean score",
    "several",
    "Mean over the target tasks of the score by each task's own metric.",
    _GLUE,
)
"""What a run on several tasks is judged by; no task has it as its metric."""

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""The metrics by name. F1 of another class than 1 has a name of its own: see ``check_metric``."""
ACCURACY = METRICS["accuracy"]


def check_metric(name: str, kind: MetricKind, classes: int | None = None) -> Metric:
    """Return the metric of a name, for tasks of a kind; "f1:2" is the F1 of class 2, counted from 0.

    Raises:
        TaskError: if there is no such metric for this kind, or the class is none of ``classes``.
    """
    metric = find_metric(name)
    if metric is None or metric.kind != kind:
        known = [known.name for known in METRICS.values() if known.kind == kind]
        more = ", f1:CLASS with a number from 0" if kind == "classification" else ""
        raise TaskError(f"metric of a {kind} task: expected one of {', '.join(known)}{more}; got {name!r}")
    if name.startswith("f1") and classes is not None and metric.label >= classes:
        raise TaskError(f"metric {name!r}: expected a class from 0 to {classes - 1}; got {metric.label}")
    return metric


def find_metric(name: str) -> Metric | None:
    """Return the metric of a name, None if there is none."""
    found = _CLASS_F1.fullmatch(name)
    if found is None:
        return METRICS.get(name)
    label = int(found[1])
    title = f"F1 of class {label}"
    definition = f"Harmonic mean of precision and recall of class {label}, counted from 0."
    return replace(METRICS["f1"], name=name, title=title, noun=title, definition=definition, label=label)


def recorded_metric(name: str) -> Metric:
    """Return the metric that a file names; one of another version of ptviz has its name as its title."""
    unknown = Metric(name, name, name, "text", "A metric that this version of ptviz does not have.", "", low=-1)
    return MEAN_SCORE if name == MEAN_SCORE.name else find_metric(name) or unknown


def shared_metric(metrics: Iterable[Metric]) -> Metric:
    """Return the one metric of several runs, whose values may stand on one axis; accuracy without runs.

    Raises:
        ValueError: if they are different.
    """
    found = {metric.name: metric for metric in metrics}
    if len(found) > 1:
        names = ", ".join(metric.noun for metric in found.values())
        raise ValueError(f"expected runs whose tasks have one metric; got {names}: compare them apart")
    return next(iter(found.values()), ACCURACY)
