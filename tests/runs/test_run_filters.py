"""Filters of lists of runs, settings that differ, and which runs are source prompts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ptviz.runs import RunConfig, RunSummary, Status, Store
from ptviz.runs.annotations import Annotations
from ptviz.runs.run_filters import Condition, differing_settings, filter_summaries, format_setting, parse_filter
from ptviz.runs.source_runs import find_source_runs
from ptviz.training import TrainConfig
from tests.damaged_files import make_run


def entry(id: str, annotations: Annotations | None = None, lr: float | None = 0.1, **settings: object) -> RunSummary:
    config = RunConfig(**{"hyperparameters": {"m": 20}, **settings}).checked()  # type: ignore[arg-type]
    status = Status("finished", test=0.8, created=1.0, accuracy=0.9, seconds=12.0)
    return RunSummary(id, config, status, annotations=annotations or Annotations(), trained=100, lr=lr)


RUNS = [
    entry("one", Annotations(("paper", "first try"), "Looks good", True), name="second try"),
    entry("two", task="sms", lr=0.5, training=TrainConfig(seed=3, lr=0.5)),
    entry("three", method="dept", hyperparameters={}),
]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "one two three"),
        ("  second TRY ", "one"),
        ('"second try"', "one"),
        ("GOOD", "one"),
        ("m=20", "one two"),
        ("m!=20", "three"),
        ("lr>=0.5", "two"),
        ("lr<0.5 task=trec6", "one three"),
        ("seed=3", "two"),
        ("test>=80%", "one two three"),
        ("test>0.8", ""),
        ("tag=Paper", "one"),
        ('tag="first try"', "one"),
        ("tag!=paper", "two three"),
        ('name="second try"', "one"),
        ("state=finished method=DePT", "three"),
        ("pinned=true", "one"),
        ("seconds<1", ""),
        ("parameters=100 words-that-nobody-wrote", ""),
    ],
)
def test_filters_hold_words_and_conditions(text: str, found: str) -> None:
    assert [run.id for run in filter_summaries(RUNS, text)] == found.split()


def test_floats_are_found_by_the_six_digits_that_are_shown() -> None:
    precise = [entry("a", lr=2 / 3), entry("b", lr=0.0000123456789), entry("c", lr=0.66667)]
    for run in precise:
        shown = format_setting(run.lr)
        assert run in filter_summaries(precise, f"lr={shown} lr>={shown} lr<={shown}")
        assert run not in filter_summaries(precise, f"lr!={shown}")
    assert [run.id for run in filter_summaries(precise, "lr=0.666667")] == ["a"]
    assert filter_summaries(precise, "lr=0.6667") == [], "a typed value of fewer digits is another value"
    assert [run.id for run in filter_summaries(precise, "lr>0.5 lr!=0.666667")] == ["c"]


@given(value=st.text(max_size=20), sign=st.sampled_from(["=", "!="]))
@example(value="it's", sign="=")
@example(value="a 'b' \"c\" \\", sign="=")
def test_any_condition_is_read_as_it_was_written(value: str, sign: str) -> None:
    condition = Condition("name", sign, value)
    assert parse_filter(f"word {condition.to_text()}", ["name"]) == (["word"], [condition])


def test_bad_filters_say_what_is_known() -> None:
    with pytest.raises(ValueError, match=r"filter: no run has a setting 'colour'; known are .*lr, .*tag"):
        filter_summaries(RUNS, "colour=red")
    with pytest.raises(ValueError, match="filter: expected a closing quote"):
        filter_summaries(RUNS, 'name="x')


def test_settings_that_differ_are_given_for_each_run() -> None:
    found = differing_settings([run.config for run in RUNS])
    assert found["task"] == ("trec6", "sms", "trec6")
    assert found["seed"] == (0, 3, 0)
    assert found["m"][:2] == (20, 20)
    assert "steps" not in found
    assert differing_settings([RUNS[0].config]) == differing_settings([]) == {}
    assert differing_settings([RUNS[0].config, replace(RUNS[0].config, name="x")]) == {}, "a name is no setting"


def test_a_source_prompt_belongs_to_the_oldest_run_that_used_it(store: Store) -> None:
    plain = make_run(store, "other")
    plain.path.rename(plain.path.with_name("other-run"))  # the source that the events of make_run name
    askers = [make_run(store, f"asks {i}", method="spot-single", hyperparameters={}) for i in range(2)]
    orphan = make_run(store, "source prompt: agnews")
    owners = find_source_runs(store, store.list())
    assert owners == {"other-run": askers[0].id, orphan.id: ""}
    assert find_source_runs(store, [one for one in store.list() if one.id == "other-run"]) == {}


def test_one_that_is_being_trained_belongs_to_the_active_run(store: Store) -> None:
    source = entry("source", name="source prompt: yahoo", task="yahoo")
    asker = entry("asker", method="spot-single", hyperparameters={})
    running = replace(asker, status=replace(asker.status, state="running"))
    assert "yahoo" in running.config.source_tasks()
    assert find_source_runs(store, [source, running]) == {"source": "asker"}
    assert find_source_runs(store, [source, asker]) == {"source": ""}
