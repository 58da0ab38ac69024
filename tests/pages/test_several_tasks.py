"""The pages with a run that trained several target tasks at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from ptviz.engine.train_job import execute_run
from ptviz.plots import plot_training
from ptviz.runs import Run, RunConfig, Store
from ptviz.training import TrainConfig
from tests.pages.run_pages import figures, settled, well
from tests.text_tasks import offer_tasks

Page = Callable[..., AppTest]
pytestmark = pytest.mark.usefixtures("answered")
SETTINGS = TrainConfig(
    steps=4, source_steps=2, snapshot_every=2, evaluate_every=2, batch=6, validation_rows=8, test_rows=8, lr=0.05
)


@pytest.fixture
def several(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """A real run of four steps on target texts and on choices."""
    offer_tasks(monkeypatch)
    source = tmp_path / "source.csv"
    source.write_text("text,label\n" + "".join(f"a book of {i},paper\na town of {i},stone\n" for i in range(20)))
    config = RunConfig(
        "tiny-decoder", "seer", "attempt", {"m": 4}, SETTINGS, sources=(str(source),), more_tasks=("who",)
    )
    run = store.create(config)
    execute_run(run.path)
    assert run.status().state == "finished", run.status().reason
    return run


@pytest.mark.parametrize(
    "path",
    ["train/watch.py", "look/embeddings.py", "look/decompositions.py", "look/routing.py", "look/attention.py"],
)
def test_every_page_opens(page: Page, several: Run, path: str):
    at = well(settled(page(path, run=several.id)))
    if path.startswith("look"):
        assert at.selectbox(key="look-run").value == f"{several.id}@seer"
        well(settled(page(path, run=f"{several.id}@who")))


@pytest.mark.parametrize("path", ["home.py", "train/runs.py", "compare/compare_methods.py", "compare/transfer.py"])
def test_lists_take_the_run(page: Page, several: Run, path: str):
    well(settled(page(path)))


def test_watch_shows_the_mean_and_each_task(page: Page, several: Run):
    at = well(settled(page("train/watch.py", run=several.id)))
    assert any("tasks Who sees, Who, seed 0" in text.value for text in at.text)
    [scores] = [table.value for table in at.table]
    assert list(scores["Metric"]) == ["exact match", "accuracy"]
    axes = figures(at)[f"{several.id}-curves"]["layout"]
    assert axes["yaxis"]["title"]["text"] == "validation mean score"
    at.segmented_control(key="target").set_value("seer")
    at = well(settled(at.run()))
    assert figures(at)[f"{several.id}@seer-curves"]["layout"]["yaxis"]["title"]["text"] == "validation exact match"
    assert any(title.value == "Samples" for title in at.header)
    assert not at.table


def test_the_curve_of_the_mean_has_a_line_for_each_task(several: Run):
    names = [trace.name for trace in plot_training(several).data]
    assert {"seer", "who"} <= set(names)


def test_the_form_takes_several_tasks(page: Page):
    at = well(page("train/new_run.py", method="mpt", task="sms", more="trec6"))
    assert at.multiselect(key="more").value == ["trec6"]
    assert any("--task sms,trec6" in code.value for code in at.code)
    at = well(page("train/new_run.py", method="dept", task="sms"))
    assert not [box for box in at.multiselect if box.key == "more"]
