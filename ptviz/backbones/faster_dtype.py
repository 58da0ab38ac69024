"""Which type of frozen weights is the faster one here: measured in about a second, once for each machine and backbone.

bfloat16 halves the memory of the weights everywhere, but is slower than float32 on processors without units for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import msgspec
import torch

from ptviz.atomic_files import write_file
from ptviz.backbones.base import Backbone, Readout
from ptviz.backbones.frozen_linear import processor_name
from ptviz.paths import cache_dir
from ptviz.prompt import Batch, Prompt
from ptviz.validation import Duration, InvalidData, Name, decode_json

TYPES = ("float32", "bfloat16")
WORTH = 0.8
"""The share of float32's time below which bfloat16 is chosen: it rounds, so it has to pay."""
_ROWS, _TEXT, _PROMPT, _PASSES = 8, 24, 20, 3


@dataclass(frozen=True)
class DtypeChoice:
    """The type chosen, and why, as a sentence with the measured times."""

    dtype: str
    reason: str


def choose_dtype(backbone: Backbone) -> DtypeChoice:
    """Return the faster type for a backbone with float32 weights, from the cache or measured now.

    One measurement counts for as long as machine, threads, torch and backbone are the same, so that later runs get the
    same type.
    """
    path = cache_dir() / "faster-dtype.json"
    key = ", ".join(
        (backbone.name, str(backbone.device), _device_name(backbone.device), f"{torch.get_num_threads()} threads",
         f"torch {torch.__version__}")
    )  # fmt: skip
    known: dict[str, dict[str, float]] = {}
    with suppress(OSError, InvalidData):
        known = decode_json(path.read_bytes(), dict[Name, dict[Name, Duration]])
    if set(known.get(key, ())) != set(TYPES):
        known[key] = measure_types(backbone)
        with suppress(OSError):  # A cache that cannot be written costs a second.
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, msgspec.json.encode(known), durable=False)
    return _judge(known[key])


def _judge(seconds: dict[str, float]) -> DtypeChoice:
    full, half = (seconds[name] for name in TYPES)
    chosen = "bfloat16" if half < WORTH * full else "float32"
    return DtypeChoice(chosen, f"{chosen}: a step took {full:.2g} s in float32 and {half:.2g} s in bfloat16 here")


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()


def measure_types(backbone: Backbone) -> dict[str, float]:
    """Measure a small training step in both types, in seconds; the weights are the same float32 ones afterwards."""
    found = {}
    for name in TYPES:
        with _weights_as(backbone, getattr(torch, name)):
            _time_step(backbone)  # The first step allocates and chooses kernels.
            found[name] = min(_time_step(backbone) for _ in range(_PASSES))
    return found


@contextmanager
def _weights_as(backbone: Backbone, dtype: torch.dtype) -> Iterator[None]:
    weights = {parameter: parameter.data for parameter in backbone.parameters()}
    try:
        for parameter in weights:
            if parameter.is_floating_point():
                parameter.data = parameter.data.to(dtype)
        yield
    finally:
        for parameter, data in weights.items():
            parameter.data = data


def _time_step(backbone: Backbone) -> float:
    columns = _PROMPT + _TEXT
    ids = torch.full((_ROWS, columns), backbone.pad_id, device=backbone.device)
    slots = torch.zeros_like(ids, dtype=torch.bool)
    slots[:, :_PROMPT] = True
    read = torch.zeros_like(slots)
    read[:, -1] = True
    none = ids.new_zeros(_ROWS)
    batch = Batch(ids, torch.ones_like(slots), slots, read, none, none, backbone.embed_tokens(ids))
    readout = Readout(torch.ones(2, backbone.width, device=backbone.device), None, 1.0, False, ("", ""))
    prompt = Prompt(torch.zeros(1, _PROMPT, backbone.width, device=backbone.device, requires_grad=True))
    began = time.perf_counter()
    backbone(batch, prompt, readout).loss.backward()
    if backbone.device.type == "cuda":
        torch.cuda.synchronize(backbone.device)
    return time.perf_counter() - began
