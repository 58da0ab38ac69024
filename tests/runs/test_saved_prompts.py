from __future__ import annotations

import json

import pytest
import torch

from ptviz.prompt import Prompt
from ptviz.runs import Store, StoreError, saved_prompts

INNER = torch.randn(2, 2, 3, 4, 5)


def kept(store: Store, title: str = "mine", **tensors: torch.Tensor) -> saved_prompts.SavedPrompt:
    given = tensors or {"embeddings": torch.arange(12.0).reshape(4, 3)}
    return saved_prompts.save_prompt(
        store.prompts_folder, given, title, "minilm-l6", "trec6", {"run": "abc", "edits": ["ablate 1"]}
    )


def test_a_prompt_is_kept_listed_and_deleted(store: Store) -> None:
    assert saved_prompts.list_saved_prompts(store.prompts_folder) == []
    first = kept(store, "  A <b>bold</b>\n title ")
    second = kept(store, embeddings=torch.randn(4, 8), key_values=INNER)
    assert (first.title, first.m, first.shapes) == ("A <b>bold</b> title", 4, {"embeddings": (4, 3)})
    assert (first.backbone, first.task, first.origin) == ("minilm-l6", "trec6", {"run": "abc", "edits": ["ablate 1"]})
    assert saved_prompts.list_saved_prompts(store.prompts_folder) == [second, first]
    assert saved_prompts.get_saved_prompt(store.prompts_folder, first.id) == first
    assert torch.equal(
        saved_prompts.load_prompt_tensors(store.prompts_folder, first.id)["embeddings"],
        torch.arange(12.0).reshape(4, 3),
    )
    assert torch.equal(saved_prompts.load_prompt_tensors(store.prompts_folder, second.id)["key_values"], INNER)
    assert (store.prompts_folder / first.id).parent == store.root.parent / "prompts"
    saved_prompts.delete_saved_prompt(store.prompts_folder, first.id)
    assert saved_prompts.list_saved_prompts(store.prompts_folder) == [second]
    assert [path.name for path in store.prompts_folder.iterdir()] == [second.id]
    with pytest.raises(StoreError, match=f"saved prompt '{first.id}' not found; .*{second.id}"):
        saved_prompts.load_prompt_tensors(store.prompts_folder, first.id)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({}, "got no tensor"),
        ({"delta": torch.ones(2, 2)}, "expected embeddings or key_values; got delta"),
        ({"embeddings": torch.ones(1, 2, 3)}, r"shape \(m, d\)"),
        ({"embeddings": torch.ones(0, 3)}, r"got \(0, 3\)"),
        ({"key_values": torch.ones(2, 3, 1, 4, 5)}, "kv = 2"),
        ({"embeddings": torch.tensor([[1.0, float("nan")]])}, "finite numbers"),
        ({"embeddings": torch.ones(3, 8), "key_values": INNER}, r"the same number of prompt tokens .* \[3, 4\]"),
    ],
)
def test_what_is_no_prompt_is_not_kept(store: Store, tensors: dict[str, torch.Tensor], reason: str) -> None:
    with pytest.raises(StoreError, match=reason):
        saved_prompts.save_prompt(store.prompts_folder, tensors, "x", "minilm-l6", None, {})
    assert saved_prompts.list_saved_prompts(store.prompts_folder) == []


def test_names_and_damage(store: Store) -> None:
    for title in ("  ", "x" * 121):
        with pytest.raises(ValueError, match="title: expected 1 to 120 characters"):
            kept(store, title)
    for id in ("../runs", "", ".new-1", "no-such", "A"):
        with pytest.raises(StoreError, match=r"saved prompt .* not found"):
            saved_prompts.get_saved_prompt(store.prompts_folder, id)
    one = kept(store)
    (store.prompts_folder / one.id / "about.json").write_text(json.dumps({"title": "?"}))
    with pytest.raises(StoreError, match="damaged"):
        saved_prompts.get_saved_prompt(store.prompts_folder, one.id)
    assert saved_prompts.list_saved_prompts(store.prompts_folder) == []
    saved_prompts.delete_saved_prompt(store.prompts_folder, one.id)  # what is damaged can still be removed
    assert not (store.prompts_folder / one.id).exists()


def test_a_prompt_in_use_becomes_tensors() -> None:
    embeddings, visible = torch.randn(1, 3, 4), torch.tensor([True, False, True])
    found = saved_prompts.static_tensors(Prompt(embeddings, INNER[..., :3, :][:, :, None], keep=visible))
    assert torch.equal(found["embeddings"], embeddings[0, [0, 2]])
    assert torch.equal(found["key_values"], INNER[..., :3, :])
    for prompt in (Prompt(embeddings.expand(2, 3, 4)), Prompt(embeddings, delta=torch.ones(1, 2, 4))):
        with pytest.raises(StoreError, match="depends on the input"):
            saved_prompts.static_tensors(prompt)
