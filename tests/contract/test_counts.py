"""How many scalars a method trains and stores: the papers' formulas and their published numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ptviz.methods import REGISTRY, build
from ptviz.methods.knobs import knobs_of
from ptviz.prompt import Spec
from tests.families import MODELS, TASK, backbone_of

Formula = Callable[[Spec, dict[str, Any]], int]

TRAINED: dict[str, Formula] = {
    "prompt-tuning": lambda s, k: k["m"] * s.width,
    "p-tuning-v2": lambda s, k: 2 * s.sites * k["m"] * s.heads * s.head_width,
    "dept": lambda s, k: k["m"] * s.width + (s.length + s.width) * k["r"],
    "smop": lambda s, k: k["k"] * k["m"] * s.width + k["k"] * s.width,
}
STORED = dict(TRAINED)
"""Nothing of these methods can be folded away."""

WIDTHS = {"small": 512, "base": 768, "large": 1024, "xl": 2048, "xxl": 4096}


def shape(width: int, layers: int = 1, length: int = 64) -> Spec:
    """The sizes of a model with as many heads of 64 as it is wide."""
    return Spec.of_shape(width, layers, width // 64, 64, length)


def test_every_method_has_a_formula() -> None:
    assert set(REGISTRY) == set(TRAINED) == set(STORED)


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("name", REGISTRY)
def test_counts_follow_the_formula_with_and_without_a_backbone(name: str, family: str) -> None:
    backbone = backbone_of(family)
    spec = backbone.spec(48, TASK.words)
    sizes = Spec.of_shape(spec.width, spec.sites, spec.heads, spec.head_width, 48)
    knobs = {key: info.default for key, info in knobs_of(REGISTRY[name]).items()}
    for changed in ({}, {"m": 7}):
        real, meta = build(name, spec, changed), build(name, sizes, changed)
        assert real.trained() == meta.trained() == TRAINED[name](spec, {**knobs, **changed})
        assert real.stored() == meta.stored() == STORED[name](spec, {**knobs, **changed})
        assert all(parameter.is_meta for parameter in meta.parameters())
        assert [p.shape for p in real.parameters()] == [p.shape for p in meta.parameters()]


@pytest.mark.parametrize("m", [1, 5, 20, 50, 100, 150])
@pytest.mark.parametrize("size", WIDTHS)
def test_prompt_tuning_on_t5(size: str, m: int) -> None:
    """Lester et al. 2021, table 4 (its 10,420 for Small at 20 tokens is a misprint of 10,240)."""
    assert build("prompt-tuning", shape(WIDTHS[size]), {"m": m}).trained() == m * WIDTHS[size]


@pytest.mark.parametrize(
    ("size", "count"), [("small", 51_200), ("base", 76_800), ("large", 102_400), ("xl", 204_800), ("xxl", 409_600)]
)
def test_prompt_tuning_on_t5_at_its_usual_length(size: str, count: int) -> None:
    assert build("prompt-tuning", shape(WIDTHS[size]), {"m": 100}).stored() == count


def test_p_tuning_v2_on_bert_large() -> None:
    assert build("p-tuning-v2", shape(1024, 24), {"m": 20}).trained() == 983_040


def test_p_tuning_v2_with_grouped_heads() -> None:
    """Llama 3.2 1B: 16 layers, 8 key/value heads of 64."""
    assert build("p-tuning-v2", Spec.of_shape(2048, 16, 8, 64, 64), {"m": 10}).trained() == 2 * 16 * 10 * 8 * 64


@pytest.mark.parametrize(("s", "m", "r"), [(256, 20, 60), (256, 40, 45), (256, 60, 30), (256, 80, 15), (512, 60, 24)])
def test_dept_spends_exactly_what_prompt_tuning_spends(s: int, m: int, r: int) -> None:
    """Shi and Lipani 2024, section 2: budgets that equal 100 prompt tokens of T5-Base."""
    assert build("dept", shape(768, length=s), {"m": m, "r": r}).trained() == 76_800


@pytest.mark.parametrize(("width", "s"), [(1024, 256), (768, 348)])
def test_dept_elsewhere_only_nearly(width: int, s: int) -> None:
    assert build("dept", shape(width, length=s), {"m": 60, "r": 30}).trained() != 100 * width


def test_smop_on_t5_base() -> None:
    assert build("smop", shape(768), {"k": 4, "m": 5}).trained() == 18_432


@pytest.mark.parametrize("size", ["width", "sites", "heads", "head width"])
def test_sizes_must_be_positive(size: str) -> None:
    sizes = {"width": 8, "sites": 2, "heads": 2, "head_width": 4, "length": 8} | {size.replace(" ", "_"): 0}
    with pytest.raises(ValueError, match=f"{size} must be at least 1, got 0"):
        Spec.of_shape(**sizes)
