from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptviz.tasks import Example, TaskError
from ptviz.tasks.builtin.pairs import SAME_LABEL, make_pair_splits, make_pairs
from ptviz.tasks.example import PAIR_SEPARATOR
from ptviz.tasks.splits import (
    class_quotas,
    drop_duplicates,
    split_off_groups,
    stratified_split,
    stratified_subsample,
)

sizes = st.lists(st.integers(3, 60), min_size=2, max_size=8)
seeds = st.integers(0, 2**31 - 1)


def rows_of(class_sizes: list[int]) -> list[Example]:
    return [Example(f"text {label} {i}", label) for label, size in enumerate(class_sizes) for i in range(size)]


@given(sizes, seeds)
def test_splits_share_no_text_lose_none_and_cut_each_class_alike(class_sizes: list[int], seed: int) -> None:
    rows = rows_of(class_sizes)
    splits = stratified_split(rows, seed)
    assert sorted(row for split in splits for row in split) == sorted(rows)
    for part, share in ((splits.train, 0.7), (splits.validation, 0.15), (splits.test, 0.15)):
        found = Counter(row.label for row in part)
        for label, size in enumerate(class_sizes):
            assert found[label] >= 1
            assert abs(found[label] - share * size) <= 2


@given(sizes, seeds)
def test_same_seed_same_splits_whatever_was_drawn_before(class_sizes: list[int], seed: int) -> None:
    rows = rows_of(class_sizes)
    first = stratified_split(rows, seed)
    stratified_split(rows, seed + 1)
    assert stratified_split(rows, seed) == first


def test_seeds_differ_and_splits_are_mixed() -> None:
    rows = rows_of([100, 100])
    assert stratified_split(rows, 0).test != stratified_split(rows, 1).test
    assert len({row.label for row in stratified_split(rows, 0).train[:20]}) == 2


def test_splits_are_the_same_in_every_process() -> None:
    code = (
        "from ptviz.tasks.splits import stratified_split; from ptviz.tasks.example import Example; "
        "print(stratified_split([Example(str(i), i % 2) for i in range(40)], 7).test)"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True
        ).stdout
        for hash_seed in ("1", "2")
    }
    here = stratified_split([Example(str(i), i % 2) for i in range(40)], 7).test
    assert found == {f"{here}\n"}


def test_a_class_too_small_to_split_is_refused() -> None:
    with pytest.raises(TaskError, match="class 1: expected at least 3 rows, one a split; got 2"):
        stratified_split(rows_of([5, 2]))


def test_distinct_keeps_the_first_of_equal_texts_and_leaves_out_what_is_taken() -> None:
    rows = [Example("a  b", 0), Example(" a b", 1), Example("c", 0), Example("A b", 1)]
    assert drop_duplicates(rows) == [Example("a  b", 0), Example("c", 0), Example("A b", 1)]
    assert drop_duplicates(rows, taken=[Example("c ", 1)]) == [Example("a  b", 0), Example("A b", 1)]


@given(sizes, st.data())
def test_quotas_sum_to_the_limit_and_never_ask_for_more_than_there_is(
    class_sizes: list[int], data: st.DataObject
) -> None:
    limit = data.draw(st.integers(1, sum(class_sizes)))
    drawn = class_quotas(class_sizes, limit)
    assert sum(drawn) == limit
    assert all(0 <= some <= size for some, size in zip(drawn, class_sizes, strict=True))
    if limit >= len(class_sizes):
        assert min(drawn) >= 1
    exact = [limit * size / sum(class_sizes) for size in class_sizes]
    if min(exact) >= 1:
        assert all(abs(some - share) < 1 for some, share in zip(drawn, exact, strict=True))


@given(sizes, st.integers(1, 400), seeds)
def test_subsample_has_no_repeats(class_sizes: list[int], limit: int, seed: int) -> None:
    rows = tuple(rows_of(class_sizes))
    found = stratified_subsample(rows, limit, str(seed))
    assert len(set(found)) == len(found) == min(limit, len(rows))


@given(st.lists(st.integers(4, 40), min_size=3, max_size=8), seeds)
def test_pairs_use_each_utterance_once_and_are_half_the_same(class_sizes: list[int], seed: int) -> None:
    pairs = make_pairs(rows_of(class_sizes), str(seed))
    used = [text for row in pairs for text in row.text.split(PAIR_SEPARATOR)]
    assert len(set(used)) == len(used) == 2 * len(pairs)
    for row in pairs:
        one, other = (text.split()[1] for text in row.text.split(PAIR_SEPARATOR))
        assert (one == other) == (row.label == SAME_LABEL)
    same = sum(row.label == SAME_LABEL for row in pairs)
    assert 2 * same >= len(pairs)


def test_pairs_are_balanced_where_there_are_many_classes() -> None:
    pairs = make_pairs(rows_of([40] * 10), "0")
    assert Counter(row.label for row in pairs) == {0: 100, 1: 100}


def test_splits_of_pairs_share_no_utterance() -> None:
    rows = rows_of([40] * 6)
    splits = make_pair_splits(rows, 0)
    held = [{text for row in split for text in row.text.split(PAIR_SEPARATOR)} for split in splits]
    assert not held[0] & held[1]
    assert not held[0] & held[2]
    assert not held[1] & held[2]
    assert make_pair_splits(rows, 0) == splits != make_pair_splits(rows, 1)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_rows_of_one_group_stay_on_one_side(share: float) -> None:
    rows = [Example(f"{group} {number}") for group in "abcdefghij" for number in range(5)]
    rest, part = split_off_groups(rows, share, "seed", lambda row: row.text[0])
    assert sorted([*rest, *part]) == sorted(rows)
    assert not {row.text[0] for row in rest} & {row.text[0] for row in part}
    assert len(part) == pytest.approx(share * len(rows), abs=5)
    assert split_off_groups(rows, share, "seed", lambda row: row.text[0]) == (rest, part)
    assert [len(side) for side in split_off_groups(rows[:10], 0.01, "seed", lambda row: row.text[0])] == [5, 5]
