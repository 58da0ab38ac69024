"""Edits of a prompt as data: each changes only the tokens it names, and not the original."""

from __future__ import annotations

import json

import pytest
import torch

from ptviz.probes.prompt_edits import (
    EDIT_TYPES,
    Ablate,
    EditContext,
    Mix,
    Noise,
    Scale,
    Snap,
    Swap,
    apply_edits,
    nearest_token_ids,
    parse_edit,
)
from ptviz.prompt import Prompt
from ptviz.runs import StoreError

WORDS = torch.tensor([[1.0, 0.0], [0.0, 5.0], [-1.0, -1.0]])
EDITS = [
    Ablate((1,)), Scale((0, 2), 3.0), Swap(0, 2), Noise((1,), 0.5, 7), Snap((1,), "L2"), Mix("kept", "other", 0.25),
]  # fmt: skip


def prompt(**changes) -> Prompt:
    return Prompt(**{"embeddings": torch.tensor([[[2.0, 0.1], [0.3, 0.4], [-3.0, -2.0]]]), **changes})


def inner() -> Prompt:
    return Prompt(key_values=torch.randn(2, 2, 1, 2, 3, 4, generator=torch.Generator().manual_seed(0)))


def around(**other) -> EditContext:
    return EditContext(WORDS, lambda of, id: other)


def after(*edits, of=None, **other) -> Prompt:
    return apply_edits(edits, of or prompt(), around(**other))


def test_an_ablated_token_is_hidden_and_stays_hidden():
    assert after(Ablate((1,))).keep.tolist() == [True, False, True]
    assert after(Ablate((1,)), Ablate((0,))).keep.tolist() == [False, False, True]
    assert after(Ablate((1,)), Swap(0, 1)).keep.tolist() == [False, True, True]


def test_vectors_are_scaled_swapped_and_snapped():
    own = prompt().embeddings[0]
    scaled = after(Scale((0, 2), 3.0)).embeddings[0]
    assert torch.equal(scaled, own * torch.tensor([[3.0], [1.0], [3.0]]))
    assert torch.equal(after(Swap(0, 2)).embeddings[0], own[[2, 1, 0]])
    assert torch.equal(after(Snap(())).embeddings[0], WORDS[[0, 1, 2]])
    # By cosine the second is nearest to the long word, by distance to the short one.
    assert torch.equal(after(Snap((1,), "L2")).embeddings[0], torch.stack([own[0], WORDS[0], own[2]]))


def test_the_nearest_word_is_the_one_that_a_search_finds():
    draw = torch.Generator().manual_seed(0)
    table, vectors = torch.randn(40, 6, generator=draw), torch.randn(5, 6, generator=draw)
    assert torch.equal(nearest_token_ids(table, vectors, "L2"), torch.cdist(vectors, table).argmin(1))
    cosines = torch.cosine_similarity(vectors[:, None], table[None], dim=-1)
    assert torch.equal(nearest_token_ids(table, vectors, "cosine"), cosines.argmax(1))


@pytest.mark.parametrize("whole", [prompt(), inner()])
def test_noise_has_the_given_length_and_depends_on_the_seed(whole: Prompt):
    name = "embeddings" if whole.embeddings is not None else "key_values"

    def moved(edit: Noise) -> torch.Tensor:
        return getattr(after(edit, of=whole), name) - getattr(whole, name)

    one = moved(Noise((1,), 0.5, 7))
    lengths = one.norm(dim=-1) / getattr(whole, name).norm(dim=-1)
    assert torch.allclose(lengths[..., 1], torch.tensor(0.5))
    assert not lengths[..., [0, 2]].any()
    assert torch.equal(one, moved(Noise((1,), 0.5, 7)))
    assert not torch.equal(one, moved(Noise((1,), 0.5, 8)))
    assert torch.allclose(one, moved(Noise((), 0.5, 7)) * (one != 0))  # whichever others get some


def test_two_prompts_are_mixed_by_their_share():
    theirs = torch.ones(3, 2)
    mixed = after(Mix("kept", "other", 0.25), embeddings=theirs).embeddings[0]
    assert torch.allclose(mixed, 0.75 * prompt().embeddings[0] + 0.25 * theirs)
    values = torch.ones(2, 2, 2, 3, 4)
    mixed = after(Mix("run", "other", 1.0), of=inner(), key_values=values).key_values
    assert torch.equal(mixed[:, :, 0], values)
    with pytest.raises(StoreError, match=r"expected embeddings of shape \(3, 2\) as here; other has \(4, 2\)"):
        after(Mix("kept", "other", 0.25), embeddings=torch.ones(4, 2))
    with pytest.raises(StoreError, match="other has none"):
        after(Mix("kept", "other", 0.25), key_values=values)


def test_keys_and_values_lose_tokens_and_are_scaled_by_their_values():
    whole = inner()
    assert torch.equal(after(Ablate((1,)), of=whole).key_values, whole.key_values[..., [0, 2], :])
    scaled = after(Scale((2,), 3.0), of=whole).key_values
    assert torch.equal(scaled[:, 0], whole.key_values[:, 0])
    assert torch.equal(scaled[:, 1, ..., 2, :], 3 * whole.key_values[:, 1, ..., 2, :])
    assert torch.equal(scaled[..., :2, :], whole.key_values[..., :2, :])
    for edit in (Swap(0, 1), Snap((0,))):
        with pytest.raises(StoreError, match=edit.kind):
            after(edit, of=whole)


def test_input_dependent_prompts_cannot_be_snapped():
    apart = prompt(embeddings=torch.randn(4, 3, 2))
    assert after(Scale((0,), 0.0), of=apart).embeddings[:, 0].abs().sum() == 0
    assert {kind for kind, edit in EDIT_TYPES.items() if edit.is_unsupported(apart)} == {"snap", "mix"}
    with pytest.raises(StoreError, match="no nearest words"):
        after(Snap((0,)), of=apart)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.kind)
def test_an_edit_is_data_and_leaves_the_original_alone(edit):
    whole, untouched = prompt(), prompt().embeddings
    after(edit, of=whole, embeddings=torch.ones(3, 2))
    assert torch.equal(whole.embeddings, untouched)
    assert whole.keep is None
    assert parse_edit(json.loads(json.dumps(edit.to_json()))) == edit
    assert edit.describe()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "fold"}, "expected an edit, one of ablate"),
        ({"kind": "scale", "tokens": [0], "by": 2}, "scale: expected tokens, factor"),
        ({"kind": "swap", "first": 0}, "swap: .*second"),
    ],
)
def test_invalid_edits_are_refused(data: dict, message: str):
    with pytest.raises(StoreError, match=message):
        parse_edit(data)


def test_a_missing_token_is_refused():
    for edit in (Ablate((3,)), Swap(0, 3), Scale((-1,), 2.0), Noise((9,))):
        with pytest.raises(StoreError, match="prompt tokens from 0 to 2"):
            after(edit)
    with pytest.raises(StoreError, match="no prompt token"):
        after(Ablate((0,)), of=Prompt())
