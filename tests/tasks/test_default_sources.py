"""Default source tasks: of the target's kind, near its family, never the target's own data."""

from __future__ import annotations

import pytest

from ptviz.runs import RunConfig
from ptviz.tasks import TableOptions, default_source_tasks
from ptviz.tasks.builtin.registry import BUILTIN_TASKS


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("trec6", ("yahoo", "stackoverflow", "mcid")),
        ("banking77", ("clinc", "hwu", "mcid")),
        ("spelling", ("inflection",)),
        ("inflection", ("spelling",)),
        ("e2e", ("inflection", "spelling")),
        ("squad", ("inflection", "spelling")),
        ("commonsense-qa", ("trec6", "tweets", "yahoo")),
        ("glue:sst2", ("trec6", "tweets", "yahoo")),
    ],
)
def test_sources_fit_the_kind_of_the_target(task: str, expected: tuple[str, ...]) -> None:
    assert default_source_tasks(task) == expected


def test_an_own_table_says_whether_its_answers_are_texts() -> None:
    assert set(default_source_tasks("reviews.csv")) <= set(BUILTIN_TASKS)
    assert default_source_tasks("reviews.csv", writes=True) == ("inflection", "spelling")
    config = RunConfig(task="reviews.csv", method="mpt", table=TableOptions(target="summary"))
    assert config.source_tasks() == ("inflection", "spelling")


def test_no_target_of_a_run_is_its_own_source() -> None:
    assert default_source_tasks("trec6", others=("yahoo", "mcid")) == ("stackoverflow",)
    config = RunConfig(task="trec6", method="mpt", more_tasks=("yahoo", "mcid"))
    assert config.source_tasks() == ("stackoverflow",)
    assert config.for_target(1).source_tasks() == ("stackoverflow",)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (("inflection", "spelling"), ("trec6", "tweets", "yahoo")),
        (("tweets", "sms", "bbc", "yahoo"), ("trec6", "stackoverflow", "dbpedia")),
    ],
)
def test_targets_that_are_their_family_s_sources_take_others(
    targets: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    config = RunConfig(task=targets[0], method="mpt", more_tasks=targets[1:])
    assert config.source_tasks() == expected
    assert config.for_target(1).checked().source_tasks() == expected
