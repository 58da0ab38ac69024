"""The list of runs: filter, groups, tags, pins, source prompts, and what is deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from ptviz.plots.method_style import method_title
from ptviz.runs import Run, Store
from ptviz.runs.source_runs import SOURCE_RUN_NAME
from ptviz.tasks.metrics import METRICS
from ptviz.ui.components.formatting import score_format
from tests.damaged_files import make_run as make_whole_run
from tests.pages.run_pages import figures, well

Page = Callable[..., AppTest]
MakeRun = Callable[..., Run]


def names(at: AppTest) -> list[str]:
    return list(at.dataframe[0].value["Run"])


def test_conditions_filter_by_any_setting(page: Page, make_run: MakeRun, store: Store) -> None:
    make_run(name="short", hyperparameters={"m": 5})
    tagged = make_run(name="long", hyperparameters={"m": 50})
    store.annotate(tagged.id, tags=["paper"])
    assert names(page("train/runs.py", q="m>=10 test>70%")) == ["long"]
    assert names(page("train/runs.py", q="tag=paper")) == ["long"]
    at = page("train/runs.py", q="colour=red")
    assert not at.exception
    assert any("no run has a setting 'colour'" in one.value for one in at.text)
    at = page("train/runs.py")
    at.selectbox(key="filter-name").set_value("m").run()
    at.selectbox(key="filter-value-m").set_value(5).run()
    well(at.button(key="filter-add").click().run())
    assert at.text_input(key="q").value == "m=5"
    assert names(at) == ["short"]


def test_a_condition_that_the_form_adds_finds_its_run(page: Page, make_run: MakeRun) -> None:
    make_run(name="it's", lr=2 / 3)
    make_run(name="other", lr=0.5)
    for setting, value, text in (("lr", 2 / 3, "lr=0.666667"), ("name", "it's", None)):
        at = page("train/runs.py")
        at.selectbox(key="filter-name").set_value(setting).run()
        at.selectbox(key=f"filter-value-{setting}").set_value(value).run()
        well(at.button(key="filter-add").click().run())
        assert names(at) == ["it's"]
        assert text in (None, at.text_input(key="q").value)


def test_tags_notes_and_pins_are_saved_and_shown(page: Page, make_run: MakeRun, store: Store, hostile: str) -> None:
    runs = [make_run(name=f"run {i}") for i in range(3)]
    at = page("train/runs.py", pick=runs[0].id)
    at.text_area(key=f"notes-{runs[0].id}").set_value(hostile)
    at.multiselect(key=f"tags-{runs[0].id}").set_value(["good"])
    well(at.button(key="save-name").click().run())
    assert runs[0].annotations().notes == hostile
    assert runs[0].config.name == "run 0", "what is not changed stays"
    well(at.button(key="pin").click().run())
    assert runs[0].annotations().pinned
    frame = at.dataframe[0].value
    assert frame["Run"].tolist() == [":material/push_pin: run 0", "run 2", "run 1"]
    assert [list(tags) for tags in frame["Tags"]] == [["good"], [], []]
    at = page("train/runs.py", pick=f"{runs[1].id},{runs[2].id}")
    at.multiselect(key="add-tags").set_value(["good"]).run()
    well(at.button(key="save-tags").click().run())
    assert {run.annotations().tags for run in runs} == {("good",)}


def test_the_table_has_the_numbers_of_a_run(page: Page, store: Store) -> None:
    make_whole_run(store, "whole")
    (row,) = page("train/runs.py").dataframe[0].value.to_dict("records")
    expected = {"Seed": 0, "Parameters": 64, "Learning rate": 0.1, "Time (s)": 2.0, "Steps": 8, "Test": 0.65}
    assert row["Planned steps"] == 8
    assert {name: row[name] for name in expected} == expected


def test_source_prompts_stand_under_the_run_that_asked(page: Page, store: Store) -> None:
    source = make_whole_run(store, f"{SOURCE_RUN_NAME}agnews")
    source.path.rename(source.path.with_name("other-run"))  # the source that the events of make_run name
    make_whole_run(store, "asker", method="spot-single", hyperparameters={})
    make_whole_run(store, "newest")
    at = well(page("train/runs.py"))
    indented = f":material/subdirectory_arrow_right: {SOURCE_RUN_NAME}agnews"
    assert names(at) == [":material/push_pin: newest", ":material/push_pin: asker", indented]
    at.toggle(key="sources").set_value(False).run()
    assert len(names(well(at))) == 2
    home = " ".join(one.value for one in well(page()).text)
    assert "asker" in home
    assert SOURCE_RUN_NAME not in home


def test_methods_are_grouped_with_mean_and_interval(page: Page, make_run: MakeRun) -> None:
    for method in ("prompt-tuning", "prompt-tuning", "dept"):
        make_run(method=method)
    at = well(page("train/runs.py", view="By method"))
    (table,) = at.dataframe
    rows = {row["Method"]: row for row in table.value.to_dict("records")}
    assert rows["Prompt Tuning"]["Runs"] == 2
    assert rows["Prompt Tuning"]["Test, mean"] == pytest.approx(75.0)
    columns = json.loads(table.proto.columns)
    assert columns["Test, mean"]["type_config"] == {"type": "number", "format": "%.1f%%"}
    assert columns["Zero-shot"]["type_config"]["format"] == "%.1f%%"
    assert rows["DePT"]["95% interval"] == "—"


def test_numbers_of_the_tables_sort_as_numbers(page: Page, make_run: MakeRun) -> None:
    make_run(method="dept", made=5, steps=200, state="stopped")
    make_run(method="prompt-tuning", made=20, steps=20)
    table = page("train/runs.py").dataframe[0].value
    assert sorted(table["Steps"]) == [5, 20]
    assert sorted(table["Planned steps"]) == [20, 200]
    groups = page("train/runs.py", view="By method").dataframe[0].value
    for name in ("Test, mean", "Zero-shot"):
        assert groups[name].dtype.kind == "f", f"{name}: text sorts 100.0% before 50.2%"


def test_scores_by_several_metrics_have_one_column_of_numbers() -> None:
    groups = [METRICS["accuracy"], METRICS["matthews"]]
    assert score_format(groups[:1]) == (100, "%.1f%%")
    assert score_format(groups[1:]) == (1, "%.2f")
    assert score_format(groups) == (1, "%.3f")


def test_source_prompts_are_grouped_only_on_request(page: Page, store: Store) -> None:
    source = make_whole_run(store, f"{SOURCE_RUN_NAME}agnews")
    source.path.rename(source.path.with_name("other-run"))  # the source that the events of make_run name
    make_whole_run(store, "asker", method="spot-single", hyperparameters={})
    at = well(page("train/runs.py", view="By method"))
    assert list(at.dataframe[0].value["Method"]) == [method_title("spot-single")]
    at.toggle(key="grouped-sources").set_value(True).run()
    assert set(well(at).dataframe[0].value["Method"]) == {method_title("spot-single"), method_title("prompt-tuning")}
    at = well(page("train/runs.py", view="By method", q="method=prompt-tuning"))
    assert [text.value for text in at.text] == [
        "Only source prompts of other runs are left: the switch above shows them."
    ]
    at.toggle(key="grouped-sources").set_value(True).run()
    assert list(well(at).dataframe[0].value["Method"]) == [method_title("prompt-tuning")]


def test_curves_of_loss_and_metric_and_settings_are_compared(page: Page, make_run: MakeRun) -> None:
    runs = [make_run(name=f"run {i}", hyperparameters={"m": 5 + i}) for i in range(2)]
    at = well(page("train/runs.py", pick=",".join(run.id for run in runs)))
    (figure,) = figures(at).values()
    assert [(trace["name"], trace.get("yaxis")) for trace in figure["data"]] == [
        ("run 1", None), ("run 1", "y2"), ("run 0", None), ("run 0", "y2"),
    ]  # fmt: skip
    settings = at.dataframe[1].value
    assert settings.to_dict("records") == [{"setting": "m", "run 1": "6", "run 0": "5"}]


def test_a_report_of_other_settings_is_refused_with_the_reason(page: Page, make_run: MakeRun) -> None:
    def shown(*runs: Run) -> tuple[list[str], list[str]]:
        at = well(page("train/runs.py", pick=",".join(run.id for run in runs)))
        buttons = [button.proto.label for button in at.get("download_button")]
        return [label for label in buttons if label == "Report"], [
            one.value for one in at.text if one.value.startswith("No report")
        ]

    one, rate, twin = make_run(lr=0.1), make_run(lr=0.3), make_run(lr=0.1)
    (said,) = shown(one, rate)[1]
    assert "Prompt Tuning: expected runs that differ in the seed alone" in said
    assert "these differ in lr. Leave out all but one choice of settings" in said
    assert shown(one, twin)[0] == []
    assert "got several of seed 0" in shown(one, twin)[1][0]
    assert shown(one, make_run(lr=0.1, method="dept")) == (["Report"], [])


@pytest.mark.parametrize("count", [1, 2])
def test_deleting_says_what_is_deleted_and_is_not_the_filled_button(page: Page, make_run: MakeRun, count: int) -> None:
    runs = [make_run() for _ in range(count)]
    at = page("train/runs.py", pick=",".join(run.id for run in runs))
    at.button(key="delete").click().run()
    said: list[Any] = [one.value for one in at.markdown if "It cannot be undone" in one.value]
    assert said == [
        f"This deletes {'this run: its' if count == 1 else 'these 2 runs: their'} curves, snapshots and prompts. "
        "It cannot be undone."
    ]
    assert at.button(key="delete-really").proto.type == "secondary"
    assert at.button(key="delete-not").proto.type == "primary"


def test_damaged_annotations_are_said_with_the_run(page: Page, make_run: MakeRun) -> None:
    run = make_run(name="noted")
    (run.path / "annotations.json").write_text('{"pinned": 3}')
    at = well(page("train/runs.py"))
    assert names(at) == ["noted"]
    assert any("annotations.json: pinned: expected true or false" in one.value for one in at.text)


def test_a_selected_run_of_the_address_that_is_not_there_is_said(page: Page, make_run: MakeRun) -> None:
    run = make_run(name="mine")
    at = page("train/runs.py", pick=f"gone,{run.id}")
    assert "pick: expected ids of runs in this table; got gone. The others are selected" in [t.value for t in at.text]
    assert at.query_params["pick"] in (run.id, [run.id])
    at = page("train/runs.py", pick="gone")
    assert "pick: expected ids of runs in this table; got gone. None is selected" in [t.value for t in at.text]
    well(page("train/runs.py", pick=run.id))
