"""Replication studies: verdicts by hand, and one small study that is run, recorded and continued."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ptviz.cli import run
from ptviz.engine.model_cache import ModelCache
from ptviz.experiments.replication import (
    STUDIES,
    Arm,
    ArmSetting,
    Comparison,
    ReplicationStudy,
    StudyRecord,
    evaluate_study,
)
from ptviz.experiments.replication import results as recording
from ptviz.experiments.replication.metrics import METRICS
from ptviz.methods import REGISTRY
from ptviz.runs import Store


def finding(*compared: Comparison, **more) -> ReplicationStudy:
    arms = (Arm("a", "prompt-tuning"), Arm("b", "smop"))
    return ReplicationStudy("it", "a beats b", "Nobody, 1900", "https://example.org", arms, compared, **more)


def verdict(compared: Comparison, a: list[float], b: list[float]):
    values = {"a": {seed: (value,) for seed, value in enumerate(a)}, "b": {s: (v,) for s, v in enumerate(b)}}
    return evaluate_study(finding(compared), lambda arm, metric: values[arm.label])


@pytest.mark.parametrize(
    ("a", "b", "compared", "said"),
    [
        ([0.8, 0.9, 0.8], [0.7, 0.7, 0.7], Comparison("a", "b"), "holds"),
        ([0.7, 0.7, 0.7], [0.8, 0.9, 0.8], Comparison("a", "b"), "does not hold"),
        ([0.8, 0.6, 0.8], [0.7, 0.7, 0.7], Comparison("a", "b"), "unclear"),
        ([0.7, 0.7, 0.7], [0.7, 0.7, 0.7], Comparison("a", "b"), "does not hold"),
        ([0.7, 0.7, 0.7], [0.7, 0.7, 0.7], Comparison("a", "b", margin=0.01), "holds"),
        ([0.5, 0.5, 0.5], [0.7, 0.7, 0.7], Comparison("a", "b", margin=0.01), "does not hold"),
        ([0.7, 0.7, 0.7], [0.8, 0.9, 0.8], Comparison("a", "b", lower=True), "holds"),
        ([0.8, 0.9], [0.7, 0.7], Comparison("a", "b"), "unclear"),  # two seeds say nothing
        ([], [0.7, 0.7, 0.7], Comparison("a", "b"), "not run"),
    ],
)
def test_a_verdict_needs_the_whole_interval(a, b, compared, said):
    assert verdict(compared, a, b).verdict == said


def test_a_finding_holds_only_if_all_of_it_does():
    values = {"a": {s: (0.9,) for s in range(3)}, "b": {s: (0.8,) for s in range(3)}}
    both = finding(Comparison("a", "b"), Comparison("b", "a"))
    assert evaluate_study(both, lambda arm, metric: values[arm.label]).verdict == "does not hold"


def test_several_settings_are_taken_together_by_seed():
    compared = Comparison("a", "b", across="sd", lower=True)
    values = {"a": {s: (0.7, 0.8) for s in range(3)}, "b": {s: (0.2, 0.8) for s in range(3)}}
    judged = evaluate_study(finding(compared), lambda arm, metric: values[arm.label])
    assert judged.verdict == "holds"
    assert judged.differences[0].mean == pytest.approx((0.6 - 0.1) / 2**0.5)


def test_a_comparison_names_arms_that_exist():
    with pytest.raises(ValueError, match="compares"):
        finding(Comparison("a", "c"))


@pytest.mark.parametrize("one", STUDIES, ids=lambda one: one.id)
def test_every_finding_can_be_run(one: ReplicationStudy):
    assert one.claim.endswith(".")
    assert one.url.startswith("https://")
    for arm, metric in one.list_measurements():
        assert metric in METRICS
        assert arm.method in REGISTRY
        for config in one.run_configs(arm, 0):
            assert config.checked() == config


def test_ids_are_unique():
    assert len({one.id for one in STUDIES}) == len(STUDIES)


@pytest.fixture
def small(tmp_path: Path) -> ReplicationStudy:
    table = tmp_path / "questions.csv"
    rows = [f"who wrote book number {i},person\nwhere is town number {i},place" for i in range(40)]
    table.write_text("text,label\n" + "\n".join(rows) + "\n")
    arms = (
        Arm("short", "prompt-tuning", (ArmSetting({"m": 2}),)),
        Arm("long", "prompt-tuning", (ArmSetting({"m": 4}),)),
        Arm("half", "prompt-tuning", (ArmSetting({"m": 4}),), "kept_high"),
        Arm("worst", "prompt-tuning", (ArmSetting({"m": 4}),), "kept_low"),
        Arm("any", "prompt-tuning", (ArmSetting({"m": 4}),), "kept_random"),
        Arm("mixture", "smop", (ArmSetting({"m": 2}),), "experts"),
    )
    compared = (
        Comparison("long", "short", "trained"),
        Comparison("half", "worst"),
        Comparison("long", "short", "start"),
    )
    return ReplicationStudy("small", "Longer is larger.", "Nobody", "https://example.org", arms, compared, str(table),
                   "tiny-encoder", 3)  # fmt: skip


def test_missing_runs_are_trained_recorded_and_resumed(small: ReplicationStudy, tmp_path: Path):
    path, store, model_cache = tmp_path / "record.json", Store(), ModelCache()
    record = StudyRecord(path)
    assert record.evaluate(small).verdict == "not run"
    missing = record.list_missing(small)
    assert len(missing) == 9, "three settings and three seeds: arms of one setting share their runs"
    first = next(record.measure_missing(missing, store, model_cache))
    assert first.status().state == "finished"
    again = StudyRecord(path)
    assert len(again.list_missing(small)) == 8, "what was measured is on disk at once"
    assert len(list(again.measure_missing(again.list_missing(small), store, model_cache))) == 8
    assert len(store.list()) == 9
    assert again.list_missing(small) == ()
    judged = StudyRecord(path).evaluate(small)
    sizes = judged.differences[0]
    assert (sizes.first, sizes.second, sizes.verdict) == (4 * 32, 2 * 32, "holds")
    assert judged.seeds == 3
    entries = [entry for entry in json.loads(path.read_text()).values() if entry["metric"] == "experts"]
    assert all(1 <= entry["value"] <= 4 for entry in entries)
    assert len(entries) == 3
    # The record is gone, the runs are not: nothing is trained again.
    fresh = StudyRecord(tmp_path / "other.json")
    assert len(list(fresh.measure_missing(fresh.list_missing(small), store, model_cache))) == 9
    assert len(store.list()) == 9
    # Another definition asks for its own runs only.
    assert len(again.list_missing(replace(small, steps=4))) == 9


def test_a_stopped_study_continues(small: ReplicationStudy, tmp_path: Path):
    record, store, model_cache = StudyRecord(tmp_path / "record.json"), Store(), ModelCache()
    missing = record.list_missing(small, (0,))
    assert list(record.measure_missing(missing, store, model_cache, should_stop=lambda: "stopped for the test")) == []
    (stopped,) = store.list()
    assert stopped.status.state == "stopped"
    assert len(list(record.measure_missing(missing[:1], store, model_cache))) == 1
    assert [(s.id, s.status.state) for s in store.list()] == [(stopped.id, "finished")]


def test_a_damaged_record_is_refused(tmp_path: Path):
    path = tmp_path / "record.json"
    for text in ("{", "[]", '{"x": 1}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="record of findings"):
            StudyRecord(path)


def test_the_command_line_shows_and_runs_studies(
    small: ReplicationStudy, capsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("ptviz.experiments.replication.STUDIES", (small,))
    monkeypatch.setattr(recording, "DEFAULT_SEEDS", (0,))
    assert run(["findings", "--run", "small", "--seeds", "1", "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["id"], shown["verdict"], shown["seeds"]) == ("small", "unclear", 1)
    assert {arm["arm"] for arm in shown["arms"]} == {"short", "long", "half", "worst", "any", "mixture"}
    assert run(["findings", "--markdown"]) == 0
    assert "| Longer is larger. [Nobody](https://example.org) | **unclear** |" in capsys.readouterr().out
    assert run(["findings", "--run", "nothing"]) == 2
