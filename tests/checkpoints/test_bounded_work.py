"""Small files with large claims: refused before anything large is made, and measured with bounded work."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save

from ptviz.checkpoints import CheckpointError, diagnose
from ptviz.checkpoints import measurements as measured
from ptviz.checkpoints.bundle import INPUT, KEY_VALUE, UNSPLIT_AXES, NamedAxesArray, PromptBundle
from ptviz.checkpoints.detect import open_bytes
from ptviz.checkpoints.limits import LIMITS
from ptviz.checkpoints.sandbox.parent import decode_bundle, encode_bundle
from ptviz.prompt_statistics import effective_rank
from tests.checkpoints.files import ROWS, npy, npz, saved, zipped


def factors(k: int, m: int, d: int) -> bytes:
    """A PEFT adapter of few numbers whose factors make k prompts (m, d)."""
    state = {
        "prompt_embeddings": torch.ones(m, d),
        "prefix_task_cols": torch.ones(k, m, 1),
        "prefix_task_rows": torch.ones(k, 1, d),
    }
    config = b'{"peft_type": "MULTITASK_PROMPT_TUNING"}'
    return zipped({"adapter_config.json": config, "adapter_model.bin": saved(state)})


def encoder(m: int, hidden: int, features: int) -> bytes:
    """A prefix encoder of few numbers that makes m x features keys and values."""
    return saved(
        {
            "prefix_encoder.embedding.weight": torch.ones(m, 2),
            "prefix_encoder.trans.0.weight": torch.ones(hidden, 2),
            "prefix_encoder.trans.2.weight": torch.ones(features, hidden),
        }
    )


def views(count: int) -> dict[str, torch.Tensor]:
    """Tensors that all share one storage."""
    row = torch.ones(64, 1024)
    return {str(index): row[:] for index in range(count)}


BOMBS = {
    "strides of 0": lambda: saved(torch.zeros(1).expand(63, 1_000_000)),
    "strides of 0 in a dict": lambda: saved({"prompt_embeddings": torch.zeros(1, 1000).expand(16_000, 1000)}),
    "strides of 0 in half precision": lambda: saved(torch.zeros(1, dtype=torch.float16).expand(63, 1_000_000)),
    "one storage many times": lambda: saved(views(400)),
    "factors": lambda: factors(5000, 100, 100),
    "an encoder's output": lambda: encoder(16_000, 2, 4000),
    "an encoder's hidden layer": lambda: encoder(16_000, 4000, 2),
    "npz of many arrays": lambda: npz(**{f"a{i}": np.zeros((1000, 1000), np.float16) for i in range(70)}),
    "very many tensors": lambda: saved({str(i): torch.ones(2) for i in range(20_000)}),
    "very many tensors in safetensors": lambda: save({str(i): torch.ones(2) for i in range(20_000)}),
    "very many prompts": lambda: save({"P": torch.ones(5000, 2, 3)}, {"axes": json.dumps({"P": ["k", "m", "d"]})}),
    "very many rows": lambda: save({"P": torch.ones(30, 10_000, 2)}, {"axes": json.dumps({"P": ["k", "m", "d"]})}),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_large_claims_are_refused(kind: str) -> None:
    with pytest.raises(CheckpointError, match=r"refused|limit|at most|too many"):
        open_bytes(BOMBS[kind](), "prompt")


def test_a_stretched_tensor_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "contiguous", lambda self: pytest.fail("made"))
    with pytest.raises(CheckpointError, match="stores 1 numbers and claims 63,000,000"):
        open_bytes(saved(torch.zeros(1).expand(63, 1_000_000)), "prompt")


def test_tied_and_sliced_tensors_still_open() -> None:
    table = torch.randn(100, 8)
    assert len(open_bytes(saved({"a": table, "b": table}), "p").tensors) == 2
    assert open_bytes(saved(table[10:14]), "p").tensors["P"].array.tolist() == table[10:14].tolist()


def test_the_reader_sends_its_measurements_and_they_are_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.randn(40, 64, generator=torch.Generator().manual_seed(1))
    rows[3] *= 40
    rows[7] = rows[8]
    bundle = open_bytes(saved(rows), "p")
    expected = diagnose(bundle)
    sent = encode_bundle(bundle)
    monkeypatch.setattr(measured, "_measure", lambda *a: pytest.fail("measured outside the confined process"))
    assert diagnose(decode_bundle(sent)) == expected


@pytest.mark.parametrize(
    "wrong", [[], [[1.0, 2.0, 3], [1.0, 2.0, 3]], [[float("nan"), 1.0, 0]], [[-1.0, 1.0, 0]], [["a", 1, 2]]]
)
def test_measurements_of_a_taken_over_reader_are_checked(wrong: object, monkeypatch: pytest.MonkeyPatch) -> None:
    import ptviz.checkpoints.sandbox.parent as parent

    monkeypatch.setattr(parent, "measure_prompts", lambda matrices: dict(enumerate(wrong)))  # type: ignore[arg-type]
    sent = encode_bundle(open_bytes(saved(ROWS), "p"))
    with pytest.raises(CheckpointError, match="damaged"):
        decode_bundle(sent)


def test_the_work_of_a_decomposition_is_bounded_whatever_the_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, int]] = []

    def record(matrix: np.ndarray, *, centred: bool = False) -> float:
        shapes.append(matrix.shape)
        return 1.0

    monkeypatch.setattr(measured, "effective_rank", record)
    for count, rows, width in ((1, 16_384, 3900), (64, 1000, 1000), (4096, 60, 200), (1, 3, 1 << 20)):
        shapes.clear()
        one = np.random.default_rng(0).standard_normal((rows, width)).astype(np.float32)
        work = measured.MAX_WORK // count
        measured._bounded_rank(one, np.arange(rows), work)
        ((m, d),) = shapes
        least = min(m, d)
        assert m * least * d + 8 * least**3 <= work


def test_a_very_wide_prompt_is_measured_as_if_it_were_whole() -> None:
    wide = np.random.default_rng(0).standard_normal((12, 40_000)).astype(np.float32)
    wide[5:] *= 0.1
    found = measured.measure_prompts({"P": wide, "same": np.full((12, 40_000), 3e38, np.float32)})
    assert found["P"].effective_rank == pytest.approx(effective_rank(wide, centred=True), rel=1e-6)
    assert found["same"].effective_rank == 0
    assert found["same"].duplicate_rows == 11


def test_rows_that_differ_in_the_sign_of_zero_are_duplicates() -> None:
    rows = np.array([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0]], np.float32)
    assert measured.measure_prompts({"P": rows})["P"].duplicate_rows == 1


def test_a_bundle_of_too_many_prompts_cannot_be_made() -> None:
    rows = np.ones((LIMITS.rows, 2), np.float32)
    most = LIMITS.all_rows // LIMITS.rows
    tensors = {str(index): NamedAxesArray(rows, ("m", "d")) for index in range(most)}
    assert PromptBundle("p", "f", INPUT, tensors).parameter_count == most * rows.size
    with pytest.raises(CheckpointError, match="refused"):
        PromptBundle("p", "f", KEY_VALUE, {**tensors, "one more": NamedAxesArray(rows, UNSPLIT_AXES)})


def test_a_narrow_npy_of_the_largest_size_still_opens() -> None:
    assert open_bytes(npy(np.ones((LIMITS.rows, 2), np.float16)), "p").parameter_count == 2 * LIMITS.rows
