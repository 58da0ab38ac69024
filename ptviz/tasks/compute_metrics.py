"""Compute the metrics of tasks: scores of predicted classes and of generated texts.

scikit-learn, scipy, rouge-score and sacrebleu compute them; they are imported by the functions, because tasks are also
listed without them.
"""

from __future__ import annotations

import math
import re
import string
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ptviz.tasks.example import TaskError
from ptviz.tasks.metrics import Metric, check_metric

NO_NUMBER = -1.0
"""What a generated text counts as for Pearson and Spearman where it is no finite number."""
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_BEFORE_NUMBERS = string.punctuation.translate(str.maketrans("", "", "+-."))
_NUMBER = re.compile(r"([+\-\u2212]?)\$?([0-9]{1,3}(?:,[0-9]{3})+|[0-9]*)(?:\.([0-9]+))?")


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
    """Return a text as answers are compared: in lower case without ASCII punctuation, articles and extra blanks.

    A word that is a decimal number stands for its value: signs and decimals count ("-5", "1.5"), "1,000" is 1000. Where
    nothing would be left, articles are kept ("A"), and where nothing else is left punctuation, too ("+").

    Source: SQuAD's evaluation, but for numbers and for what it leaves nothing of.
    """
    words = text.lower().split()
    bare = [_canonical_number(word) or word.translate(_PUNCTUATION) for word in words]
    without_articles = [_ARTICLES.sub(" ", word) for word in bare]
    return next((found for one in (without_articles, bare, words) if (found := " ".join(" ".join(one).split()))), "")


def _canonical_number(word: str) -> str | None:
    """Return a decimal number as it is written shortest, without what stands around it; None for any other word."""
    found = _NUMBER.fullmatch(word.lstrip(_BEFORE_NUMBERS).rstrip(string.punctuation))
    if found is None or not (found[2] or found[3]):
        return None
    whole, rest = found[2].replace(",", "").lstrip("0") or "0", (found[3] or "").rstrip("0")
    sign = "-" if found[1] in ("-", "\u2212") and (whole != "0" or rest) else ""
    return f"{sign}{whole}.{rest}" if rest else f"{sign}{whole}"


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
    """Return whether a text is one of its references; ``normalise_answer`` says what counts as the same."""
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
