"""Tasks whose answers are generated texts, or an example's own choices."""

from __future__ import annotations

import json
from copy import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from ptviz.backbones import BackboneError
from ptviz.backbones.generation import GenerationSettings
from ptviz.methods import REGISTRY
from ptviz.prompt import Prompt
from ptviz.tasks import Example, Task, TaskError
from ptviz.training import evaluation, train
from ptviz.training.baselines import measure_baselines
from ptviz.training.batches import EncodedExamples, expand_references
from ptviz.training.config import TrainConfig
from ptviz.training.evaluation import answer_examples, evaluate, predict
from ptviz.training.events import Baselines, Evaluated, Finished, decode_event, event_to_json
from ptviz.training.task_outputs import generate_outputs, generate_token_ids, longest_target
from tests.families import TASK, backbone_of, fresh, method_of

NOUNS = ["cat", "dog", "bird", "house", "tree", "river", "stone", "light", "book", "chair", "lamp", "road"]
ROWS = tuple(Example(f"the {a} sees the {b}", targets=(f"a {a}",)) for a in NOUNS for b in NOUNS if a != b)
SETTINGS: dict[str, Any] = {"batch": 8, "lr": 0.05, "validation_rows": 8, "test_rows": 8, "snapshot_every": 1000}


def text_task(name: str = "seer", **changes: Any) -> Task:
    plain = Task(name, "Who sees", "text", (), (), (), "Answer:", ROWS[:80], ROWS[80:96], ROWS[96:112], "made up")
    return replace(plain, **changes)


def choice_task() -> Task:
    rows = tuple(
        Example(f"who is {a}", label=index % 2, choices=(f"a small {a}", "nobody at all")[: 2 - index % 2 + index % 2])
        for index, a in enumerate(NOUNS)
    )
    return Task("who", "Who", "choice", (), (), (), "Answer:", rows[:6], rows[6:9], rows[9:], "made up")


@pytest.mark.parametrize("family", ["llama", "t5"])
@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_method_learns_to_write(name: str, family: str) -> None:
    backbone = backbone_of(family)
    sources = [text_task("other")] if REGISTRY[name].uses_source_tasks else None
    own = {"start": "words"} if name == "ctpt" else {}
    steps = 12 if name == "ctpt" else 30  # of which each tries many prompts
    settings = {
        **SETTINGS,
        "steps": steps,
        "source_steps": 2,
        "evaluate_every": max(1, steps // 3),
        "lr": 0.02,
        "validation_rows": 16,
    }
    events = list(train(name, backbone, text_task(), sources=sources, hyperparameters=own, **settings))
    scores = [event for event in events if isinstance(event, Evaluated)]
    assert min(event.loss for event in scores[1:]) < scores[0].loss
    assert isinstance(events[-1], Finished)
    assert all(len(event.written) == 6 for event in scores)


def test_an_encoder_is_refused_with_its_reason_before_anything_runs() -> None:
    with pytest.raises(BackboneError, match="an encoder: it reads texts and generates none"):
        next(train("prompt-tuning", backbone_of("bert"), text_task(), **SETTINGS))


@pytest.mark.parametrize(("family", "expected"), [("llama", "the cat sees the dog\nAnswer: a cat\n"), ("t5", "a cat")])
def test_the_target_follows_the_input(family: str, expected: str) -> None:
    backbone = backbone_of(family)
    row = EncodedExamples(backbone, text_task(), ROWS[:1], 0, 64).examples[0]
    ids = [*row.ids, *row.target] if family == "llama" else [*row.target[:-1]]
    pieces = "".join(backbone.tokeniser.convert_ids_to_tokens(ids)).replace("Ġ", " ").replace("Ċ", "\n")
    assert pieces.strip(" \n") == expected.strip()
    last = backbone.tokeniser.eos_token_id if family == "t5" else backbone.tokenise("\n")[0]
    assert row.target[-1] == last


def test_a_target_of_several_lines_ends_with_the_end_of_sequence() -> None:
    backbone = backbone_of("llama")
    lines = text_task(train=(Example("x", targets=("two\nlines",)), *ROWS[:3]))
    rows = EncodedExamples(backbone, lines, ROWS[:1], 0, 64)
    assert rows.examples[0].target[-1] == backbone.tokeniser.eos_token_id
    assert not rows.ends_with_line


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_text_ends_at_the_token_that_training_teaches_as_its_end(family: str) -> None:
    """The tokeniser's end need not be the model's: instruct models end a turn with another token."""
    backbone = fresh(family)
    task = text_task(train=(Example("x", targets=("two\nlines",)), *ROWS[:3]))
    rows = EncodedExamples(backbone, task, ROWS[:1], 0, 64)
    (ids,) = generate_token_ids(None, rows, GenerationSettings(12))
    end = next(one for one in ids if ids[0] != one < len(backbone.tokeniser))
    backbone.tokeniser.eos_token = backbone.tokeniser.convert_ids_to_tokens(end)
    backbone.model.generation_config.eos_token_id = 1
    rows = EncodedExamples(backbone, task, ROWS[:1], 0, 64)
    assert rows.end == end
    assert generate_token_ids(None, rows, GenerationSettings(12)) == [ids[: ids.index(end)]]


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_the_loss_is_the_mean_over_target_tokens(family: str) -> None:
    backbone, task = backbone_of(family), text_task(train=(Example("a cat", targets=("a very long story",)), *ROWS[:9]))
    rows = EncodedExamples(backbone, task, task.train, 0, 64)
    logits, right = [], []
    for row in rows.examples:
        ids, target = torch.tensor([row.ids]), torch.tensor([row.target])
        if family == "t5":
            found = backbone.model(input_ids=ids, labels=target).logits[0]
        else:
            found = backbone.model(torch.cat([ids, target], 1)).logits[0, ids.shape[1] - 1 : -1]
        logits.append(found)
        right.append(target[0])
    expected = F.cross_entropy(torch.cat(logits), torch.cat(right))
    assert evaluate(None, rows).loss == pytest.approx(float(expected), rel=1e-5)


def test_texts_written_together_are_those_written_alone() -> None:
    backbone, task = backbone_of("llama"), text_task()
    method = method_of("prompt-tuning", backbone)
    some = [Example("a"), Example("the old house by the river"), Example("the cat sees")]
    together = generate_outputs(method, EncodedExamples(backbone, task, some, method.slots, 64))
    alone = [generate_outputs(method, EncodedExamples(backbone, task, [one], method.slots, 64))[0] for one in some]
    assert together == alone
    assert answer_examples(method, backbone, task, some) == together


def test_a_score_of_written_texts_has_a_margin_and_one_of_classes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, task = backbone_of("llama"), text_task()
    rows = EncodedExamples(backbone, task, task.validation, 0, 64)
    right = [row.targets[0] for row in task.validation]
    for wrong, margin in ((0, 1 / 16), (1, 1 / 16), (8, (0.5**2 / 15) ** 0.5)):
        monkeypatch.setattr(evaluation, "generate_outputs", lambda *_, wrong=wrong: ["no"] * wrong + right[wrong:])
        assert evaluate(None, rows).margin == pytest.approx(margin, rel=0.01)
    assert evaluate(None, EncodedExamples(backbone, TASK, TASK.validation, 0, 64)).margin == 0


def test_baselines_are_measured_by_the_task_s_metric() -> None:
    echo = tuple(Example(f"a {noun}", targets=(f"a {noun}", "the same")) for noun in NOUNS)
    task = text_task(train=(*echo, Example("more", targets=("the same",))), validation=echo[:4], test=echo[:4])
    found = measure_baselines(backbone_of("llama"), task, TrainConfig())
    assert (found.copying, found.majority) == (1.0, 1.0)  # the commonest target is every row's second reference
    assert found.in_context is not None
    assert (found.shown, found.inputs[0], found.references[0]) == (4, "a cat", "a cat")
    assert len(found.unprompted) == 4
    for family in ("t5", "bart"):
        assert measure_baselines(backbone_of(family), task, TrainConfig()).in_context is not None


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_an_encoder_decoder_reads_the_examples_as_one_input(family: str) -> None:
    backbone, task, some = backbone_of(family), text_task(), (ROWS[0], ROWS[20], ROWS[50])
    bare = EncodedExamples(backbone, task, some[2:], 0, 64)
    shown, tokeniser = bare.in_context(some[:2], 64), backbone.tokeniser
    said = tokeniser.decode(shown.examples[0].ids, skip_special_tokens=True).replace(" ", "")
    parts = some[0].text, some[0].targets[0], some[1].text, some[1].targets[0], some[2].text
    places = [said.index(part.replace(" ", "")) for part in parts]
    assert places == sorted(places)
    for mark in (tokeniser.bos_token_id, tokeniser.eos_token_id, tokeniser.cls_token_id, tokeniser.sep_token_id):
        assert shown.examples[0].ids.count(mark) == bare.examples[0].ids.count(mark)


@pytest.mark.parametrize(("family", "places"), [("bart", 200), ("llama", 320), ("gpt2", 320)])
def test_more_examples_than_a_model_has_places_give_no_baseline(family: str, places: int) -> None:
    long = tuple(Example(f"{noun} " * 60, targets=(noun,)) for noun in NOUNS)
    task = text_task(train=long, validation=long[:2], test=long[:2])
    backbone = fresh(family)
    backbone.model.config.max_position_embeddings = places
    found = measure_baselines(backbone, task, TrainConfig(length=64))
    assert (found.in_context, found.shown) == (None, 0)


def test_the_positions_of_what_a_decoder_writes_count_too() -> None:
    backbone, task = fresh("gpt2"), text_task()
    rows = EncodedExamples(backbone, task, task.validation, 0, 64).in_context(task.train[:4], 64)
    needed = max(len(row.ids) for row in rows.examples) + longest_target(rows)
    for places, shown in ((needed, 4), (needed - 1, 0)):
        backbone.model.config.max_position_embeddings = places
        assert measure_baselines(backbone, task, TrainConfig()).shown == shown


def test_examples_in_the_context_stand_before_the_input_with_their_targets() -> None:
    backbone, task = backbone_of("llama"), text_task()
    bare = EncodedExamples(backbone, task, ROWS[50:52], 0, 64)
    shown = bare.in_context(ROWS[:2], 64)
    first, second = (EncodedExamples(backbone, task, [row], 0, 64).examples[0] for row in ROWS[:2])
    ahead = [*first.ids, *first.target, *second.ids, *second.target]
    assert shown.examples[0].ids == [*ahead, *bare.examples[0].ids]
    assert shown.examples[0].readout_mask.index(True) == len(shown.examples[0].ids) - 1
    assert bare.examples[0].ids == EncodedExamples(backbone, task, ROWS[50:51], 0, 64).examples[0].ids


def test_every_reference_is_trained_on() -> None:
    rows = (Example("x", targets=("a", "b")), Example("y", targets=("c",)))
    assert [row.targets for row in expand_references(rows)] == [("a",), ("b",), ("c",)]
    assert expand_references(ROWS) == ROWS


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_a_choice_is_scored_by_the_mean_log_likelihood_of_its_tokens(family: str) -> None:
    backbone, task = backbone_of(family), choice_task()
    rows = EncodedExamples(backbone, task, task.train, 0, 64)
    found = evaluate(None, rows)
    for index, row in enumerate(task.train):
        losses = []
        for target in rows.choices[index]:
            one = replace_target(rows, index, target)
            losses.append(float(backbone(one, Prompt(), rows.readout).nll))
        expected = (-torch.tensor(losses)).softmax(0)
        assert torch.allclose(found.probabilities[index, : len(row.choices)], expected, atol=1e-5)
    events = list(train("prompt-tuning", backbone, task, steps=2, **SETTINGS))
    assert isinstance(events[-1], Finished)


def replace_target(rows: EncodedExamples, index: int, target: tuple[int, ...]) -> Any:
    alone = copy(rows)
    alone.examples = [row._replace(target=target) for row in rows.examples]
    return alone.make_batch([index])


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_label_words_of_several_tokens_are_scored_whole(family: str) -> None:
    backbone = backbone_of(family)
    words = ("somebody unknown", "somewhere", "how many of them")
    task = replace(TASK, label_words=words, whole_words=True)
    rows = EncodedExamples(backbone, task, TASK.train[:4], 0, 64)
    as_choices = tuple(example._replace(choices=words) for example in TASK.train)
    choices = replace(TASK, classes=(), label_words=(), descriptions=(), train=as_choices, validation=as_choices[:3],
                      test=as_choices[:3])  # fmt: skip
    expected = evaluate(None, EncodedExamples(backbone, choices, as_choices[:4], 0, 64))
    assert torch.equal(evaluate(None, rows).probabilities, expected.probabilities)
    assert torch.allclose(predict(None, backbone, task, [TASK.train[0].text]), expected.probabilities[:1], atol=1e-6)
    assert isinstance([*train("prompt-tuning", backbone, task, steps=2, **SETTINGS)][-1], Finished)


def test_words_of_one_token_and_encoders_are_scored_as_classes() -> None:
    short = replace(TASK, label_words=("a", "the", "of"), whole_words=True)
    assert EncodedExamples(backbone_of("llama"), short, TASK.train[:2], 0, 64).scoring == "classes"
    long = replace(TASK, label_words=("some one", "somewhere", "how many"), whole_words=True)
    assert EncodedExamples(backbone_of("bert"), long, TASK.train[:2], 0, 64).scoring == "classes"


def test_classification_is_scored_by_its_metric() -> None:
    backbone = backbone_of("bert")
    rows = EncodedExamples(backbone, replace(TASK, metric="macro-f1"), TASK.validation, 0, 64)
    plain = evaluate(None, EncodedExamples(backbone, TASK, TASK.validation, 0, 64))
    from sklearn.metrics import f1_score

    expected = f1_score(rows.labels, plain.probabilities.argmax(1), average="macro", zero_division=0)
    assert evaluate(None, rows).score == pytest.approx(expected)
    assert expected != pytest.approx(plain.score)


def test_two_fields_are_two_texts_for_the_model() -> None:
    pairs = tuple(
        Example.of_fields(f"the {a} sits", f"there is a {b}", label=int(a == b)) for a in NOUNS for b in NOUNS[:2]
    )
    task = replace(
        TASK, classes=("no", "yes"), label_words=("no", "yes"), descriptions=("different", "same"), metric="matthews",
        train=pairs[:12], validation=pairs[12:18], test=pairs[18:], fields=("premise", "hypothesis"),
        template="{prompt:2}{premise} {sep} {prompt:2}{hypothesis}",
    )  # fmt: skip
    backbone = backbone_of("bert")
    events = list(train("prompt-tuning", backbone, task, hyperparameters={"m": 4}, steps=3, **SETTINGS))
    end = events[-1]
    assert isinstance(end, Finished)
    assert -1 <= end.test <= 1
    text = pairs[0].text
    assert text == "the cat sits | there is a cat"
    alone = predict(None, backbone, task, [text])
    rows = EncodedExamples(backbone, task, pairs[:1], 0, 64)
    assert torch.equal(alone, evaluate(None, rows).probabilities)
    with pytest.raises(ValueError, match="expected 2 texts"):
        predict(None, backbone, task, ["one text only"])
    with pytest.raises(TaskError, match="metric of a classification task"):
        replace(task, metric="rouge-l")


def test_a_text_task_has_no_class_probabilities() -> None:
    with pytest.raises(ValueError, match="has no classes"):
        predict(None, backbone_of("llama"), text_task(), ["x"])


def test_events_of_written_texts_survive_the_file() -> None:
    events = [
        Baselines(0.0, 0.5, 1.0, 0.25, None, 0, ("in",), ("out",), ("other",)),
        Evaluated(0, 3, 1.0, -0.5, True, 2.0, ("written\nin two lines",)),
    ]
    for event in events:
        assert decode_event(json.dumps(event_to_json(event)).encode()) == event
    old = {"event": "evaluation", "stage": 0, "step": 1, "loss": 1.0, "accuracy": 0.5, "best": True, "seconds": 1.0}
    assert decode_event(json.dumps(old).encode()) == Evaluated(0, 1, 1.0, 0.5, True, 1.0)


def test_a_task_with_one_text_and_accuracy_has_the_fingerprint_that_it_always_had() -> None:
    assert TASK.fingerprint() == "a33d3f76a85b69ba30f58be0d2fb946d15ee55954ecc23e37d61c73614458628"
    assert replace(TASK, metric="macro-f1").fingerprint() != TASK.fingerprint()
    assert text_task().fingerprint() != text_task(metric="rouge-l").fingerprint()
