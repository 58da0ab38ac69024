"""Frozen transformers models scored on label words; the prompt enters in ``Backbone.forward``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ptviz.backbone_shape import BackboneShape
from ptviz.backbones.errors import BackboneError
from ptviz.backbones.families import describe_families
from ptviz.backbones.frozen_linear import frozen_product, use_frozen_products
from ptviz.backbones.label_tokens import find_common_tokens
from ptviz.backbones.patched_attention import select_attention
from ptviz.backbones.prompt_attention import AttentionCallback, PrefixOfSites
from ptviz.prompt import NO_TARGET, Batch, Output, Prompt, Spec

ReadoutMode = Literal["pooled", "mask", "last", "first"]

CANNOT_GENERATE = "an encoder: it reads texts and generates none; choose a decoder or an encoder-decoder"
"""Why a backbone cannot generate text."""


@dataclass(frozen=True)
class Readout:
    """The read-out that turns a hidden state into one score per label: ``scores = scale * x @ weight.T + bias``.

    With a ``softcap`` c the scores are bounded by ``c * tanh(scores / c)``, as Gemma 2's. For label words, ``weight``
    (c, d) holds rows of the frozen output embedding; for pooled sentences, the frozen embeddings of the label
    descriptions, with ``normalise`` making the product a cosine. ``label_words`` are for display.
    """

    weight: Float[Tensor, "c d"]
    bias: Float[Tensor, " c"] | None
    scale: float
    normalise: bool
    label_words: tuple[str, ...]
    softcap: float | None = None

    def scores(self, hidden: Float[Tensor, "B d"]) -> Float[Tensor, "B c"]:
        """Return one score per label, in float32."""
        x = hidden.float()
        scores = frozen_product(self.scale * (F.normalize(x, dim=-1) if self.normalise else x), self.weight)
        scores = scores if self.bias is None else scores + self.bias
        return scores if self.softcap is None else self.softcap * torch.tanh(scores / self.softcap)


class Backbone(nn.Module, ABC):
    """A frozen language model; subclasses define how the input is run and where the answer is read.

    No parameter requires a gradient; ``forward`` is differentiable in the prompt only.
    """

    family: ClassVar[Literal["encoder", "decoder", "encoder-decoder"]]
    readout_mode: ReadoutMode
    dtype_reason: str = ""
    """Why the type of the weights was chosen, if it was chosen by a measurement."""

    def __init__(
        self, name: str, title: str, model: PreTrainedModel, tokeniser: PreTrainedTokenizerBase, random: bool
    ) -> None:
        super().__init__()
        select_attention(model)
        self.name, self.title, self.random_weights, self.tokeniser = name, title, random, tokeniser
        self.model = model.eval().requires_grad_(False)
        use_frozen_products(self.model)
        self.pad_id = int(tokeniser.pad_token_id if tokeniser.pad_token_id is not None else tokeniser.eos_token_id or 0)
        self.sites, self.heads, self.head_width = find_attention_sites(name, self.model, self.pad_id)
        self._common_ids: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Return the device of the frozen weights."""
        return self._embedding_weights().device

    @property
    def dtype(self) -> torch.dtype:
        """Return the type of the frozen weights; prompts are always float32."""
        return self._embedding_weights().dtype

    @property
    def width(self) -> int:
        """Return the embedding width d."""
        return self._embedding_weights().shape[1]

    @property
    def embedding_table(self) -> Tensor:
        """Return the vectors (V, d) of all tokens as they enter the model.

        Some families, such as Gemma and some of BART, multiply their stored embeddings by a constant.
        """
        scale = getattr(self.model.get_input_embeddings(), "embed_scale", 1.0)
        return self._embedding_weights() if scale == 1.0 else self._embedding_weights() * scale

    def _embedding_weights(self) -> Tensor:
        weights: Tensor = self.model.get_input_embeddings().weight
        return weights

    @property
    def shape(self) -> BackboneShape:
        """Return the sizes that a prompt has to fit."""
        return BackboneShape(self.width, self.sites, self.heads, self.head_width)

    @property
    def frozen_parameters(self) -> int:
        """Return the number of parameters of the frozen model."""
        return sum(p.numel() for p in self.model.parameters())

    def make_spec(
        self, length: int = 64, labels: tuple[str, ...] = (), sources: tuple[str, ...] = (), targets: int = 1
    ) -> Spec:
        """Return the sizes and the embedding table for a method; ``length`` is the longest text in tokens."""
        if self._common_ids is None:
            self._common_ids = find_common_tokens(self.tokeniser, len(self.embedding_table)).to(self.device)
        table, ids = self.embedding_table, self._common_ids
        sizes = self.sites, self.heads, self.head_width, length
        return Spec(table, *sizes, ids, labels, sources, self.tokenise, targets, self.key_values_of_tokens)

    def tokenise(self, text: str) -> list[int]:
        """Return the token ids of a text, without special tokens."""
        return list(self.tokeniser(text, add_special_tokens=False)["input_ids"])

    @torch.no_grad()
    def key_values_of_tokens(self, ids: Sequence[int]) -> Float[Tensor, "S 2 H m h"]:
        """Return the frozen model's own keys and values of m tokens at its first positions, at every attention site.

        An encoder-decoder reads the tokens on both sides.
        """
        gathered: dict[int, tuple[Tensor, Tensor]] = {}
        tokens = torch.tensor([list(ids)], device=self.device)
        both = {"decoder_input_ids": tokens} if self.family == "encoder-decoder" else {}
        self.model(input_ids=tokens, collect_kv=gathered, **both)
        return torch.stack([torch.stack(own)[:, 0] for _, own in sorted(gathered.items())]).float()

    @torch.no_grad()
    def embed_tokens(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T d"]:
        """Return the frozen input embeddings of token ids."""
        found: Tensor = self.model.get_input_embeddings()(ids.to(self.device))
        return found.float()

    @abstractmethod
    def make_readout(self, words: tuple[str, ...], descriptions: tuple[str, ...], lead: str = " ") -> Readout:
        """Return the read-out for a task's labels; a label word begins with ``lead`` where a decoder reads it."""

    @abstractmethod
    def compute_answer_states(
        self, batch: Batch, x: Float[Tensor, "B T d"], mask: Bool[Tensor, "B T"], prompt: Prompt, **keywords: Any
    ) -> tuple[Float[Tensor, "B d"], Float[Tensor, "layer B d"] | None]:
        """Run the embedded input; return the states to score, and those of every layer if requested."""

    def make_vocabulary_readout(self) -> Readout:
        """Return the read-out over the whole vocabulary, which target texts are scored with.

        Raises:
            BackboneError: if the backbone is an encoder, which generates no text.
        """
        raise BackboneError(f"{self.name} is {CANNOT_GENERATE}")

    def compute_target_states(
        self,
        batch: Batch,
        x: Float[Tensor, "B T d"],
        mask: Bool[Tensor, "B T"],
        prompt: Prompt,
        targets: Int[Tensor, "B U"],
        *,
        every: bool = False,
        **keywords: Any,
    ) -> tuple[Float[Tensor, "B U d"], Float[Tensor, "layer B *U d"] | None]:
        """Return the states that predict each target token, and those of all layers if requested.

        The latter are (layer, B, d) at the first target token, or with ``every`` (layer, B, U, d).

        Raises:
            BackboneError: if the backbone is an encoder, which generates no text.
        """
        raise BackboneError(f"{self.name} is {CANNOT_GENERATE}")

    def forward(
        self,
        batch: Batch,
        prompt: Prompt,
        readout: Readout,
        *,
        hidden: bool = False,
        on_attention: AttentionCallback | None = None,
    ) -> Output:
        """Score every label, or every target token of a batch with targets, with a prompt.

        Raises:
            BackboneError: if the prompt does not fit the slots of the batch or the sites of this backbone.
        """
        x, mask = self.shift_and_mask(batch, prompt)
        keywords: dict[str, Any] = {"output_hidden_states": hidden}
        if on_attention is not None:
            keywords["on_attention"] = on_attention
        if batch.targets is not None:
            places, states = self.compute_target_states(batch, x, mask, prompt, batch.targets, **keywords)
            return _score_targets(places, states, batch.targets, readout)
        answer, states = self.compute_answer_states(batch, x, mask, prompt, **keywords)
        logits = readout.scores(answer)
        return Output(logits, F.cross_entropy(logits, batch.labels, reduction="none"), states)

    @contextmanager
    def dropout(self, on: bool) -> Iterator[None]:
        """Apply the model's own dropout within the block, as its configuration sets it; many decoders have none."""
        if not on:
            yield
            return
        self.model.train()
        try:
            yield
        finally:
            self.model.eval()

    def allows_shortcuts(self, keywords: Mapping[str, Any]) -> bool:
        """Return whether no intermediate result is asked for and every row may share what is equal for all.

        With dropout nothing is: each row has masks of its own.
        """
        return not self.model.training and not keywords.get("output_hidden_states") and "on_attention" not in keywords

    def shift_and_mask(self, batch: Batch, prompt: Prompt) -> tuple[Float[Tensor, "B T d"], Bool[Tensor, "B T"]]:
        """Return the input embeddings with the prompt's shift, and the mask without its pruned tokens.

        Raises:
            BackboneError: if the prompt does not fit the slots of the batch or the sites of this backbone.
        """
        self._check_prompt(batch, prompt)
        x, mask = batch.embeddings, batch.mask
        if prompt.delta is not None:
            x = x + prompt.delta
        if prompt.keep is not None:
            mask = mask.masked_scatter(batch.slots, prompt.keep.expand(len(x), -1).contiguous())
        return x, mask

    def _check_prompt(self, batch: Batch, prompt: Prompt) -> None:
        counts = batch.slots.sum(1)
        slots = int(counts[0])
        if bool((counts != slots).any()):
            raise BackboneError(f"expected the same number of slots in every row, got {sorted(set(counts.tolist()))}")
        given = 0 if prompt.embeddings is None else prompt.embeddings.shape[1]
        if slots != given:
            raise BackboneError(
                f"the batch has {slots} slots a row, but the prompt brings {given} vectors; "
                f"encode the texts with m={given}"
            )
        if prompt.embeddings is not None and prompt.embeddings.shape[2] != self.width:
            raise BackboneError(
                f"expected prompt vectors of width {self.width} for {self.name}, got {prompt.embeddings.shape[2]}"
            )
        if prompt.key_values is not None:
            expected = (self.sites, 2, self.heads, self.head_width)
            got = tuple(prompt.key_values.shape[i] for i in (0, 1, 3, 5))
            if got != expected:
                raise BackboneError(
                    f"expected key-value prompts of (sites, 2, heads, head width) {expected} for {self.name}, got {got}"
                )
            if prompt.sites is not None and len(prompt.sites) != self.sites:
                raise BackboneError(f"expected a mark for each of {self.sites} sites, got {len(prompt.sites)}")

    def fill_slots(self, batch: Batch, x: Float[Tensor, "B T d"], prompt: Prompt) -> Float[Tensor, "B T d"]:
        """Return the input embeddings with the prompt in its slots, in the type of the frozen weights."""
        if prompt.embeddings is not None:
            vectors = prompt.embeddings.to(x.dtype).expand(len(x), -1, -1).contiguous()
            x = x.masked_scatter(batch.slots[..., None], vectors)
        return x.to(self.dtype)


def _score_targets(
    places: Float[Tensor, "B U d"],
    states: Float[Tensor, "layer B d"] | None,
    targets: Int[Tensor, "B U"],
    readout: Readout,
) -> Output:
    real = targets != NO_TARGET
    logits = readout.scores(places[real])
    losses = F.cross_entropy(logits, targets[real], reduction="none")
    lengths = real.sum(1)
    sums = losses.new_zeros(len(targets)).index_add(0, real.nonzero()[:, 0], losses)
    return Output(logits, sums / lengths.clamp(min=1), states, lengths)


def shift_right(targets: Int[Tensor, "B U"], start: int) -> Int[Tensor, "B U"]:
    """Return what a model reads before each target token: ``start``, then the targets but the last."""
    ids = targets.masked_fill(targets == NO_TARGET, start)
    return torch.cat([ids.new_full((len(ids), 1), start), ids[:, :-1]], 1)


def marked_column(read: Bool[Tensor, "B T"]) -> Int[Tensor, " B"]:
    """Return the one marked column of each row."""
    return read.long().argmax(1)


def select_hidden(states: tuple[Tensor, ...] | None, choose: Callable[[Tensor], Tensor]) -> Tensor | None:
    """Return the hidden states of every layer at the answer, (layer, B, d); None if not requested."""
    return None if states is None else torch.stack([choose(state) for state in states])


def kv_kwargs(prompt: Prompt) -> dict[str, Any]:
    """Return the keyword argument that passes key-value prompts to the attention function."""
    if prompt.key_values is None:
        return {}
    return {"prompt_kv": prompt.key_values if prompt.sites is None else PrefixOfSites(prompt.key_values, prompt.sites)}


@torch.no_grad()
def find_attention_sites(name: str, model: PreTrainedModel, pad_id: int = 0) -> tuple[int, int, int]:
    """Return how many attention sites a model has, and their key/value heads and head width.

    One forward pass of two tokens numbers the sites in call order. A model on the ``meta`` device will do.

    Raises:
        BackboneError: if prompts cannot reach the attention, or its sites differ in shape.
    """
    found: dict[nn.Module, torch.Size] = {}
    ids = torch.tensor([[pad_id, pad_id]], device=model.device)
    decoder = {"decoder_input_ids": ids[:, :1]} if model.config.is_encoder_decoder else {}
    model(input_ids=ids, list_sites=found, **decoder)
    if not found:
        raise BackboneError(
            f"{name}: {type(model).__name__} does not route its attention through transformers' "
            f"AttentionInterface, so prompts cannot reach it. {describe_families()}"
        )
    shapes = {(shape[1], shape[3]) for shape in found.values()}
    if len(shapes) != 1:
        raise BackboneError(
            f"{name}: attention sites differ in (heads, head width): {sorted(shapes)}; expected one shape"
        )
    for index, site in enumerate(found):
        site.site = index  # type: ignore[assignment]
    heads, width = shapes.pop()
    return len(found), heads, width
