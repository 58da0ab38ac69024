"""The page of findings: filters, a figure that its snippet draws again, missing runs queued and then counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from ptviz import plots
from ptviz.experiments.replication import STUDIES, Arm, ArmSetting, Comparison, ReplicationStudy, StudyRecord
from ptviz.experiments.replication import record as record_module
from ptviz.plots.alt_text import alt_of
from ptviz.runs import Run, RunConfig, RunWriter, Store
from ptviz.training.events import Evaluated, Finished, Snapshot, StageStarted, StepCompleted
from tests.pages.snippets import redrawn

Page = Callable[..., AppTest]
FINDINGS = "learn/findings.py"
STUDY_IDS = [study.id for study in STUDIES]


def finish(run: Run, test: float) -> None:
    with RunWriter(run) as writer:
        writer.begin(None)
        writer.write_event(StageStarted(0, "tune", 3))
        writer.write_event(StepCompleted(0, 0, 1.0, 0.1, 1.0, 0.1))
        writer.write_event(Evaluated(0, 0, 1.0, 0.4, True, 0.1))
        writer.write_event(Snapshot(0, 3, {"P": torch.ones(2, 32)}, {"P": torch.ones(2, 32)}, {}))
        writer.write_event(Finished(0.5, test, 0.6, 0.26, 0.38, 3, 3, 2.0, 10.0))


def well(at: AppTest) -> AppTest:
    assert not at.exception
    assert not at.error
    return at


def test_every_finding_is_shown_with_its_verdict_and_command(page: Page) -> None:
    at = well(page(FINDINGS))
    shown = "\n".join(element.value for element in at.markdown)
    assert all(study.claim in shown for study in STUDIES)
    commands = {element.value for element in at.code}
    assert commands >= {f"ptviz findings --run {study.id}" for study in STUDIES}
    assert redrawn(at)


def test_studies_without_runs_come_last_and_say_what_they_cost(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = record_module._parse_record
    monkeypatch.setattr(
        record_module,
        "_parse_record",
        lambda text: {key: entry for key, entry in everything(text).items() if entry["method"] != "dept"},
    )
    at = well(page(FINDINGS))
    record = StudyRecord()
    verdicts = {study.id: record.evaluate(study).verdict for study in STUDIES}
    order = [element.value.rpartition(" ")[2] for element in at.code if "findings --run" in element.value]
    assert order == sorted(STUDY_IDS, key=lambda name: verdicts[name] == "not run")
    waiting = [name for name in order if verdicts[name] == "not run"]
    costs = [element.value for element in at.text if element.value.startswith("Not run yet. It takes ")]
    assert len(STUDIES) > len(costs) == len(waiting) > 0
    assert "40 runs of 200 steps, about " in costs[waiting.index("two-rates")]
    assert not any("-" in set(table.value["first"]) for table in at.dataframe), "no table of dashes"


def test_a_verdict_and_a_method_select(page: Page) -> None:
    at = well(page(FINDINGS, verdict="not run"))
    shown = "\n".join(element.value for element in at.markdown)
    record = StudyRecord()
    for study in STUDIES:
        assert (study.claim in shown) == (record.evaluate(study).verdict == "not run")
    at = well(page(FINDINGS, method="DePT"))
    shown = "\n".join(element.value for element in at.markdown)
    assert [study.id for study in STUDIES if study.claim in shown] == ["two-rates", "dept-time"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> ReplicationStudy:
    arms = tuple(Arm(f"m={m}", "prompt-tuning", (ArmSetting({"m": m}),)) for m in (2, 4))
    study = ReplicationStudy("small", "Four beat two.", "A test", "https://example.org", arms,
                             (Comparison("m=4", "m=2"),), backbone="tiny-encoder", steps=3)  # fmt: skip
    for module in ("ptviz.ui.learn.findings", "ptviz.plots.findings", "ptviz.experiments.replication"):
        monkeypatch.setattr(f"{module}.STUDIES", (study,))
    return study


def test_missing_runs_are_queued_and_finished_ones_counted(page: Page, store: Store, small: ReplicationStudy) -> None:
    at = well(page(FINDINGS))
    at.button(key="train-small").click().run()
    queued = store.list()
    assert len(queued) == 10, "two arms, five seeds"
    assert {summary.config.training.seed for summary in queued} == {1, 2, 3, 4, 5}
    for summary in queued:
        m, seed = summary.config.hyperparameters["m"], summary.config.training.seed
        finish(store.get(summary.id), 0.5 + m / 10 + m * seed / 1000)
    at = well(page(FINDINGS))
    (result,) = [StudyRecord().evaluate(small)]
    assert (result.verdict, result.seeds) == ("holds", 5)
    assert "holds here" in "\n".join(element.value for element in at.markdown)
    assert not any(button.key == "train-small" for button in at.button)


def test_the_figure_leaves_counts_out_and_refuses_unknown_ids() -> None:
    figure = plots.plot_findings(["low-rank"])
    assert "trained parameters" not in alt_of(figure)
    assert "DPT" in alt_of(figure)
    assert "nothing was measured" in alt_of(plots.plot_findings([], answer=[]))
    with pytest.raises(ValueError, match=r"findings: expected some of start, .*; got nothing"):
        plots.plot_findings(["nothing"])


def test_a_damaged_run_is_left_out_of_the_record(store: Store, small: ReplicationStudy, tmp_path: Path) -> None:
    (config, *_) = small.run_configs(small.arms[0], 1)
    run = store.create(RunConfig(**vars(config)))
    finish(run, 0.5)
    (run.path / "events.jsonl").write_text("{")
    assert StudyRecord(tmp_path / "record.json").record_finished((small,), store) == 0
