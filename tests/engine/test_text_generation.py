"""Texts in, texts out: batches, templates, streams, and prompts of every origin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ptviz.backbones.errors import BackboneError
from ptviz.backbones.generation import GenerationSettings
from ptviz.checkpoints.detect import open_in_process
from ptviz.engine import text_generation
from ptviz.engine.loaded_prompt import make_static_method
from ptviz.engine.model_cache import ModelCache
from ptviz.engine.text_generation import (
    generate_texts,
    input_template,
    load_checkpoint_text_generator,
    load_text_generator,
    read_inputs,
)
from ptviz.prompt import Prompt
from ptviz.runs import Store, StoreError
from ptviz.runs.saved_prompts import SAVED_PREFIX, save_prompt
from ptviz.training import task_outputs
from ptviz.training.batches import EncodedExamples
from ptviz.training.task_outputs import generate_outputs
from tests.families import backbone_of, fresh, method_of
from tests.text_tasks import TEXT_TASK

TEXTS = ["who is it", "the good team of the city", "how many people are in a market of science and music", "where"]
SHORT = GenerationSettings(max_new_tokens=6)


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_texts_in_batches_are_written_as_one_by_one(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = backbone_of(family)
    method = method_of("smop", backbone)
    together = generate_texts(method, backbone, TEXTS, SHORT)
    alone = [generate_texts(method, backbone, [text], SHORT)[0] for text in TEXTS]
    assert together == alone
    monkeypatch.setattr(text_generation, "MAX_POSITIONS", 40)
    assert generate_texts(method, backbone, TEXTS, SHORT) == alone
    assert generate_texts(None, backbone, TEXTS, SHORT) != alone


def test_batches_of_samples_are_drawn_independently(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, settings = backbone_of("llama"), GenerationSettings(12, temperature=1.0, seed=3)
    whole = generate_texts(None, backbone, TEXTS[:1] * 4, settings)
    monkeypatch.setattr(text_generation, "MAX_POSITIONS", 80)
    samples = generate_texts(None, backbone, TEXTS[:1] * 12, settings)
    assert len(set(samples)) == 12
    assert samples[:4] == whole, "the first rows are drawn from the seed itself"
    assert generate_texts(None, backbone, TEXTS[:1] * 12, settings) == samples
    monkeypatch.setattr(task_outputs, "GENERATION_POSITIONS", 80)
    rows = EncodedExamples(backbone, TEXT_TASK, TEXT_TASK.train[:1] * 12, 0, 64)
    assert len(set(generate_outputs(None, rows, settings))) == 12


def test_the_stream_ends_with_the_whole_text() -> None:
    backbone = backbone_of("llama")
    method, seen = method_of("prompt-tuning", backbone), []
    (text,) = generate_texts(method, backbone, TEXTS[:1], SHORT, on_token=seen.append)
    assert seen[-1] == text
    assert len(seen) > 1


@pytest.mark.parametrize(("bos", "eos"), [(False, False), (True, False), (True, True)])
def test_an_input_has_the_special_tokens_that_its_tokeniser_writes(bos: bool, eos: bool) -> None:
    """As in a plain PEFT script, where virtual tokens stand ahead of what the tokeniser returns."""
    from tokenizers.processors import TemplateProcessing

    backbone = fresh("llama")
    core = backbone.tokeniser.backend_tokenizer
    ids = {name: backbone.tokeniser.convert_tokens_to_ids(name) for name in ("[CLS]", "</s>")}
    if bos or eos:
        single = " ".join(["[CLS]"] * bos + ["$A"] + ["</s>"] * eos)
        core.post_processor = TemplateProcessing(single=single, special_tokens=[*ids.items()])
    row = input_template(backbone).encode("good day", backbone.tokeniser, 2, 64)
    assert row.slots == [True, True] + [False] * (len(row.ids) - 2)
    assert row.ids[2:] == list(backbone.tokeniser("good day")["input_ids"])


def test_a_template_of_ones_own_is_used() -> None:
    backbone = backbone_of("llama")
    row = input_template(backbone, "Q: {text}\nA:{prompt}").encode("who", backbone.tokeniser, 2, 64)
    assert row.slots[-2:] == [True, True]
    with pytest.raises(ValueError, match="unknown field"):
        input_template(backbone, "{prompt}{txt}")


def test_an_empty_text_is_named() -> None:
    with pytest.raises(ValueError, match="text 2 of 2"):
        generate_texts(None, backbone_of("llama"), ["a", " "])


def test_a_saved_prompt_and_its_checkpoint_write_the_same(tmp_path: Path) -> None:
    cache, store = ModelCache(), Store()
    rows = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    saved = save_prompt(store.prompts_folder, {"embeddings": rows}, "P", "tiny-decoder", None, {})
    np.save(tmp_path / "P.npy", rows.numpy())
    generators = [
        load_text_generator(store, cache, SAVED_PREFIX + saved.id),
        load_checkpoint_text_generator(open_in_process(tmp_path / "P.npy"), "tiny-decoder", cache),
    ]
    first, second = (one.generate(TEXTS, SHORT) for one in generators)
    assert first == second
    assert first["with"] != first["without"]
    assert first["template"] == "{prompt}{text}"


def test_a_checkpoint_needs_a_backbone_that_it_fits(tmp_path: Path) -> None:
    np.save(tmp_path / "P.npy", np.zeros((3, 31), np.float32))
    bundle, cache = open_in_process(tmp_path / "P.npy"), ModelCache()
    with pytest.raises(StoreError, match="expected the backbone"):
        load_checkpoint_text_generator(bundle, "", cache)
    with pytest.raises(StoreError, match=r"expected \(3, 32\) for tiny-decoder; got \(3, 31\)"):
        load_checkpoint_text_generator(bundle, "tiny-decoder", cache)


def test_keys_and_values_of_another_shape_are_refused() -> None:
    backbone = backbone_of("llama")
    with pytest.raises(StoreError, match="key_values of this prompt: expected"):
        make_static_method(Prompt(key_values=torch.zeros(2, 2, 1, 4, 3, 8)), backbone)


def test_an_encoder_is_refused_with_its_reason() -> None:
    with pytest.raises(BackboneError, match="reads texts and generates none"):
        generate_texts(None, backbone_of("bert"), TEXTS)


def test_inputs_are_the_lines_that_hold_a_text(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes("\ufeffa é\r\n\n  b \n".encode())
    assert read_inputs(path) == ["a é", "b"]
    path.write_bytes("one\u2028text\x0b\r\nanother\x85one".encode())
    assert read_inputs(path) == ["one\u2028text", "another\x85one"]
    path.write_bytes(b"\n \n")
    with pytest.raises(StoreError, match="at least one line"):
        read_inputs(path)
    path.write_bytes(b"a\xff")
    with pytest.raises(StoreError, match="byte 1 is not"):
        read_inputs(path)
