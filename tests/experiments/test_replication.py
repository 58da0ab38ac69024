"""Replication studies: verdicts by hand, and one small study that is run, recorded and continued."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ptviz.cli import run
from ptviz.engine.model_cache import ModelCache
from ptviz.engine.source_prompt_runs import source_run_configs
from ptviz.experiments.ensemble import score_runs
from ptviz.experiments.replication import (
    STUDIES,
    Arm,
    ArmSetting,
    Comparison,
    ReplicationStudy,
    StudyRecord,
    evaluate_study,
)
from ptviz.experiments.replication import record as recording
from ptviz.experiments.replication.comparison_text import comparison_row
from ptviz.experiments.replication.metrics import GROUP_METRICS, METRICS
from ptviz.methods import REGISTRY
from ptviz.runs import Store, StoreError
from ptviz.runs.file_lock import FileLock


def finding(*compared: Comparison, **more) -> ReplicationStudy:
    arms = (Arm("a", "prompt-tuning"), Arm("b", "smop"))
    return ReplicationStudy("it", "a beats b", "Nobody, 1900", "https://example.org", arms, compared, **more)


def verdict(compared: Comparison, a: list[float], b: list[float]):
    values = {"a": {seed: (value,) for seed, value in enumerate(a)}, "b": {s: (v,) for s, v in enumerate(b)}}
    return evaluate_study(finding(compared), lambda arm, metric: values[arm.label])


HIGH, LOW, FLAT = [0.80, 0.82, 0.81, 0.83, 0.80], [0.70, 0.71, 0.72, 0.70, 0.69], [0.7] * 5


@pytest.mark.parametrize(
    ("a", "b", "compared", "said"),
    [
        (HIGH, LOW, Comparison("a", "b"), "holds"),
        (LOW, HIGH, Comparison("a", "b"), "does not hold"),
        ([0.8, 0.6, 0.8, 0.6, 0.7], LOW, Comparison("a", "b"), "unclear"),
        (FLAT, FLAT, Comparison("a", "b"), "unclear"),  # the seeds did not vary
        (FLAT, LOW, Comparison("a", "b", margin=0.03), "holds"),
        (LOW, HIGH, Comparison("a", "b", margin=0.01), "does not hold"),
        (LOW, HIGH, Comparison("a", "b", lower=True), "holds"),
        (HIGH[:4], LOW, Comparison("a", "b"), "unclear"),  # four seeds are too few
        ([], LOW, Comparison("a", "b"), "not run"),
        ([4.0, 4.0], [8.0, 8.0], Comparison("a", "b", "trained", lower=True), "holds"),  # counts need no seeds
    ],
)
def test_a_verdict_needs_the_whole_interval(a, b, compared, said):
    assert verdict(compared, a, b).verdict == said


def test_a_finding_holds_only_if_all_of_it_does():
    values = {"a": {s: (one,) for s, one in enumerate(HIGH)}, "b": {s: (one,) for s, one in enumerate(LOW)}}
    both = finding(Comparison("a", "b"), Comparison("b", "a"))
    assert evaluate_study(both, lambda arm, metric: values[arm.label]).verdict == "does not hold"


def test_one_of_several_comparisons_fails_a_finding_at_a_stricter_level():
    close = [0.70, 0.75, 0.74, 0.71, 0.75]  # 95% sure of being lower, 97.5% not
    values = {"a": dict(enumerate(close)), "b": dict(enumerate([0.78, 0.78, 0.76, 0.78, 0.76]))}

    def judge(*compared: Comparison):
        return evaluate_study(finding(*compared), lambda arm, _: {s: (v,) for s, v in values[arm.label].items()})

    assert judge(Comparison("a", "b")).verdict == "does not hold"
    two = judge(Comparison("a", "b"), Comparison("b", "a", margin=0.5))
    assert [one.verdict for one in two.differences] == ["does not hold", "holds"]
    assert two.verdict == "unclear"


def test_several_settings_are_taken_together_by_seed():
    compared = Comparison("a", "b", across="sd", lower=True)
    values = {
        "a": {s: (0.7, 0.8) for s in range(5)},
        "b": {s: (0.2 + s / 100, 0.8) for s in range(5)},
    }
    judged = evaluate_study(finding(compared), lambda arm, metric: values[arm.label])
    assert judged.verdict == "holds"
    assert judged.differences[0].mean == pytest.approx((0.58 - 0.1) / 2**0.5)


def test_the_best_setting_is_chosen_by_validation_and_reported_by_test():
    compared = Comparison("a", "b", across="best")
    values = {
        ("a", "test"): {1: (0.9, 0.7)}, ("a", "validation"): {1: (0.5, 0.6)},
        ("b", "test"): {1: (0.4, 0.6)}, ("b", "validation"): {1: (0.9, 0.1)},
    }  # fmt: skip
    study = finding(compared)
    assert {metric for _, metric in study.list_measurements()} == {"test", "validation"}
    judged = evaluate_study(study, lambda arm, metric: values[arm.label, metric])
    assert (judged.differences[0].first, judged.differences[0].second) == (0.7, 0.4)


def test_each_seed_has_its_own_source_prompts_where_asked():
    (related,) = (one for one in STUDIES if one.id == "related")
    configs = [related.run_configs(related.arms[0], seed)[0] for seed in (1, 2)]
    sources = [source_run_configs(config, 10)[0] for config in configs]
    assert [source.training.seed for source in sources] == [1, 2]
    shared = [source_run_configs(replace(c, training=replace(c.training, source_seed=0)), 10)[0] for c in configs]
    assert {source.training.seed for source in shared} == {0}


def test_a_comparison_names_arms_that_exist():
    with pytest.raises(ValueError, match="compares"):
        finding(Comparison("a", "c"))


@pytest.mark.parametrize("one", STUDIES, ids=lambda one: one.id)
def test_every_finding_can_be_run(one: ReplicationStudy):
    assert one.claim.endswith(".")
    assert one.url.startswith("https://")
    for arm, metric in one.list_measurements():
        assert metric in {**METRICS, **GROUP_METRICS}
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
        Arm("end", "prompt-tuning", (ArmSetting({"m": 4}),), "rank_end"),
        Arm("start", "prompt-tuning", (ArmSetting({"m": 4}),), "rank_start"),
        Arm("mixture", "smop", (ArmSetting({"m": 2}),)),
    )
    compared = (
        Comparison("long", "short", "trained"),
        Comparison("end", "start", "rank", lower=True),
        Comparison("long", "short", "converged"),
        Comparison("long", "short", "start"),
    )
    return ReplicationStudy("small", "Longer is larger.", "Nobody", "https://example.org", arms, compared, str(table),
                   "tiny-encoder", 3)  # fmt: skip


def test_missing_runs_are_trained_recorded_and_resumed(small: ReplicationStudy, tmp_path: Path):
    path, store, model_cache = tmp_path / "record.json", Store(), ModelCache()
    record = StudyRecord(path)
    assert record.evaluate(small).verdict == "not run"
    missing = record.list_missing(small, (1, 2, 3))
    assert len(missing) == 9, "three settings and three seeds: arms of one setting share their runs"
    first = next(record.measure_missing(missing, store, model_cache))
    assert first.status().state == "finished"
    again = StudyRecord(path)
    assert len(again.list_missing(small, (1, 2, 3))) == 8, "what was measured is on disk at once"
    assert len(list(again.measure_missing(again.list_missing(small, (1, 2, 3)), store, model_cache))) == 8
    assert len(store.list()) == 9
    assert again.list_missing(small, (1, 2, 3)) == ()
    judged = StudyRecord(path).evaluate(small)
    sizes = judged.differences[0]
    assert (sizes.first, sizes.second, sizes.verdict) == (4 * 32, 2 * 32, "holds")
    assert judged.seeds == 3
    entries = [entry for entry in json.loads(path.read_text()).values() if entry["metric"] == "rank_end"]
    assert all(1 <= entry["value"] <= 4 for entry in entries)
    assert len(entries) == 3
    # The record is gone, the runs are not: nothing is trained again.
    fresh = StudyRecord(tmp_path / "other.json")
    assert len(list(fresh.measure_missing(fresh.list_missing(small, (1, 2, 3)), store, model_cache))) == 9
    assert len(store.list()) == 9
    # Another definition asks for its own runs only.
    assert len(again.list_missing(replace(small, steps=4), (1, 2, 3))) == 9


def test_the_vote_of_several_runs_is_recorded_and_compared(small: ReplicationStudy, tmp_path: Path):
    """Three runs a seed, whose vote is one value; the time of a step is measured beside prompt tuning's."""
    three = tuple(ArmSetting({"m": 2}, seed_offset=offset) for offset in (0, 5, 10))
    arms = (
        Arm("vote", "prompt-tuning", three, "vote"),
        Arm("one", "prompt-tuning", three),
        Arm("short", "prompt-tuning", (ArmSetting({"m": 2}),)),
        Arm("usual", "prompt-tuning", (ArmSetting({"m": 100}),)),
    )
    compared = (Comparison("vote", "one"), Comparison("short", "usual", "step_time", lower=True))
    study, path = replace(small, arms=arms, comparisons=compared), tmp_path / "record.json"
    record, store = StudyRecord(path), Store()
    missing = record.list_missing(study, (1, 2))
    assert sum(bool(one.group_metrics) for one in missing) == 2
    assert {one.config.training.seed for one in missing} == {1, 2, 6, 7, 11, 12}
    # The vote comes first here, so that its group is trained with it.
    assert len(list(record.measure_missing(missing[::-1], store, ModelCache()))) == len(missing)
    assert len(store.list()) == 8
    assert record.list_missing(study, (1, 2)) == ()
    (votes, times) = StudyRecord(path).evaluate(study).differences
    for seed in (1, 2):
        runs = [store.get(s.id) for s in store.list() if s.config.training.seed in (seed, seed + 5, seed + 10)]
        runs = [run for run in runs if run.config.hyperparameters["m"] == 2]
        assert record.values_by_seed(study, arms[0], "vote")[seed] == (score_runs(runs).vote,)
    assert len(votes.differences) == 2
    assert times.first < times.second
    # Nothing is trained where the runs are there and the record is not.
    fresh = StudyRecord(tmp_path / "fresh.json")
    assert (
        fresh._record_group(
            missing[-1], store.get(next(s.id for s in store.list() if s.config == missing[-1].config)), store
        )
        == 1
    )


def test_a_stopped_study_continues(small: ReplicationStudy, tmp_path: Path):
    record, store, model_cache = StudyRecord(tmp_path / "record.json"), Store(), ModelCache()
    missing = record.list_missing(small, (1,))
    assert list(record.measure_missing(missing, store, model_cache, should_stop=lambda: "stopped for the test")) == []
    (stopped,) = store.list()
    assert stopped.status.state == "stopped"
    assert len(list(record.measure_missing(missing[:1], store, model_cache))) == 1
    assert [(s.id, s.status.state) for s in store.list()] == [(stopped.id, "finished")]


def test_two_processes_that_save_lose_nothing(small: ReplicationStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    one, other = (arm for arm in small.arms if arm.label in ("short", "long"))
    (mine,), (theirs,) = small.run_configs(one, 1), small.run_configs(other, 2)
    first, second = (StudyRecord(tmp_path / "record.json") for _ in range(2))
    run = Store().create(mine)
    first.save_value(mine, "test", 0.5, run)
    second.save_value(theirs, "test", 0.6, run)
    found = StudyRecord(first.path)
    assert (found.get_value(mine, "test"), found.get_value(theirs, "test")) == (0.5, 0.6)
    second.save_value(mine, "test", 0.7, run)
    first.save_value(mine, "validation", 0.8, run)
    assert StudyRecord(first.path).get_value(mine, "test") == 0.7, "what another has measured again since stays"
    lock = FileLock(first.path.with_suffix(".lock"))
    assert lock.acquire()
    monkeypatch.setattr("ptviz.runs.file_lock._WRITE_SECONDS", 0.0)
    with pytest.raises(StoreError, match="another process"):
        first.save_value(theirs, "validation", 0.9, run)
    lock.release()
    first.path.write_text("{")
    with pytest.raises(StoreError, match="record of findings is damaged"):
        first.save_value(theirs, "validation", 0.9, run)
    assert first.path.read_text() == "{", "a damaged record is left as it is"


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
    monkeypatch.setattr(recording, "DEFAULT_SEEDS", (1,))
    assert run(["findings", "--run", "small", "--seeds", "1", "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["id"], shown["verdict"], shown["seeds"]) == ("small", "unclear", 1)
    assert {arm["arm"] for arm in shown["arms"]} == {"short", "long", "end", "start", "mixture"}
    assert run(["findings", "--markdown"]) == 0
    assert "| Longer is larger. [Nobody](https://example.org) | **unclear** |" in capsys.readouterr().out
    assert run(["findings", "--run", "nothing"]) == 2


def test_a_row_says_the_claim_and_has_the_sign_of_what_it_shows():
    found = verdict(Comparison("a", "b", lower=True), LOW, HIGH).differences[0]
    what, first, second, mean, limits = comparison_row(found)
    assert what == "a is below b"
    assert (first, second, mean) == ("70.4", "81.2", "-10.8")
    low, high = map(float, limits.split(" to "))
    assert low < -10.8 < high < 0
    assert comparison_row(verdict(Comparison("a", "b", margin=0.01), LOW, HIGH).differences[0])[0] == (
        "a is less than 1.0 points below b"
    )
