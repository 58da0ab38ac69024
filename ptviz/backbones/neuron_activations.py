r"""Which neurons of the feed-forward layers a prompt activates without any text.

The input is the prompt and one special token; a neuron of a layer is active if its pre-activation at that token is
positive. Source: Su et al., "On Transferability of Prompt Tuning for Natural Language Processing", NAACL 2022,
section 5.1, https://aclanthology.org/2022.naacl-main.290. Their RoBERTa reads at the mask token in front of the prompt
and their T5 at the decoder's first token, as here. Differences, for other families: encoders without a
mask token are read at [CLS], decoders at a token after the prompt; in a gated layer the gate counts.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ptviz.backbones.base import Backbone
from ptviz.backbones.errors import BackboneError
from ptviz.prompt import Batch, Prompt

FIRST_LAYER_SUFFIXES = (
    "intermediate.dense", "ffn.lin1", "mlp.Wi", "mlp.c_fc", "fc1", "mlp.dense_h_to_4h", "mlp.gate_proj",
    "DenseReluDense.wi", "DenseReluDense.wi_0",
)  # fmt: skip
"""Names of the layer before the activation function: its output is positive exactly where the activation (ReLU, GELU,
SiLU) is. The first half of ModernBERT's ``Wi`` is gated."""


@torch.no_grad()
def activated_neurons(backbone: Backbone, prompt: Float[Tensor, "m d"]) -> Bool[Tensor, "layers n"]:
    """Return which of the n neurons of every feed-forward layer (of the decoder, if any) a prompt activates.

    Raises:
        BackboneError: if the prompt has another width, or the feed-forward layers of this family are not known.
    """
    if prompt.ndim != 2 or prompt.shape[1] != backbone.width:
        raise BackboneError(f"expected a prompt (m, {backbone.width}) for {backbone.name}; got {tuple(prompt.shape)}")
    batch, position = _make_prompt_only_batch(backbone, len(prompt))
    found: list[Tensor] = []

    def record(layer: nn.Module, inputs: object, out: Tensor) -> None:
        found.append(out.reshape(-1, out.shape[-1])[position])  # OPT puts rows and positions on one axis.

    hooks = [layer.register_forward_hook(record) for layer in _find_first_layers(backbone)]
    try:
        given = Prompt(embeddings=prompt.to(backbone.device)[None])
        # Requesting hidden states disables the shortcuts past a layer.
        backbone.compute_answer_states(batch, batch.embeddings, batch.mask, given, output_hidden_states=True)
    finally:
        for hook in hooks:
            hook.remove()
    active: Bool[Tensor, "layers n"] = torch.stack(found).cpu() > 0
    return active[:, : active.shape[1] // 2] if backbone.model.config.model_type == "modernbert" else active


def _find_first_layers(backbone: Backbone) -> list[nn.Module]:
    trunk = backbone.model.get_decoder() if backbone.family == "encoder-decoder" else backbone.model
    found = [layer for name, layer in trunk.named_modules() if name.endswith(FIRST_LAYER_SUFFIXES)]
    if not found:
        kind = backbone.model.config.model_type
        raise BackboneError(f"{backbone.name}: the feed-forward layers of {kind} are not known, so no neurons")
    return found


def _make_prompt_only_batch(backbone: Backbone, m: int) -> tuple[Batch, int]:
    """Return a batch of one row without text, and the position at which neurons are read."""
    tokeniser, decodes = backbone.tokeniser, backbone.family == "decoder"
    wanted = {"mask": ("mask",), "pooled": ("cls", "bos"), "last": ("bos", "eos"), "first": ("eos",)}[
        backbone.readout_mode
    ]
    ids = (getattr(tokeniser, f"{name}_token_id") for name in wanted)
    special = next((int(id) for id in ids if id is not None), backbone.pad_id)
    # In an encoder the token comes first, as the mask of the paper's RoBERTa; elsewhere it comes last.
    position = 0 if backbone.family == "encoder" else m
    row = torch.full((1, m + 1), backbone.pad_id, device=backbone.device)
    row[0, position] = special
    own = torch.arange(m + 1, device=backbone.device)[None] == position
    zero = torch.zeros(1, dtype=torch.long, device=backbone.device)
    batch = Batch(row, torch.ones_like(own), ~own, own, zero, zero, backbone.embed_tokens(row))
    return batch, position if decodes else 0
