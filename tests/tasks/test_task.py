from __future__ import annotations

from collections import Counter

import pytest

from ptviz.tasks import Row, Task, TaskError


def counts(rows: tuple[Row, ...]) -> dict[int, int]:
    return dict(sorted(Counter(row.label for row in rows).items()))


def changed(task: Task, **changes: object) -> Task:
    from dataclasses import replace

    return replace(task, **changes)


def test_majority_is_the_training_majority_scored_on_the_split(made: Task) -> None:
    assert made.majority("train") == 0.6
    # Class a is the commonest of the validation rows, but the training rows say b.
    assert made.majority() == made.majority("validation") == 0.4
    assert made.majority("test") == 0.3


def test_majority_of_a_tie_is_the_first_class(made: Task) -> None:
    tied = changed(made, train=(Row("x", 2), Row("y", 0)), validation=(Row("z", 0), Row("w", 2), Row("v", 2)))
    assert tied.majority() == pytest.approx(1 / 3)


def test_limited_keeps_the_proportions_and_draws_without_repeats(made: Task) -> None:
    small = made.limited(20, 5, 3, 0, 0)
    assert counts(small.train) == {0: 6, 1: 12, 2: 2}
    assert (len(small.validation), len(small.test)) == (5, 3)
    assert len(set(small.train)) == 20
    assert set(small.train) <= set(made.train)
    assert set(small.validation) <= set(made.validation)


def test_limited_keeps_every_class_while_it_can(made: Task) -> None:
    assert counts(made.limited(3, 10, 10).train) == {0: 1, 1: 1, 2: 1}
    assert len(made.limited(2, 10, 10).train) == 2


def test_limits_above_the_rows_change_nothing(made: Task) -> None:
    assert made.limited(10_000, 10_000, 10_000, 0, 3) == made


def test_limited_depends_on_the_seed_alone(made: Task) -> None:
    assert made.limited(20, 5, 5, 0, 1) == made.limited(20, 5, 5, 0, 1)
    assert made.limited(20, 5, 5, 0, 1).train != made.limited(20, 5, 5, 0, 2).train
    # Every seed is judged on the same rows.
    assert made.limited(20, 5, 5, 0, 1).validation == made.limited(20, 5, 5, 0, 2).validation
    assert made.limited(20, 5, 5, 0, 1).test == made.limited(20, 5, 5, 0, 2).test
    # Asking for fewer training rows must not change what is validated on.
    assert made.limited(20, 5, 5, 0, 1).validation == made.limited(40, 5, 5, 0, 1).validation


def test_few_shot_takes_k_of_every_class(made: Task) -> None:
    few = made.limited(2000, 10, 10, 4, 0)
    assert counts(few.train) == {0: 4, 1: 4, 2: 4}
    assert len(set(few.train)) == 12
    assert few.train != made.limited(2000, 10, 10, 4, 1).train


def test_few_shot_names_the_class_that_has_too_few(made: Task) -> None:
    with pytest.raises(ValueError, match=r"11 training rows of class 'c'; it has 10: ask for 10"):
        made.limited(2000, 10, 10, 11, 0)


def test_fingerprint_changes_with_every_part_that_shapes_a_run(made: Task) -> None:
    assert made.fingerprint() == changed(made, title="Another", notes=("x",)).fingerprint()
    prints = {
        task.fingerprint()
        for task in (
            made,
            changed(made, cue="Letter"),
            changed(made, words=("alpha", "beta", "delta")),
            changed(made, descriptions=("the first", "the second", "the last")),
            changed(made, train=made.train[::-1]),
            changed(made, test=made.test[1:]),
            changed(made, classes=("a", "b", "d")),
        )
    }
    assert len(prints) == 7
    assert all(len(found) == 64 for found in prints)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ("a",), "words": ("x",), "descriptions": ("y",)}, "at least two classes"),
        ({"words": ("alpha", "beta")}, "expected 3 label words"),
        ({"words": ("alpha", "beta", "beta")}, "different label word"),
        ({"descriptions": ("one", "two", " ")}, "expected 3 descriptions"),
        ({"train": ()}, "train rows .* got none"),
        ({"test": (Row("x", 3),)}, r"test rows with labels 0 to 2; got \[3\]"),
        ({"validation": (Row("x", -1),)}, "validation rows"),
    ],
)
def test_a_task_that_cannot_be_is_refused(made: Task, changes: dict[str, object], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        changed(made, **changes)


def test_template_carries_the_cue(made: Task) -> None:
    assert made.template("last").cue == "Letter:"
    with pytest.raises(ValueError, match="expected one of pooled, mask, last, first; got 'middle'"):
        made.template("middle")
