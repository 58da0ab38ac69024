from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ptviz.tasks.collate import WINDOW_BATCHES, collate, schedule_batches
from ptviz.tasks.template import EncodedText

lengths = st.lists(st.integers(1, 64), max_size=300)
sizes = st.integers(1, 20)
seeds = st.integers(0, 2**31 - 1)


def embed(ids: Tensor) -> Tensor:
    return torch.stack([ids.float(), -ids.float()], -1)


def test_rows_are_padded_on_the_right_to_the_longest() -> None:
    rows = [
        EncodedText([5, 0, 6], [False, True, False], [True, False, False], 1),
        EncodedText([7, 0, 8, 9, 4], [False, True, False, False, False], [False] * 4 + [True], 0),
    ]
    batch = collate(rows, 99, embed, task=3)
    assert batch.input_ids.tolist() == [[5, 0, 6, 99, 99], [7, 0, 8, 9, 4]]
    assert batch.mask.tolist() == [[True] * 3 + [False] * 2, [True] * 5]
    assert batch.slots.tolist() == [[False, True, False, False, False]] * 2
    assert batch.readout_mask.tolist() == [[True] + [False] * 4, [False] * 4 + [True]]
    assert batch.labels.tolist() == [1, 0]
    assert batch.task_ids.tolist() == [3, 3]
    assert torch.equal(batch.embeddings, embed(batch.input_ids))
    assert batch.mask.dtype == batch.slots.dtype == batch.readout_mask.dtype == torch.bool
    assert batch.input_ids.dtype == batch.labels.dtype == batch.task_ids.dtype == torch.long
    assert batch.text_mask.tolist() == [[True, False, True, False, False], [True, False, True, True, True]]
    assert len(batch) == 2


def test_nothing_to_collate_is_refused() -> None:
    with pytest.raises(ValueError, match="rows of at least one token"):
        collate([], 0, embed)
    with pytest.raises(ValueError, match=r"got \[0\] tokens"):
        collate([EncodedText([], [], [])], 0, embed)


@given(lengths, sizes, seeds, st.integers(0, 50))
def test_every_row_comes_once_in_batches_of_the_size(found: list[int], size: int, seed: int, epoch: int) -> None:
    batches = schedule_batches(found, size, seed, epoch)
    assert sorted(index for batch in batches for index in batch) == list(range(len(found)))
    assert len(batches) == -(-len(found) // size)
    assert sum(len(batch) < size for batch in batches) <= 1
    assert all(batches)


@given(lengths, sizes, seeds, st.integers(0, 50))
def test_the_schedule_is_a_pure_function(found: list[int], size: int, seed: int, epoch: int) -> None:
    first = schedule_batches(found, size, seed, epoch)
    random.seed(seed)
    torch.manual_seed(seed)
    assert schedule_batches(list(found), size, seed, epoch) == first


def test_epochs_and_seeds_differ() -> None:
    found = [random.Random(0).randint(5, 30) for _ in range(400)]
    orders = [schedule_batches(found, 16, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1))]
    assert len({str(order) for order in orders}) == 4
    # Not only the order of the batches: their rows differ, too.
    assert {frozenset(batch) for batch in orders[0]} != {frozenset(batch) for batch in orders[1]}


def test_rows_of_like_length_go_together() -> None:
    source = random.Random(0)
    found = [source.randint(5, 64) for _ in range(16 * 60)]

    def padding(batches: list[list[int]]) -> int:
        return sum(max(found[i] for i in batch) * len(batch) - sum(found[i] for i in batch) for batch in batches)

    shuffled = list(range(len(found)))
    source.shuffle(shuffled)
    unbucketed = [shuffled[at : at + 16] for at in range(0, len(found), 16)]
    assert padding(schedule_batches(found, 16, 0, 0)) < padding(unbucketed) / 10
    assert len(found) > WINDOW_BATCHES * 16, "more than one window is wanted here"


def test_long_batches_do_not_all_come_last() -> None:
    longest = [max(batch) for batch in schedule_batches(list(range(16 * WINDOW_BATCHES)), 16, 0, 0)]
    assert sorted(longest) == [16 * i + 15 for i in range(WINDOW_BATCHES)]
    assert longest != sorted(longest)


def test_few_rows_make_one_ragged_batch() -> None:
    assert [sorted(batch) for batch in schedule_batches([3, 1, 2], 16, 0, 0)] == [[0, 1, 2]]
    assert schedule_batches([], 16, 0, 0) == []
    with pytest.raises(ValueError, match="batch size of at least 1; got 0"):
        schedule_batches([1], 0, 0, 0)
