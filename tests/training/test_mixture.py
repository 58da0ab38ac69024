"""Mixtures of tasks: the rows of a step are a function of step and seed, in the proportions of the papers."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ptviz.prompt import Batch
from ptviz.training.batches import EncodedExamples
from ptviz.training.mixture import TaskMixture

SIZES = (40, 100, 60)
KINDS = pytest.mark.parametrize("kind", ["proportional", "stochastic"])


class Counted(EncodedExamples):
    """Rows of one task whose batch is the list of their indices."""

    def __init__(self, index: int, size: int) -> None:
        self.task_index, self.size = index, size

    def __len__(self) -> int:
        return self.size

    def make_batch(self, indices: list[int]) -> Batch:
        ids = torch.tensor(indices)[:, None]
        yes = torch.ones_like(ids, dtype=torch.bool)
        task = torch.full((len(ids),), self.task_index)
        return Batch(ids, yes, ~yes, yes, ids[:, 0], task, torch.zeros(len(ids), 1, 1))

    def training_batch(self, step: int, size: int, seed: int) -> Batch:
        return self.make_batch([(step * size + i) % self.size for i in range(size)])


def mixture(kind: str, sizes: tuple[int, ...] = SIZES) -> TaskMixture:
    return TaskMixture([Counted(index, size) for index, size in enumerate(sizes)], kind)


def drawn(mixed: TaskMixture, step: int, size: int = 16, seed: int = 0) -> dict[int, list[int]]:
    """Return the row indices of each task in a step."""
    found = {}
    for rows, batch in mixed.step_batches(step, size, seed):
        assert set(batch.task_ids.tolist()) == {rows.task_index}, "a batch holds one task"
        assert rows.task_index not in found, "and a step at most one batch of it"
        found[rows.task_index] = batch.input_ids[:, 0].tolist()
    return found


@KINDS
@settings(max_examples=15)
@given(step=st.integers(0, 25), size=st.integers(1, 20), seed=st.integers(0, 1000))
def test_a_step_is_a_function_of_step_and_seed_alone(kind: str, step: int, size: int, seed: int) -> None:
    """A resumed run draws step t first; a run from the start has drawn all before it, and other seeds' too."""
    fresh, used = mixture(kind), mixture(kind)
    for before in range(step):
        used.step_batches(before, size, seed)
    used.step_batches(3, size + 1, seed + 1)
    assert drawn(fresh, step, size, seed) == drawn(used, step, size, seed) == drawn(used, step, size, seed)


@KINDS
@settings(max_examples=15)
@given(step=st.integers(0, 25), size=st.integers(1, 20), seed=st.integers(0, 1000))
def test_every_step_has_its_full_size(kind: str, step: int, size: int, seed: int) -> None:
    assert sum(map(len, drawn(mixture(kind), step, size, seed).values())) == size


@KINDS
def test_steps_and_seeds_differ(kind: str) -> None:
    mixed = mixture(kind)
    assert len({str(drawn(mixed, step)) for step in range(50)}) == 50
    assert len({str(drawn(mixed, 0, seed=seed)) for seed in range(50)}) == 50


@KINDS
@settings(max_examples=15)
@given(size=st.integers(1, 20), seed=st.integers(0, 100))
def test_every_row_comes_once_an_epoch_of_its_task(kind: str, size: int, seed: int) -> None:
    mixed, seen = mixture(kind, (5, 9, 7)), {0: [], 1: [], 2: []}
    for step in range(40):
        for task, rows in drawn(mixed, step, size, seed).items():
            seen[task] += rows
    for task, length in enumerate((5, 9, 7)):
        epochs = [seen[task][i : i + length] for i in range(0, len(seen[task]) - length + 1, length)]
        assert all(sorted(epoch) == list(range(length)) for epoch in epochs)
        if len(epochs) > 8:
            assert any(one != other for one, other in pairwise(epochs)), "in another order each time"


def test_proportional_draws_follow_the_tasks_sizes() -> None:
    """Vu et al. 2022, section 2.2: examples-proportional mixing. 16,000 rows: a deviation of 0.02 is five sigma."""
    mixed, counts = mixture("proportional"), Counter()
    for step in range(100):
        counts.update({task: len(rows) for task, rows in drawn(mixed, step, size=160).items()})
    for task, size in enumerate(SIZES):
        assert counts[task] / 16_000 == pytest.approx(size / sum(SIZES), abs=0.02)


def test_stochastic_draws_follow_the_tasks_sizes_too() -> None:
    """Wang et al. 2023, section 3.3: tasks are drawn in proportion to their sizes, then share the rows evenly."""
    mixed, counts = mixture("stochastic"), Counter()
    for step in range(400):
        counts.update({task: len(rows) for task, rows in drawn(mixed, step).items()})
    for task, size in enumerate(SIZES):
        assert counts[task] / 6_400 == pytest.approx(size / sum(SIZES), abs=0.06)


def test_stochastic_steps_split_their_rows_evenly_among_two_to_all_draws() -> None:
    """Two draws give 8 + 8; three 5 + 5 + 5, and one row over; a task drawn twice gets two shares."""
    mixed = mixture("stochastic")
    shares = Counter(tuple(sorted(map(len, drawn(mixed, step).values()))) for step in range(400))
    assert set(shares) == {(16,), (8, 8), (5, 5, 6), (5, 11), (6, 10)}
    # Of two draws with replacement both are one task with sum p^2 = 0.38 chance, of three with sum p^3 = 0.16.
    assert shares[16,] / 400 == pytest.approx(0.5 * 0.38 + 0.5 * 0.16, abs=0.08)
    assert shares[8, 8] / 400 == pytest.approx(0.5 * 0.62, abs=0.08)


def test_stochastic_steps_of_fewer_rows_than_tasks_give_a_row_to_each_draw() -> None:
    mixed = mixture("stochastic")
    assert {sum(map(len, drawn(mixed, step, size=1).values())) for step in range(50)} == {1}


@KINDS
def test_a_mixture_of_one_task_is_that_task(kind: str) -> None:
    mixed = mixture(kind, (30,))
    assert drawn(mixed, 1, size=8) == {0: list(range(8, 16))}
    assert len(mixed) == 30


def test_the_length_is_that_of_all_tasks() -> None:
    assert len(mixture("stochastic")) == sum(SIZES)
