"""Adapters of Hugging Face's PEFT: adapter_config.json, with adapter_model.safetensors or .bin.

Layouts as saved by peft 0.21, https://github.com/huggingface/peft (src/peft/utils/save_and_load.py): n prompt tokens,
s submodules, L layers. Key-value prompts are stored as (n, 2 L heads head_width), entry 2l the keys of layer l, 2l+1
its values. For P-Tuning and projected prefixes, the output of the encoder is saved without the encoder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ptviz.checkpoints.bundle import (
    FACTORS,
    INPUT,
    KEY_VALUE,
    LAYERS,
    Array,
    Capability,
    NamedAxesArray,
    PromptBundle,
    list_capabilities,
)
from ptviz.checkpoints.containers.weights import read_weights
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.formats import dept
from ptviz.checkpoints.formats.named_tensors import StoredTensors, split_key_values, to_prompt_matrix
from ptviz.checkpoints.formats.prompt_encoder import APPLIED, EncodedPrompt, encode, find_encoders
from ptviz.checkpoints.limits import LIMITS, Folder, check_scalars, parse_json_object
from ptviz.safe_text import safe_list, safe_text

CONFIG_FILE = "adapter_config.json"
WEIGHT_FILES = ("adapter_model.safetensors", "adapter_model.bin")
SEQUENCE_TO_SEQUENCE = "SEQ_2_SEQ_LM"
DECODER_ONLY = (
    "PEFT gives these keys and values to the decoder's self-attention alone; ptviz's prefix has some for every "
    "attention site of an encoder-decoder"
)
ENCODER_NOT_SAVED = "the file has the encoder's output; the table and the encoder were not saved"


class ParsedAdapter(NamedTuple):
    """The result of the reader of one peft_type."""

    kind: str
    tensors: dict[str, NamedAxesArray]
    warnings: list[str]
    irreversible: str = ""
    capabilities: tuple[Capability, ...] = ()


class AdapterConfig:
    """adapter_config.json; every number is checked when it is read."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data
        self.type = str(data.get("peft_type", ""))

    def positive_int(self, name: str) -> int | None:
        """Return a positive integer, None if it is missing.

        Raises:
            CheckpointError: for any other value.
        """
        value = self.data.get(name)
        if value is None:
            return None
        if type(value) is not int or not 0 < value < 1 << 24:
            raise CheckpointError(f"{CONFIG_FILE}: {name}: expected a positive integer; got {safe_text(value)!r}")
        return value

    def description(self) -> dict[str, str]:
        """Return every plain value that is set, as text."""
        plain = {key: value for key, value in self.data.items() if isinstance(value, str | int | float | bool)}
        return {safe_text(key, 60): safe_text(value, 300) for key, value in [*plain.items()][:60] if value != ""}


def list_adapters(folder: Folder) -> list[str]:
    """Return the adapters in a folder as prefixes of their files: "" for its own, "name/" in a subfolder."""
    return [
        name.removesuffix(CONFIG_FILE)
        for name in folder.names()
        if name == CONFIG_FILE or name.endswith("/" + CONFIG_FILE)
    ]


def read_adapter(folder: Folder, which: str = "") -> PromptBundle:
    """Read the only adapter in a folder.

    Raises:
        CheckpointError: if there are several, it is not a prompt, or a file is missing or damaged.
    """
    found = list_adapters(folder)
    if "" not in found and len(found) > 1:
        names = [prefix.rstrip("/") for prefix in found]
        raise CheckpointError(
            f"{safe_text(folder.name)} has {len(found)} adapters; open one of them: {safe_list(names)}"
        )
    start = "" if "" in found else found[0]
    config = AdapterConfig(parse_json_object(folder.read(start + CONFIG_FILE), CONFIG_FILE))
    reader = _READERS.get(config.type)
    if reader is None:
        raise CheckpointError(
            f"{CONFIG_FILE}: expected a prompt's peft_type ({', '.join(_READERS)}); got {safe_text(config.type)!r}"
        )
    state, file = _read_weights(folder, start)
    parsed = reader(config, state)
    width = _embedding_width(parsed.tensors)
    warnings = [*parsed.warnings, *_find_inconsistencies(config, parsed)]
    own = re.compile(r"adaption_|prompt_encoder\.|prompt_embeddings")
    if head := [name for name in state.tensors if name.startswith("base_model.") and not own.search(name)]:
        warnings.append(f"a task head was saved with it ({safe_list(head)}): predictions without this head differ")
    name = start.rstrip("/") or folder.name
    return PromptBundle(
        name=name,
        format=f"PEFT {config.type}",
        kind=parsed.kind,
        tensors=parsed.tensors,
        metadata={"container": file, **config.description()},
        warnings=tuple(warnings),
        capabilities=parsed.capabilities or list_capabilities(parsed.kind, width, parsed.irreversible),
    )


def _read_weights(folder: Folder, start: str) -> tuple[StoredTensors, str]:
    names = folder.names()
    file = next((start + name for name in WEIGHT_FILES if start + name in names), None)
    if file is None:
        raise CheckpointError(
            f"{safe_text(folder.name)} has {CONFIG_FILE} but neither {WEIGHT_FILES[0]} nor {WEIGHT_FILES[1]}: "
            "add the weights"
        )
    return StoredTensors(folder.name, file, read_weights(folder.read(file), file)[0]), file


_SAVED_PROMPT = re.compile(r"(.*\.)?prompt_embeddings(\.[^.]+)?(\.weight)?")


def _prompt_embeddings(state: StoredTensors) -> EncodedPrompt:
    """Return the prompt under PEFT's name for it, also with an adapter's name in it, or through its encoder."""
    names = [name for name in state.tensors if _SAVED_PROMPT.fullmatch(name)]
    if len(names) == 1:
        return EncodedPrompt("", to_prompt_matrix(names[0], state.tensors[names[0]]).array, False)
    encoders = {} if names else find_encoders(state)
    if len(encoders) == 1:
        return encode(state, next(iter(encoders.values())))
    raise CheckpointError(
        f"{safe_text(state.name)}: expected prompt_embeddings of one adapter; got "
        f"{safe_list(names or list(encoders) or list(state.tensors))}"
    )


def _encoder_rows(config: AdapterConfig, rows: int) -> int:
    """Return how many of a prompt's rows are the encoder's: half of them if it has two submodules."""
    tokens, parts = config.positive_int("num_virtual_tokens"), config.positive_int("num_transformer_submodules")
    if parts is None and tokens and config.data.get("task_type") == SEQUENCE_TO_SEQUENCE:
        parts = 2
    return rows // 2 if parts == 2 and rows == 2 * (tokens or rows // 2) else rows


def _parse_prompt_tuning(config: AdapterConfig, state: StoredTensors) -> ParsedAdapter:
    rows, applied = _prompt_embeddings(state)[1:]
    warnings = [APPLIED] if applied else []
    m = _encoder_rows(config, len(rows))
    tensors = {"P": NamedAxesArray(rows[:m], ("m", "d"))}
    if m < len(rows):
        warnings.append(
            f"the file has {len(rows)} rows for encoder and decoder; PEFT uses only the first {m}: the decoder half "
            "was not trained"
        )
        tensors["decoder half"] = NamedAxesArray(rows[m:], ("unused", "d"))
    return ParsedAdapter(INPUT, tensors, warnings)


def _parse_p_tuning(config: AdapterConfig, state: StoredTensors) -> ParsedAdapter:
    found = _parse_prompt_tuning(config, state)
    warnings = found.warnings
    dropout = config.data.get("encoder_dropout")
    if (
        config.data.get("encoder_reparameterization_type") == "LSTM"
        and isinstance(dropout, int | float)
        and dropout > 0
    ):
        warnings = [
            *warnings,
            f"its LSTM had a dropout of {safe_text(dropout)}: if saved while training, the file has one random draw",
        ]
    return ParsedAdapter(INPUT, found.tensors, warnings, "" if APPLIED in warnings else ENCODER_NOT_SAVED)


def _parse_prefix_tuning(config: AdapterConfig, state: StoredTensors) -> ParsedAdapter:
    flat = _prompt_embeddings(state).rows
    layers, heads, width = (config.positive_int(name) for name in ("num_layers", "num_attention_heads", "token_dim"))
    warnings = []
    if layers and width and flat.shape[1] != 2 * layers * width:
        warnings.append(
            f"{CONFIG_FILE} gives 2 x {layers} layers x {width} = {2 * layers * width:,} values per token; "
            f"the file has {flat.shape[1]:,}"
        )
        layers = None
    values = split_key_values(flat, layers, heads)
    reason = ENCODER_NOT_SAVED if config.data.get("prefix_projection") else ""
    has_encoder = config.data.get("task_type") == SEQUENCE_TO_SEQUENCE
    if not has_encoder and config.positive_int("num_transformer_submodules") != 2:
        return ParsedAdapter(KEY_VALUE, {"KV": values}, warnings, reason)
    uses = list_capabilities(KEY_VALUE, None, reason, unusable=DECODER_ONLY)
    return ParsedAdapter(KEY_VALUE, {"KV": values}, [*warnings, DECODER_ONLY], reason, uses)


def _parse_cartridge(config: AdapterConfig, state: StoredTensors) -> ParsedAdapter:
    found = _parse_prefix_tuning(config, state)
    frozen = config.positive_int("num_frozen_tokens")
    note = [f"its first {frozen} tokens are the frozen start of a real text, not trained"] if frozen else []
    return found._replace(warnings=[*found.warnings, *note])


def _parse_multitask(config: AdapterConfig, state: StoredTensors) -> ParsedAdapter:
    shared, left, right = (
        _prompt_embeddings(state).rows,
        state.tensor_ending_in("prefix_task_cols"),
        state.tensor_ending_in("prefix_task_rows"),
    )
    m, total = _encoder_rows(config, len(shared)), len(shared)
    warnings = []
    if config.data.get("prompt_tuning_init_state_dict_path"):
        warnings.append(
            "PEFT needs the source prompts' file to load this adapter and fails without it; here the tensors are read "
            "directly"
        )
    if m < total:
        warnings.append(
            f"rows 0 to {m - 1} are for the encoder, rows {m} to {total - 1} for the decoder; PEFT uses both, ptviz "
            "only the encoder's: predictions differ"
        )
    if left is None or right is None:
        tensors = {"P": NamedAxesArray(shared[:m], ("m", "d"))}
        if m < total:
            tensors["decoder half"] = NamedAxesArray(shared[m:], ("unused", "d"))
        return ParsedAdapter(INPUT, tensors, [*warnings, "its task factors are missing"])
    if left.ndim != 3 or right.ndim != 3 or (left.shape[0], left.shape[2]) != right.shape[:2]:
        raise CheckpointError(f"expected task factors (k, m, r) and (k, r, d); got {left.shape} and {right.shape}")
    if (left.shape[1], right.shape[2]) != shared.shape:
        raise CheckpointError(
            f"expected task factors of the prompt's shape {shared.shape}; got {(left.shape[1], right.shape[2])}"
        )
    check_scalars(safe_text(state.name), len(left) * shared.size, left.size + right.size, LIMITS.computed)
    product = shared * (left @ right)
    tensors = {
        "P": NamedAxesArray(product[:, :m], ("k", "m", "d")),
        "shared": NamedAxesArray(shared[:m], ("m", "d")),
        "u": NamedAxesArray(left, ("k", "m" if m == total else "rows", "r")),
        "v": NamedAxesArray(right, ("k", "r", "d")),
    }
    if m < total:
        tensors["decoder half"] = NamedAxesArray(product[:, m:], ("k", "unused", "d"))
    return ParsedAdapter(FACTORS, tensors, warnings)


def _parse_cpt(config: AdapterConfig, state: StoredTensors) -> ParsedAdapter:
    rows = _prompt_embeddings(state).rows
    ids = config.data.get("cpt_token_ids")
    warnings = []
    if isinstance(ids, list) and len(ids) != len(rows):
        warnings.append(f"{CONFIG_FILE} gives {len(ids)} initial tokens; the file has {len(rows)} rows")
    kinds = config.data.get("cpt_tokens_type_mask")
    if isinstance(kinds, list) and len(kinds) == len(rows) and all(type(kind) is int for kind in kinds):
        fixed = sum(kind % 4 == 0 for kind in kinds)
        labels = f"; {fixed} of them, labels of examples, were not trained" if fixed else ""
        warnings.append(
            f"each of its {len(rows)} tokens is close to a word of its text: nearest words show the text rather than "
            f"what was learned{labels}"
        )
    return ParsedAdapter(INPUT, {"P": NamedAxesArray(rows, ("m", "d"))}, warnings)


def _parse_adaption_prompt(config: AdapterConfig, state: StoredTensors) -> ParsedAdapter:
    prompts, gates = _tensors_by_layer(state, "adaption_prompt"), _tensors_by_layer(state, "adaption_gate")
    if not prompts or len({array.shape for array in prompts}) != 1:
        raise CheckpointError(
            f"expected an adaption_prompt of one shape in every layer; got {safe_list(list(state.tensors))}"
        )
    stacked = np.stack([to_prompt_matrix("adaption_prompt", array).array for array in prompts])
    tensors = {"P": NamedAxesArray(stacked, ("S", "m", "d"))}
    if gates:
        tensors["gate"] = NamedAxesArray(np.stack([gate.reshape(-1)[0] for gate in gates]), ("S",))
    return ParsedAdapter(LAYERS, tensors, [])


def _tensors_by_layer(state: StoredTensors, end: str) -> list[Array]:
    def layer(name: str) -> int:
        numbers = re.findall(r"\.(\d+)\.", name)
        return int(numbers[-1][:9]) if numbers else 0

    names = [name for name in state.tensors if name.endswith(end)]
    return [state.tensors[name] for name in sorted(names, key=layer)]


def _parse_dept(config: AdapterConfig, state: StoredTensors) -> ParsedAdapter:
    bundle = dept.read_dept(state)
    return ParsedAdapter(bundle.kind, dict(bundle.tensors), list(bundle.warnings), capabilities=bundle.capabilities)


_READERS: dict[str, Callable[[AdapterConfig, StoredTensors], ParsedAdapter]] = {
    "PROMPT_TUNING": _parse_prompt_tuning,
    "P_TUNING": _parse_p_tuning,
    "PREFIX_TUNING": _parse_prefix_tuning,
    "MULTITASK_PROMPT_TUNING": _parse_multitask,
    "CPT": _parse_cpt,
    "CARTRIDGE": _parse_cartridge,
    "ADAPTION_PROMPT": _parse_adaption_prompt,
    "PROMPT_TUNING_LORA": _parse_dept,
}


def _embedding_width(tensors: Mapping[str, NamedAxesArray]) -> int | None:
    sizes = (dict(zip(values.axes, values.array.shape, strict=True)) for values in tensors.values())
    return next((size["d"] for size in sizes if "d" in size), None)


def _find_inconsistencies(config: AdapterConfig, found: ParsedAdapter) -> list[str]:
    """Return where config and tensors disagree, which PEFT notices only in the first forward pass."""
    problems = []
    width, tokens = config.positive_int("token_dim"), config.positive_int("num_virtual_tokens")
    actual = _embedding_width(found.tensors)
    if width and actual and width != actual:
        problems.append(f"{CONFIG_FILE} gives the width {width}; the file's vectors have {actual}")
    first = next(iter(found.tensors.values()))
    rows = dict(zip(first.axes, first.array.shape, strict=True)).get("m")
    if tokens and rows and rows not in (tokens, 2 * tokens) and found.kind != LAYERS:
        problems.append(f"{CONFIG_FILE} gives {tokens} prompt tokens; the file has {rows}")
    return problems
