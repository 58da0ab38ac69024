"""Text written by a frozen backbone under a prompt: greedy, sampled or by beam search, with a key-value cache.

transformers' own ``generate`` chooses the tokens. A prompt in the slots enters with the input embeddings; a key-value
prompt is handed to every attention site of a shallow copy of the model, so that the shared model never changes.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation.streamers import BaseStreamer
from transformers.modeling_outputs import BaseModelOutput

from ptviz.backbones.base import CANNOT_GENERATE, Backbone, kv_kwargs
from ptviz.backbones.errors import BackboneError
from ptviz.prompt import Batch, Prompt


@dataclass(frozen=True)
class GenerationSettings:
    """How tokens are chosen. ``temperature`` 0 and ``beams`` 1 is greedy decoding; ``seed`` is for sampling only.

    Besides the model's own end a text ends at a newline, if asked for, and at the token ``stop``. A token may hold more
    than the newline: what it has before it belongs to the text.

    Raises:
        ValueError: naming the setting, what was expected and what came.
    """

    max_new_tokens: int = 32
    temperature: float = 0.0
    top_p: float = 1.0
    beams: int = 1
    seed: int = 0
    stop_at_newline: bool = False
    stop: int | None = None

    def __post_init__(self) -> None:
        bounds = {"max_new_tokens": (1, 4096), "temperature": (0, 10), "top_p": (1e-6, 1), "beams": (1, 64)}
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not low <= value <= high:
                raise ValueError(f"{name}: expected a number from {low:g} to {high:g}; got {value!r}")
        if self.beams > 1 and self.temperature:
            raise ValueError(
                f"expected beam search or sampling; got {self.beams} beams with temperature {self.temperature:g}: "
                "set beams to 1, or temperature to 0"
            )

    def for_batch(self, first: int) -> GenerationSettings:
        """Return the settings of a batch whose first row has this number among all rows: batches differ in seed."""
        return replace(self, seed=(self.seed + first * 1_000_003) % 2**64) if first else self  # torch takes 64 bits


@torch.no_grad()
def generate(
    backbone: Backbone,
    batch: Batch,
    prompt: Prompt,
    settings: GenerationSettings | None = None,
    on_token: Callable[[int], None] | None = None,
) -> list[list[int]]:
    """Return the token ids written after each row of a batch, without the end token and what follows it.

    ``on_token`` gets each token id as it is chosen; it needs a batch of one row and no beams.

    Raises:
        BackboneError: if the backbone is an encoder, which cannot write, or the prompt does not fit.
        ValueError: if tokens are to be streamed from several rows or beams.
    """
    settings = settings or GenerationSettings()
    if backbone.family == "encoder":
        raise BackboneError(f"{backbone.name} is {CANNOT_GENERATE}")
    if on_token is not None and (len(batch) > 1 or settings.beams > 1):
        raise ValueError(f"expected one row and one beam to stream; got {len(batch)} rows and {settings.beams} beams")
    x, mask = backbone.shift_and_mask(batch, prompt)
    x = backbone.fill_slots(batch, x, prompt)
    writer = _with_prompt(backbone.model, prompt)
    if backbone.family == "decoder":
        x, mask = _pad_left(x, mask)
        inputs: dict[str, Any] = {"inputs_embeds": x, "attention_mask": mask.long()}
    else:
        encoded = backbone.model.get_encoder()(inputs_embeds=x, attention_mask=mask, **kv_kwargs(prompt))
        inputs = {
            "encoder_outputs": BaseModelOutput(last_hidden_state=encoded.last_hidden_state),
            "attention_mask": mask.long(),
        }
    stops = _stop_ids(backbone, settings)
    last = _last_tokens(backbone, settings, stops)
    with torch.random.fork_rng(devices=[x.device.index or 0] if x.device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        rows = writer.generate(
            **inputs,
            generation_config=GenerationConfig(**generation_arguments(backbone, settings, stops)),
            streamer=None if on_token is None else _TokenStreamer(on_token, last),
        )
    if backbone.family == "encoder-decoder":
        rows = rows[:, 1:]  # the decoder's start token
    return [_before_stop(row, last) for row in rows.tolist()]


def _pad_left(x: Float[Tensor, "B T d"], mask: Bool[Tensor, "B T"]) -> tuple[Tensor, Tensor]:
    """Move what is masked to the left, in order: new tokens follow the last column."""
    order = mask.long().argsort(dim=1, stable=True)
    return x.gather(1, order[..., None].expand_as(x)), mask.gather(1, order)


def _with_prompt(model: PreTrainedModel, prompt: Prompt) -> PreTrainedModel:
    """Return a shallow copy of the model, with the same weights, whose attention sites see a key-value prompt."""
    if prompt.key_values is None:
        return model
    prompt_kv, sites, kind = prompt.key_values, prompt.sites, type(model)
    shift = prompt_kv.shape[-2]
    encoder_decoder = model.config.is_encoder_decoder

    class Prompted(kind):  # type: ignore[misc, valid-type]
        """The model's class with a prompt in its forward pass."""

        def forward(self, *arguments: Any, **keywords: Any) -> Any:
            states = keywords.get("inputs_embeds")
            ids = keywords.get("decoder_input_ids", keywords.get("input_ids"))
            rows = len(ids) if ids is not None else len(states) if states is not None else 1
            own = prompt_kv
            if prompt_kv.shape[2] > 1:  # beams of one row follow each other
                own = prompt_kv.repeat_interleave(rows // prompt_kv.shape[2], 2)
            if not encoder_decoder and keywords.get("position_ids") is not None:
                keywords["position_ids"] = keywords["position_ids"] + shift
            return super().forward(*arguments, **kv_kwargs(Prompt(key_values=own, sites=sites)), **keywords)

    # ``generate`` reads the signature to know what it may hand over.
    Prompted.forward.__signature__ = inspect.signature(kind.forward)  # type: ignore[attr-defined]
    prompted = copy.copy(model)
    prompted.__class__ = Prompted
    return prompted


def _stop_ids(backbone: Backbone, settings: GenerationSettings) -> list[int]:
    end = backbone.model.generation_config.eos_token_id if backbone.model.generation_config is not None else None
    ends = [backbone.tokeniser.eos_token_id] if end is None else end if isinstance(end, list) else [end]
    stops = [int(one) for one in ends if one is not None]
    if settings.stop_at_newline:
        stops += newline_tokens(backbone.tokeniser)
    return [*dict.fromkeys([*stops, *([] if settings.stop is None else [settings.stop])])]


@lru_cache(maxsize=8)
def newline_tokens(tokeniser: PreTrainedTokenizerBase) -> dict[int, str]:
    """Return the text before the newline of each token that has one, by its id; it is empty for most of them."""
    texts = tokeniser.batch_decode([[one] for one in range(len(tokeniser))], clean_up_tokenization_spaces=False)
    return {one: text.split("\n")[0].rstrip() for one, text in enumerate(texts) if "\n" in text}


def _last_tokens(backbone: Backbone, settings: GenerationSettings, stops: list[int]) -> dict[int, list[int]]:
    """Return the tokens that remain of each one that ends a text: those of the text before its newline, or none."""
    before = newline_tokens(backbone.tokeniser) if settings.stop_at_newline else {}
    return {one: backbone.tokenise(text) if (text := before.get(one, "")) else [] for one in stops}


def generation_arguments(
    backbone: Backbone, settings: GenerationSettings, stops: list[int] | None = None
) -> dict[str, Any]:
    """Return the arguments of transformers' ``GenerationConfig`` for these settings: plain values, none of them None.

    ``stops`` are the ids that end a text; without them those of the settings.
    """
    start = backbone.model.config.decoder_start_token_id if backbone.family == "encoder-decoder" else None
    found = {
        "max_new_tokens": settings.max_new_tokens,
        "do_sample": bool(settings.temperature),
        "num_beams": settings.beams,
        "eos_token_id": (_stop_ids(backbone, settings) if stops is None else stops) or None,
        "pad_token_id": backbone.pad_id,
        "decoder_start_token_id": start if start is not None or backbone.family == "decoder" else backbone.pad_id,
        "use_cache": True,
        # transformers takes what is not set from the model's own file, where it would change greedy decoding.
        "repetition_penalty": 1.0,
        "no_repeat_ngram_size": 0,
    }
    if settings.temperature:
        found |= {"temperature": settings.temperature, "top_p": settings.top_p, "top_k": 0}
    return {name: value for name, value in found.items() if value is not None}


def _before_stop(ids: list[int], last: dict[int, list[int]]) -> list[int]:
    place = next((place for place, one in enumerate(ids) if one in last), len(ids))
    return ids[:place] + (last[ids[place]] if place < len(ids) else [])


class _TokenStreamer(BaseStreamer):  # type: ignore[misc]
    """Hands new tokens on one by one."""

    def __init__(self, on_token: Callable[[int], None], last: dict[int, list[int]]) -> None:
        self.on_token, self.last = on_token, last
        self.started = False

    def put(self, value: Tensor) -> None:
        if not self.started:  # the first call brings what stands before the first new token
            self.started = True
            return
        for one in value.reshape(-1).tolist():
            for token in self.last.get(one, [one]):
                self.on_token(token)

    def end(self) -> None:
        """Do nothing: every token was handed on when it came."""
