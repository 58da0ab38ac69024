"""One pass of a decoder over [what all rows share; the rows' own tokens], without padding and without repetition."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from ptviz.backbones.base import kv_kwargs
from ptviz.backbones.packed_attention import Packing
from ptviz.prompt import Prompt

PACKED_FAMILIES = (
    "cohere", "cohere2", "ernie4_5", "exaone4", "gemma", "gemma3_text", "glm", "glm4", "gpt2", "gpt_neox", "granite",
    "helium", "hunyuan_v1_dense", "llama", "ministral", "mistral", "olmo", "olmo2", "olmo3", "opt", "phi", "phi3",
    "qwen2", "qwen3", "seed_oss", "smollm3", "starcoder2",
)  # fmt: skip
"""Families in which nothing but attention depends on a token's neighbours, and on no more than keys and positions."""
MOST_SCORES = 8
"""Attention scores kept for each number of a hidden state; longer rows use a kernel that keeps none."""


def can_pack(model: PreTrainedModel, prompt: Prompt, columns: int) -> bool:
    """Return whether a model computes the same with packed tokens, for rows of at most so many columns."""
    config = model.config
    if config.model_type not in PACKED_FAMILIES or getattr(config, "use_bidirectional_attention", None):
        return False
    window = getattr(config, "sliding_window", None)
    per_row = prompt.key_values is not None and prompt.key_values.shape[2] > 1
    longest = columns + prompt.past
    fits = config.num_attention_heads * longest <= MOST_SCORES * config.hidden_size
    return fits and not per_row and (window is None or longest < window)


def run_packed(
    model: PreTrainedModel,
    front: Float[Tensor, "1 m d"],
    x: Float[Tensor, "B T d"],
    real: Bool[Tensor, "B T"],
    prompt: Prompt,
) -> tuple[Float[Tensor, "N d"], Int[Tensor, "B T"]]:
    """Return the hidden states of packed rows that all follow ``front``, and the place of each token among them.

    The place of a token that is not real is 0.
    """
    m, past = front.shape[1], prompt.past
    packing = Packing.of(real, m)
    text = ((real.long().cumsum(1) - 1) + past + m)[real]
    positions = torch.cat([torch.arange(past, past + m, device=x.device), text])[None]
    keywords: dict[str, Any] = {"packing": packing, **kv_kwargs(prompt)}
    # A mask of four axes is passed on as it is: attention reads the packing instead.
    unused = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=x.device)
    states: Tensor = model.base_model(
        inputs_embeds=torch.cat([front, x[real][None]], 1), position_ids=positions, attention_mask=unused,
        use_cache=False, **keywords,
    ).last_hidden_state  # fmt: skip
    places = torch.zeros_like(real, dtype=torch.long)
    places[real] = torch.arange(m, states.shape[1], device=x.device)
    return states[0], places
