"""Every page with a run whose answers are written texts, or choices of each example."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from ptviz.engine.train_job import execute_run
from ptviz.plots import plot_training, samples_table
from ptviz.runs import Run, RunConfig, Store
from ptviz.training import TrainConfig
from ptviz.ui.train.samples import samples_html
from tests.pages.run_pages import figures, settled, wait_for, well
from tests.text_tasks import offer_tasks

Page = Callable[..., AppTest]
pytestmark = pytest.mark.usefixtures("answered")
PAGES = (
    "home.py", "train/watch.py", "train/runs.py", "look/embeddings.py", "look/decompositions.py", "look/routing.py",
    "look/attention.py", "compare/methods.py", "compare/transfer.py", "open/checkpoint.py", "train/compose.py",
)  # fmt: skip
SETTINGS = TrainConfig(steps=4, snapshot_every=2, evaluate_every=2, batch=4, validation_rows=8, test_rows=8, lr=0.05)


@pytest.fixture
def write_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """A real run of four steps on a task without classes."""
    offer_tasks(monkeypatch)

    def make(task: str = "seer", method: str = "prompt-tuning") -> Run:
        run = store.create(RunConfig("tiny-decoder", task, method, training=SETTINGS))
        execute_run(run.path)
        assert run.status().state == "finished", run.status().reason
        return run

    return make


@pytest.mark.parametrize("task", ["seer", "who"])
@pytest.mark.parametrize("path", PAGES)
def test_every_page_opens(page: Page, write_run: Callable[..., Run], path: str, task: str):
    run = write_run(task, "smop" if "routing" in path else "prompt-tuning")
    well(settled(page(path, run=run.id)))


@pytest.mark.parametrize("task", ["seer", "who"])
def test_texts_without_classes_are_routed(page: Page, write_run: Callable[..., Run], task: str):
    at = well(settled(page("look/routing.py", run=write_run(task, "smop").id)))
    names = set(figures(at))
    assert any(name.endswith("-inputs") for name in names)
    assert not any(name.endswith("-classes") for name in names)
    assert at.button_group(key="sort").options == ["expert", "certainty"]
    assert "Mutual information with the class" not in [metric.label for metric in at.metric]
    at.button(key="measure-forced").click().run()
    at = well(settled(at))
    assert any(name.endswith("-forced-loss") for name in figures(at))


def test_a_typed_text_is_answered_by_written_texts(page: Page, write_run: Callable[..., Run]):
    at = page("train/watch.py", run=write_run().id)
    at.text_input(key="say").set_value("the cat sees the dog").run()
    wait_for(lambda: at.session_state["asked"].pending is None or at.session_state["asked"].pending.done())
    at = well(at.run())
    captions = [one.value for one in at.caption]
    assert "Without the prompt" in captions
    assert any(one.startswith("With the prompt of step") for one in captions)
    assert not any(name.endswith("-answers") for name in figures(at))


def test_samples_show_what_was_written_at_each_step(page: Page, write_run: Callable[..., Run]):
    run = write_run()
    at = well(settled(page("train/watch.py", run=run.id)))
    history = run.history()
    assert history.baselines is not None
    assert samples_html(samples_table(run)) in [one.value for one in at.get("html")]
    assert [row["with prompt"] for row in samples_table(run)] == list(history.evaluations[-1].written)
    assert [row["without prompt"] for row in samples_table(run)] == list(history.baselines.unprompted)
    at.select_slider(key="samples-at").set_value("0").run()
    assert samples_html(samples_table(run, step=0)) in [one.value for one in well(settled(at)).get("html")]
    assert [row["with prompt"] for row in samples_table(run, step=0)] == list(history.evaluations[0].written)
    assert f"{run.id}-perplexity" in figures(at)
    assert samples_table(run, step=0)[0]["reference"] == history.baselines.references[0]
    with pytest.raises(ValueError, match="expected one of the steps 0, 2, 4; got 1"):
        samples_table(run, step=1)


def test_a_run_on_classes_has_no_samples(page: Page, make_run: Callable[..., Run]):
    run = make_run("finished")
    assert samples_table(run) == []
    assert not any(name.endswith("-perplexity") for name in figures(page("train/watch.py", run=run.id)))


def test_all_baselines_of_a_text_task_are_drawn(write_run: Callable[..., Run]):
    names = {trace.name for trace in plot_training(write_run()).data}
    assert any("the input copied" in name for name in names)
    assert any("4 examples in context" in name for name in names)


def test_written_texts_are_no_html():
    row = {"input": "<b>a</b>", "reference": "&", "with prompt": "<script>x</script>", "without prompt": "", "same": 1}
    made = samples_html([row])
    assert "<script" not in made
    assert "&lt;b&gt;a&lt;/b&gt;" in made
    assert "as the reference" in made
