"""Growth of a step: every size is doubled alone, both sides compute the same, and the exponents are right."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import transformers as T

from ptviz.analysis.growth import GROWTH_FACTORS, GROWTH_SIZES, GrowthPoint, growth_exponent
from ptviz.backbones.tiny import TINY_SIZES
from ptviz.experiments import benchmark_sides as sides
from ptviz.experiments import growth_benchmark
from ptviz.experiments.step_benchmark import BenchmarkError
from ptviz.plots import plot_growth


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Tiny decoders; the list holds the number of layers of each that is made."""
    made: list[int] = []

    def make(layers: int) -> T.PreTrainedModel:
        made.append(layers)
        torch.manual_seed(0)
        shape = {**TINY_SIZES, "vocab_size": 20_000, "num_hidden_layers": layers}
        return T.LlamaForCausalLM(T.LlamaConfig(num_key_value_heads=2, **shape)).eval()

    monkeypatch.setattr(sides, "make_decoder", make)
    smallest = {"examples": 1, "tokens": 2, "prompt tokens": 1, "layers": 1}
    monkeypatch.setattr(growth_benchmark, "SMALLEST", smallest)
    with torch.random.fork_rng():
        yield made


def test_one_size_after_another_is_doubled(tiny: list[int]) -> None:
    points = growth_benchmark.run_growth_benchmark(1)
    assert [(point.size, point.factor) for point in points] == [(s, f) for s in GROWTH_SIZES for f in GROWTH_FACTORS]
    assert {point.value for point in points if point.size == "layers"} == {1, 2, 4, 8}
    assert sorted(set(tiny)) == [1, 2, 4, 8]
    assert min(min(point.ours_seconds, point.peft_seconds) for point in points) > 0
    figure = plot_growth(points)
    assert len(figure.data) == 2 * 2 * len(GROWTH_SIZES)
    assert list(figure.data[-1].x) == [1, 2, 4, 8]
    assert "with layers to the power" in figure.layout.meta["alt"]


def test_sides_that_differ_are_not_timed(tiny: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sides, "make_peft_step", lambda *_: lambda rows: (99.0, torch.zeros(1)))
    with pytest.raises(BenchmarkError, match="examples x 1: loss and gradient differ from PEFT's by"):
        growth_benchmark.run_growth_benchmark(1)


def test_the_exponent_is_the_slope_of_the_logarithms() -> None:
    assert growth_exponent([3.0, 6.0, 12.0, 24.0]) == pytest.approx(1)
    assert growth_exponent([5.0] * 4) == pytest.approx(0)
    assert growth_exponent([1.0, 4.0, 16.0, 64.0]) == pytest.approx(2)
    with pytest.raises(ValueError, match="expected 4 positive values"):
        growth_exponent([1.0, 0.0, 1.0, 1.0])


def test_an_empty_figure_has_its_panels() -> None:
    assert plot_growth([]).layout.yaxis1.title.text == "seconds a step"
    one = GrowthPoint("layers", 1, 4, 0.1, 0.2, 1.0, 2.0)
    assert [list(trace.y) for trace in plot_growth([one]).data if len(trace.x)] == [[0.1], [0.2], [1.0], [2.0]]
