"""The result of every format's reader: arrays with named axes, their origin, and what they can be used for.

Axes as in ``ptviz.prompt``: ``m`` prompt tokens, ``d`` embedding width, ``S`` attention sites, ``kv`` key and value,
``H`` heads, ``h`` head width, ``k`` tasks, ``r`` rank, ``T`` positions. ``features`` is an axis that cannot be
split without further metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.limits import LIMITS
from ptviz.safe_text import safe_text

Array = NDArray[np.float32]

INPUT, KEY_VALUE, LIBRARY, FACTORS, LAYERS, METHOD_STATE = (
    "input prompt",
    "key-value prompt",
    "collection of prompts",
    "prompts from factors",
    "prompts inside layers",
    "parts of a method",
)
UNSPLIT_AXES = ("m", "features")
"""The axes of keys and values that cannot be split by site and head from the file alone."""
_PROMPT_AXES = (("m", "d"), ("k", "m", "d"), ("S", "m", "d"), ("S", "kv", "H", "m", "h"), UNSPLIT_AXES)
START_RUN = "start a new run from it"
PROMPT_KINDS = (INPUT, KEY_VALUE, LIBRARY, FACTORS, LAYERS, METHOD_STATE)


@dataclass(frozen=True)
class NamedAxesArray:
    """One tensor, float32, with a name for each axis."""

    array: Array
    axes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.array.ndim != len(self.axes):
            raise ValueError(f"expected one axis name for each of {self.array.shape}; got {self.axes}")

    @property
    def shape_text(self) -> str:
        """Return the shape as text, such as ``m=100 x d=768``."""
        return " x ".join(f"{axis}={size}" for axis, size in zip(self.axes, self.array.shape, strict=True))


@dataclass(frozen=True)
class Capability:
    """One possible use of a prompt, whether it is possible, and why (not)."""

    action: str
    possible: bool
    reason: str = ""


class Measurements(NamedTuple):
    """What costs more than one pass over the rows of a prompt: measured once, in the confined process."""

    effective_rank: float
    effective_rank_without_outliers: float
    duplicate_rows: int


@dataclass(frozen=True)
class PromptBundle:
    """A trained prompt from a file of any format.

    ``format`` names the file's layout. ``metadata`` is what the file says about itself: untrusted text.
    ``capabilities`` and ``warnings`` are found by ptviz, as are the ``measurements`` by the names of
    ``token_matrices``; they are empty for a bundle that was not read in the confined process.

    Raises:
        CheckpointError: for more prompts or rows than a file of prompts has.
    """

    name: str
    format: str
    kind: str
    tensors: Mapping[str, NamedAxesArray]
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    warnings: tuple[str, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    measurements: Mapping[str, Measurements] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        prompts = rows = 0
        for values in self.tensors.values():
            if values.axes in _PROMPT_AXES:
                sizes = dict(zip(values.axes, values.array.shape, strict=True))
                here = sizes.get("k", sizes["S"] if values.axes == ("S", "m", "d") else 1)
                prompts, rows = prompts + here, rows + here * sizes["m"]
        if prompts > LIMITS.prompts or rows > LIMITS.all_rows:
            raise CheckpointError(
                f"{safe_text(self.name)}: expected at most {LIMITS.prompts:,} prompts with {LIMITS.all_rows:,} tokens "
                f"in all; got {prompts:,} with {rows:,}: refused"
            )

    @property
    def parameter_count(self) -> int:
        """Return the number of values in all tensors."""
        return sum(values.array.size for values in self.tensors.values())

    @property
    def names_its_heads(self) -> bool:
        """Whether the file itself says how keys and values are split into heads, and not a config beside it."""
        return self.format.startswith("ptviz")

    def input_prompts(self) -> dict[str, Array]:
        """Return every input prompt by name, ``(m, d)``; a stack gives one per task or layer."""
        found: dict[str, Array] = {}
        for name, values in self.tensors.items():
            if values.axes == ("m", "d"):
                found[name] = values.array
            elif values.axes in (("k", "m", "d"), ("S", "m", "d")):
                found |= {f"{name}[{index}]": matrix for index, matrix in enumerate(values.array)}
        return found

    def key_value_prompts(self) -> dict[str, Array]:
        """Return every key-value prompt by name, one row per prompt token with all its keys and values."""
        found: dict[str, Array] = {}
        for name, values in self.tensors.items():
            if values.axes == ("S", "kv", "H", "m", "h"):
                found[name] = np.moveaxis(values.array, 3, 0).reshape(values.array.shape[3], -1)
            elif values.axes == UNSPLIT_AXES:
                found[name] = values.array
        return found

    def token_matrices(self) -> dict[str, Array]:
        """Return every prompt by name with one row per token: input prompts, then keys and values."""
        return {**self.input_prompts(), **self.key_value_prompts()}

    def with_warnings(self, *more: str) -> PromptBundle:
        """Return the bundle with further warnings."""
        return replace(self, warnings=(*self.warnings, *more))

    def to_json(self) -> dict[str, Any]:
        """Return everything but the tensors' values as a JSON object."""
        return {
            "name": self.name,
            "format": self.format,
            "kind": self.kind,
            "tensors": {
                name: {"shape": list(values.array.shape), "axes": list(values.axes)}
                for name, values in self.tensors.items()
            },
            "source": dict(self.metadata),
            "warnings": list(self.warnings),
            "uses": [{"what": use.action, "possible": use.possible, "why": use.reason} for use in self.capabilities],
        }


def list_capabilities(
    kind: str, width: int | None, irreversible: str = "", unusable: str = ""
) -> tuple[Capability, ...]:
    """Return what a kind of prompt can be used for.

    ``irreversible`` says why its training cannot be resumed, ``unusable`` why no backbone of ptviz takes it.
    """
    single = kind in (INPUT, LIBRARY, FACTORS, KEY_VALUE)
    wide = f"of embedding width {width}" if width else "it was trained for"
    alike = f"those of width {width}" if width else "each with those of its own width"
    alike = "keys and values of the same shape, side by side" if kind == KEY_VALUE else alike
    run = unusable or (
        f"in front of a backbone {wide}" if single else "the arrays alone do not say how they enter the backbone"
    )
    start = unusable or (
        "its vectors become the first value of a new prompt" if single else "no single prompt lies in the file"
    )
    return (
        Capability("inspect its vectors", True),
        Capability("compare it with other prompts", single, alike if single else "it holds no prompt of single tokens"),
        Capability("predict with it", single and not unusable, run),
        Capability(START_RUN, single and not unusable, start),
        Capability(
            "resume its training",
            False,
            irreversible or "the file has only the prompt: no optimiser state and no data",
        ),
        Capability("merge it into the backbone's weights", False, "a prompt is an input, not a change of weights"),
    )
