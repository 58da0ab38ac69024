"""The step benchmark compares equal computations, at tiny sizes."""

from __future__ import annotations

import pytest
import torch
import transformers as T

from ptviz.backbones.tiny import TINY_SIZES
from ptviz.experiments import step_benchmark
from tests.families import T5

WIDE = {"vocab_size": 20_000}
SMALL = {**TINY_SIZES, **WIDE}


def test_examples_have_mixed_lengths_and_are_deterministic() -> None:
    rows = step_benchmark.make_examples(200, "decoder")
    lengths = [len(row.ids) for row in rows]
    assert rows == step_benchmark.make_examples(200, "decoder")
    assert min(lengths) >= 5
    assert max(lengths) <= 64
    assert len(set(lengths)) > 10
    assert {row.label for row in step_benchmark.make_examples(200, "encoder")} == set(range(step_benchmark.CLASS_COUNT))


def test_padding_is_on_the_right() -> None:
    ids, mask = step_benchmark.pad_examples(
        [step_benchmark.TokenisedExample([7, 8], 0), step_benchmark.TokenisedExample([9], 1)], lead=2
    )
    assert ids.tolist() == [[0, 0, 7, 8], [0, 0, 9, 0]]
    assert mask.tolist() == [[True, True, True, True], [True, True, True, False]]


def test_peak_memory_includes_new_tensors() -> None:
    assert step_benchmark.measure_peak_mb(lambda: torch.ones(20_000_000).sum()) > 50


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # asked for by PEFT
@pytest.mark.parametrize("family", ["encoder", "decoder", "encoder-decoder"])
def test_both_sides_compute_the_same_at_toy_size(
    family: step_benchmark.Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole measurement, with tiny models in the place of real shapes."""

    def toy(kind: step_benchmark.Family) -> T.PreTrainedModel:
        torch.manual_seed(0)
        if kind == "encoder":
            return T.BertModel(T.BertConfig(**SMALL), add_pooling_layer=False).eval()
        if kind == "decoder":
            return T.LlamaForCausalLM(T.LlamaConfig(num_key_value_heads=2, **SMALL)).eval()
        return T.T5ForConditionalGeneration(T.T5Config(**{**T5, **WIDE}, decoder_start_token_id=0)).eval()

    monkeypatch.setattr(step_benchmark, "make_model", toy)
    shares: list[float] = []
    with torch.random.fork_rng():
        rows = step_benchmark.run_step_benchmark(
            [family], [3], ["float32"], count=16, batch=8, passes=1, progress=lambda what, share: shares.append(share)
        )
    assert len(rows) == 1
    assert rows[0].loss_difference < 1e-5 * 20
    assert rows[0].gradient_difference < 1e-5
    assert rows[0].ratio > 0
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
