"""A kept prompt as the start of a run: taken, refused, resumed, told, and carried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import execute_run
from ptviz.executors.local import LocalExecutor
from ptviz.methods import REGISTRY, build_method
from ptviz.prompt import Spec
from ptviz.runs import RunConfig, Store, StoreError, saved_prompts
from ptviz.runs.archive import pack_run, unpack_run

SPEC = Spec(torch.randn(50, 8), 2, 2, 4, 16, torch.arange(50), ("no", "yes"), ("other",))
VECTORS, INNER = torch.randn(3, 8), torch.randn(2, 2, 2, 3, 4)
EQUAL = ("prompt-tuning", "xprompt", "dept")


@pytest.mark.parametrize("name", [n for n, m in REGISTRY.items() if "init_from_prompt" in vars(m)])
def test_a_method_starts_as_the_prompt_given(name: str) -> None:
    inside = name == "p-tuning-v2"
    values: dict[str, Any] = {"m": 3} | ({"r": 3} if name == "dpt" else {"gain": "zero"} if name == "residual" else {})
    method = build_method(name, SPEC, values).eval()
    method.init_from_prompt(saved_prompts.to_prompt({"embeddings": VECTORS, "key_values": INNER}))
    ids = torch.zeros(2, method.slots + 4, dtype=torch.long)
    slots = torch.arange(method.slots + 4)[None].expand(2, -1) < method.slots
    from ptviz.prompt import Batch

    row = torch.zeros(2, dtype=torch.long)
    batch = Batch(ids, torch.ones_like(slots), slots, ~slots, row, row, torch.zeros(2, method.slots + 4, 8))
    used = method(batch)
    if inside:
        assert torch.equal(used.key_values[:, :, 0], INNER)
    else:
        assert torch.allclose(used.embeddings[0], VECTORS, atol=1e-5)
    wrong = {"key_values": INNER} if not inside else {"embeddings": VECTORS}
    with pytest.raises(ValueError, match=r"start: expected (keys and values|vectors at the input)"):
        method.init_from_prompt(saved_prompts.to_prompt(wrong))


def test_methods_without_a_free_prompt_name_those_that_have() -> None:
    named = r"choose one of prompt-tuning, xprompt, p-tuning-v2, residual, dpt, dept$"
    for name in set(REGISTRY) - {n for n, m in REGISTRY.items() if "init_from_prompt" in vars(m)}:
        with pytest.raises(ValueError, match=named):
            build_method(name, SPEC, {"m": 3}).init_from_prompt(saved_prompts.to_prompt({"embeddings": VECTORS}))


@pytest.fixture
def kept(store: Store) -> saved_prompts.SavedPrompt:
    return saved_prompts.save_prompt(store.prompts_folder, {"embeddings": VECTORS}, "mine", "fake", None, {})


def test_a_run_starts_from_it_and_keeps_its_own_copy(
    store: Store, config: RunConfig, model_cache: ModelCache, training: Any, kept: saved_prompts.SavedPrompt
) -> None:
    config = replace(config, start=kept.id)
    run = store.create(config)
    saved_prompts.delete_saved_prompt(store.prompts_folder, kept.id)
    execute_run(run.path, model_cache)
    assert run.status().state == "finished"
    assert torch.equal(training.seen[0]["start"], VECTORS)
    assert run.config.start == kept.id
    assert f"--start {kept.id}" in config.shell_command()
    assert config.training_fingerprint != replace(config, start=None).training_fingerprint


def test_a_resumed_run_goes_on_from_where_it_was(
    store: Store, config: RunConfig, model_cache: ModelCache, training: Any, kept: saved_prompts.SavedPrompt
) -> None:
    whole, broken = (store.create(replace(config, start=kept.id)) for _ in range(2))
    execute_run(whole.path, model_cache)
    training.fails[12] = RuntimeError("power cut")
    execute_run(broken.path, model_cache)
    training.fails.clear()
    execute_run(broken.path, model_cache)
    assert training.seen[-1]["resume"] is not None
    assert torch.equal(whole.prompt()["P"], broken.prompt()["P"])


def test_a_lost_copy_is_told(
    store: Store, config: RunConfig, model_cache: ModelCache, kept: saved_prompts.SavedPrompt
) -> None:
    run = store.create(replace(config, start=kept.id))
    (run.path / "start.safetensors").unlink()
    execute_run(run.path, model_cache)
    assert "its copy of the saved prompt" in run.status().reason


@pytest.mark.parametrize(
    ("shapes", "method", "m", "reason"),
    [
        ({"embeddings": (5, 384)}, "prompt-tuning", 10, "expected 10 prompt tokens; this prompt has 5. Set m to 5"),
        ({"embeddings": (10, 768)}, "dpt", 10, "width, 384; this prompt's have 768"),
        (
            {"key_values": (12, 2, 12, 10, 64)},
            "p-tuning-v2",
            10,
            "6 attention sites with 12 heads of width 32.* 12",
        ),
        ({"key_values": (6, 2, 12, 4, 32)}, "p-tuning-v2", 10, "expected 10 prompt tokens; this prompt has 4"),
        ({"embeddings": (10, 384)}, "smop", 10, "SMoP cannot start from a prompt"),
    ],
)
def test_a_prompt_that_does_not_fit_is_refused_before_a_run_is_made(
    store: Store, shapes: dict[str, tuple[int, ...]], method: str, m: int, reason: str
) -> None:
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    one = saved_prompts.save_prompt(store.prompts_folder, tensors, "mine", "", None, {})
    with pytest.raises(ValueError, match=reason):
        store.create(RunConfig("minilm-l6", "trec6", method, {"m": m}, start=one.id))
    assert store.list() == []


def test_configs_of_before_and_wrong_ones(store: Store, config: RunConfig, kept: saved_prompts.SavedPrompt) -> None:
    old = {key: value for key, value in config.to_json().items() if key != "start"}
    assert RunConfig.from_json(old) == config
    both = replace(config, start=kept.id, parent=("other", 0, 5))
    assert RunConfig.from_json(both.to_json()) == both
    with pytest.raises(ValueError, match="a branch starts from its parent's snapshot"):
        both.checked()
    with pytest.raises(ValueError, match="start: expected a text or null; got a whole number"):
        RunConfig.from_json({"start": 3})
    with pytest.raises(StoreError, match="saved prompt 'gone' not found"):
        store.create(replace(config, start="gone"))


def test_a_branch_of_it_starts_from_the_snapshot(
    store: Store,
    config: RunConfig,
    model_cache: ModelCache,
    kept: saved_prompts.SavedPrompt,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = store.create(replace(config, start=kept.id))
    execute_run(run.path, model_cache)
    executor = LocalExecutor(store)
    monkeypatch.setattr(executor, "ensure_worker", lambda: None)
    branch = executor.branch(run.id, 0, 10)
    assert branch.config.start is None
    assert torch.equal(branch.initial_state()["P"], run.snapshot(0, 10)["P"])


def test_a_bundle_carries_it(
    store: Store,
    longer: Callable[[int], RunConfig],
    model_cache: ModelCache,
    training: Any,
    kept: saved_prompts.SavedPrompt,
    tmp_path: Path,
) -> None:
    run = store.create(replace(longer(10), start=kept.id, backbone="fake"))
    execute_run(run.path, model_cache)
    pack_run(run, tmp_path / "run.zip")
    elsewhere = Store(tmp_path / "elsewhere" / "runs")
    again = unpack_run(elsewhere, tmp_path / "run.zip", backbone="fake", task="fake")
    assert again.config.start == kept.id
    assert torch.equal(again.initial_state()["embeddings"], VECTORS)
