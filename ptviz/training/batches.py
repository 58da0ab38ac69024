"""A task's rows, tokenised for one backbone and one prompt length, and the batches they make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from ptviz.backbones import Backbone, Readout
from ptviz.prompt import Batch, ForwardFn
from ptviz.tasks import Example, Task
from ptviz.tasks.collate import collate, schedule_batches
from ptviz.tasks.template import EncodedText

MAX_POSITIONS = 1024
"""Positions in one batch without gradients: enough to fill the cores while the activations stay in their caches
(6,144 took 1.4 times as long on two cores)."""


class EncodedExamples:
    """Encoded rows with ``m`` slots each, and the read-out of their task."""

    def __init__(
        self,
        backbone: Backbone,
        task: Task,
        rows: Sequence[Example],
        m: int,
        length: int,
        readout: Readout,
        index: int = 0,
    ) -> None:
        self.backbone, self.readout, self.task_index = backbone, readout, index
        template, labels = task.make_template(backbone.readout_mode), [row.label for row in rows]
        self.examples = template.encode_all([row.text for row in rows], backbone.tokeniser, m, length, labels)
        self.lengths = [len(row.ids) for row in self.examples]
        self.labels = torch.tensor(labels)

    def __len__(self) -> int:
        return len(self.examples)

    def make_batch(self, indices: Sequence[int]) -> Batch:
        """These rows, padded to their longest."""
        chosen: list[EncodedText] = [self.examples[i] for i in indices]
        return collate(chosen, self.backbone.pad_id, self.backbone.embed_tokens, self.task_index, self.backbone.device)

    def training_batch(self, step: int, size: int, seed: int) -> Batch:
        """The batch of update ``step``: a function of (rows, size, seed, step) alone, as a resumed run needs it."""
        per_epoch = max(1, -(-len(self) // size))
        epoch, place = divmod(step, per_epoch)
        order = self._batch_schedule(size, seed, epoch)
        return self.make_batch(order[place % len(order)])

    def make_forward_fn(self, batch: Batch, hidden: bool = False) -> ForwardFn:
        """The backbone over one batch of these rows, as objectives call it."""
        return lambda prompt: self.backbone(batch, prompt, self.readout, hidden=hidden)

    def _batch_schedule(self, size: int, seed: int, epoch: int) -> list[list[int]]:
        key = (size, seed, epoch)
        if getattr(self, "_cached_schedule", (None, []))[0] != key:
            self._cached_schedule = (key, schedule_batches(self.lengths, size, seed, epoch))
        return self._cached_schedule[1]

    def inference_batches(self) -> Iterator[tuple[list[int], Batch]]:
        """All rows once, in large batches of like length, with the indices they came from."""
        order = sorted(range(len(self)), key=self.lengths.__getitem__)
        start = 0
        while start < len(order):
            end = start + 1
            while end < len(order) and self.lengths[order[end]] * (end + 1 - start) <= MAX_POSITIONS:
                end += 1
            yield order[start:end], self.make_batch(order[start:end])
            start = end


def make_task_readout(backbone: Backbone, task: Task) -> Readout:
    """How this backbone scores this task's labels."""
    return backbone.make_readout(task.label_words, task.descriptions)
