"""The metrics of tasks: what each one measures, how it is computed and how its values are shown.

Every value is a share from 0 to 1 or a correlation from -1 to 1, and higher is better. Shares are shown as percentages
with one decimal ("87.6%"), BLEU and chrF too, and correlations with two decimals ("0.58"). scikit-learn, scipy,
rouge-score and sacrebleu compute them; they are imported by the functions, because tasks are also listed without them.
"""

from __future__ import annotations

import math
import re
import string
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ptviz.tasks.example import TaskError

MetricKind = Literal["classification", "text", "several"]
"""What is scored: classes or places of choices, written texts, or several tasks of both kinds."""

NO_NUMBER = -1.0
"""What a written text counts as for Pearson and Spearman where it is no finite number."""
_CLASS_F1 = re.compile(r"f1:(\d{1,4})")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


@dataclass(frozen=True)
class Metric:
    """A metric of tasks; ``name`` is its name on disk and in options.

    ``title`` begins a label ("Macro F1"), ``noun`` stands inside one ("validation macro F1"). Values lie from ``low``
    to ``high``. ``unit`` is "%" where a value is shown times 100, as a percentage, and empty for a correlation.
    ``label`` is the class of an F1 of one class.
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

    @property
    def is_row_mean(self) -> bool:
        """Return whether the score is the mean of the scores of the examples, as accuracy is and BLEU is not."""
        return self.name in ("accuracy", *_WORD_SCORES)

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
        """Return the name of the baseline that always gives the commonest answer of the training rows."""
        names = {"classification": "majority class", "text": "commonest target", "several": "commonest answer"}
        return names[self.kind]

    def format(self, value: float) -> str:
        """Return a value as it is shown: "87.6%", or "0.58" for a correlation."""
        return f"{value:z{self.value_format}}"  # z: no "-0.00"

    def format_short(self, value: float) -> str:
        """Return a value where there is little room: "88%", or "0.58" for a correlation."""
        return f"{value:.0%}" if self.unit else self.format(value)

    def format_change(self, change: float, unit: str = " points") -> str:
        """Return a difference of two values: "+3.2 points", or "+0.03" for a correlation."""
        return f"{100 * change:+.1f}{unit}" if self.unit else f"{change:+.2f}"


_GLUE = "Wang et al. 2019, GLUE, https://arxiv.org/abs/1804.07461"
_SUPERGLUE = "Wang et al. 2019, SuperGLUE, https://arxiv.org/abs/1905.00537"
_STS = "Cer et al. 2017, SemEval-2017 Task 1 (STS-B), https://arxiv.org/abs/1708.00055"
_SQUAD = "Rajpurkar et al. 2016, SQuAD, https://arxiv.org/abs/1606.05250"

_ALL = (
    Metric("accuracy", "Accuracy", "accuracy", "classification", "Share of examples with the right class.", _GLUE),
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
        "Linear correlation of the written with the right numbers; a text that is no number counts as -1.",
        _STS,
        low=-1,
    ),
    Metric(
        "spearman",
        "Spearman correlation",
        "Spearman correlation",
        "text",
        "Correlation of the ranks of the written and the right numbers; a text that is no number counts as -1.",
        _GLUE,
        low=-1,
    ),
    Metric(
        "exact-match",
        "Exact match",
        "exact match",
        "text",
        "Share of texts equal to a reference, without case, punctuation, articles and extra blanks.",
        _SQUAD,
    ),
    Metric(
        "token-f1",
        "Token F1",
        "token F1",
        "text",
        "F1 of the words shared with the best reference, without case, punctuation and articles; mean over texts.",
        _SQUAD,
    ),
    Metric(
        "rouge-l",
        "ROUGE-L",
        "ROUGE-L",
        "text",
        "F1 of the longest common subsequence of words (a-z, 0-9) with the best reference; mean over texts.",
        "Lin 2004, https://aclanthology.org/W04-1013",
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


def score_labels(metric: Metric, predicted: Sequence[int], labels: Sequence[int], classes: int) -> float:
    """Return the score of predicted classes; NaN without examples.

    Raises:
        TaskError: if the metric is none of classes, or F1 is asked of a class that there is not.
        ValueError: if there is not one prediction for each label.
    """
    import numpy as np

    check_metric(metric.name, "classification", classes)
    given, right = np.asarray(predicted), np.asarray(labels)
    if given.shape != right.shape:
        raise ValueError(f"expected one predicted class for each of {len(labels)} labels; got {len(predicted)}")
    if not right.size:
        return math.nan
    if metric.name == "accuracy":
        return float((given == right).mean())
    from sklearn.metrics import f1_score, matthews_corrcoef

    if metric.name == "macro-f1":
        return float(f1_score(right, given, average="macro", zero_division=0))
    if metric.name == "matthews":
        constant = len(set(given.tolist())) < 2 or len(set(right.tolist())) < 2
        return 0.0 if constant else _within(metric, matthews_corrcoef(right, given))
    return float(f1_score(right, given, average=None, labels=[metric.label], zero_division=0)[0])


def score_texts(metric: Metric, written: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return the score of written texts, each with one reference or more; NaN without texts.

    A text counts with its best reference, and the score is the mean over texts; BLEU and chrF are computed over all
    texts at once. Pearson and Spearman read numbers as T5 does: a written text that is no finite number counts as -1,
    and only the first reference is read. They are 0 if all numbers of a side are equal.

    Raises:
        TaskError: if the metric is none of texts, or a reference of Pearson or Spearman is no number.
        ValueError: if there are not references for each text, or a text has none.
    """
    check_metric(metric.name, "text")
    _check_references(written, references)
    if not written:
        return math.nan
    if metric.name in _CORRELATIONS:
        return _within(metric, _correlate(metric.name, written, references))
    if metric.name in _CORPUS:
        most = max(len(row) for row in references)
        streams = [[row[i] if i < len(row) else None for row in references] for i in range(most)]
        return _within(metric, _corpus_metric(metric.name).corpus_score(list(written), streams).score / 100)
    scores = [float(_WORD_SCORES[metric.name](text, row)) for text, row in zip(written, references, strict=True)]
    return math.fsum(scores) / len(scores)


def score_each_text(metric: Metric, written: Sequence[str], references: Sequence[Sequence[str]]) -> list[float | None]:
    """Return the score of each written text by itself, with its best reference; None for Pearson and Spearman.

    BLEU of one text leaves out the groups that are longer than the text (sacreBLEU's effective order).

    Raises:
        TaskError: if the metric is none of texts.
        ValueError: if there are not references for each text, or a text has none.
    """
    check_metric(metric.name, "text")
    _check_references(written, references)
    if metric.name in _CORRELATIONS:
        return [None] * len(written)
    if metric.name in _CORPUS:
        scorer = _corpus_metric(metric.name, sentence=True)
        return [
            _within(metric, scorer.sentence_score(text, list(row)).score / 100)
            for text, row in zip(written, references, strict=True)
        ]
    return [float(_WORD_SCORES[metric.name](text, row)) for text, row in zip(written, references, strict=True)]


def normalise_answer(text: str) -> str:
    """Return a text in lower case without ASCII punctuation, articles and extra blanks, as SQuAD compares answers."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def is_number(text: str) -> bool:
    """Return whether Pearson and Spearman can read a text: whether it is a finite number."""
    return _number(text) is not None


def _check_references(written: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if len(written) != len(references):
        raise ValueError(f"expected references for each of {len(written)} texts; got {len(references)}")
    for index, row in enumerate(references):
        if isinstance(row, str) or not row:
            raise ValueError(f"text {index + 1} of {len(written)}: expected a list of references, got {row!r}")


def _within(metric: Metric, value: float) -> float:
    """Return a value without the rounding errors that lead out of the metric's bounds."""
    return float(min(max(value, metric.low), metric.high))


def is_reference(text: str, references: Iterable[str]) -> bool:
    """Return whether a text is one of its references, as SQuAD compares answers."""
    return normalise_answer(text) in {normalise_answer(one) for one in references}


def _token_f1(text: str, references: Sequence[str]) -> float:
    return max(_shared_words_f1(normalise_answer(text).split(), normalise_answer(one).split()) for one in references)


def _shared_words_f1(words: list[str], right: list[str]) -> float:
    if not words or not right:
        return float(words == right)  # as in SQuAD 2.0, where no answer can be the right one
    return 2 * sum((Counter(words) & Counter(right)).values()) / (len(words) + len(right))


def _rouge_l(text: str, references: Sequence[str]) -> float:
    from rouge_score.rouge_scorer import RougeScorer

    return float(RougeScorer(["rougeL"]).score_multi(list(references), text)["rougeL"].fmeasure)


def _corpus_metric(name: str, *, sentence: bool = False) -> Any:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    # force: sacrebleu does not log that the texts look tokenised.
    return BLEU(effective_order=sentence, force=True) if name == "bleu" else CHRF()


def _correlate(name: str, written: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    import numpy as np
    from scipy.stats import pearsonr, spearmanr

    given = np.array([NO_NUMBER if (number := _number(text)) is None else number for text in written])
    right = np.empty(len(references))
    for index, row in enumerate(references):
        number = _number(row[0])
        if number is None:
            raise TaskError(f"reference {index + 1} of {len(references)}: expected a number; got {row[0]!r}")
        right[index] = number
    if given.min() == given.max() or right.min() == right.max():
        return 0.0
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nearly equal numbers: the correlation is inexact, which rounding hides
        value = float((pearsonr if name == "pearson" else spearmanr)(given, right)[0])
    return value if math.isfinite(value) else 0.0


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


_WORD_SCORES: dict[str, Callable[[str, Sequence[str]], float]] = {
    "exact-match": is_reference,
    "token-f1": _token_f1,
    "rouge-l": _rouge_l,
}
_CORPUS = ("bleu", "chrf")
_CORRELATIONS = ("pearson", "spearman")
