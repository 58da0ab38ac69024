"""The faster type of frozen weights: chosen by a measurement that is kept, and the weights stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ptviz.backbones import faster_dtype, load_backbone
from ptviz.backbones.faster_dtype import choose_dtype, measure_types
from tests.families import MODELS, fresh


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PTVIZ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "faster-dtype.json"


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of bfloat16 that the next measurements find, where float32 takes one second."""
    seconds: list[float] = []
    monkeypatch.setattr(faster_dtype, "measure_types", lambda backbone: {"float32": 1.0, "bfloat16": seconds.pop(0)})
    return seconds


@pytest.mark.parametrize(("seconds", "expected"), [(0.5, "bfloat16"), (0.9, "float32"), (3.0, "float32")])
def test_bfloat16_has_to_be_clearly_faster(measured: list[float], seconds: float, expected: str) -> None:
    measured.append(seconds)
    backbone = load_backbone("tiny-decoder", "cpu", "auto")
    assert backbone.dtype == getattr(torch, expected)
    assert backbone.dtype_reason == f"{expected}: a step took 1 s in float32 and {seconds:.2g} s in bfloat16 here"


def test_a_measurement_is_kept_for_its_backbone_and_a_damaged_one_is_made_again(
    measured: list[float], cache: Path
) -> None:
    measured += [0.5, 2.0, 0.4]
    llama, bert = fresh("llama"), fresh("bert")
    assert [choose_dtype(one).dtype for one in (llama, bert, llama, bert)] == ["bfloat16", "float32"] * 2
    cache.write_text("{")
    assert choose_dtype(bert).dtype == "bfloat16"
    assert not measured


@pytest.mark.parametrize("family", MODELS)
def test_measuring_leaves_the_weights_alone(family: str) -> None:
    backbone = fresh(family)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    found = measure_types(backbone)
    assert set(found) == {"float32", "bfloat16"}
    assert min(found.values()) > 0
    for name, tensor in backbone.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name]), name


def test_without_auto_nothing_is_measured(measured: list[float]) -> None:
    assert load_backbone("tiny-decoder", "cpu").dtype_reason == ""
