from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ptviz.backbones import load_backbone, load_tokeniser
from ptviz.backbones.tiny import make_tiny_tokeniser
from ptviz.engine.check_table import check_table_labels
from ptviz.runs import RunConfig
from ptviz.tasks import TableOptions, TaskError, load_table_task
from ptviz.tasks.custom.table_options import parse_words
from ptviz.training import evaluate, train
from ptviz.training.batches import EncodedExamples
from ptviz.training.distinct_labels import check_label_texts
from tests.families import TASK, backbone_of

UNKNOWN = "\ua500\ua501"
"""Two letters that the vocabulary of minilm-l6 does not have."""


def test_texts_that_are_the_same_tokens_are_refused_by_name() -> None:
    tokeniser = load_tokeniser("minilm-l6")
    assert tokeniser is not None
    check_label_texts(TASK, tokeniser)
    classes = TASK.classes
    for kind in ("label_words", "descriptions"):
        for first, second in (("Spam", "spam"), ("caf\u00e9", "cafe"), tuple(UNKNOWN)):
            task = replace(TASK, **{kind: (first, second, "other")})  # type: ignore[arg-type]
            with pytest.raises(TaskError) as caught:
                check_label_texts(task, tokeniser)
            assert repr(classes[0]) in str(caught.value)
            assert repr(classes[1]) in str(caught.value)
            assert "--words" in str(caught.value)


def test_a_cased_tokenizer_tells_more_apart() -> None:
    check_label_texts(replace(TASK, label_words=("Spam", "spam", "other")), make_tiny_tokeniser())


def test_training_refuses_them_before_anything_runs() -> None:
    task = replace(TASK, descriptions=("x", "x", "y"))
    with pytest.raises(TaskError, match="same tokens"):
        train("prompt-tuning", load_backbone("tiny-encoder", "cpu"), task)


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
@pytest.mark.parametrize("words", [("very good", "very bad"), ("class 1", "class 2"), ("top", "top up")])
def test_words_that_begin_alike_are_scored_whole(family: str, words: tuple[str, str], tmp_path: Path) -> None:
    """One token would stand for both, so that another one, of no such word, stood for the second."""
    path, backbone = tmp_path / "t.csv", backbone_of(family)
    path.write_text("text,label\n" + "".join(f"the film {i},{'np'[i % 2]}\n" for i in range(60)))
    given = {"n": words[0], "p": words[1]}
    task = load_table_task(path, options=TableOptions(**parse_words(",".join(map("=".join, given.items())))))
    assert task.label_words == words
    rows = EncodedExamples(backbone, task, task.test, 0, 64)
    assert rows.scoring == "choices"
    plain = load_table_task(path, options=TableOptions(word_list=words))
    expected = evaluate(None, EncodedExamples(backbone, plain, task.test, 0, 64))
    assert torch.equal(evaluate(None, rows).probabilities, expected.probabilities)
    other = replace(task, label_words=("no", "some very good one"))
    assert EncodedExamples(backbone, other, task.test, 0, 64).scoring == "classes"
    assert EncodedExamples(backbone_of("bert"), task, task.test, 0, 64).scoring == "classes"


def test_a_tokenizer_that_is_not_here_is_none(tmp_path: Path) -> None:
    assert load_tokeniser(str(tmp_path)) is None
    assert load_tokeniser("no-such-owner/no-such-model") is None
    assert load_tokeniser("tiny-decoder") is not None


def test_a_table_is_checked_before_a_run_is_queued(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,label\n" + "".join(f"t {i},{UNKNOWN[i % 2]}\n" for i in range(30)))
    config = RunConfig("minilm-l6", str(path))
    with pytest.raises(TaskError, match="same tokens"):
        check_table_labels(config)
    check_table_labels(replace(config, backbone="tiny-encoder"))
    check_table_labels(replace(config, task="trec6"))
