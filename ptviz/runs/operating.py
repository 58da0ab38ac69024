"""Surgery on a trained prompt: change one prompt token at a time and measure what it does on validation rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ptviz.backbones import Backbone
from ptviz.prompt import Batch, Prompt
from ptviz.runs.disk import StoreError
from ptviz.runs.vocabulary import readable
from ptviz.tasks import Row, Task
from ptviz.training.rows import Rows, readout_of

ACTIONS = ("ablate", "halve", "double", "snap")
_PASSES, _FEWEST, _MOST = 1000, 20, 100
"""Texts run for one answer, and the rows of one measurement: training waits meanwhile."""
Edit = Callable[[Prompt], Prompt]


def rows_for(tokens: int) -> int:
    """How many validation rows each of ``tokens`` changes is measured on: fewer, the more there are to measure."""
    return max(_FEWEST, min(_MOST, _PASSES // (tokens + 1)))


def operate(
    backbone: Backbone, task: Task, method: nn.Module, m: int, length: int, rows: Sequence[Row], action: str
) -> dict[str, Any]:
    """Loss and accuracy with each prompt token changed in turn, and with none changed.

    ``ablate`` takes a token out of sight of everything; ``halve`` and ``double`` scale its vector; ``snap`` puts the
    nearest word (by cosine) in its place. Keys and values can only be ablated: no word lies in their space.

    Returns:
        ``{"loss", "accuracy", "losses": [m], "accuracies": [m], "words": [m or none], "rows": int}``.

    Raises:
        StoreError: if the action does not exist, or not for this kind of prompt.
    """
    if action not in ACTIONS:
        raise StoreError(f"expected one of {', '.join(ACTIONS)}; got {action!r}")
    encoded = Rows(backbone, task, rows, m, length, readout_of(backbone, task))
    made = [(batch, method(batch)) for _, batch in encoded.large()]
    first: Prompt = made[0][1]
    inner = first.embeddings is None
    if inner and first.key_values is None:
        raise StoreError("this method has no prompt token to operate on")
    if inner and action != "ablate":
        raise StoreError("keys and values inside the backbone can only be ablated; choose ablate")
    count = first.key_values.shape[-2] if first.embeddings is None else first.embeddings.shape[1]  # type: ignore[union-attr]
    near = nearest(backbone.table, first.embeddings[0]) if action == "snap" and first.embeddings is not None else None

    def score(edit: Edit) -> tuple[float, float]:
        return _score(backbone, encoded, [(batch, edit(prompt)) for batch, prompt in made])

    loss, accuracy = score(lambda prompt: prompt)
    found = [score(_edit(action, i, backbone.table)) for i in range(count)]
    return {
        "loss": loss,
        "accuracy": accuracy,
        "losses": [one[0] for one in found],
        "accuracies": [one[1] for one in found],
        "words": [] if near is None else [
            readable(token) for token in backbone.tokeniser.convert_ids_to_tokens(near.tolist())
        ],
        "rows": len(rows),
    }  # fmt: skip


def nearest(table: Tensor, vectors: Tensor) -> Tensor:
    """The word with the largest cosine to each vector (..., d): ids (...)."""
    found: Tensor = (F.normalize(vectors.float(), dim=-1) @ F.normalize(table.float(), dim=-1).T).argmax(-1)
    return found


def _edit(action: str, i: int, table: Tensor) -> Edit:
    def ablate(prompt: Prompt) -> Prompt:
        if prompt.embeddings is None:
            values = prompt.key_values
            assert values is not None
            return replace(prompt, key_values=torch.cat([values[..., :i, :], values[..., i + 1 :, :]], -2))
        m = prompt.embeddings.shape[1]
        keep = torch.ones(m, dtype=torch.bool, device=prompt.embeddings.device) if prompt.keep is None else prompt.keep
        return replace(prompt, keep=keep & (torch.arange(m, device=keep.device) != i))

    def put(make: Callable[[Tensor], Tensor]) -> Edit:
        def changed(prompt: Prompt) -> Prompt:
            assert prompt.embeddings is not None
            vectors = prompt.embeddings.clone()
            vectors[:, i] = make(vectors[:, i]).to(vectors.dtype)
            return replace(prompt, embeddings=vectors)

        return changed

    edits: dict[str, Edit] = {
        "ablate": ablate,
        "halve": put(lambda x: x / 2),
        "double": put(lambda x: x * 2),
        "snap": put(lambda x: table[nearest(table, x)]),
    }
    return edits[action]


def _score(backbone: Backbone, rows: Rows, pairs: Sequence[tuple[Batch, Prompt]]) -> tuple[float, float]:
    """Mean loss (nats) and accuracy over the batches."""
    outputs = [(backbone(batch, prompt, rows.readout), batch.labels) for batch, prompt in pairs]
    loss = sum(float(output.nll.sum()) for output, _ in outputs)
    right = sum(int((output.logits.argmax(-1) == labels).sum()) for output, labels in outputs)
    return loss / len(rows), right / len(rows)
