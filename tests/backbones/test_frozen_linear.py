"""Products with frozen weights are those of torch, forward and backward, whichever library computes them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers.pytorch_utils import Conv1D

from ptviz.backbones import frozen_linear
from ptviz.backbones.frozen_linear import FrozenConv1D, FrozenLinear, frozen_product, use_frozen_products
from tests.families import backbone_of

WITH_ONEDNN = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


@pytest.fixture(params=[False, pytest.param(True, marks=WITH_ONEDNN)], ids=["torch", "onednn"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(frozen_linear, "prefers_onednn", lambda: request.param)
    return bool(request.param)


@pytest.mark.parametrize("shape", [(40, 24), (3, 7, 24), (2, 1, 24), (0, 24)])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_and_its_gradient_are_torchs(library: bool, shape: tuple[int, ...], transposed: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(24, 10, generator=draw).t() if transposed else torch.randn(10, 24, generator=draw)
    bias, x = torch.randn(10, generator=draw), torch.randn(*shape, generator=draw).requires_grad_()
    ours, theirs = frozen_product(x, weight, bias), F.linear(x, weight, bias)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    way = torch.randn(theirs.shape, generator=draw)
    gradients = [torch.autograd.grad((y * way).sum(), x)[0] for y in (ours, theirs)]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        assert torch.equal(frozen_product(x, weight, bias), ours)


def test_other_types_and_weights_that_are_trained_are_left_to_torch(library: bool) -> None:
    x, weight = torch.randn(20, 8, dtype=torch.float64), torch.randn(5, 8, dtype=torch.float64)
    assert torch.equal(frozen_product(x, weight), F.linear(x, weight))
    trained = nn.Parameter(torch.randn(5, 8))
    frozen_product(x.float(), trained).sum().backward()
    assert trained.grad is not None


def test_layers_keep_weights_names_and_results(library: bool) -> None:
    torch.manual_seed(0)
    model = nn.ModuleList([nn.Linear(8, 8), Conv1D(8, 8), nn.LayerNorm(8)]).requires_grad_(False)
    x, state = torch.randn(30, 8), {name: t.clone() for name, t in model.state_dict().items()}
    before = [layer(x) for layer in model]
    use_frozen_products(model)
    assert [type(layer) for layer in model] == [FrozenLinear, FrozenConv1D, nn.LayerNorm]
    assert model.state_dict().keys() == state.keys()
    for layer, expected in zip(model, before, strict=True):
        torch.testing.assert_close(layer(x), expected, atol=1e-6, rtol=1e-5)


def test_every_linear_layer_of_a_backbone_is_frozen() -> None:
    for family in ("bert", "gpt2", "llama", "t5"):
        assert not {nn.Linear, Conv1D} & {type(module) for module in backbone_of(family).model.modules()}


def test_the_choice_follows_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    choose = frozen_linear.prefers_onednn.__wrapped__
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    for vendor, level, expected in (
        ("AuthenticAMD", "AVX512", True), ("AuthenticAMD", "AVX2", False), ("GenuineIntel", "AVX512", False),
    ):  # fmt: skip
        monkeypatch.setattr(frozen_linear, "processor_vendor", lambda vendor=vendor: vendor)
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda level=level: level)
        assert choose() is expected
