from __future__ import annotations

from collections import Counter

import pytest

from ptviz.tasks import Example, Task, TaskError
from ptviz.training.baselines import majority_score


def counts(rows: tuple[Example, ...]) -> dict[int, int]:
    return dict(sorted(Counter(row.label for row in rows).items()))


def changed(task: Task, **changes: object) -> Task:
    from dataclasses import replace

    return replace(task, **changes)


def test_majority_is_the_training_majority_scored_on_the_split(made: Task) -> None:
    assert majority_score(made, "train") == 0.6
    # Class a is the commonest of the validation rows, but the training rows say b.
    assert majority_score(made, "validation") == majority_score(made, "validation") == 0.4
    assert majority_score(made, "test") == 0.3


def test_majority_of_a_tie_is_the_first_class(made: Task) -> None:
    tied = changed(
        made, train=(Example("x", 2), Example("y", 0)), validation=(Example("z", 0), Example("w", 2), Example("v", 2))
    )
    assert majority_score(tied, "validation") == pytest.approx(1 / 3)


def test_limited_keeps_the_proportions_and_draws_without_repeats(made: Task) -> None:
    small = made.subsample(20, 5, 3, 0, 0)
    assert counts(small.train) == {0: 6, 1: 12, 2: 2}
    assert (len(small.validation), len(small.test)) == (5, 3)
    assert len(set(small.train)) == 20
    assert set(small.train) <= set(made.train)
    assert set(small.validation) <= set(made.validation)


def test_limited_keeps_every_class_while_it_can(made: Task) -> None:
    assert counts(made.subsample(3, 10, 10).train) == {0: 1, 1: 1, 2: 1}
    assert len(made.subsample(2, 10, 10).train) == 2


def test_limits_above_the_rows_change_nothing(made: Task) -> None:
    assert made.subsample(10_000, 10_000, 10_000, 0, 3) == made


def test_limited_depends_on_the_seed_alone(made: Task) -> None:
    assert made.subsample(20, 5, 5, 0, 1) == made.subsample(20, 5, 5, 0, 1)
    assert made.subsample(20, 5, 5, 0, 1).train != made.subsample(20, 5, 5, 0, 2).train
    # Every seed is judged on the same rows.
    assert made.subsample(20, 5, 5, 0, 1).validation == made.subsample(20, 5, 5, 0, 2).validation
    assert made.subsample(20, 5, 5, 0, 1).test == made.subsample(20, 5, 5, 0, 2).test
    # Asking for fewer training rows must not change what is validated on.
    assert made.subsample(20, 5, 5, 0, 1).validation == made.subsample(40, 5, 5, 0, 1).validation


def test_few_shot_takes_k_of_every_class(made: Task) -> None:
    few = made.subsample(2000, 10, 10, 4, 0)
    assert counts(few.train) == {0: 4, 1: 4, 2: 4}
    assert len(set(few.train)) == 12
    assert few.train != made.subsample(2000, 10, 10, 4, 1).train


def test_few_shot_names_the_class_that_has_too_few(made: Task) -> None:
    with pytest.raises(ValueError, match=r"11 training rows of class 'c'; it has 10: ask for 10"):
        made.subsample(2000, 10, 10, 11, 0)


def test_fingerprint_changes_with_every_part_that_shapes_a_run(made: Task) -> None:
    assert made.fingerprint() == changed(made, title="Another", notes=("x",)).fingerprint()
    prints = {
        task.fingerprint()
        for task in (
            made,
            changed(made, cue="Letter"),
            changed(made, label_words=("alpha", "beta", "delta")),
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
        ({"classes": ("a",), "label_words": ("x",), "descriptions": ("y",)}, "at least two classes"),
        ({"label_words": ("alpha", "beta")}, "expected 3 label words"),
        ({"label_words": ("alpha", "beta", "beta")}, "different label word"),
        ({"descriptions": ("one", "two", " ")}, "expected 3 descriptions"),
        ({"train": ()}, "train rows .* got none"),
        ({"test": (Example("x", 3),)}, r"test rows with labels 0 to 2; got \[3\]"),
        ({"validation": (Example("x", -1),)}, "validation rows"),
    ],
)
def test_a_task_that_cannot_be_is_refused(made: Task, changes: dict[str, object], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        changed(made, **changes)


def test_template_carries_the_cue(made: Task) -> None:
    assert made.make_template("last").cue == "Letter:"
    with pytest.raises(ValueError, match="expected one of pooled, mask, last, first; got 'middle'"):
        made.make_template("middle")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat a|wc | second text", ("cat a|wc", "second text")),
        ("one|two", ("one", "two")),
        ("a | b | c", ("a", "b | c")),
    ],
)
def test_the_texts_of_a_pair_are_split_where_they_are_joined(made: Task, text: str, expected: tuple[str, str]) -> None:
    rows = (Example.of_fields("a", "b", label=0), Example.of_fields("c", "d", label=1))
    layout = "{prompt}{first} {sep} {second}"
    pairs = changed(made, fields=("first", "second"), template=layout, train=rows, validation=rows, test=rows)
    assert pairs.split_text(text).texts == expected
    with pytest.raises(ValueError, match="expected 2 texts"):
        pairs.split_text("alone")
