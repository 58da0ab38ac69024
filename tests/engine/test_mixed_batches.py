"""Rows of several prompts and tasks in one batch get the answers that each gets alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from ptviz.engine import mixed_batches
from ptviz.engine.export_recipe import make_text_settings
from ptviz.engine.loaded_prompt import LoadedPrompt
from ptviz.engine.mixed_batches import answer_rows, answer_with_each, stack_prompts
from ptviz.engine.text_generation import make_text_generator
from ptviz.prompt import Prompt
from ptviz.runs import RunConfig
from ptviz.tasks import Example, Task
from ptviz.tasks.collate import collate
from ptviz.training import TrainConfig
from ptviz.training.batches import EncodedExamples
from ptviz.training.evaluation import answer_examples
from ptviz.training.task_outputs import settings_of_task
from tests.families import SOURCES, TASK, backbone_of, method_of
from tests.text_tasks import CHOICE_TASK, TEXT_TASK

BACKBONES = ("bert", "pooled", "gpt2", "llama", "t5", "bart")
METHODS = ("prompt-tuning", "prefix-tuning", "p-tuning-v2", "attempt", "mpt", "dept", "smop")
WORDY = replace(
    TASK, name="wordy", label_words=("a very famous person", "place", "some number"), whole_words=True
)  # label words of several tokens


def load(family: str, method: str, task: Task, seed: int) -> LoadedPrompt:
    values = {"m": 4}
    built = method_of(method, backbone_of(family), seed, **values)
    return LoadedPrompt(RunConfig(family, task.name, method), backbone_of(family), task, built, {})


def alone(loaded: LoadedPrompt, text: str, prompted: bool) -> list[float] | str:
    from ptviz.training.evaluation import answer_examples

    method = loaded.method if prompted else None
    [found] = answer_examples(method, loaded.backbone, loaded.task, [loaded.task.split_text(text)], 64)
    return found


def check(rows: list[tuple[LoadedPrompt, str]]) -> None:
    for (loaded, text), answer in zip(rows, answer_rows(rows), strict=True):
        assert answer["task"] == loaded.task.name
        for name, prompted in (("with", True), ("without", False)):
            expected = alone(loaded, text, prompted)
            if isinstance(expected, str):
                assert answer[name] == expected
            else:
                assert answer[name] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", BACKBONES)
def test_every_row_has_its_own_prompt_and_task(family: str, method: str) -> None:
    first, second = load(family, method, TASK, 0), load(family, method, SOURCES[1], 7)
    rows = [(first, "who is the team"), (second, "the market day"), (first, "where"), (second, "a good free day city")]
    check(rows)
    assert alone(first, "who is the team", True) != alone(replace(second, task=TASK), "who is the team", True)


@pytest.mark.parametrize("method", ["prompt-tuning", "prefix-tuning", "mpt"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_written_texts_and_classes_share_a_call(family: str, method: str) -> None:
    other = replace(TEXT_TASK, name="other", cue="Say:")
    tasks = (TASK, TEXT_TASK, other, WORDY)
    loaded = [load(family, method, task, seed) for seed, task in enumerate(tasks)]
    texts = ("who is the team", "the cat sees the dog", "the road sees the lamp and the river", "where is it")
    check([*zip(loaded, texts, strict=True), (loaded[1], "the dog sees")])


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_texts_end_as_those_of_the_rows_that_the_run_was_trained_on(family: str) -> None:
    """A row that the run did not use, with a text of several lines, is no reason to write past the first one."""
    rows = (*TEXT_TASK.train, Example("x", targets=("some\nlonger text of several lines",)))
    config = TrainConfig(train_rows=4)
    loaded = load(family, "prompt-tuning", replace(TEXT_TASK, train=rows), 0)
    loaded = replace(loaded, config=replace(loaded.config, training=config))
    own, text = loaded.subsampled_task(), "the cat sees the dog"
    assert all("\n" not in row.targets[0] for row in own.train)
    [expected] = answer_examples(loaded.method, loaded.backbone, own, [own.split_text(text)], 64)
    assert answer_rows([(loaded, text)])[0]["with"] == expected
    generator = make_text_generator(loaded)
    assert generator.generate([text], generator.make_settings())["with"] == [expected]
    settings = settings_of_task(EncodedExamples(loaded.backbone, own, own.train[:1], 0, 64))
    assert make_text_settings(loaded.task, loaded.backbone, config) == settings
    assert generator.make_settings().max_new_tokens == settings.max_new_tokens


def test_what_cannot_share_a_batch_is_refused() -> None:
    first = load("gpt2", "prompt-tuning", TASK, 0)
    for other, message in (
        (load("llama", "prompt-tuning", TASK, 0), "expected prompts of one backbone in one batch; got gpt2, llama"),
        (load("gpt2", "prompt-tuning", CHOICE_TASK, 0), "has choices of its own"),
        (load("gpt2", "p-tuning-v2", TASK, 0), "prompts of one shape in one batch"),
    ):
        with pytest.raises(ValueError, match=message):
            answer_rows([(first, "who is it"), (other, "where is it")])
    with pytest.raises(ValueError, match="text 2 of 2: expected some words"):
        answer_rows([(first, "who is it"), (first, " ")])
    assert answer_rows([]) == []


@pytest.mark.parametrize("shape", [(3, 2, 4), (1, 2, 4)])
def test_prompts_are_stacked_in_the_order_of_rows(shape: tuple[int, ...]) -> None:
    draw: Callable[..., torch.Tensor] = torch.randn
    one, other = Prompt(embeddings=draw(shape)), Prompt(embeddings=draw(1, 2, 4))
    found = stack_prompts([one, other], [[3, 0, 2], [1]]).embeddings
    assert found is not None
    assert one.embeddings is not None
    assert other.embeddings is not None
    own = one.embeddings.expand(3, -1, -1)
    assert torch.equal(found, torch.stack([own[1], other.embeddings[0], own[2], own[0]]))
    with pytest.raises(ValueError, match="the same tokens pruned"):
        stack_prompts([one, replace(other, keep=torch.tensor([True, False]))], [[0, 1, 2], [3]])


@pytest.mark.parametrize("family", ["pooled", "gpt2"])
def test_an_ensemble_answers_as_its_members(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts of one shape share batches; others, such as a longer one, have their own."""
    members = [load(family, "prompt-tuning", TASK, seed) for seed in range(3)]
    texts = ["who is the team", "where", "a good free day city"]
    batches = []
    monkeypatch.setattr(
        mixed_batches, "collate", lambda rows, *a, **k: batches.append(len(rows)) or collate(rows, *a, **k)
    )
    found = answer_with_each(members, texts)
    assert max(batches) == len(members) * len(texts), "one batch"
    for member, own in zip(members, found["members"], strict=True):
        for text, answer in zip(texts, own, strict=True):
            assert answer == pytest.approx(alone(member, text, True), abs=1e-5)
    assert found["without"][0] == pytest.approx(alone(members[0], texts[0], False), abs=1e-5)
    longer = replace(members[0], method=method_of("prompt-tuning", backbone_of(family), 5, m=6))
    mixed = answer_with_each([members[1], longer], texts)
    assert mixed["members"][0] == pytest.approx(np.array(found["members"][1]), abs=1e-5)
    assert mixed["members"][1][0] == pytest.approx(alone(longer, texts[0], True), abs=1e-5)


def test_what_is_no_ensemble_is_refused() -> None:
    first = load("gpt2", "prompt-tuning", TASK, 0)
    for members, message in (
        ([first], "at least two prompts"),
        ([first, load("llama", "prompt-tuning", TASK, 0)], "prompts of one backbone"),
        ([first, load("gpt2", "prompt-tuning", SOURCES[1], 0)], "prompts for one task"),
        ([load("gpt2", "prompt-tuning", TEXT_TASK, seed) for seed in range(2)], "no classes to vote for"),
    ):
        with pytest.raises(ValueError, match=message):
            answer_with_each(members, ["who is it"])
