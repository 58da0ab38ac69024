"""The tensors of a run's method at a snapshot, without its backbone: shapes from its sizes, values from the file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ptviz.backbone_shape import BackboneShape
from ptviz.checkpoints.bundle import NamedAxesArray
from ptviz.methods.base import PromptMethod
from ptviz.methods.survey_methods import build_method
from ptviz.prompt import Batch, Spec
from ptviz.runs.config import RunConfig
from ptviz.runs.restore_method import load_state
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.snapshots import MERGED_AXES, read_merged_names


def load_method_tensors(
    config: RunConfig, state: Mapping[str, Tensor], shape: BackboneShape
) -> dict[str, NamedAxesArray]:
    """Return the method's tensors by the paper's symbols, with products such as A B; the effective prompt comes first.

    Raises:
        StoreError: if the state belongs to another method, backbone or other hyperparameters.
    """
    if merged := _read_merged(state):
        return merged
    method = load_method(config, state, shape)
    with torch.no_grad():
        found = method.tensors()
        effective = _compute_effective_prompt(method, shape.width)
    read = {
        name: NamedAxesArray(part.tensor.detach().float().cpu().numpy(), tuple(part.axes))
        for name, part in found.items()
        if not part.tensor.is_meta
    }
    return _prompt_first(effective, read)


def effective_prompt(config: RunConfig, state: Mapping[str, Tensor], shape: BackboneShape) -> NamedAxesArray | None:
    """Return the static prompt: embeddings (m, d), or keys and values; None if it depends on the input.

    Raises:
        StoreError: if the state belongs to another method, backbone or other hyperparameters.
    """
    if merged := _read_merged(state):
        return next(iter(merged.values()))
    method = load_method(config, state, shape)
    with torch.no_grad():
        return _compute_effective_prompt(method, shape.width)


def _read_merged(state: Mapping[str, Tensor]) -> dict[str, NamedAxesArray]:
    return {n: NamedAxesArray(t.float().numpy(), MERGED_AXES[t.ndim]) for n, t in read_merged_names(state).items()}


def load_method(config: RunConfig, state: Mapping[str, Tensor], shape: BackboneShape) -> PromptMethod:
    """Return the run's method in a state, without its backbone.

    Raises:
        StoreError: if the state belongs to another method, backbone or other hyperparameters.
    """
    config = config.checked()
    sizes = shape.width, shape.sites, shape.heads, shape.head_width, config.training.length
    spec = Spec.from_sizes(*sizes, config.source_tasks())
    # On torch's meta device nothing is initialized or copied: the snapshot's tensors are assigned.
    method = build_method(config.method, spec, config.hyperparameters)
    try:
        method.load_state_dict(dict(state), assign=True)
    except RuntimeError:
        load_state(method, dict(state))  # raises an error that names what does not fit
        raise StoreError("the snapshot does not fit the method with these settings") from None
    return method.eval()


def _compute_effective_prompt(method: PromptMethod, width: int) -> NamedAxesArray | None:
    """Return the prompt for two dummy inputs if it is static: embeddings, or keys and values."""
    marks = torch.tensor([[True] * method.slots + [False]] * 2)
    ids = torch.zeros(marks.shape, dtype=torch.long)
    row = torch.zeros(2, dtype=torch.long)
    batch = Batch(ids, torch.ones_like(marks), marks, ~marks, row, row, torch.zeros(*marks.shape, width))
    try:
        prompt = method(batch)
    except (RuntimeError, ValueError, IndexError):
        return None  # The method needs a real input: its tensors are shown without the effective prompt.
    if prompt.embeddings is not None and len(prompt.embeddings) == 1 and not prompt.embeddings.is_meta:
        return NamedAxesArray(prompt.embeddings[0].float().numpy(), ("m", "d"))
    if prompt.key_values is not None and prompt.key_values.shape[2] == 1 and not prompt.key_values.is_meta:
        return NamedAxesArray(prompt.key_values[:, :, 0].float().numpy(), ("S", "kv", "H", "m", "h"))
    return None


def _prompt_first(effective: NamedAxesArray | None, parts: dict[str, NamedAxesArray]) -> dict[str, NamedAxesArray]:
    """Return the tensors with the effective prompt first, under the method's own name for it if there is one."""
    if effective is None:
        return parts
    same = (
        n for n, part in parts.items() if part.axes == effective.axes and np.array_equal(part.array, effective.array)
    )
    name = next(same, "prompt")
    return {name: effective, **{n: part for n, part in parts.items() if n != name}}
