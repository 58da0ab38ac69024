"""The form of a new run starts from the settings of another run, and says which of them it cannot take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from ptviz.runs import RunConfig, Store
from ptviz.training.config import PLANNED_STEPS_KEY, TrainConfig
from ptviz.ui.components import uploads
from ptviz.ui.navigation import SOURCES_PARAM, form_query_params
from tests.pages.run_pages import well

Page = Callable[..., AppTest]
TRANSFER = RunConfig("tiny-encoder", "sms", "attempt")
USUAL = ("tweets", "bbc", "trec6")
SETTINGS = TrainConfig(
    steps=30, batch=3, lr=0.25, optimiser="adafactor", schedule="cosine", warmup=0.2, weight_decay=0.1, clip=0.5,
    seed=4, evaluate_every=7, snapshot_every=9, patience=2, shots=6, train_rows=300, validation_rows=30, test_rows=40,
    length=48, dtype="bfloat16", source_steps=11, source_seed=5, task_temperature=2.0, backbone_dropout="on",
)  # fmt: skip


def texts(at: AppTest) -> str:
    return "\n".join(text.value for text in at.text)


def captions(at: AppTest) -> str:
    return "\n".join(caption.value for caption in at.caption)


def start(at: AppTest, store: Store) -> RunConfig:
    """Press Start, and return the config of the run that is queued."""
    assert not well(at.button(key="start").click().run()).exception
    return store.list()[0].config


def test_every_setting_of_a_run_is_taken(page: Page, store: Store) -> None:
    usual = TrainConfig()
    same = [one.name for one in fields(usual) if getattr(SETTINGS, one.name) == getattr(usual, one.name)]
    assert same == ["planned_steps"], "every setting differs from its default, so that none can be lost"
    config = replace(TRANSFER, training=SETTINGS, sources=("trec6", "banking"))
    at = well(page("train/new_run.py", **form_query_params(config)))
    assert at.multiselect(key=SOURCES_PARAM).value == ["trec6", "banking"]
    assert start(at, store) == config.checked()


def test_an_extended_run_is_trained_at_once(page: Page, store: Store) -> None:
    extended = replace(TRANSFER, training=TrainConfig(steps=30, planned_steps=20), planned=(20,))
    assert PLANNED_STEPS_KEY not in form_query_params(extended)
    at = well(page("train/new_run.py", **form_query_params(extended)))
    assert start(at, store).training == TrainConfig(steps=30)


def test_tables_and_sets_of_the_hub_stay_source_tasks(page: Page, tmp_path: Path, home: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("text,label\n" + "".join(f"a book of {i},paper\na town of {i},stone\n" for i in range(20)))
    upload = uploads.save_upload("other.csv", table.read_bytes())
    config = replace(TRANSFER, sources=(str(table), str(upload), "hub:ag_news", "glue:sst2"))
    address = form_query_params(config)
    assert str(home) not in address[SOURCES_PARAM]
    at = page("train/new_run.py", confirm=False, **address)
    assert at.multiselect(key=SOURCES_PARAM).value == [str(upload), "hub:ag_news", "glue:sst2"]
    assert f"The address of this page names {table} on this machine." in texts(at)
    at = well(at.button(key=f"open-{SOURCES_PARAM}-0").click().run())
    assert at.multiselect(key=SOURCES_PARAM).value == list(config.sources or ())


def test_a_choice_of_source_tasks_is_in_the_address(page: Page, store: Store) -> None:
    at = well(page("train/new_run.py", **form_query_params(TRANSFER)))
    box = at.multiselect(key=SOURCES_PARAM)
    assert tuple(box.value) == USUAL
    at = well(box.set_value(["trec6"]).run())
    assert at.query_params[SOURCES_PARAM] == "trec6"
    again = well(page("train/new_run.py", **form_query_params(replace(TRANSFER, sources=("trec6",)))))
    assert again.multiselect(key=SOURCES_PARAM).value == ["trec6"]
    at = well(at.multiselect(key=SOURCES_PARAM).set_value(list(USUAL)).run())
    assert SOURCES_PARAM not in at.query_params
    at = well(at.selectbox(key="task").set_value("trec6").run())
    assert "trec6" not in at.multiselect(key=SOURCES_PARAM).value, "another target has other defaults"


def test_no_source_task_means_the_default_ones_and_says_so(page: Page, store: Store) -> None:
    at = well(page("train/new_run.py", **form_query_params(TRANSFER)))
    said = f"No source task is chosen: the run learns from the default ones, {', '.join(USUAL)}."
    assert said not in captions(at)
    at = well(at.multiselect(key=SOURCES_PARAM).set_value([]).run())
    assert at.multiselect(key=SOURCES_PARAM).value == []
    assert said in captions(at)
    assert start(at, store).source_tasks() == USUAL


def test_bad_source_tasks_are_left_out_and_named(page: Page, store: Store) -> None:
    address = {**form_query_params(TRANSFER), SOURCES_PARAM: "nonsense,sms,trec6,trec6,upload:gone.csv"}
    at = page("train/new_run.py", **address)
    assert not at.exception
    assert at.multiselect(key=SOURCES_PARAM).value == ["trec6"]
    said = texts(at)
    assert "sources: expected names of tasks, as yahoo, or tables on this machine; got nonsense" in said
    assert "sources: the target sms cannot be a source of its own" in said
    assert "expected a file that was uploaded here; got upload:gone.csv" in said


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ({"source_seed": "-1"}, "source_seed: expected a number from 0 to 2.14748e+09; got -1"),
        ({"source_seed": "1.5"}, "source_seed: expected an integer; got 1.5"),
        ({"task_temperature": "warm"}, "task_temperature: expected a number; got warm"),
        ({"task_temperature": "nan"}, "task_temperature: expected a number from 0.1 to 1000; got nan"),
        ({"backbone_dropout": "maybe"}, "backbone_dropout: expected one of off, on; got maybe"),
        ({"steps": "0"}, "steps: expected a number from 1 to 1e+06; got 0"),
        ({"lr": "fast"}, "lr: expected a number; got fast"),
    ],
)
def test_a_bad_setting_is_refused_in_words(page: Page, address: dict[str, str], said: str) -> None:
    at = page("train/new_run.py", backbone="tiny-encoder", **address)
    assert not at.exception
    assert f"{said}. The form has the value that is used instead" in texts(at)
    assert said not in texts(well(at.number_input(key="batch").set_value(8).run()))


def test_good_settings_of_an_address_need_no_word(page: Page) -> None:
    address = {"source_seed": "3", "task_temperature": "10", "lr": "1e-3", "seed": "", "backbone_dropout": "on"}
    at = well(page("train/new_run.py", backbone="tiny-encoder", **address))
    assert at.number_input(key="source_seed").value == 3
    assert at.number_input(key="task_temperature").value == 10


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ({"method": "foo"}, "method: expected one of prompt-tuning, xprompt, "),
        ({"method": "foo"}, "; got foo. prompt-tuning is used instead"),
        ({"backbone": "foo"}, "; got foo. minilm-l6 is used instead"),
        ({"task": "foo"}, "; got foo. trec6 is used instead"),
        ({"place": "zzz"}, "place: expected one of prefix, infix; got zzz. prefix is used instead"),
        ({"from": "zzz"}, "from: expected a value that this page offers; got zzz. built in is used instead"),
        (
            {"prompt-tuning-m": "9999"},
            "m (prompt tokens): expected a whole number from 1 to 200; got '9999'. 10 is used instead",
        ),
        (
            {"prompt-tuning-m": "abc"},
            "m (prompt tokens): expected a whole number from 1 to 200; got 'abc'. 10 is used instead",
        ),
        ({"prompt-tuning-init": "zzz"}, "labels, uniform, normal, text; got 'zzz'. vocabulary is used instead"),
        ({"begin": "zzz"}, "this run can start from; got zzz. The method's own initialisation is used instead"),
        ({"method": "mpt", "more": "zzz"}, "more: expected a value that this page offers; got zzz. It is left out"),
    ],
)
def test_a_name_or_hyperparameter_that_cannot_be_used_is_said(page: Page, address: dict[str, str], said: str) -> None:
    at = page("train/new_run.py", **address)
    assert not at.exception
    assert said in texts(at)
    assert said not in texts(well(at.number_input(key="batch").set_value(8).run()))


def test_another_choice_makes_no_fault_of_the_address(page: Page) -> None:
    address = {"method": "mpt", "mpt-m": "7", "more": "sms", "backbone": "tiny-encoder"}
    at = well(page("train/new_run.py", **address))
    assert at.multiselect(key="more").value == ["sms"]
    at = well(at.selectbox(key="task").set_value("sms").run())
    assert at.multiselect(key="more").value == []
    well(at.selectbox(key="method").set_value("dept").run())


def test_columns_that_a_table_does_not_have_are_said(page: Page, tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("words,kind\n" + "".join(f"a book of {i},paper\na town of {i},stone\n" for i in range(20)))
    address = {"from": "my own table", "path": str(table), "backbone": "tiny-encoder"}
    at = page("train/new_run.py", **address, text="words,texts", label="class")
    assert not at.exception
    assert "text: expected columns of the table, which has words, kind; got texts. The form has the" in texts(at)
    assert "label: expected one of kind; got class. kind is used instead" in texts(at)
    well(page("train/new_run.py", **address, text="words", label="kind"))
