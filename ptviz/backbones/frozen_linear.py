"""Linear layers of a frozen model: no gradient of the weights, and the faster of two libraries for the products.

torch computes float32 products on x86 processors with Intel's MKL, which uses AVX-512 on Intel's own processors only.
oneDNN, which torch brings too, uses it on all of them: 2.2 times as fast on an AMD EPYC 9005. The choice is a function
of the processor, not of a timing, so that a resumed run repeats its numbers bit for bit.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

FEWEST_ROWS = 8
"""Rows from which oneDNN is used: for fewer, its set-up costs more than it saves."""


@cache
def prefers_onednn() -> bool:
    """Return whether oneDNN multiplies float32 matrices faster than MKL here: AVX-512, but not by Intel."""
    onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    mkl: bool = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    wide = onednn and mkl and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return bool(wide) and hasattr(torch.ops.mkldnn, "_linear_pointwise") and "GenuineIntel" not in processor_vendor()


def processor_vendor() -> str:
    """Return the maker of the processor as it names itself; "GenuineIntel" if that cannot be found out."""
    return _processor_field("vendor_id") or "GenuineIntel"


def processor_name() -> str:
    """Return the model of the processor as it names itself."""
    return _processor_field("model name") or platform.machine()


@cache
def _processor_field(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:  # On Windows, one text holds both.
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def use_frozen_products(model: nn.Module) -> None:
    """Let all plain linear layers of a frozen model compute as here; weights and their names stay."""
    for module in model.modules():
        if type(module) in _FROZEN_CLASSES:
            module.__class__ = _FROZEN_CLASSES[type(module)]


def frozen_product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x @ weight.T + bias`` for weights (out, in) that need no gradient.

    A weight (in, out) may be given transposed: a view will do.
    """
    usable = _is_plain(x) and _is_plain(weight) and not weight.requires_grad
    if not (usable and prefers_onednn()) or x.numel() < FEWEST_ROWS * x.shape[-1]:
        return F.linear(x, weight, bias)
    if not (x.requires_grad and torch.is_grad_enabled()):
        return _multiply(x, weight, bias)
    product: Tensor = _FrozenProduct.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return product


def _is_plain(x: Tensor) -> bool:
    return x.dtype == torch.float32 and x.device.type == "cpu" and type(x) in (Tensor, nn.Parameter)


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


class _FrozenProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.weight = weight
        return _multiply(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _multiply(gradients[0], ctx.weight.t(), None), None, None


class FrozenLinear(nn.Linear):
    """A linear layer whose weights need no gradient."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the layer's output (..., out) for an input (..., in)."""
        return frozen_product(input, self.weight, self.bias)


class FrozenConv1D(Conv1D):  # type: ignore[misc]
    """GPT-2's linear layer, whose weights are stored as (in, out)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output (..., out) for an input (..., in)."""
        return frozen_product(x, self.weight.t(), self.bias)


_FROZEN_CLASSES: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: FrozenLinear, Conv1D: FrozenConv1D}
