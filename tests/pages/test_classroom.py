"""The pages of a classroom, as two visitors and their teacher see them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from ptviz.classroom import queue_places
from ptviz.classroom.access import Visitor, load_keys
from ptviz.classroom.rules import CLASSROOM_VARIABLE, ClassroomRules
from ptviz.classroom.visitor_executor import VisitorExecutor
from ptviz.plots.survey import build_coloured_taxonomy
from ptviz.runs import Run, RunConfig, Store, StoreError
from ptviz.runs.default_store import default_store
from ptviz.runs.saved_prompts import save_prompt
from ptviz.training import TrainConfig
from ptviz.ui import backend, classroom
from ptviz.ui.backend import get_store, run_in_thread
from ptviz.ui.navigation import SOURCES_PARAM, form_query_params
from tests.app_server import ROOT

PATHS = sorted(str(path.relative_to(ROOT / "pages")) for path in (ROOT / "pages").glob("*/*.py"))
ANNA, BORIS, TEACHER = Visitor("a1" * 8), Visitor("b2" * 8), Visitor("", is_teacher=True)
Enter = Callable[[Visitor], None]


class QuietVisitorExecutor(VisitorExecutor):
    """The visitor's executor without a worker process."""

    def ensure_worker(self) -> None:
        """No process in these tests."""


@pytest.fixture
def enter(home: Path, monkeypatch: pytest.MonkeyPatch) -> Enter:
    """Open a classroom, and say who looks at the pages from now on."""
    rules = ClassroomRules(max_steps=100, backbones=("tiny-encoder", "tiny-decoder"), max_runs=3)
    monkeypatch.setenv(CLASSROOM_VARIABLE, rules.to_text())
    monkeypatch.setattr(backend, "VisitorExecutor", QuietVisitorExecutor)
    monkeypatch.setattr(queue_places, "_known", {})
    backend.clear_caches()

    def say(visitor: Visitor) -> None:
        monkeypatch.setattr(classroom, "_cookie", lambda name: load_keys().sign(visitor))

    return say


@pytest.fixture
def store(home: Path) -> Store:
    """The store with all runs, in which a test says whose one is."""
    return Store(home / "runs")


@pytest.fixture
def runs(enter: Enter, make_run: Callable[..., Run], store: Store) -> dict[str, Run]:
    """A finished run of each visitor, one of the teacher's, and one that she shares."""
    found = {}
    for name, owner in (("annas", ANNA.id), ("boris", BORIS.id), ("private", ""), ("common", "")):
        store.owner = owner
        found[name] = make_run("finished", name=name, backbone="tiny-encoder")
    store.owner = ""
    store.annotate(found["common"].id, shared=True)
    return found


def words(at: AppTest) -> str:
    assert not at.exception, at.exception
    return "\n".join(
        str(one.value)
        for kind in ("text", "markdown", "caption", "title", "header", "subheader")
        for one in at.get(kind)
    )


def test_each_sees_her_own_and_the_shared_runs(page: Callable[..., AppTest], runs: dict[str, Run], enter: Enter):
    for visitor, seen in ((ANNA, {"annas", "common"}), (BORIS, {"boris", "common"}), (TEACHER, set(runs))):
        enter(visitor)
        for path in ("home.py", "train/runs.py"):
            at = page(path)
            shown = {name for name in runs if name in words(at)} if path == "home.py" else set(table_names(at))
            assert shown == seen, f"{visitor.label} on {path}"
        assert visitor.label in words(page()) or visitor.is_teacher


def table_names(at: AppTest) -> list[str]:
    assert not at.exception, at.exception
    (frame,) = [one.value for one in at.dataframe if "Run" in one.value]
    return list(frame["Run"])


@pytest.mark.parametrize(
    "path", ["train/watch.py", "look/embeddings.py", "look/decompositions.py", "look/routing.py", "look/attention.py"]
)
def test_a_guessed_run_is_unknown(page: Callable[..., AppTest], runs: dict[str, Run], enter: Enter, path: str):
    enter(ANNA)
    for name in ("boris", "private"):
        at = page(path, run=runs[name].id)
        assert f"there is no run '{runs[name].id}'" in words(at)
        assert "Did you mean" not in words(at)
    assert "there is no run" not in words(page(path, run=runs["annas"].id))


def test_plots_and_threads_look_runs_up_as_the_visitor(runs: dict[str, Run], enter: Enter):
    enter(ANNA)
    assert {run.name for run in default_store().list()} == {"annas", "common"}
    with pytest.raises(StoreError, match="there is no run"):
        default_store().get(runs["boris"].id)
    found = run_in_thread(lambda: {run.name for run in get_store().list()}).result(60)
    assert found == {"annas", "common"}


def test_a_figure_over_all_runs_takes_only_the_visitors(enter: Enter, make_run: Callable[..., Run], store: Store):
    store.owner = BORIS.id
    make_run("finished", backbone="tiny-encoder", method="dept")
    tree = {}
    for visitor in (ANNA, BORIS):
        enter(visitor)
        tree[visitor] = [leaf.value for leaf in build_coloured_taxonomy("accuracy", "tiny-encoder", "").root.methods()]
    assert not any(value is not None for value in tree[ANNA])
    assert any(value is not None for value in tree[BORIS])


def test_the_form_offers_what_the_rules_allow(page: Callable[..., AppTest], enter: Enter, store: Store):
    enter(ANNA)
    at = page("train/new_run.py")
    assert len(at.selectbox(key="backbone").options) == 2
    assert at.number_input(key="steps").max == 100
    assert at.number_input(key="source_steps").max == 100
    assert at.number_input(key="batch").max == 64
    assert "from the Hub" not in str(at.get("button_group")[0].proto)
    assert "On this machine" not in words(at)
    at.button(key="start").click().run()
    (run,) = store.queued_runs()
    assert run.annotations.owner == ANNA.id
    assert "Next in the queue, at once." in words(at)


def test_a_link_past_the_rules_starts_nothing(page: Callable[..., AppTest], enter: Enter, store: Store):
    enter(ANNA)
    at = page("train/new_run.py", backbone="other", other="google-bert/bert-base-uncased", steps="5000")
    if [button for button in at.button if button.key == "start"]:
        at.button(key="start").click().run()
    assert all(run.config.backbone == "tiny-encoder" and run.config.training.steps <= 100 for run in store.list())
    hub = page("train/new_run.py", **{"from": "from the Hub", "hub": "ag_news"})
    assert not hub.exception
    assert "Hub id" not in words(hub)


def test_the_large_button_keeps_to_the_rules(page: Callable[..., AppTest], enter: Enter, store: Store):
    enter(ANNA)
    at = page()
    at.button(key="start-usual").click().run()
    (run,) = store.queued_runs()
    assert (run.config.backbone, run.config.training.steps) == ("tiny-encoder", 100)


def test_the_queue_tells_place_and_time(
    page: Callable[..., AppTest], enter: Enter, store: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(queue_places, "_estimate", lambda store, runs: [90.0] * len(runs))
    ids = []
    for owner in (BORIS.id, BORIS.id, ANNA.id):
        store.owner = owner
        ids.append(store.create(RunConfig("tiny-encoder", name=f"of-{owner[:2]}"), queued=True).id)
    enter(ANNA)
    assert "Position 2 of 3 in the queue; it begins in about 1 min 30 s" in words(page("train/watch.py", run=ids[2]))
    listed = words(page("train/runs.py"))
    assert "of-a1: position 2 of 3 in the queue; it begins in about 1 min 30 s" in listed
    assert "of-b2" not in listed


def test_nobody_changes_what_is_not_hers(page: Callable[..., AppTest], runs: dict[str, Run], enter: Enter):
    enter(ANNA)
    at = page("train/watch.py", run=runs["common"].id)
    labels = {button.label for button in at.button}
    assert "Replay" in labels
    assert not labels & {"Stop", "Resume", "Extend by these steps"}
    shared = page("train/runs.py", pick=runs["common"].id)
    assert not {"Delete run", "Pin", "Share"} & {button.label for button in shared.button}
    own = page("train/runs.py", pick=runs["annas"].id)
    assert {"Delete run", "Pin"} <= {button.label for button in own.button}
    assert "Share" not in {button.label for button in own.button}


def test_the_teacher_sees_whose_a_run_is_and_shares_it(
    page: Callable[..., AppTest], runs: dict[str, Run], enter: Enter
):
    enter(TEACHER)
    at = page("train/runs.py", pick=runs["annas"].id)
    (frame,) = [one.value for one in at.dataframe if "Run" in one.value]
    assert dict(zip(frame["Run"], frame["Visitor"], strict=True)) == {
        "annas": "a1a1", "boris": "b2b2", "private": "—", "common": "—, shared"
    }  # fmt: skip
    at.button(key="share").click().run()
    assert runs["annas"].annotations().shared
    enter(BORIS)
    assert "annas" in table_names(page("train/runs.py"))


def everything(at: AppTest) -> str:
    """All that a page sends to the browser, as text."""
    assert not at.exception, at.exception
    nodes, found = [at._tree], []
    while nodes:
        node = nodes.pop()
        found.append(str(getattr(node, "proto", "")))
        nodes += getattr(node, "children", {}).values()
    return "\n".join(found)


@pytest.mark.parametrize("path", ["home.py", *PATHS])
def test_a_visitor_sees_nothing_of_others_and_of_the_machine(
    page: Callable[..., AppTest], runs: dict[str, Run], gallery: Path, enter: Enter, store: Store, path: str
):
    save_prompt(store.prompts_folder, {"embeddings": torch.ones(2, 32)}, "the teacher's", "tiny-encoder", None, {})
    enter(ANNA)
    sent = everything(page(path))
    places = {str(folder) for folder in (store.root.parent, Path.home(), Path(sys.prefix), ROOT)}
    assert not [sent[at - 200 : at + 100] for place in places if (at := sent.find(place)) >= 0]
    assert not [name for name in ("boris", "private") if runs[name].id in sent or f'"{name}"' in sent]
    assert "the teacher's" not in sent
    assert not re.search(r'label: "(Measure \d|Train LoRA|Train full|Fetch )', sent)


def test_paths_on_the_teachers_computer_are_off(page: Callable[..., AppTest], enter: Enter, tmp_path: Path):
    np.save(tmp_path / "p.npy", np.ones((3, 8), dtype=np.float32))
    (tmp_path / "rows.csv").write_text("text,label\nsecret words,yes\n")
    enter(ANNA)
    for path, address in (
        ("open/checkpoint.py", {"path-a": str(tmp_path / "p.npy")}),
        ("open/checkpoint.py", {"path-a": "hub:someone/adapter"}),
        ("compare/transfer.py", {"library": str(tmp_path / "p.npy")}),
        ("train/new_run.py", {"from": "my own table", "path": str(tmp_path / "rows.csv")}),
        ("train/new_run.py", {"from": "my own table", "path": f"upload:../../../{tmp_path.name}/rows.csv"}),
    ):
        at = page(path, confirm=False, **address)
        shown = words(at)
        assert not [button for button in at.button if button.label in ("Open it", "Fetch it")], address
        assert "bare tensor" not in shown
        assert "secret words" not in shown
    assert "Off in a classroom" in words(page("open/checkpoint.py"))


def test_without_a_valid_cookie_there_is_nothing(
    page: Callable[..., AppTest], runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(classroom, "_cookie", lambda name: "teacher.forged")
    assert table_names(page("train/runs.py")) == ["common"]
    at = page()
    at.button(key="start-usual").click().run()
    assert "needs a visitor" in words(at)


def test_without_a_classroom_nothing_is_said_of_it(page: Callable[..., AppTest], make_run: Callable[..., Run]):
    run = make_run("queued")
    assert "All data stays on this computer" in words(page())
    assert "in the queue" not in words(page("train/watch.py", run=run.id))
    at: Any = page("train/runs.py", pick=run.id)
    assert "Visitor" not in at.dataframe[0].value
    assert "Share" not in {button.label for button in at.button}


def test_the_form_of_a_visitor_names_what_a_duplicated_run_may_not_have(
    page: Callable[..., AppTest], enter: Enter, tmp_path: Path
) -> None:
    enter(ANNA)
    table = tmp_path / "mine.csv"
    table.write_text("text,label\n")
    config = RunConfig("tiny-encoder", "sms", "attempt", sources=(str(table), "trec6"))
    at = page("train/new_run.py", **form_query_params(replace(config, training=TrainConfig(steps=5000))))
    assert "sources: expected tasks that are on this machine; got" in words(at)
    assert "steps: expected at most 100 in this classroom; got 5,000" in words(at)
    assert at.multiselect(key=SOURCES_PARAM).value == ["trec6"]
    assert not [button for button in at.button if button.label == "Open it"]
