"""From encoded rows to batches: right padding to the longest row, and batches of rows of like length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ptviz.prompt import NO_TARGET, Batch
from ptviz.tasks.template import EncodedText

WINDOW_BATCHES = 50
"""Batches whose rows are sorted by length together: few enough for epochs to differ."""


def collate(
    rows: Sequence[EncodedText],
    pad: int,
    embed: Callable[[Tensor], Tensor],
    task: int = 0,
    device: str | torch.device = "cpu",
) -> Batch:
    """Return a batch of rows padded on the right with ``pad`` to the longest of them; ``embed`` maps ids to (B, T, d).

    Raises:
        ValueError: if there are no rows, a row has no tokens, or only some have a target.
    """
    if len({bool(row.target) for row in rows}) > 1:
        raise ValueError("expected a target in every row or in none")
    if not rows or not all(row.ids for row in rows):
        raise ValueError(f"expected rows of at least one token; got {[len(row.ids) for row in rows]} tokens")
    width = max(len(row.ids) for row in rows)
    gaps = [width - len(row.ids) for row in rows]

    def stack(values: Sequence[list[int] | list[bool]], fill: int, dtype: torch.dtype) -> Tensor:
        padded = [[*row, *[fill] * gap] for row, gap in zip(values, gaps, strict=True)]
        return torch.tensor(padded, dtype=dtype, device=device)

    ids = stack([row.ids for row in rows], pad, torch.long)
    targets = [torch.tensor(row.target) for row in rows if row.target]
    return Batch(
        input_ids=ids,
        mask=stack([[True] * len(row.ids) for row in rows], False, torch.bool),
        slots=stack([row.slots for row in rows], False, torch.bool),
        readout_mask=stack([row.readout_mask for row in rows], False, torch.bool),
        labels=torch.tensor([row.label for row in rows], device=device),
        task_ids=torch.full((len(rows),), task, device=device),
        embeddings=embed(ids),
        targets=pad_sequence(targets, True, NO_TARGET).to(device) if targets else None,
    )


def schedule_batches(lengths: Sequence[int], size: int, seed: int, epoch: int) -> list[list[int]]:
    """Return the row indices of every batch of one epoch: each row once, rows of like length together.

    Rows are shuffled, sorted by length within windows of ``WINDOW_BATCHES`` batches, cut into batches of
    ``size``, and the batches are shuffled. At most one batch is smaller. A pure function of its arguments.

    Raises:
        ValueError: if ``size`` is below 1.
    """
    if size < 1:
        raise ValueError(f"expected a batch size of at least 1; got {size}")
    random = Random(f"schedule {seed} {epoch}")
    order = list(range(len(lengths)))
    random.shuffle(order)
    window = size * WINDOW_BATCHES
    batches = []
    for start in range(0, len(order), window):
        near = sorted(order[start : start + window], key=lengths.__getitem__)
        batches += [near[at : at + size] for at in range(0, len(near), size)]
    random.shuffle(batches)
    return batches
