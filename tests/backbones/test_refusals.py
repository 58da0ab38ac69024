"""Unsupported inputs are refused with what was expected, what came and what to do."""

from __future__ import annotations

import pytest
import torch

from ptviz.backbones import BackboneError, load_backbone, select_device
from ptviz.backbones.label_tokens import assign_label_tokens, find_common_tokens
from ptviz.prompt import Prompt
from ptviz.tasks import Example
from ptviz.training.batches import EncodedExamples
from tests.families import TASK, backbone_of, case


@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
def test_prompts_of_the_wrong_length_are_refused(family: str) -> None:
    backbone, batch, readout = case(family, 4)
    with pytest.raises(BackboneError, match=r"4 slots a row, but the prompt brings 3 vectors; .*m=3"):
        backbone(batch, Prompt(embeddings=torch.zeros(1, 3, 32)), readout)
    with pytest.raises(BackboneError, match="4 slots a row, but the prompt brings 0 vectors"):
        backbone(batch, Prompt(), readout)
    bare = case(family, 0)[1]
    with pytest.raises(BackboneError, match="0 slots a row, but the prompt brings 4 vectors"):
        backbone(bare, Prompt(embeddings=torch.zeros(1, 4, 32)), readout)


@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
def test_prompts_of_the_wrong_width_are_refused(family: str) -> None:
    backbone, batch, readout = case(family, 4)
    with pytest.raises(BackboneError, match=f"expected prompt vectors of width 32 for {family}, got 16"):
        backbone(batch, Prompt(embeddings=torch.zeros(1, 4, 16)), readout)


@pytest.mark.parametrize(("axis", "size"), [(0, 5), (3, 3), (5, 4)])
@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
def test_key_values_of_the_wrong_shape_are_refused(family: str, axis: int, size: int) -> None:
    backbone, batch, readout = case(family, 0)
    shape = [backbone.sites, 2, 1, backbone.heads, 3, backbone.head_width]
    shape[axis] = size
    with pytest.raises(BackboneError, match=r"expected key-value prompts of \(sites, 2, heads, head width\)"):
        backbone(batch, Prompt(key_values=torch.zeros(*shape)), readout)


def test_texts_longer_than_the_positions_are_refused() -> None:
    backbone = backbone_of("bert")
    rows = EncodedExamples(backbone, TASK, [Example("who " * 800, 0)], 4, 700)
    with pytest.raises(BackboneError, match=r"bert has 512 positions; this input needs \d+: shorten text or prompt"):
        backbone(rows.make_batch([0]), Prompt(embeddings=torch.zeros(1, 4, 32)), rows.readout)


def test_unknown_devices_and_types_are_refused() -> None:
    with pytest.raises(BackboneError, match=r"device 'abacus' is not on this machine; expected auto or one of .*cpu"):
        load_backbone("tiny-encoder", "abacus")
    with pytest.raises(BackboneError, match="dtype: expected float32, bfloat16 or auto, got 'float16'"):
        load_backbone("tiny-encoder", "cpu", "float16")


def test_the_best_device_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for cuda, mps, best in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        assert select_device().type == select_device("auto").type == best
        assert select_device("cpu").type == "cpu"
        if not cuda:
            with pytest.raises(BackboneError, match=r"'cuda:1' is not on this machine"):
                select_device("cuda:1")


def test_label_words_get_distinct_tokens() -> None:
    tokeniser = backbone_of("bert").tokeniser
    ids = assign_label_tokens(tokeniser, ("person", "place", "number", "no", "not", "nothing"))
    assert len(set(ids)) == 6
    with pytest.raises(BackboneError, match=r"'yes' has no token of its own.*begin differently"):
        assign_label_tokens(tokeniser, ("yes", *["yes"] * 20))


def test_common_tokens_are_ordinary_words() -> None:
    tokeniser = backbone_of("bert").tokeniser
    ids = find_common_tokens(tokeniser, 600).tolist()
    tokens = [token.strip("Ġ") for token in tokeniser.convert_ids_to_tokens(ids)]
    assert len(ids) > 100
    assert all(token.isalpha() and len(token) > 1 for token in tokens)
    assert not set(ids) & set(tokeniser.all_special_ids)
    assert find_common_tokens(tokeniser, 600, 7).tolist() == ids[:7]
