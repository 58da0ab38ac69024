"""Every page, in every empty state and with every kind of run, through pages/index.py."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent import futures
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.proto.Metric_pb2 import Metric as MetricProto
from streamlit.testing.v1 import AppTest

from ptviz.runs import Run, RunConfig, Store
from ptviz.tasks import TableOptions
from ptviz.training.config import MAX_STEPS, TrainConfig
from ptviz.ui.navigation import form_query_params
from tests.app_server import HANGS_SECONDS

PAGES = ("home.py", "train/new_run.py", "train/watch.py", "train/runs.py")
Page = Callable[..., AppTest]
MakeRun = Callable[..., Run]


def well(at: AppTest) -> AppTest:
    """Return the page, which shows no exception, error or problem."""
    assert not at.exception
    assert not at.error
    assert "Problem" not in badges(at)
    return at


def badges(at: AppTest) -> str:
    return " ".join(m.value for m in at.markdown if "-badge[" in m.value)


def texts(at: AppTest) -> str:
    return "\n".join(t.value for t in at.text)


def figures(at: AppTest) -> list[dict]:
    """Return the plotly figures on the page."""
    found = []
    for element in at.get("bidi_component"):
        data = json.loads(element.proto.json or "{}")
        if "figure" in data:
            found.append(json.loads(data["figure"]))
    return found


@pytest.mark.parametrize("path", PAGES)
def test_every_page_opens_with_nothing_there(page: Page, path: str):
    well(page(path))


@pytest.mark.parametrize("path", ["home.py", "train/watch.py", "train/runs.py"])
def test_every_empty_state_has_a_button_that_starts_a_run(page: Page, store: Store, path: str):
    at = page(path)
    at.button(key="start-usual").click().run()
    well(at)
    (summary,) = store.list()
    assert (summary.config.backbone, summary.config.task, summary.config.method) == (
        "minilm-l6",
        "trec6",
        "prompt-tuning",
    )
    assert summary.status.state == "queued"


@pytest.mark.parametrize("state", ["queued", "running", "stopped", "failed", "finished"])
@pytest.mark.parametrize("path", PAGES)
def test_every_page_opens_with_a_run_in_every_state(page: Page, make_run: MakeRun, path: str, state: str):
    run = make_run(state)
    at = page(path, run=run.id) if path == "train/watch.py" else page(path)
    assert not at.exception
    assert not at.error
    if path == "train/watch.py" and state == "failed":
        assert "smaller learning rate" in texts(at)
    else:
        well(at)


BUTTONS = {"queued": "stop", "running": "stop", "stopped": "resume", "failed": "resume"}


@pytest.mark.parametrize(("state", "button"), BUTTONS.items())
def test_a_run_offers_the_actions_of_its_state(page: Page, make_run: MakeRun, state: str, button: str):
    at = page("train/watch.py", run=make_run(state).id)
    keys = {b.key for b in at.button}
    assert button in keys
    assert not ({"stop", "resume", "extend by these steps"} - {button}) & keys


def test_stop_and_resume_reach_the_run(page: Page, make_run: MakeRun):
    run = make_run("queued")
    at = page("train/watch.py", run=run.id)
    well(at.button(key="stop").click().run())
    assert run.status().state == "stopped"
    well(at.button(key="resume").click().run())
    assert run.status().state == "queued"


def test_extend_adds_steps(page: Page, make_run: MakeRun):
    run = make_run("finished")
    at = page("train/watch.py", run=run.id)
    at.number_input(key=f"more-{run.id}").set_value(30)
    well(at.button(key="extend by these steps").click().run())
    assert run.status().state == "queued"
    assert run.config.training.steps == 50


def test_a_run_with_the_largest_settings_can_be_extended_and_branched(page: Page, make_run: MakeRun):
    run = make_run("finished", steps=MAX_STEPS, lr=1e-9)
    at = page("train/watch.py", run=run.id)
    assert not at.exception
    assert at.number_input(key=f"branch-steps-{run.id}").value == MAX_STEPS


def test_branch_starts_a_run_from_a_snapshot(page: Page, make_run: MakeRun, store: Store):
    run = make_run("finished")
    at = page("train/watch.py", run=run.id)
    at.selectbox(key=f"branch-from-{run.id}").select_index(1)
    at.number_input(key=f"branch-seed-{run.id}").set_value(7)
    at.button(key=f"branch-start-{run.id}").click().run()
    assert not at.exception
    branch = next(s for s in store.list() if s.id != run.id)
    assert branch.config.parent == (run.id, 0, 5)
    assert branch.config.training.seed == 7


def test_the_forms_of_another_run_have_its_own_settings(page: Page, make_run: MakeRun):
    first, second = make_run("finished", lr=0.1), make_run("finished", made=40, steps=40, lr=0.5)

    def shown(at: AppTest) -> dict[str, Any]:
        assert not at.exception
        found = {box.label: box.value for box in [*at.number_input, *at.selectbox]}
        return {label: found[label] for label in ("from step", "training steps", "learning rate", "more steps")}

    at = page("train/watch.py", run=first.id)
    assert shown(at) == {"from step": (0, 20), "training steps": 20, "learning rate": 0.1, "more steps": 10}
    at.query_params["run"] = second.id
    assert shown(at.run()) == {"from step": (0, 40), "training steps": 40, "learning rate": 0.5, "more steps": 20}


def test_the_live_figure_holds_every_point(page: Page, make_run: MakeRun):
    figure = figures(page("train/watch.py", run=make_run("finished").id))[0]
    traces = {trace["name"]: trace for trace in figure["data"]}
    assert traces["loss of each batch"]["x"] == list(range(21))
    assert traces["validation accuracy"]["x"] == [0, 5, 10, 15, 20]
    assert traces["zero-shot"]["y"] == [0.38, 0.38]
    assert traces["majority class"]["y"] == [0.26, 0.26]


def test_metrics_show_the_progress_of_the_run(page: Page, make_run: MakeRun):
    at = page("train/watch.py", run=make_run("finished").id)
    shown = {m.label: m.value for m in at.metric}
    assert shown["Step"] == "20 / 20"
    assert shown["Best on validation"] == "80.0%"
    assert shown["Test"] == "75.0%"


def test_a_typed_sentence_is_predicted(page: Page, make_run: MakeRun):
    at = page("train/watch.py", run=make_run("finished").id, say="who is there?")
    for _ in range(20):  # the answer comes from beside the page: each look takes what has come
        if "With the prompt of step" in texts(at):
            break
        at.run()
    assert "With the prompt of step 10: good." in texts(at)
    assert len(figures(at)) == 2


def test_a_pasted_address_sets_the_view(page: Page, make_run: MakeRun):
    at = page("train/watch.py", run=make_run("finished").id, smooth="0.5", say="hello", at="5", zoom="xaxis:2:8")
    assert at.slider(key="smooth").value == 0.5
    assert at.text_input(key="say").value == "hello"
    assert at.select_slider(key="at").value == "5"
    (curves, *_) = [
        data for element in at.get("bidi_component") if "zoom" in (data := json.loads(element.proto.json or "{}"))
    ]
    assert curves["zoom"] == "xaxis:2:8"


def test_the_address_of_an_unknown_run_is_reported_with_a_way_on(page: Page, make_run: MakeRun):
    make_run("finished")
    at = page("train/watch.py", run="no-such-run-0000")
    assert not at.exception
    assert "there is no run" in texts(at)
    assert at.button(key="start-usual")


@pytest.mark.parametrize("bad", ["../../etc", "", "a b", "x" * 500, "<script>"])
def test_a_broken_address_breaks_nothing(page: Page, bad: str):
    at = page("train/watch.py", run=bad, smooth="high", at="never", zoom="<b>")
    assert not at.exception
    assert not at.error


def test_watch_without_an_address_takes_the_run_that_trains(page: Page, make_run: MakeRun):
    running = make_run("running", made=5)
    make_run("finished")
    at = page("train/watch.py")
    assert at.query_params["run"] == running.id


def test_hostile_names_are_shown_as_text(page: Page, make_run: MakeRun, hostile: str):
    run = make_run("finished", name=hostile, task=hostile)
    for path in PAGES:
        at = page(path, run=run.id) if path == "train/watch.py" else page(path)
        assert not at.exception
        assert not any(hostile in m.value for m in [*at.markdown, *at.caption, *at.title, *at.subheader, *at.header])
        assert not any("<img" in h.value for h in at.html)
        for figure in figures(at):
            assert "<img" not in json.dumps(figure)
    assert hostile[:40] in texts(page("home.py"))


def test_compose_shows_a_plan_and_starts(page: Page, store: Store):
    at = well(page("train/new_run.py", method="dept"))
    at.number_input(key="dept-m").set_value(7)
    at.number_input(key="steps").set_value(30)
    well(at.run())
    assert any(m.label == "Trainable" for m in at.metric)
    at.button(key="start").click().run()
    assert not at.exception
    (summary,) = store.list()
    assert summary.config.method == "dept"
    assert summary.config.hyperparameters["m"] == 7
    assert summary.config.training.steps == 30


def test_the_forms_state_is_in_the_address(page: Page):
    address = {"method": "smop", "smop-k": "3", "steps": "40", "lr": "0.1", "optimiser": "adafactor", "task": "tweets"}
    at = well(page("train/new_run.py", **address))
    assert at.selectbox(key="method").value == "smop"
    assert at.number_input(key="smop-k").value == 3
    assert at.number_input(key="steps").value == 40
    assert at.number_input(key="lr").value == 0.1
    assert at.selectbox(key="optimiser").value == "adafactor"
    assert at.selectbox(key="task").value == "tweets"


def test_a_text_task_is_listed_with_its_kind(page: Page):
    at = well(page("train/new_run.py", task="inflection", backbone="tiny-decoder"))
    assert at.selectbox(key="task").value == "inflection"
    assert any(c.value.startswith("words: text to text, 43,918 texts") for c in at.caption)


@pytest.mark.parametrize("method", ["prompt-tuning", "p-tuning-v2", "dept", "smop"])
def test_every_method_has_a_form_of_its_hyperparameters(page: Page, method: str):
    from ptviz.methods import REGISTRY
    from ptviz.methods.hyperparameters import hyperparameters_of

    at = well(page("train/new_run.py", method=method))
    labels = {w.key: w.label for w in [*at.number_input, *at.selectbox, *at.text_input, *at.toggle]}
    keys = {f"{method}-{name}" for name in hyperparameters_of(REGISTRY[method])}
    assert keys <= labels.keys()
    assert not [labels[key] for key in keys if ";" in labels[key]], "a label is the meaning without its special cases"


def test_duplicate_and_edit_fills_the_form(page: Page, make_run: MakeRun):
    config = make_run(
        "finished", method="smop", hyperparameters={"k": 2}, task="tweets", backbone="tiny-encoder"
    ).config
    at = well(page("train/new_run.py", **form_query_params(config)))
    assert at.selectbox(key="method").value == "smop"
    assert at.number_input(key="smop-k").value == 2
    assert at.selectbox(key="task").value == "tweets"
    assert at.selectbox(key="backbone").value == "tiny-encoder"
    assert at.number_input(key="steps").value == 20


def test_compose_offers_the_sets_of_the_papers(page: Page, store: Store):
    at = well(page("train/new_run.py", **{"from": "from the Hub", "set": "superglue:wic", "backbone": "tiny-encoder"}))
    assert at.selectbox(key="set").value == "superglue:wic"
    assert not [field for field in at.text_input if field.key == "hub"]
    captions = " ".join(c.value for c in at.caption)
    assert "scored by accuracy" in captions
    assert "aps/super_glue, wic; fetched from the Hub when it is first used" in captions
    at.button(key="start").click().run()
    assert not at.exception
    assert store.list()[0].config.task == "superglue:wic"


def test_compose_waits_for_what_is_missing(page: Page):
    at = well(page("train/new_run.py", **{"from": "my own table"}))
    assert not [b for b in at.button if b.key == "start"]
    assert any("plan appears here" in c.value for c in at.caption)


def test_an_upload_becomes_a_task(page: Page, store: Store, home):
    at = page("train/new_run.py", **{"from": "my own table"})
    rows = "\n".join(f"this is {kind} number {i},{kind}" for i in range(30) for kind in ("good", "bad"))
    at.file_uploader(key="upload").upload("../my <b>réviews</b>.CSV", f"text,label\n{rows}\n".encode())
    well(at.run())
    (kept,) = (home / "uploads").glob("*/*")
    assert kept.name == "b.csv"  # what stands behind the last slash
    assert "2 classes" in texts(at)
    at.button(key="start").click().run()
    assert not at.exception
    assert store.list()[0].config.task == str(kept)


def test_a_bad_upload_is_reported(page: Page):
    at = page("train/new_run.py", **{"from": "my own table"})
    at.file_uploader(key="upload").upload("one.csv", b"text,label\nhello,good\nworld,good\n")
    at.run()
    assert not at.exception
    assert "Problem" in badges(at)
    assert "class" in texts(at)
    assert not [b for b in at.button if b.key == "start"]


def test_a_table_is_read_as_the_form_says(page: Page, store: Store):
    rows = "".join(f"un caf\u00e9 num\u00e9ro {i};{1 if i % 2 else -1}\n" for i in range(60))
    at = page("train/new_run.py", **{"from": "my own table", "backbone": "tiny-encoder"})
    at.file_uploader(key="upload").upload("odd.csv", f"text;label\n{rows};1\n".encode("cp1252"))
    assert ", row 62, column 'text'" in texts(at.run())
    at.toggle(key="skip").set_value(True).run()
    at.text_input(key="words").set_value("1=good, -1=bad")
    well(at.run())
    assert "1 bad row skipped: row 62" in texts(at)
    assert "the delimiter is a semicolon" in texts(at)
    at.button(key="start").click().run()
    assert not at.exception
    (summary,) = store.list()
    assert summary.config.table == TableOptions(skip_bad_rows=True, words=(("1", "good"), ("-1", "bad")))
    # The form is filled from a run, and a wrong option is refused in words.
    again = page("train/new_run.py", **form_query_params(summary.config))
    assert again.toggle(key="skip").value is True
    assert again.text_input(key="words").value == "1=good,-1=bad"
    said = texts(again.text_input(key="words").set_value("good").run())
    assert "words: expected 2 words, one each for -1, 1; got good" in said
    assert "unexpected" not in texts(again)


def test_the_chat_switch_is_offered_to_decoders_only(page: Page):
    assert not [one for one in page("train/new_run.py").toggle if one.key == "chat"]
    at = page("train/new_run.py", **form_query_params(RunConfig("tiny-decoder")))
    assert at.toggle(key="chat").value is False


def test_the_chat_switch_is_part_of_the_run_and_refused_without_a_template(page: Page, store: Store):
    config = RunConfig("tiny-decoder", "sms", table=TableOptions(chat=True))
    at = well(page("train/new_run.py", **form_query_params(config)))
    assert at.toggle(key="chat").value is True
    at.button(key="start").click().run()
    assert "has no chat template; train without chat, or choose an instruct model" in texts(at)
    assert store.list() == []
    at.toggle(key="chat").set_value(False).run()
    at.button(key="start").click().run()
    assert not at.exception
    assert store.list()[0].config == replace(config, table=TableOptions()).checked()


def test_labels_that_are_the_same_tokens_start_no_run(page: Page, store: Store):
    at = page("train/new_run.py", **{"from": "my own table"})
    rows = "".join(f"text {i},{chr(0xA500 + i % 2)}\n" for i in range(30))
    at.file_uploader(key="upload").upload("t.csv", f"text,label\n{rows}".encode())
    at.run()
    at.button(key="start").click().run()
    assert "that are the same tokens for this backbone" in texts(at)
    assert store.list() == []


def test_share_shows_how_to_export_the_prompt(page: Page, make_run: MakeRun):
    run = make_run("finished")
    (commands,) = [one.value for one in well(page("train/watch.py", run=run.id)).code if "ptviz export" in one.value]
    assert commands.splitlines() == [
        f"ptviz export {run.id} --to peft",
        f"ptviz export {run.id} --to prompt-embeds --text 'your input'",
    ]


def test_notes_on_the_data_are_shown_with_the_run(page: Page, make_run: MakeRun):
    run = make_run("finished")
    (run.path / "environment.json").write_text(json.dumps({"notes": ["3 bad rows skipped: row 7"]}))
    at = well(page("train/watch.py", run=run.id))
    assert "3 bad rows skipped: row 7" in texts(at)


def test_runs_are_found_by_any_word(page: Page, make_run: MakeRun):
    make_run("finished", name="first try")
    make_run("stopped", name="second try", method="dept")
    assert len(page("train/runs.py").dataframe[0].value) == 2
    assert list(page("train/runs.py", q="dept").dataframe[0].value["Run"]) == ["second try"]
    at = page("train/runs.py", q="finished try")
    assert list(at.dataframe[0].value["Run"]) == ["first try"]
    at = page("train/runs.py", q="nothing like it")
    assert not at.dataframe
    well(at.button(key="show-all").click().run())
    assert len(at.dataframe[0].value) == 2


def test_selected_runs_are_compared_and_stored_in_the_address(page: Page, make_run: MakeRun):
    methods = ("prompt-tuning", "dept", "p-tuning")
    runs = [make_run("finished", name=f"run {i}", method=method) for i, method in enumerate(methods)]
    at = page("train/runs.py", pick=f"{runs[0].id},{runs[2].id},gone-0000")
    assert not at.exception
    assert texts(at) == "pick: expected ids of runs in this table; got gone-0000. The others are selected"
    (figure,) = figures(at)
    assert {trace["name"] for trace in figure["data"]} == {"run 0", "run 2"}


def test_rename(page: Page, make_run: MakeRun, store: Store, hostile: str):
    run = make_run("finished")
    at = page("train/runs.py", pick=run.id)
    at.text_input(key=f"name-{run.id}").set_value(hostile)
    well(at.button(key="save-name").click().run())
    assert store.get(run.id).config.name == hostile


def test_delete_asks_first(page: Page, make_run: MakeRun, store: Store):
    kept, gone = make_run("finished", name="keep"), make_run("finished", name="lose")
    at = page("train/runs.py", pick=gone.id)
    at.button(key="delete").click().run()
    assert len(store.list()) == 2
    assert "lose" in texts(at)
    well(at.button(key="delete-really").click().run())
    assert [s.id for s in store.list()] == [kept.id]


def test_a_running_run_is_not_deleted_and_says_why(page: Page, make_run: MakeRun, store: Store):
    run = make_run("running", made=5)
    at = page("train/runs.py", pick=run.id)
    at.button(key="delete").click().run()
    at.button(key="delete-really").click().run()
    assert not at.exception
    assert "stop it first" in texts(at)
    assert len(store.list()) == 1


def test_foreign_and_broken_folders_are_reported_and_do_not_affect_others(page: Page, make_run: MakeRun, store: Store):
    make_run("finished", name="whole")
    (store.root / "holiday photos").mkdir()
    broken = make_run("finished")
    (broken.path / "config.json").write_text('{"backbone": "mini')
    at = well(page("train/runs.py"))
    assert list(at.dataframe[0].value["Run"]) == ["whole"]
    assert "holiday photos" in texts(at)
    assert broken.id in texts(at)


def test_five_hundred_runs_are_listed(page: Page, make_run: MakeRun, store: Store):
    from ptviz.runs import RunConfig

    for i in range(500):
        store.create(RunConfig(name=f"run {i}"))
    at = well(page("train/runs.py"))
    assert len(at.dataframe[0].value) == 500


def test_the_time_of_a_text_task_is_not_taken_from_classes(page: Page, make_run: MakeRun):
    make_run("finished")
    captions = [one.value for one in page("train/new_run.py", task="sms").caption]
    assert any("Time as in the last run of this method" in one for one in captions)
    captions = [one.value for one in page("train/new_run.py", task="inflection").caption]
    assert any("This machine's speed on this task is not known yet" in one for one in captions)
    make_run("finished", task="inflection")
    captions = [one.value for one in page("train/new_run.py", task="inflection").caption]
    assert any("Time as in the last such run" in one for one in captions)


def test_a_run_with_the_largest_settings_can_be_duplicated(page: Page):
    limits = {field.name: field.metadata["high"] for field in fields(TrainConfig) if field.metadata}
    names = ("batch", "shots", "train_rows", "validation_rows", "test_rows", "length", "source_steps", "evaluate_every")
    config = RunConfig(training=TrainConfig(**{name: int(limits[name]) for name in names}))
    at = well(page("train/new_run.py", **form_query_params(config)))
    assert {name: at.number_input(key=name).value for name in names} == {name: limits[name] for name in names}


def test_a_parameter_given_twice_is_said(page: Page):
    at = page("train/new_run.py")
    at.query_params["steps"] = ["10", "20"]
    at.run()
    assert any("gives steps 2 times (10, 20): the last one is used" in warning.value for warning in at.warning)
    assert not page("train/new_run.py", steps="20").warning


def test_a_step_is_one_of_all_stages(page: Page, make_run: MakeRun):
    run = make_run("running", made=3, steps=18)
    (run.path / "environment.json").write_text('{"steps": 60}')
    at = well(page("train/watch.py", run=run.id))
    assert {m.label: m.value for m in at.metric}["Step"] == "3 / 60"


@pytest.mark.parametrize(("test", "shown", "direction"), [
    (0.3804, "+0.0 points", "NONE"), (0.3796, "+0.0 points", "NONE"), (0.385, "+0.5 points", "UP"),
    (0.375, "-0.5 points", "DOWN"),
])  # fmt: skip
def test_a_score_as_high_as_zero_shot_is_no_rise(
    page: Page, make_run: MakeRun, test: float, shown: str, direction: str
):
    run = make_run()
    events = run.path / "events.jsonl"
    text = events.read_text()
    assert '"test": 0.75' in text
    assert '"zero_shot": 0.38' in text
    events.write_text(text.replace('"test": 0.75', f'"test": {test}'))
    (metric,) = [one for one in well(page("train/watch.py", run=run.id)).metric if one.label == "Test"]
    assert (metric.delta, MetricProto.MetricDirection.Name(metric.proto.direction)) == (shown, direction)
    assert (metric.proto.color == MetricProto.MetricColor.GRAY) == (direction == "NONE")


def test_a_score_before_training_is_no_result(page: Page, make_run: MakeRun):
    def best(made: int) -> tuple[int, bool]:
        at = well(page("train/watch.py", run=make_run("running", made=made).id))
        (metric,) = [one for one in at.metric if one.label == "Best on validation"]
        return metric.proto.color, any("untrained prompt is noise" in one.value for one in at.caption)

    grey = MetricProto.MetricColor.GRAY
    assert best(0) == (grey, True)
    colour, explained = best(10)
    assert colour != grey
    assert not explained


@pytest.mark.usefixtures("answered")
def test_the_speed_of_a_run_is_measured_on_request(page: Page, table: Path):
    address = {"from": "my own table", "path": str(table), "backbone": "tiny-decoder", "validation_rows": "4"}
    at = page("train/new_run.py", **address)
    assert {m.label: m.value for m in at.metric}["Time, about"] == "—"
    at.button(key="measure-speed").click().run()
    if "measuring-speed" in at.session_state:
        futures.wait([at.session_state["measuring-speed"][1]], HANGS_SECONDS)
        well(at.run())
    assert {m.label: m.value for m in at.metric}["Time, about"] != "—"
    assert any("by a few steps" in one.value for one in at.caption)


@pytest.mark.usefixtures("answered")
def test_the_speed_of_a_decoder_is_measured_unasked_while_nothing_waits(page: Page, make_run: MakeRun):
    address = {"task": "inflection", "backbone": "tiny-decoder", "validation_rows": "4"}
    run = make_run("running", made=3)
    assert "measuring-speed" not in page("train/new_run.py", **address).session_state
    shutil.rmtree(run.path)
    at = page("train/new_run.py", **address)
    if "measuring-speed" in at.session_state:
        futures.wait([at.session_state["measuring-speed"][1]], HANGS_SECONDS)
        well(at.run())
    assert {m.label: m.value for m in at.metric}["Time, about"] != "—"
