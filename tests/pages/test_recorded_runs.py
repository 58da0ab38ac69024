"""A fresh home: every page opens on the recorded runs, which stay apart from the reader's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from ptviz.experiments.sample_checkpoints import SAMPLES, list_samples
from ptviz.runs import Run, Store
from ptviz.runs.recorded_runs import recorded_run, recorded_runs
from ptviz.ui.page_benchmark import PAGE_PARAMETERS

pytestmark = pytest.mark.usefixtures("gallery")
Page = Callable[..., AppTest]
NOTHING_RECORDED = ("compare/peft_benchmark.py", "compare/sweep.py")
"""Pages whose files or settings are the reader's own."""
FIRST = "recorded-trec6-minilm-l6-prompt-tuning-0"


def words(app: AppTest) -> str:
    return " ".join(str(element.value) for kind in ("markdown", "caption", "text") for element in app.get(kind))


@pytest.mark.parametrize("path", [path for path in PAGE_PARAMETERS if path not in NOTHING_RECORDED])
def test_no_page_is_empty_on_a_fresh_home(page: Page, path: str) -> None:
    app = page(path)
    assert not app.exception
    assert not app.error
    said = words(app).lower()
    for empty in ("no run yet", "no run to inspect", "no finished run", "no checkpoint opened", "no run with these"):
        assert empty not in said or path == "home.py"


def test_the_switch_hides_them(page: Page) -> None:
    app = page("train/watch.py")
    assert app.query_params["run"] == FIRST
    app.query_params.clear()
    app.toggle(key="recorded").set_value(False).run()
    assert "No run yet" in words(app)


def test_own_runs_come_first_and_recorded_ones_are_labelled(page: Page, make_run: Callable[..., Run]) -> None:
    finished = make_run()
    app = page("look/embeddings.py")
    box = app.selectbox(key="look-run")
    assert box.value == finished.id
    assert not box.options[0].startswith("recorded")
    assert all(option.startswith("recorded (") for option in box.options[1:])
    assert len(box.options) == 1 + len(recorded_runs())


def test_a_recorded_run_offers_nothing_that_would_change_it(page: Page) -> None:
    app = page("train/watch.py", run=FIRST)
    labels = [button.label for button in app.button]
    assert "Extend by these steps" not in labels
    assert "Start the branch" in labels


def test_the_comparison_takes_recorded_runs_only_while_there_are_none_of_ones_own(page: Page, store: Store) -> None:
    app = page("compare/compare_methods.py", seeds="1")
    assert app.toggle(key="with-recorded-True").value
    store.create(recorded_run("prompt-tuning").config)
    app = page("compare/compare_methods.py", seeds="1")
    assert not app.toggle(key="with-recorded-False").value


def test_sample_checkpoints_open_with_one_click(page: Page) -> None:
    assert [path.name for path in list_samples().values()] == [*SAMPLES]
    app = page("open/checkpoint.py")
    app.button(key="sample-prompts.npz").click().run()
    assert not app.error
    assert app.text_input(key="path-a").value == "recorded:prompts.npz"
    assert "collection of prompts" in words(app)
