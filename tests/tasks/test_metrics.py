"""Metrics against values computed by hand, against the libraries, and at the edges."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from ptviz.tasks import TaskError
from ptviz.tasks.compute_metrics import normalise_answer, score_each_text, score_labels, score_texts
from ptviz.tasks.metrics import METRICS, check_metric, find_metric, recorded_metric, shared_metric

LABELS = [name for name, metric in METRICS.items() if metric.kind == "classification"]
TEXTS = [name for name, metric in METRICS.items() if metric.kind == "text"]


def labels(name: str, predicted: list[int], right: list[int], classes: int = 3) -> float:
    return score_labels(check_metric(name, "classification"), predicted, right, classes)


def texts(name: str, written: list[str], *references: list[str]) -> float:
    return score_texts(METRICS[name], written, references)


def test_every_metric_is_described() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.definition.endswith(".")
        assert "https://" in metric.source
        assert metric.direction == "higher"
        assert metric.title.lower() == metric.noun.lower()
        assert (metric.low, metric.unit) in ((0, "%"), (-1, ""))


def test_values_are_shown_as_percentages_and_correlations_as_they_are() -> None:
    assert METRICS["accuracy"].format(0.876) == "87.6%"
    assert METRICS["bleu"].format(0.2734) == "27.3%"
    assert METRICS["matthews"].format(-0.5849) == "-0.58"
    assert METRICS["matthews"].format(-0.001) == "0.00"
    assert [METRICS[name].format_short(0.876) for name in ("accuracy", "pearson")] == ["88%", "0.88"]
    assert [METRICS[name].format_change(0.0321) for name in ("f1", "spearman")] == ["+3.2 points", "+0.03"]
    assert [METRICS[name].format_change(-0.0002) for name in ("f1", "spearman")] == ["+0.0 points", "+0.00"]
    assert METRICS["f1"].format_change(-0.0321, "") == "-3.2"


def test_the_metric_of_several_runs_and_of_another_version() -> None:
    assert shared_metric([]) is METRICS["accuracy"]
    assert shared_metric([METRICS["f1"], METRICS["f1"]]) is METRICS["f1"]
    with pytest.raises(ValueError, match="one metric; got accuracy, macro F1"):
        shared_metric([METRICS["accuracy"], METRICS["macro-f1"]])
    assert recorded_metric("f1:2").title == "F1 of class 2"
    assert recorded_metric("multirc").title == "multirc"


def test_labels_by_hand() -> None:
    predicted, right = [0, 1, 1, 0], [0, 1, 0, 0]
    assert labels("accuracy", predicted, right) == 0.75
    # Class 0: precision 1, recall 2/3; class 1: precision 1/2, recall 1; nothing is of class 2.
    assert labels("macro-f1", predicted, right) == pytest.approx((0.8 + 2 / 3) / 2)
    assert labels("f1", predicted, right) == pytest.approx(2 / 3)
    assert labels("f1:0", predicted, right) == pytest.approx(0.8)
    assert labels("f1:2", predicted, right) == 0.0
    # TP 1, TN 2, FP 1, FN 0: 2 / sqrt(2 * 1 * 3 * 2)
    assert labels("matthews", predicted, right) == pytest.approx(2 / math.sqrt(12))


def test_labels_of_three_classes_are_scikit_learns() -> None:
    from sklearn.metrics import f1_score, matthews_corrcoef

    draw = np.random.default_rng(0)
    right, predicted = draw.integers(0, 3, 50), draw.integers(0, 3, 50)
    args = predicted.tolist(), right.tolist()
    assert labels("macro-f1", *args) == pytest.approx(f1_score(right, predicted, average="macro"))
    assert labels("f1:2", *args) == pytest.approx(f1_score(right, predicted, average=None)[2])
    assert labels("matthews", *args) == pytest.approx(matthews_corrcoef(right, predicted))


def test_accuracy_is_bit_for_bit_the_mean_in_float64() -> None:
    draw = torch.Generator().manual_seed(0)
    for size in (1, 3, 7, 49, 60, 97, 300, 1001):
        predicted, right = (torch.randint(0, 3, (size,), generator=draw) for _ in range(2))
        assert labels("accuracy", predicted.tolist(), right.tolist()) == float((predicted == right).double().mean())


@pytest.mark.parametrize("name", LABELS)
def test_labels_of_one_class_and_no_labels(name: str) -> None:
    right = {"accuracy": 1.0, "macro-f1": 1.0, "f1": 1.0, "matthews": 0.0}
    assert labels(name, [1, 1], [1, 1]) == right[name]
    assert labels(name, [0, 0], [1, 1]) == 0.0
    assert math.isnan(labels(name, [], []))
    with pytest.raises(ValueError, match="one predicted class for each of 2 labels; got 1"):
        labels(name, [0], [0, 1])


def test_unknown_metrics_are_refused_with_the_known_ones() -> None:
    assert check_metric("macro-f1", "classification") is METRICS["macro-f1"]
    with pytest.raises(TaskError, match="classification task: expected one of accuracy, macro-f1, f1, matthews, f1:"):
        check_metric("rouge-l", "classification")
    with pytest.raises(TaskError, match=r"text task: expected one of .*rouge-l, bleu, chrf; got 'accuracy'"):
        check_metric("accuracy", "text")
    for name in ("f1:x", "f1:", "F1", "", "f1:-1"):
        assert find_metric(name) is None
    with pytest.raises(TaskError, match="expected a class from 0 to 2; got 3"):
        check_metric("f1:3", "classification", 3)
    with pytest.raises(TaskError, match="expected a class from 0 to 1; got 2"):
        labels("f1:2", [0], [0], classes=2)
    with pytest.raises(TaskError, match="text task"):
        texts("accuracy", ["a"], ["a"])


def test_answers_are_compared_as_in_squad() -> None:
    assert normalise_answer("  The  U.S. and an Apple!\n") == "us and apple"
    assert normalise_answer("Theatre a-the") == "theatre athe"
    assert normalise_answer("Ünïcode “東京”") == "ünïcode “東京”"
    assert texts("exact-match", ["The cat!", "dog", "東京"], ["a cat"], ["cat", "Dog."], ["京都"]) == pytest.approx(
        2 / 3
    )
    # "cat sat here" shares two of three words with "cat sat", and one of one with "here".
    assert texts("token-f1", ["the cat sat here"], ["here", "A cat sat"]) == pytest.approx(0.8)
    assert texts("token-f1", ["x x x"], ["x y"]) == pytest.approx(2 / 5)
    assert texts("token-f1", ["the", "word"], ["a"], [""]) == 0.0
    assert texts("token-f1", ["", "."], [""], ["."]) == 1.0


@pytest.mark.parametrize("name", ["exact-match", "token-f1"])
def test_numbers_are_compared_by_value(name: str) -> None:
    different = [("5", "-5"), ("15", "1.5"), ("05", "0.5"), ("-$3.20", "$3.20"), ("1,000", "1.000"), ("0", "")]
    same = [("1,000", "1000"), ("5.0", "5"), (".5", "0.50"), ("+7", "7."), ("\u22125", "(-5)"), ("-0.0", "0")]
    same += [("$1,234,567.80", "1234567.8"), ("-5%", "-5"), ("A 007", "7")]
    for written, reference in different:
        assert texts(name, [written], [reference]) == 0, (written, reference)
    for written, reference in same:
        assert texts(name, [written], [reference]) == 1, (written, reference)
    assert normalise_answer("It costs $1,000.50, or -2 points.") == "it costs 1000.5 or -2 points"
    assert normalise_answer("10:30, 1/2 and 3-4") == "1030 12 and 34"  # no decimal numbers: SQuAD's rule


@pytest.mark.parametrize("name", ["exact-match", "token-f1"])
def test_answers_of_articles_or_punctuation_alone_are_compared_too(name: str) -> None:
    for written, reference in [("", "A"), ("the", "A"), ("-", "+"), ("", "?"), ("", "the")]:
        assert texts(name, [written], [reference]) == 0, (written, reference)
    for written, reference in [("a", "A"), ("A.", "(a)"), (" + ", "+"), ("The", "the"), ("", " ")]:
        assert texts(name, [written], [reference]) == 1, (written, reference)


def test_rouge_by_hand_and_as_the_library_has_it() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    written, reference = "the cat lay on a mat", "the cat sat on the mat today"
    # the, cat, on, mat: precision 4/6, recall 4/7
    assert texts("rouge-l", [written], [reference]) == pytest.approx(8 / 13)
    assert texts("rouge-l", [written, "dog"], ["x", reference], ["a dog"]) == pytest.approx((8 / 13 + 2 / 3) / 2)
    found = RougeScorer(["rougeL"]).score(reference, written)["rougeL"].fmeasure
    assert texts("rouge-l", [written], [reference]) == pytest.approx(found)


def test_bleu_and_chrf_are_of_all_texts_at_once() -> None:
    import sacrebleu

    written = ["the cat sat on the mat today", "it rains a lot in here"]
    references = [["the cat sat on a mat today", "a cat sat on the mat"], ["it rains in here a lot"]]
    streams = [[row[0] for row in references], ["a cat sat on the mat", None]]
    assert texts("bleu", written, *references) == pytest.approx(sacrebleu.corpus_bleu(written, streams).score / 100)
    assert texts("chrf", written, *references) == pytest.approx(sacrebleu.corpus_chrf(written, streams).score / 100)
    mean = sum(found or 0 for found in score_each_text(METRICS["bleu"], written, references)) / 2
    assert texts("bleu", written, *references) != pytest.approx(mean)
    # Two of two words, one of one pair of words; there are no longer groups.
    assert score_each_text(METRICS["bleu"], ["hello there"], [["hello there"]]) == [1.0]


def test_numbers_are_read_as_t5_reads_them() -> None:
    from scipy.stats import pearsonr, spearmanr

    written, right = ["1", " 2.5 ", "nan", "three", "4.0"], [1.0, 2.0, 3.0, 3.5, 5.0]
    references = [[str(number)] for number in right]
    given = [1.0, 2.5, -1.0, -1.0, 4.0]
    assert texts("pearson", written, *references) == pytest.approx(pearsonr(given, right)[0])
    assert texts("spearman", written, *references) == pytest.approx(spearmanr(given, right)[0])
    assert texts("pearson", ["1", "2", "3"], ["3"], ["2"], ["1"]) == pytest.approx(-1)
    assert score_each_text(METRICS["pearson"], ["1"], [["1"]]) == [None]
    with pytest.raises(TaskError, match="reference 2 of 2: expected a number; got 'x'"):
        texts("pearson", ["1", "2"], ["1"], ["x"])


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_equal_numbers_have_no_correlation_and_never_nan(name: str) -> None:
    assert texts(name, ["2", "2"], ["1"], ["3"]) == 0.0
    assert texts(name, ["1", "3"], ["2"], ["2"]) == 0.0
    assert texts(name, ["", "no"], ["1"], ["2"]) == 0.0
    assert texts(name, ["1"], ["1"]) == 0.0
    for written in (["1e308", "-1e308", "0"], ["1", "1.0000000000000002", "1"], ["1e-320", "0", "0"]):
        assert -1 <= texts(name, written, ["1"], ["2"], ["1"]) <= 1


@pytest.mark.parametrize("name", TEXTS)
def test_edges_of_texts(name: str) -> None:
    assert math.isnan(texts(name, []))
    assert score_each_text(METRICS[name], [], []) == []
    assert texts(name, ["", ""], ["1"], ["2"]) == 0.0
    if METRICS[name].unit:
        assert texts(name, ["1 2 3 4 5", "1"], ["1 2 3 4 5"], ["1"]) == 1.0
    assert METRICS[name].low <= texts(name, ["東京 \ud83d", "é"], ["1"], ["2"]) <= 1
    with pytest.raises(ValueError, match="references for each of 1 texts; got 0"):
        texts(name, ["a"])
    for row in ([], "a"):
        with pytest.raises(ValueError, match="text 1 of 1: expected a list of references"):
            score_texts(METRICS[name], ["a"], [row])


def test_listing_tasks_does_not_import_the_libraries_of_metrics() -> None:
    heavy = "sklearn", "scipy", "sacrebleu", "rouge_score", "nltk", "numpy"
    code = f"import sys, ptviz.tasks.metrics; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
