"""A task's examples tokenised for one backbone and prompt length, and batches of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from ptviz.backbones import Backbone, Readout
from ptviz.prompt import Batch, ForwardFn
from ptviz.tasks import Example, Task
from ptviz.tasks.collate import collate, schedule_batches
from ptviz.tasks.template import EncodedText

MAX_POSITIONS = 1024
"""Positions in one batch without gradients: enough to fill the cores while the activations fit in their caches (6,144
took 1.4 times as long on two cores)."""


class EncodedExamples:
    """Encoded examples with ``m`` prompt slots each, and the read-out of their task."""

    def __init__(
        self,
        backbone: Backbone,
        task: Task,
        examples: Sequence[Example],
        m: int,
        length: int,
        index: int = 0,
    ) -> None:
        self.backbone, self.task_index = backbone, index
        self.readout: Readout = backbone.make_readout(task.label_words, task.descriptions)
        template, labels = task.make_template(backbone.readout_mode), [example.label for example in examples]
        texts = [example.text for example in examples]
        self.examples = template.encode_all(texts, backbone.tokeniser, m, length, labels)
        self.lengths = [len(row.ids) for row in self.examples]
        self.labels = torch.tensor(labels)

    def __len__(self) -> int:
        return len(self.examples)

    def make_batch(self, indices: Sequence[int]) -> Batch:
        """Return the batch of these examples, padded to the longest."""
        chosen: list[EncodedText] = [self.examples[i] for i in indices]
        return collate(chosen, self.backbone.pad_id, self.backbone.embed_tokens, self.task_index, self.backbone.device)

    def training_batch(self, step: int, size: int, seed: int) -> Batch:
        """Return the batch of update ``step``, a function of (examples, size, seed, step) only."""
        per_epoch = max(1, -(-len(self) // size))
        epoch, index = divmod(step, per_epoch)
        batches = self._batch_schedule(size, seed, epoch)
        return self.make_batch(batches[index % len(batches)])

    def make_forward_fn(self, batch: Batch, hidden: bool = False) -> ForwardFn:
        """Return the backbone's forward pass over one batch of these examples, for objectives."""
        return lambda prompt: self.backbone(batch, prompt, self.readout, hidden=hidden)

    def _batch_schedule(self, size: int, seed: int, epoch: int) -> list[list[int]]:
        key = (size, seed, epoch)
        if getattr(self, "_cached_schedule", (None, []))[0] != key:
            self._cached_schedule = (key, schedule_batches(self.lengths, size, seed, epoch))
        return self._cached_schedule[1]

    def inference_batches(self) -> Iterator[tuple[list[int], Batch]]:
        """Yield (indices, batch) over all examples once, in large batches of similar length."""
        order = sorted(range(len(self)), key=self.lengths.__getitem__)
        start = 0
        while start < len(order):
            end = start + 1
            while end < len(order) and self.lengths[order[end]] * (end + 1 - start) <= MAX_POSITIONS:
                end += 1
            yield order[start:end], self.make_batch(order[start:end])
            start = end
