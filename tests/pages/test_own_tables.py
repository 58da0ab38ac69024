"""The editor of an own table: what it makes is what the shell makes, and errors stand where they are made."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from ptviz.cli import run as run_in_shell
from ptviz.engine.model_cache import load_run_task
from ptviz.engine.train_job import execute_run
from ptviz.runs import RunConfig, Store
from ptviz.tasks import TableOptions
from ptviz.training import TrainConfig
from ptviz.ui.navigation import form_query_params
from ptviz.ui.train import example_preview, task_editor
from ptviz.ui.train.example_preview import example_html
from tests.app_server import HANGS_SECONDS
from tests.pages.run_pages import well

Page = Callable[..., AppTest]
QUICK = {"steps": "2", "batch": "4", "validation_rows": "4", "test_rows": "4", "prompt-tuning-m": "5"}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.csv"
    rows = "".join(f"a <b>first</b> text {i},and second {i},{'yes' if i % 2 else 'no'},{i}\n" for i in range(40))
    path.write_text("premise,hypothesis,same,number\n" + rows)
    return path


def open_form(page: Page, table: Path, backbone: str = "tiny-encoder", path: str = "train/new_run.py", **more: str):
    """The form with a table, once the tokenizer is read."""
    at = page(path, **{"from": "my own table", "path": str(table), "backbone": backbone, **QUICK, **more})
    request = example_preview._request_reader(backbone)
    assert not futures.wait([request], HANGS_SECONDS).not_done
    return at.run()


def texts(at: AppTest) -> str:
    return "\n".join(str(one.value) for kind in ("text", "caption") for one in at.get(kind))


def example(at: AppTest) -> str:
    (found,) = [one.value for one in at.get("html") if "ptviz-example" in one.value]
    return found


def choose(at: AppTest, label: str, value: Any) -> AppTest:
    kinds = at.selectbox, at.multiselect, at.text_input, at.text_area, at.button_group, at.number_input
    (widget,) = [one for kind in kinds for one in kind if one.label == label]
    return widget.set_value(value).run()


def started(at: AppTest, store: Store) -> RunConfig:
    """The config of the run that the form starts."""
    before = {summary.id for summary in store.list()}
    at.button(key="start").click().run()
    assert not at.exception
    (new,) = [summary for summary in store.list() if summary.id not in before]
    return new.config


def in_shell(command: str, store: Store) -> RunConfig:
    """The config of the run that a command of the page trains."""
    before = {summary.id for summary in store.list()}
    assert run_in_shell(shlex.split(command)[1:]) == 0
    (new,) = [summary for summary in store.list() if summary.id not in before]
    assert new.status.state == "finished"
    return new.config


PAIR_FORM = {
    "columns of texts": ["hypothesis", "premise"],
    "column of labels": "same",
    "label words": "no, yes of course",
    "metric": "f1:1",
    "template": "{prompt:2}{premise} so{prompt}\n{hypothesis}",
    "cut first, if an input is too long": "hypothesis",
}


@pytest.mark.parametrize("backbone", ["tiny-encoder", "tiny-decoder"])
def test_the_form_makes_the_run_that_its_command_makes(page: Page, pairs: Path, store: Store, backbone: str) -> None:
    at = open_form(page, pairs, backbone)
    for label, value in PAIR_FORM.items():
        choose(at, label, value)
    (command,) = [one.value for one in at.code if one.value.startswith("ptviz train")]
    ours = started(well(at), store)
    assert ours.text == "hypothesis,premise"
    assert ours.label == "same"
    assert ours.table == TableOptions(
        word_list=("no", "yes of course"), metric="f1:1", template=PAIR_FORM["template"], cut_first="hypothesis"
    )
    theirs = in_shell(command, store)
    assert ours.checked() == theirs.checked()
    assert load_run_task(ours).fingerprint() == load_run_task(theirs).fingerprint()
    again = page("train/new_run.py", **form_query_params(ours))
    assert [one.value for one in again.code if one.value.startswith("ptviz train")] == [ours.shell_command()]


def test_texts_to_write(page: Page, pairs: Path, store: Store) -> None:
    at = open_form(page, pairs, text="premise")
    choose(at, "the answer is", "a target text")
    assert "tiny-encoder is an encoder, which generates no text: choose a decoder" in texts(at)
    assert not [one for one in at.button if one.key == "start"]
    at = open_form(page, pairs, "tiny-decoder", text="premise", target="hypothesis")
    (metric,) = [one for one in at.selectbox if one.label == "metric"]
    assert "Pearson correlation" not in metric.options, "the texts are no numbers"
    choose(at, "metric", "rouge-l")
    assert "40 different inputs with target texts" in texts(at)
    assert "<span class='ptviz-answer'>and second 0</span>" in example(at)
    (command,) = [one.value for one in at.code if one.value.startswith("ptviz train")]
    ours = started(well(at), store)
    assert (ours.text, ours.label) == ("premise", None)
    assert ours.table == TableOptions(target="hypothesis", metric="rouge-l")
    theirs = in_shell(command, store)
    assert ours.checked() == theirs.checked()
    assert load_run_task(ours).fingerprint() == load_run_task(theirs).fingerprint()
    at = open_form(page, pairs, "tiny-decoder", text="premise", target="number", metric="pearson")
    assert [one.value for one in at.selectbox if one.label == "metric"] == ["pearson"]


@pytest.fixture
def quiz(tmp_path: Path) -> Path:
    path = tmp_path / "quiz.csv"
    rows = "".join(f"what is {i},<b>{i}</b> & one,{i} less,{'AB'[i % 2]}\n" for i in range(40))
    path.write_text("question,choice1,choice2,answer\n" + rows)
    return path


def test_choices_of_each_row(page: Page, quiz: Path, store: Store) -> None:
    at = open_form(page, quiz)
    choose(at, "the answer is", "one of the row's choices")
    assert "tiny-encoder is an encoder, which scores no choices token by token: choose a decoder" in texts(at)
    assert not [one for one in at.button if one.key == "start"]
    at = open_form(page, quiz, "tiny-decoder")
    choose(at, "the answer is", "one of the row's choices")
    (columns,) = [one for one in at.multiselect if one.label == "columns of the choices"]
    assert columns.value == ["choice1", "choice2"]
    assert "40 different inputs with 2 choices each" in texts(at)
    assert "column answer is read as letters of the right choices, A for the first" in texts(at)
    assert "&lt;b&gt;0&lt;/b&gt; &amp; one | 0 less" in example(at)
    (command,) = [one.value for one in at.code if one.value.startswith("ptviz train")]
    ours = started(well(at), store)
    assert (ours.text, ours.label, ours.table) == ("question", "answer", TableOptions(choices=("choice1", "choice2")))
    theirs = in_shell(command, store)
    assert ours.checked() == theirs.checked()
    assert load_run_task(ours).fingerprint() == load_run_task(theirs).fingerprint()
    again = page("train/new_run.py", **form_query_params(ours))
    assert [one.value for one in again.code if one.value.startswith("ptviz train")] == [ours.shell_command()]
    at = open_form(page, quiz, "tiny-decoder", choices="choice1,choice2")
    choose(at, "columns of the choices", [])
    assert "expected the columns of the choices" in texts(at)
    choose(at, "the answer is", "a class")
    assert "choices" not in at.query_params


def test_an_untouched_form_makes_the_run_that_it_always_made(page: Page, table: Path, store: Store) -> None:
    config = started(open_form(page, table), store)
    assert (config.text, config.label, config.table) == (None, None, TableOptions())


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{prompt}{premise}", "expected {hypothesis} once; it comes 0 times: put it where it belongs"),
        ("{prompt}{premise}{hypothesis}{colour}", "unknown field {colour}; expected {premise}, {hypothesis}"),
        ("{prompt}{premise}{hypothesis", "write {{ and }} for braces"),
        ("{prompt}{prompt}{premise}{hypothesis}", "give the others a number, as in {prompt:3}"),
        ("{prompt:x}{premise}{hypothesis}", "expected a number of tokens, as in {prompt:3}"),
        ("{prompt:2}{premise}{hypothesis}", "for the 5 prompt tokens; it has pieces of 2 tokens: add {prompt}"),
        ("{premise}{hypothesis}", "for the 5 prompt tokens; it has none: add {prompt}"),
    ],
)
def test_a_bad_template_is_refused_where_it_is_written(page: Page, pairs: Path, template: str, problem: str) -> None:
    for path, button in (("train/new_run.py", "start"), ("compare/compare_methods.py", "comparison-start")):
        more = {"methods": "prompt-tuning", "m": "5"} if "compare" in path else {}
        at = open_form(page, pairs, path=path, text="premise,hypothesis", label="same", **more)
        assert [one for one in at.button if one.key == button]
        choose(at, "template", template)
        (said,) = [one.value for one in at.text if "template" in one.value]
        assert problem in said
        assert "\n" not in said
        assert not [one for one in at.button if one.key == button]
        choose(at, "template", "")
        assert [one for one in well(at).button if one.key == button]


def test_the_example_is_what_is_encoded(page: Page, pairs: Path) -> None:
    at = well(open_form(page, pairs, text="premise,hypothesis", label="same", length="12"))
    shown = example(at)
    assert shown.count("class='ptviz-prompt'") == 5
    assert "<small>premise</small> a &lt;b&gt;f" in shown, "a text is no HTML"
    assert "<span class='ptviz-fixed'>[CLS]</span>" in shown
    assert "<del>" in shown
    assert "<span class='ptviz-answer'>no</span>" in shown
    assert "12 of texts (at most 12)" in texts(at)
    assert "Cut off: " in texts(at)
    assert "Counted in words" not in texts(at)
    choose(at, "example", 2)
    assert "<span class='ptviz-answer'>yes</span>" in example(at)
    choose(at, "Method", "p-tuning-v2")
    assert "ptviz-prompt'" not in example(at), "this method adds nothing to the input"
    at = page("train/new_run.py", other="no-such/model", backbone="other", path=str(pairs), **{"from": "my own table"})
    assert "Counted in words" in texts(at)
    assert "class='ptviz-answer'" in example(at)


def test_a_set_of_the_hub_has_the_same_editor(page: Page, store: Store) -> None:
    form = {"from": "from the Hub", "hub": "some/set", "backbone": "tiny-decoder"}
    config = started(well(page("train/new_run.py", **form)), store)
    usual = "hub:some/set", "text", "label", TableOptions()
    assert (config.task, config.text, config.label, config.table) == usual
    at = page("train/new_run.py", **form)
    choose(at, "columns of texts", "a, b")
    choose(at, "the answer is", "a target text")
    choose(at, "column of the target texts", "out")
    choose(at, "template", "{prompt}{a} {c}")
    assert "unknown field {c}; expected {a}, {b}" in texts(at)
    choose(at, "template", "{prompt}{a} {b}")
    config = started(well(at), store)
    assert (config.text, config.label) == ("a, b", None)
    assert config.table == TableOptions(target="out", template="{prompt}{a} {b}")
    again = page("train/new_run.py", **form_query_params(config))
    assert [one.value for one in again.code if one.value.startswith("ptviz train")] == [config.shell_command()]


def test_a_column_of_answers_is_taken_for_texts_to_write(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "qa.csv"
    path.write_text("question,answer\n" + "".join(f"what is {i},it is {i}\n" for i in range(30)))
    at = well(open_form(page, path, "tiny-decoder"))
    assert "30 different inputs with target texts" in texts(at)
    assert at.query_params["target"] == "answer"
    choose(at, "the answer is", "a class")
    assert at.query_params["label"] == "answer"
    assert "target" not in at.query_params


def test_another_file_brings_its_own_columns(page: Page, pairs: Path, table: Path) -> None:
    at = open_form(page, pairs, text="hypothesis", label="same", metric="f1:0")
    at.text_input(key="path").set_value(str(table)).run()
    well(at)
    assert [one.value for one in at.multiselect if one.label == "columns of texts"] == [["text"]]
    assert [one.value for one in at.selectbox if one.label == "column of labels"] == ["label"]
    choose(at, "columns of texts", [])
    assert "expected at least one column of texts" in texts(at)


@pytest.mark.parametrize("backbone", ["tiny-encoder", "tiny-decoder", "tiny-encoder-decoder"])
def test_from_an_upload_to_its_predictions(page: Page, pairs: Path, store: Store, backbone: str) -> None:
    at = page("train/new_run.py", **{"from": "my own table", "backbone": backbone, **QUICK})
    at.file_uploader(key="upload").upload("My pairs.csv", pairs.read_bytes())
    at.run()
    choose(at, "columns of texts", ["premise", "hypothesis"])
    if backbone == "tiny-encoder":
        choose(at, "column of labels", "same")
        choose(at, "label words", "no,yes")
    else:
        choose(at, "the answer is", "a target text")
        choose(at, "column of the target texts", "number")
        choose(at, "metric", "spearman")
    choose(at, "template", "{prompt:2}{premise} so{prompt} {hypothesis}")
    config = started(well(at), store)
    (summary,) = store.list()
    run = store.get(summary.id)
    execute_run(run.path)
    assert run.status().state == "finished", run.status().reason
    at = well(page("train/watch.py", run=run.id))
    (table,) = at.dataframe
    expected = [one.texts for one in load_run_task(config).test]
    answers = table.value["input" if config.table.target else "text"]
    assert {*answers} <= {" | ".join(one) for one in expected}
    assert len(table.value) == 4
    (say,) = [one for one in at.text_input if one.key == "say"]
    assert say.placeholder == "premise | hypothesis"


def test_a_comparison_is_the_one_of_its_command(page: Page, pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = {"methods": "prompt-tuning,p-tuning-v2", "m": "5", "seeds": "2"}
    at = open_form(page, pairs, "tiny-decoder", "compare/compare_methods.py", **more)
    for label, value in PAIR_FORM.items():
        choose(at, label, value)
    commands = [one.value for one in at.code if one.value.startswith("ptviz compare")]
    (command,) = [one for one in commands if "--references" not in one]  # the others train the references
    at.button(key="comparison-start").click().run()
    assert not at.exception
    assert run_in_shell([*shlex.split(command)[1:], "--dry-run"]) == 0
    assert "4 runs: 4 already queued or training" in capsys.readouterr().err


def test_long_prompts_and_texts_are_shortened() -> None:
    from ptviz.tasks.layout_preview import LayoutPiece

    pieces = [LayoutPiece("prompt", "", 100), LayoutPiece("field", "x" * 10_000, 9, "text", "y" * 10_000, 9)]
    shown = example_html(pieces, "z" * 10_000)
    assert len(shown) < 8000
    assert ">P1<" in shown
    assert ">P100<" in shown
    assert ">P60<" not in shown


def test_the_first_rows_and_the_size_of_each_class_are_shown(page: Page, pairs: Path) -> None:
    at = open_form(page, pairs, text="premise", label="same")
    (rows,) = [one.value for one in at.dataframe if list(one.value.columns) == ["premise", "same"]]
    assert len(rows) == 5
    assert rows.iloc[1].tolist() == ["a <b>first</b> text 1", "yes"]
    assert "40 examples in 2 classes: no (20), yes (20)" in texts(at)


def test_of_a_large_file_the_beginning_is_read(page: Page, pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_editor, "_WHOLE_BYTES", 10)
    monkeypatch.setattr(task_editor, "_BEGINNING_ROWS", 7)
    monkeypatch.setattr(task_editor, "load_task", None)  # A whole reading would fail.
    at = open_form(page, pairs, text="premise", label="same")
    assert "7 examples in 2 classes: no (4), yes (3)" in texts(at)
    assert "all of it is read when a run starts" in texts(at)
    at = open_form(page, pairs, text="premise", label="hypothesis")
    assert "7 examples in 7 classes" in texts(at)


def test_a_table_that_was_changed_is_said_before_a_run_goes_on(page: Page, store: Store, pairs: Path) -> None:
    training = TrainConfig(steps=2, batch=4, validation_rows=4, test_rows=4)
    config = RunConfig("tiny-encoder", str(pairs), "prompt-tuning", {"m": 3}, training, text="premise", label="same")
    run = store.create(config)
    execute_run(run.path)
    pairs.write_text(pairs.read_text().replace("second", "third"))
    at = page("train/watch.py", run=run.id)
    at.button(key="extend by these steps").click().run()
    assert "pairs.csv has changed since. Restore the old content, or start a new run on the new one" in texts(at)
    assert (run.status().state, run.config.training.steps) == ("finished", 2)
