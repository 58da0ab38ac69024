"""The step benchmark compares equal computations, at tiny sizes."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest
import torch
import transformers as T

from ptviz.backbones.tiny import TINY_SIZES
from ptviz.experiments import benchmark_sides as sides
from ptviz.experiments import step_benchmark
from ptviz.experiments.busy_process import busy_process
from tests.families import T5

WIDE = {"vocab_size": 20_000}
SMALL = {**TINY_SIZES, **WIDE}


def test_examples_have_mixed_lengths_and_are_deterministic() -> None:
    rows = sides.make_examples(200, "decoder")
    lengths = [len(row.ids) for row in rows]
    assert rows == sides.make_examples(200, "decoder")
    assert min(lengths) >= 5
    assert max(lengths) <= 64
    assert len(set(lengths)) > 10
    assert {row.label for row in sides.make_examples(200, "encoder")} == set(range(sides.CLASS_COUNT))


def test_padding_is_on_the_right() -> None:
    ids, mask = sides.pad_examples([sides.TokenisedExample([7, 8], 0, []), sides.TokenisedExample([9], 1, [])], lead=2)
    assert ids.tolist() == [[0, 0, 7, 8], [0, 0, 9, 0]]
    assert mask.tolist() == [[True, True, True, True], [True, True, True, False]]


def test_peak_memory_includes_new_tensors() -> None:
    assert step_benchmark.measure_peak_mb(lambda: torch.ones(20_000_000).sum()) > 50


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tiny models in the place of real shapes."""

    def toy(kind: sides.Family, smooth: bool = False) -> T.PreTrainedModel:
        torch.manual_seed(0)
        if kind == "encoder":
            return T.BertModel(T.BertConfig(**SMALL), add_pooling_layer=False).eval()
        if kind == "decoder":
            return T.LlamaForCausalLM(T.LlamaConfig(num_key_value_heads=2, **SMALL)).eval()
        return T.T5ForConditionalGeneration(
            T.T5Config(**{**T5, **WIDE}, decoder_start_token_id=0, feed_forward_proj="gelu")
        ).eval()

    monkeypatch.setattr(sides, "make_model", toy)
    with torch.random.fork_rng():
        yield


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # asked for by PEFT
@pytest.mark.parametrize("family", ["encoder", "decoder", "encoder-decoder"])
def test_both_sides_compute_the_same_at_toy_size(family: sides.Family, toys: None) -> None:
    shares: list[float] = []
    rows = step_benchmark.run_step_benchmark(
        [family], [3], ["float32"], count=16, batch=8, passes=1, progress=lambda what, share: shares.append(share)
    )
    assert [row.work for row in rows] == (["label"] if family == "encoder" else ["label", "text", "generate"])
    for row in rows:
        assert row.loss_difference < 1e-5 * 20
        assert row.gradient_difference < 1e-5
        assert min(row.ratio, row.sorted_ratio, row.ours_per_second) > 0
        assert (row.ceiling_share is None) == (row.work == "generate")
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("work", ["label", "text", "generate"])
def test_sides_that_differ_are_not_timed(work: sides.Work, toys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    original = sides.make_peft
    monkeypatch.setattr(sides, "make_peft", lambda family, model, start: original(family, model, 3 * start))
    with pytest.raises(step_benchmark.BenchmarkError, match="differ from PEFT's"):
        step_benchmark.run_step_benchmark(["encoder-decoder"], [3], ["float32"], [work], count=16, batch=8, passes=1)


def test_the_busy_process_ends_with_its_block() -> None:
    before = set(psutil.Process().children())
    with busy_process():
        [other] = set(psutil.Process().children()) - before
        assert other.is_running()
    assert not other.is_running()
