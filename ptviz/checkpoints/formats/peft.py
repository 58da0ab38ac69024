"""Adapters of Hugging Face's PEFT: adapter_config.json, and adapter_model.safetensors or .bin beside it.

Layouts as saved by peft 0.21, https://github.com/huggingface/peft (src/peft/utils/save_and_load.py): n prompt tokens,
s submodules, L layers. Key-value prompts lie as (n, 2 L heads head_width), entry 2l the keys of layer l, 2l+1 its
values. P-tuning and projected prefixes are saved as what the encoder gave; the encoder itself is not in the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ptviz.checkpoints.bundle import FACTORS, INPUT, KEY_VALUE, LAYERS, Array, PromptBundle, Use, Values, uses_of
from ptviz.checkpoints.containers import torch_pickle
from ptviz.checkpoints.containers.arrays import is_safetensors, read_safetensors
from ptviz.checkpoints.errors import CheckpointError, listed, shown
from ptviz.checkpoints.formats import dept
from ptviz.checkpoints.formats.state_dict import State, key_values, prompt
from ptviz.checkpoints.limits import Folder, plain_json

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
ENCODED = "the file holds the encoder's output; the table and the encoder behind it were not saved"


class Found(NamedTuple):
    """What a reader of one peft_type found."""

    kind: str
    tensors: dict[str, Values]
    warnings: list[str]
    irreversible: str = ""
    uses: tuple[Use, ...] = ()


class Config:
    """adapter_config.json, with every number checked when it is asked for."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data
        self.type = str(data.get("peft_type", ""))

    def count(self, name: str) -> int | None:
        """A positive whole number, None if it is not given.

        Raises:
            CheckpointError: for anything else.
        """
        value = self.data.get(name)
        if value is None:
            return None
        if type(value) is not int or not 0 < value < 1 << 24:
            raise CheckpointError(f"{CONFIG}: {name}: expected a positive whole number; got {shown(value)!r}")
        return value

    def told(self) -> dict[str, str]:
        """Every plain value that is set, as text."""
        plain = {key: value for key, value in self.data.items() if isinstance(value, str | int | float | bool)}
        return {shown(key, 60): shown(value, 300) for key, value in [*plain.items()][:60] if value != ""}


def adapters(folder: Folder) -> list[str]:
    """The adapters in a folder, as prefixes of their files: "" for its own, "name/" for those in subfolders."""
    return [name.removesuffix(CONFIG) for name in folder.names() if name == CONFIG or name.endswith("/" + CONFIG)]


def read(folder: Folder, which: str = "") -> PromptBundle:
    """The one adapter in a folder.

    Raises:
        CheckpointError: if there are several, none is a prompt, or a file is missing or damaged.
    """
    found = adapters(folder)
    if "" not in found and len(found) > 1:
        names = [prefix.rstrip("/") for prefix in found]
        raise CheckpointError(f"{shown(folder.name)} holds {len(found)} adapters; open one of them: {listed(names)}")
    start = "" if "" in found else found[0]
    config = Config(plain_json(folder.read(start + CONFIG), CONFIG))
    reader = _READERS.get(config.type)
    if reader is None:
        raise CheckpointError(
            f"{CONFIG}: expected a peft_type that is a prompt ({', '.join(_READERS)}); got {shown(config.type)!r}"
        )
    state, file = _state(folder, start)
    found_in = reader(config, state)
    width = _width(found_in.tensors)
    warnings = [*found_in.warnings, *_doubts(config, found_in)]
    if head := [name for name in state.tensors if name.startswith("base_model.") and "adaption_" not in name]:
        warnings.append(
            f"a task head was trained and saved with it ({listed(head)}): without that head it answers otherwise"
        )
    name = start.rstrip("/") or folder.name
    return PromptBundle(
        name,
        f"PEFT {config.type}",
        found_in.kind,
        found_in.tensors,
        {"container": file, **config.told()},
        tuple(warnings),
        found_in.uses or uses_of(found_in.kind, width, found_in.irreversible),
    )


def _state(folder: Folder, start: str) -> tuple[State, str]:
    names = folder.names()
    file = next((start + name for name in WEIGHTS if start + name in names), None)
    if file is None:
        raise CheckpointError(
            f"{shown(folder.name)} has {CONFIG} but neither {WEIGHTS[0]} nor {WEIGHTS[1]}: give the weights as well"
        )
    data = folder.read(file)
    tensors = read_safetensors(data, file).tensors if is_safetensors(data[:9]) else torch_pickle.read(data, file)[0]
    return State(folder.name, file, tensors), file


def _embeddings(state: State) -> Array:
    found = state.ending("prompt_embeddings")
    if found is None:
        raise CheckpointError(f"{shown(state.name)}: expected prompt_embeddings; got {listed(list(state.tensors))}")
    return prompt("prompt_embeddings", found).array


def _input(config: Config, state: State) -> Found:
    rows = _embeddings(state)
    tokens, parts = config.count("num_virtual_tokens"), config.count("num_transformer_submodules") or 1
    if parts == 2 and tokens and len(rows) == 2 * tokens:
        unused = (
            f"the file holds {2 * tokens} rows for encoder and decoder; PEFT only ever uses the first {tokens}: the "
            "decoder half was never trained"
        )
        tensors = {"P": Values(rows[:tokens], ("m", "d")), "decoder half": Values(rows[tokens:], ("unused", "d"))}
        return Found(INPUT, tensors, [unused])
    return Found(INPUT, {"P": Values(rows, ("m", "d"))}, [])


def _encoded(config: Config, state: State) -> Found:
    found = _input(config, state)
    warnings = found.warnings
    dropout = config.data.get("encoder_dropout")
    if (
        config.data.get("encoder_reparameterization_type") == "LSTM"
        and isinstance(dropout, int | float)
        and dropout > 0
    ):
        warnings = [
            *warnings,
            f"its LSTM had a dropout of {shown(dropout)}: saved while training, the file holds one random draw",
        ]
    return Found(INPUT, found.tensors, warnings, ENCODED)


def _prefix(config: Config, state: State) -> Found:
    flat = _embeddings(state)
    layers, heads, width = (config.count(name) for name in ("num_layers", "num_attention_heads", "token_dim"))
    warnings = []
    if layers and width and flat.shape[1] != 2 * layers * width:
        warnings.append(
            f"{CONFIG} promises 2 x {layers} layers x {width} = {2 * layers * width:,} numbers a token; the file has "
            f"{flat.shape[1]:,}"
        )
        layers = None
    values = key_values(flat, layers, heads)
    return Found(KEY_VALUE, {"KV": values}, warnings, ENCODED if config.data.get("prefix_projection") else "")


def _cartridge(config: Config, state: State) -> Found:
    found = _prefix(config, state)
    frozen = config.count("num_frozen_tokens")
    note = [f"its first {frozen} tokens are the frozen start of a real text, not trained"] if frozen else []
    return Found(KEY_VALUE, found.tensors, [*found.warnings, *note])


def _multitask(config: Config, state: State) -> Found:
    shared, left, right = _embeddings(state), state.ending("prefix_task_cols"), state.ending("prefix_task_rows")
    warnings = []
    if config.data.get("prompt_tuning_init_state_dict_path"):
        warnings.append(
            "PEFT itself will look for the source prompts' file when it loads this adapter, and fail where that file "
            "is missing; here the numbers are read directly"
        )
    if (config.count("num_transformer_submodules") or 1) == 2 and len(shared) % 2 == 0:
        half = len(shared) // 2
        warnings.append(f"rows 0 to {half - 1} are for the encoder, rows {half} to {len(shared) - 1} for the decoder")
    if left is None or right is None:
        return Found(INPUT, {"P": Values(shared, ("m", "d"))}, [*warnings, "its task factors are missing"])
    if left.ndim != 3 or right.ndim != 3 or (left.shape[0], left.shape[2]) != right.shape[:2]:
        raise CheckpointError(f"expected task factors (k, m, r) and (k, r, d); got {left.shape} and {right.shape}")
    product = left @ right
    if product.shape[1:] != shared.shape:
        raise CheckpointError(f"expected task factors of the prompt's shape {shared.shape}; got {product.shape[1:]}")
    return Found(
        FACTORS,
        {
            "P": Values(shared * product, ("k", "m", "d")),
            "shared": Values(shared, ("m", "d")),
            "u": Values(left, ("k", "m", "r")),
            "v": Values(right, ("k", "r", "d")),
        },
        warnings,
    )


def _cpt(config: Config, state: State) -> Found:
    rows = _embeddings(state)
    ids = config.data.get("cpt_token_ids")
    warnings = []
    if isinstance(ids, list) and len(ids) != len(rows):
        warnings.append(f"{CONFIG} names {len(ids)} starting tokens; the file has {len(rows)} rows")
    kinds = config.data.get("cpt_tokens_type_mask")
    if isinstance(kinds, list) and len(kinds) == len(rows) and all(type(kind) is int for kind in kinds):
        fixed = sum(kind % 4 == 0 for kind in kinds)
        told = f"; {fixed} of them, labels of examples, were held at their words" if fixed else ""
        warnings.append(
            f"each of its {len(rows)} tokens is a word of its text, moved a little way at most: nearest words show the "
            f"text rather than what was learned{told}"
        )
    return Found(INPUT, {"P": Values(rows, ("m", "d"))}, warnings)


def _adaption(config: Config, state: State) -> Found:
    prompts, gates = _by_layer(state, "adaption_prompt"), _by_layer(state, "adaption_gate")
    if not prompts or len({array.shape for array in prompts}) != 1:
        raise CheckpointError(
            f"expected an adaption_prompt of one shape in every layer; got {listed(list(state.tensors))}"
        )
    stacked = np.stack([prompt("adaption_prompt", array).array for array in prompts])
    tensors = {"P": Values(stacked, ("S", "m", "d"))}
    if gates:
        tensors["gate"] = Values(np.stack([gate.reshape(-1)[0] for gate in gates]), ("S",))
    return Found(LAYERS, tensors, [])


def _by_layer(state: State, end: str) -> list[Array]:
    def layer(name: str) -> int:
        numbers = re.findall(r"\.(\d+)\.", name)
        return int(numbers[-1][:9]) if numbers else 0

    names = [name for name in state.tensors if name.endswith(end)]
    return [state.tensors[name] for name in sorted(names, key=layer)]


def _dept(config: Config, state: State) -> Found:
    bundle = dept.read(state)
    return Found(bundle.kind, dict(bundle.tensors), list(bundle.warnings), uses=bundle.uses)


_READERS: dict[str, Callable[[Config, State], Found]] = {
    "PROMPT_TUNING": _input,
    "P_TUNING": _encoded,
    "PREFIX_TUNING": _prefix,
    "MULTITASK_PROMPT_TUNING": _multitask,
    "CPT": _cpt,
    "CARTRIDGE": _cartridge,
    "ADAPTION_PROMPT": _adaption,
    "PROMPT_TUNING_LORA": _dept,
}


def _width(tensors: Mapping[str, Values]) -> int | None:
    sizes = (dict(zip(values.axes, values.array.shape, strict=True)) for values in tensors.values())
    return next((size["d"] for size in sizes if "d" in size), None)


def _doubts(config: Config, found: Found) -> list[str]:
    """Where config and tensors disagree: PEFT itself notices only at the first forward pass."""
    doubts = []
    width, tokens = config.count("token_dim"), config.count("num_virtual_tokens")
    held = _width(found.tensors)
    if width and held and width != held:
        doubts.append(f"{CONFIG} promises vectors of width {width}; the file's have {held}")
    first = next(iter(found.tensors.values()))
    rows = dict(zip(first.axes, first.array.shape, strict=True)).get("m")
    if tokens and rows and rows not in (tokens, 2 * tokens) and found.kind != LAYERS:
        doubts.append(f"{CONFIG} promises {tokens} prompt tokens; the file has {rows}")
    return doubts
