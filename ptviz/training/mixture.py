"""The examples of a stage: those of one task, or a mixture of several.

"proportional" draws the task of every row in proportion to the tasks' sizes (SPoT: Vu et al., ACL 2022, section 2.2,
https://aclanthology.org/2022.acl-long.346), or to their sizes to the power of 1 / temperature (T5: Raffel et al. 2020,
section 3.5.2, https://arxiv.org/abs/1910.10683). "stochastic" draws how many tasks a step mixes from 2 to all, then
those tasks with replacement, and splits the rows evenly (MPT: Wang et al., ICLR 2023, section 3.3,
https://arxiv.org/abs/2303.02861).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ptviz.prompt import Batch
from ptviz.training.batches import EncodedExamples

TaskBatch = tuple[EncodedExamples, Batch]


class TaskMixture:
    """Examples of one or several tasks; the batch of a step is a function of (examples, size, seed, step) only."""

    def __init__(self, tasks: Sequence[EncodedExamples], kind: str = "proportional", temperature: float = 1.0) -> None:
        self.tasks, self.kind, self.temperature = tuple(tasks), kind, temperature
        self._cache_key: tuple[int, int] = (0, -1)
        self._drawn_before: list[list[int]] = []

    def __len__(self) -> int:
        return sum(len(rows) for rows in self.tasks)

    def step_batches(self, step: int, size: int, seed: int) -> list[TaskBatch]:
        """Return the examples of update ``step`` as one batch for each task that occurs."""
        if len(self.tasks) == 1:
            return [(self.tasks[0], self.tasks[0].training_batch(step, size, seed))]
        if self._cache_key != (size, seed):
            self._cache_key, self._drawn_before = (size, seed), [[0] * len(self.tasks)]
        while len(self._drawn_before) <= step:
            made = self._draw_task_counts(len(self._drawn_before) - 1, size, seed)
            self._drawn_before.append([old + new for old, new in zip(self._drawn_before[-1], made, strict=True)])
        batches = []
        for index, count in enumerate(self._draw_task_counts(step, size, seed)):
            if count:
                first, examples = self._drawn_before[step][index], self.tasks[index]
                chosen = [self._example_index(index, n, seed) for n in range(first, first + count)]
                batches.append((examples, examples.make_batch(chosen)))
        return batches

    def _draw_task_counts(self, step: int, size: int, seed: int) -> list[int]:
        """Return the number of examples of each task in update ``step``."""
        random, indices = Random(f"mixture {seed} {step}"), range(len(self.tasks))
        counts = [0] * len(self.tasks)
        weights = [len(examples) ** (1 / self.temperature) for examples in self.tasks]
        if self.kind == "proportional":
            for index in random.choices(indices, weights=weights, k=size):
                counts[index] += 1
            return counts
        several = random.randint(2, len(self.tasks))
        drawn = random.choices(indices, weights=weights, k=min(several, size))
        for index in drawn:
            counts[index] += size // len(drawn)
        counts[random.choice(drawn)] += size % len(drawn)
        return counts

    def _example_index(self, index: int, number: int, seed: int) -> int:
        """Return the index of the ``number``-th example drawn of a task, without replacement in an epoch."""
        epoch, position = divmod(number, len(self.tasks[index]))
        order = list(range(len(self.tasks[index])))
        Random(f"rows {seed} {index} {epoch}").shuffle(order)
        return order[position]
