"""A static prompt: what remains of a trained method when everything that only training needs is merged."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

from ptviz.methods.base import MethodTensor, PromptMethod
from ptviz.methods.card import MethodCard
from ptviz.prompt import Batch, Prompt


class StaticPrompt(PromptMethod, register=False):
    """A trained prompt with the card of its method: plain tensors, none of which is trained.

    ``shift`` is added to the embedding of the i-th real token of a text; ``keep`` marks the prompt tokens that are
    visible, ``sites`` the attention sites that see the keys and values. Given tensors are detached, not copied. Its
    ``state_dict`` is what to store for inference.
    """

    card: MethodCard  # type: ignore[misc]  # It is that of the merged method, so it differs by instance.
    embeddings: Tensor | None
    key_values: Tensor | None
    shift: Tensor | None
    keep: Tensor | None
    sites: Tensor | None

    def __init__(
        self,
        card: MethodCard,
        slots: int,
        embeddings: Float[Tensor, "1 m d"] | None = None,
        key_values: Float[Tensor, "S 2 1 H m h"] | None = None,
        shift: Float[Tensor, "s d"] | None = None,
        keep: Bool[Tensor, " m"] | None = None,
        sites: Bool[Tensor, " S"] | None = None,
    ) -> None:
        """Store the tensors.

        Raises:
            ValueError: if the embeddings do not fill the slots.
        """
        super().__init__()
        filled = 0 if embeddings is None else embeddings.shape[1]
        if filled != slots:
            raise ValueError(f"expected embeddings for {slots} slots of {card.name}; got {filled}")
        self.card = card
        self.slots = slots
        tensors = {"embeddings": embeddings, "key_values": key_values, "shift": shift, "keep": keep, "sites": sites}
        for name, tensor in tensors.items():
            setattr(self, name, None if tensor is None else nn.Buffer(tensor.detach()))
        self.eval()

    def forward(self, batch: Batch) -> Prompt:
        """Return the same prompt for every row; the shift follows each row's real tokens as far as it has rows."""
        delta = None
        if self.shift is not None:
            position, rows = batch.text_mask.cumsum(1) - 1, len(self.shift)
            shifted = batch.text_mask & (position < rows)
            delta = self.shift[position.clamp(0, rows - 1)] * shifted[..., None]
        return Prompt(self.embeddings, self.key_values, delta, self.keep, self.sites)

    def stored_parameters(self) -> int:
        """Return the size of the tensors, without pruned prompt tokens and sites that have no prefix."""
        total = 0 if self.shift is None else self.shift.numel()
        if self.key_values is not None:
            total += (self.key_values if self.sites is None else self.key_values[self.sites]).numel()
        if self.embeddings is not None:
            visible = self.slots if self.keep is None else int(self.keep.sum())
            total += visible * self.embeddings.shape[2]
        return total

    def tensors(self) -> dict[str, MethodTensor]:
        """Return P (m, d), KV (S, kv, H, m, h) and shift (T, d), as far as they exist."""
        found = {}
        if self.embeddings is not None:
            found["P"] = MethodTensor(self.embeddings[0], ("m", "d"))
        if self.key_values is not None:
            found["KV"] = MethodTensor(self.key_values[:, :, 0], ("S", "kv", "H", "m", "h"))
        if self.shift is not None:
            found["shift"] = MethodTensor(self.shift, ("T", "d"))
        return found
