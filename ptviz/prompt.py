"""The data passed between methods and frozen backbones: Spec and Batch in, Prompt out, Output back.

Axes, in this order everywhere: ``B`` batch, ``T`` input tokens, ``m`` prompt tokens, ``d`` embedding width; ``S``
attention sites, ``s`` those with a prefix if not all; ``H`` key/value heads, ``h`` head width; ``k`` experts or source
tasks; ``r`` rank; ``c`` classes; ``V`` vocabulary; ``U`` target tokens, ``N`` those of a whole batch; ``t`` target
tasks of one run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

NO_TARGET = -100
"""Fills target ids up to the longest of a batch: transformers' mark for what has no loss."""


def _fallback_tokenise(text: str) -> list[int]:
    return list(range(max(1, len(text.split()))))


@dataclass(frozen=True)
class Spec:
    """The sizes and the embedding table of a frozen backbone, for which a method is built.

    ``common_ids`` are the ids of the backbone's most frequent words (no special, unused or padding tokens), most
    frequent first: the pool of "sampled vocabulary" initialisation (Lester et al. 2021, section 3.2). ``targets`` is
    the number of target tasks that the method is trained on at once. ``label_words`` are written as they are read out:
    with a blank before them where they follow a text. ``key_values_of_tokens`` returns the backbone's
    own keys and values (S, 2, H, m, h) of m token ids at its first positions; None where only sizes are known.
    """

    embedding_table: Float[Tensor, "V d"]
    sites: int
    heads: int
    head_width: int
    length: int
    common_ids: Int[Tensor, " n"]
    label_words: tuple[str, ...] = ()
    source_tasks: tuple[str, ...] = ()
    tokenise: Callable[[str], list[int]] = field(default=_fallback_tokenise, compare=False, repr=False)
    targets: int = 1
    key_values_of_tokens: Callable[[Sequence[int]], Tensor] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def from_sizes(
        cls, width: int, sites: int, heads: int, head_width: int, length: int, sources: tuple[str, ...] = ()
    ) -> Spec:
        """Return a Spec without values, on torch's ``meta`` device: enough to count parameters of any backbone.

        Raises:
            ValueError: if a size is not positive.
        """
        for name, size in {"width": width, "sites": sites, "heads": heads, "head width": head_width}.items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        table = torch.empty(length + 2, width, device="meta")
        common = torch.empty(length, dtype=torch.long, device="meta")
        return cls(table, sites, heads, head_width, length, common, ("yes", "no"), sources)

    @property
    def width(self) -> int:
        """Return the embedding width d."""
        return self.embedding_table.shape[1]

    def sample_embeddings(self, *shape: int) -> Float[Tensor, ...]:
        """Return embeddings ``(*shape, d)``, float32, of random ``common_ids``, without replacement if they suffice.

        Source: Lester et al. 2021, section 3.2 ("sampled vocabulary"), https://aclanthology.org/2021.emnlp-main.243
        """
        count = math.prod(shape)
        pool = len(self.common_ids)
        drawn = torch.randperm(pool)[:count] if count <= pool else torch.randint(pool, (count,))
        ids = self.common_ids[drawn.to(self.common_ids.device)]
        return self.embedding_table[ids].float().reshape(*shape, self.width).clone()

    def embed_text(self, string: str) -> Float[Tensor, "n d"]:
        """Return the embeddings of a text's tokens, ``(n, d)``, float32.

        Raises:
            ValueError: if the string holds no token.
        """
        ids = self.tokenise(string)
        if not ids:
            raise ValueError(f"expected a text with at least one token, got {string!r}")
        return self.embedding_table[torch.tensor(ids, device=self.embedding_table.device)].float().clone()

    def with_source_tasks(self, sources: tuple[str, ...]) -> Spec:
        """Return the spec with these source tasks."""
        return replace(self, source_tasks=sources)


@dataclass(frozen=True)
class Batch:
    """One tokenised batch; ``slots`` marks the m positions per row that the prompt fills.

    All but ``targets`` describes the input alone, so that what reads a batch (a router, a shift by position) can never
    see what is to be written. ``targets`` holds the ids to be written, right-padded with ``NO_TARGET``. ``task_ids``
    count the source tasks of a run, then its target tasks.
    """

    input_ids: Int[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]
    slots: Bool[Tensor, "B T"]
    readout_mask: Bool[Tensor, "B T"]
    labels: Int[Tensor, " B"]
    task_ids: Int[Tensor, " B"]
    embeddings: Float[Tensor, "B T d"]
    targets: Int[Tensor, "B U"] | None = None

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def text_mask(self) -> Bool[Tensor, "B T"]:
        """Return the mask of real input tokens: neither padding nor prompt slots."""
        return self.mask & ~self.slots

    def take(self, rows: Sequence[int]) -> Batch:
        """Return the batch of some of the rows, padded as it is."""
        at = torch.tensor(rows, device=self.input_ids.device)
        changes = {name: tensor[at] for name, tensor in vars(self).items() if tensor is not None}
        return replace(self, **changes)

    def task_of_all_rows(self) -> int:
        """Return the number of the task that all rows are of.

        Raises:
            ValueError: if the rows are of several tasks.
        """
        first = int(self.task_ids[0])
        if bool((self.task_ids != first).any()):
            raise ValueError(f"expected rows of one task; got those of {sorted(set(self.task_ids.tolist()))}")
        return first

    def mean_embedding(self) -> Float[Tensor, "B d"]:
        """Return the mean embedding of each row's real tokens, ``(B, d)``, which routers read."""
        weight = self.text_mask.to(torch.float32)[..., None]
        return (self.embeddings.float() * weight).sum(1) / weight.sum(1).clamp(min=1)

    def max_embedding(self) -> Float[Tensor, "B d"]:
        """Return the largest value over each row's real tokens, per coordinate, ``(B, d)``."""
        return self.embeddings.float().masked_fill(~self.text_mask[..., None], -torch.inf).amax(1)


@dataclass(frozen=True)
class Prompt:
    """Everything that a method passes to a frozen backbone; unused fields are None.

    ``embeddings`` fill the slots and ``key_values`` come first at every attention site; their batch axis is 1 for a
    static prompt and B for one per input. ``delta`` is added to the input embeddings. ``keep`` marks the prompt tokens
    that are visible after pruning, ``sites`` the attention sites that see the keys and values, None: all; a text begins
    at position m in any case. ``routing`` is only recorded. ``losses`` are added to the task loss.
    """

    embeddings: Float[Tensor, "#B m d"] | None = None
    key_values: Float[Tensor, "S 2 #B H m h"] | None = None
    delta: Float[Tensor, "B T d"] | None = None
    keep: Bool[Tensor, " m"] | None = None
    sites: Bool[Tensor, " S"] | None = None
    routing: Float[Tensor, "B k"] | None = None
    losses: Mapping[str, Float[Tensor, ""]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def past(self) -> int:
        """Return how many past positions the keys and values count as."""
        return 0 if self.key_values is None else self.key_values.shape[-2]

    @property
    def is_static(self) -> bool:
        """Return whether all rows have the same prompt, as the shapes show."""
        shared = self.embeddings is None or self.embeddings.shape[0] == 1
        return shared and (self.key_values is None or self.key_values.shape[2] == 1)


@dataclass(frozen=True)
class Output:
    """The backbone's output: scores, the loss per example in nats, and hidden states if requested.

    For labels, ``logits`` has one row per example and one score per label. For target texts it has one row per target
    token of the batch, rows of one example together, and one score per vocabulary item; ``nll`` is then the mean over
    an example's tokens, whose number is in ``target_lengths``.
    """

    logits: Float[Tensor, "N c"]
    nll: Float[Tensor, " B"]
    hidden_states: Float[Tensor, "layer B d"] | None = None
    target_lengths: Int[Tensor, " B"] | None = None

    @property
    def loss(self) -> Float[Tensor, ""]:
        """Return the mean negative log-likelihood, in nats, of the correct label or of all target tokens."""
        if self.target_lengths is None:
            return self.nll.mean()
        return (self.nll * self.target_lengths).sum() / self.target_lengths.sum()


ForwardFn = Callable[[Prompt], Output]
"""One forward pass of the frozen backbone over the current batch."""
