"""What is left of a trained method once everything that only training needed is multiplied out: a static prompt."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

from ptviz.methods.base import MethodCard, MethodTensor, PromptMethod
from ptviz.prompt import Batch, Prompt


class StaticPrompt(PromptMethod, register=False):
    """A finished prompt under the card of the method it came from: plain tensors, none of which trains.

    ``shift`` is added to the embedding of the i-th real token of a text; ``keep`` marks the prompt tokens left
    visible. Given tensors are detached, not copied. A ``state_dict`` of it is what to store for inference.
    """

    card: MethodCard  # type: ignore[misc]  # of the method that was folded, so a matter of the instance
    embeddings: Tensor | None
    key_values: Tensor | None
    shift: Tensor | None
    keep: Tensor | None

    def __init__(
        self,
        card: MethodCard,
        slots: int,
        embeddings: Float[Tensor, "1 m d"] | None = None,
        key_values: Float[Tensor, "S 2 1 H m h"] | None = None,
        shift: Float[Tensor, "s d"] | None = None,
        keep: Bool[Tensor, " m"] | None = None,
    ) -> None:
        """Take the tensors over.

        Raises:
            ValueError: if the embeddings do not fill the slots.
        """
        super().__init__()
        filled = 0 if embeddings is None else embeddings.shape[1]
        if filled != slots:
            raise ValueError(f"expected embeddings for {slots} slots of {card.name}; got {filled}")
        self.card = card
        self.slots = slots
        tensors = {"embeddings": embeddings, "key_values": key_values, "shift": shift, "keep": keep}
        for name, tensor in tensors.items():
            setattr(self, name, None if tensor is None else nn.Buffer(tensor.detach()))
        self.eval()

    def forward(self, batch: Batch) -> Prompt:
        """The same prompt for every row; the shift goes to each row's real tokens in order, wherever padding is."""
        delta = None
        if self.shift is not None:
            position = (batch.text_mask.cumsum(1) - 1).clamp(0, len(self.shift) - 1)
            delta = self.shift[position] * batch.text_mask[..., None]
        return Prompt(self.embeddings, self.key_values, delta, self.keep)

    def stored_parameters(self) -> int:
        """Every scalar of the tensors, without prompt tokens that were pruned."""
        total = sum(tensor.numel() for tensor in (self.key_values, self.shift) if tensor is not None)
        if self.embeddings is not None:
            kept = self.slots if self.keep is None else int(self.keep.sum())
            total += kept * self.embeddings.shape[2]
        return total

    def tensors(self) -> dict[str, MethodTensor]:
        """P (m, d), KV (S, kv, H, m, h) and shift (T, d): those that there are."""
        found = {}
        if self.embeddings is not None:
            found["P"] = MethodTensor(self.embeddings[0], ("m", "d"))
        if self.key_values is not None:
            found["KV"] = MethodTensor(self.key_values[:, :, 0], ("S", "kv", "H", "m", "h"))
        if self.shift is not None:
            found["shift"] = MethodTensor(self.shift, ("T", "d"))
        return found
