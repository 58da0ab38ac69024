"""Every page with a run whose answers are generated texts, or choices of each example."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from ptviz.engine.train_job import execute_run
from ptviz.executors.local import LocalExecutor
from ptviz.plots import (
    edited_texts_table,
    plot_low_rank_accuracy,
    plot_routing_temperatures,
    plot_training,
    samples_table,
)
from ptviz.reports.run_report import run_report
from ptviz.runs import Run, RunConfig, Status, Store, StoreError
from ptviz.training import TrainConfig
from ptviz.ui.train.samples import samples_html
from ptviz.worker.directory import WorkerDir
from ptviz.worker.partial_texts import partial_texts
from tests.app_server import HANGS_SECONDS
from tests.pages.conftest import QuietExecutor
from tests.pages.run_pages import figures, settled, wait_for, well
from tests.pages.snippets import redrawn
from tests.text_tasks import offer_tasks

Page = Callable[..., AppTest]
pytestmark = pytest.mark.usefixtures("answered")
PAGES = (
    "home.py", "train/watch.py", "train/runs.py", "look/embeddings.py", "look/decompositions.py", "look/routing.py",
    "look/attention.py", "compare/compare_methods.py", "compare/transfer.py", "open/checkpoint.py", "train/new_run.py",
)  # fmt: skip
SETTINGS = TrainConfig(steps=4, snapshot_every=2, evaluate_every=2, batch=4, validation_rows=8, test_rows=8, lr=0.05)


@pytest.fixture
def write_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """A real run of four steps on a task without classes."""
    offer_tasks(monkeypatch)

    def make(task: str = "seer", method: str = "prompt-tuning", backbone: str = "tiny-decoder") -> Run:
        run = store.create(RunConfig(backbone, task, method, training=SETTINGS))
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
    at.button(key="measure-forced-routing").click().run()
    at = well(settled(at))
    assert any(name.endswith("-forced-loss") for name in figures(at))


def written(at: AppTest) -> AppTest:
    """The page once the worker has written."""
    request = at.session_state["written"][1]
    wait_for(request.answer.done)
    return well(at.run())


class SlowWorker:
    """Answers a request with the text of its input, letter by letter, when the test says so."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.letters: dict[str, SimpleQueue[int]] = {}
        self.failed: list[str] = []

        other = QuietExecutor.ask

        def ask(executor: LocalExecutor, kind: str, run: str = "", *, stream: str = "", **question: Any):
            if not stream:
                return other(executor, kind, run, **question)
            (text,) = question["texts"]
            self.asked.append(text)
            steps = self.letters.setdefault(text, SimpleQueue())
            try:
                with partial_texts(store, stream) as on_text:
                    assert on_text is not None
                    for side in ("with", "without"):
                        for length in range(1, 1 + len(text)):
                            steps.get(timeout=HANGS_SECONDS)
                            on_text(side, f"{side}: {text[:length]}")
            except StoreError as error:
                self.failed.append(str(error))
                raise
            answer = {side: [f"{side}: {text}"] for side in ("with", "without")}
            return {**answer, "classes": [], "stage": 0, "step": 4, "template": "{prompt}{text}"}

        monkeypatch.setattr(QuietExecutor, "ask", ask)

    def let(self, text: str, letters: int) -> None:
        """Write some more letters of a text that is being written."""
        wait_for(lambda: text in self.letters)
        for _ in range(letters):
            self.letters[text].put(1)


@pytest.fixture
def slow_worker(store: Store, monkeypatch: pytest.MonkeyPatch, answered: None) -> SlowWorker:
    return SlowWorker(store, monkeypatch)


def texts_of(at: AppTest) -> list[str]:
    """The two texts on the page, without the cursor of the one that is being written."""
    return [one.value.strip("▌") for one in at.text if one.value.startswith(("with", "▌"))]


def test_a_typed_text_is_answered_by_written_texts(page: Page, write_run: Callable[..., Run]):
    at = page("train/watch.py", run=write_run().id)
    at.text_input(key="say").set_value("the cat sees the dog").run()
    at = written(at)
    captions = [one.value for one in at.caption]
    assert "Without the prompt" in captions
    assert any(one.startswith("With the prompt of step") for one in captions)
    assert not any(name.endswith("-answers") for name in figures(at))
    assert not [one for one in at.button if one.key == "generate-again"], "a run that has ended changes no more"


def test_a_text_is_shown_while_it_is_written(
    page: Page, write_run: Callable[..., Run], store: Store, slow_worker: SlowWorker
):
    at = page("train/watch.py", run=write_run().id, say="abc")
    for letters, shown in ((2, ["", "with: ab"]), (2, ["without: a", "with: abc"])):
        slow_worker.let("abc", letters)
        wait_for(lambda shown=shown: texts_of(at.run()) == shown)
    slow_worker.let("abc", 2)
    assert texts_of(written(at)) == ["without: abc", "with: abc"]
    assert slow_worker.asked == ["abc"]
    assert not list(WorkerDir.of_store(store.root).requests.folder.glob("*.partial"))


def test_a_second_text_ends_the_first_and_does_not_mix_with_it(
    page: Page, write_run: Callable[..., Run], slow_worker: SlowWorker
):
    at = page("train/watch.py", run=write_run().id, say="abc")
    slow_worker.let("abc", 1)
    wait_for(lambda: texts_of(at.run()) == ["", "with: a"])
    at.text_input(key="say").set_value("xyz").run()
    assert texts_of(at) == ["", ""]
    slow_worker.let("abc", 1)
    slow_worker.let("xyz", 2)
    wait_for(lambda: texts_of(at.run()) == ["", "with: xy"])
    assert wait_for(lambda: slow_worker.failed) == ["the text is not needed any more"]
    slow_worker.let("xyz", 4)
    assert texts_of(written(at)) == ["without: xyz", "with: xyz"]


def test_try_it_on_a_checkpoint_streams_too(page: Page, slow_worker: SlowWorker, tmp_path: Path):
    np.save(tmp_path / "p.npy", np.ones((3, 32), np.float32))
    at = page("open/checkpoint.py", ground="tiny-decoder", **{"path-a": str(tmp_path / "p.npy")})
    at.text_area(key="try-text-a").input("abc")
    next(one for one in at.button if one.label == "Write").click().run()
    slow_worker.let("abc", 2)
    wait_for(lambda: texts_of(at.run()) == ["", "with: ab"])
    at.text_area(key="try-text-a").input("xy")
    next(one for one in at.button if one.label == "Write").click().run()
    slow_worker.let("abc", 1)
    assert wait_for(lambda: slow_worker.failed) == ["the text is not needed any more"]
    slow_worker.let("xy", 4)
    wait_for(at.session_state["tried-a"][1].answer.done)
    assert texts_of(well(at.run())) == ["without: xy", "with: xy"]


def test_a_reload_writes_a_text_of_its_own(page: Page, write_run: Callable[..., Run], slow_worker: SlowWorker):
    run = write_run().id
    first, second = page("train/watch.py", run=run, say="abc"), page("train/watch.py", run=run, say="abc")
    wait_for(lambda: slow_worker.asked == ["abc", "abc"])
    slow_worker.let("abc", 12)
    assert texts_of(written(first)) == texts_of(written(second)) == ["without: abc", "with: abc"]


def test_nothing_is_written_again_during_training_unless_asked_for(
    page: Page, write_run: Callable[..., Run], slow_worker: SlowWorker, monkeypatch: pytest.MonkeyPatch
):
    run, snapshots = write_run(), Run.snapshots
    monkeypatch.setattr(Run, "status", lambda self: Status("running", 4, 4))
    monkeypatch.setattr(Run, "snapshots", lambda self: snapshots(self)[:2])
    at = page("train/watch.py", run=run.id, say="ab")
    slow_worker.let("ab", 4)
    at = written(at)
    assert at.button(key="generate-again").disabled, "the newest prompt has written it"
    monkeypatch.setattr(Run, "snapshots", snapshots)
    at.run()
    assert texts_of(at) == ["without: ab", "with: ab"]
    assert slow_worker.asked == ["ab"]
    at.button(key="generate-again").click().run()
    assert texts_of(at) == ["", ""]
    slow_worker.let("ab", 4)
    assert texts_of(written(at)) == ["without: ab", "with: ab"]
    assert slow_worker.asked == ["ab", "ab"]


def test_samples_show_what_was_written_at_each_step(page: Page, write_run: Callable[..., Run]):
    run = write_run()
    at = well(settled(page("train/watch.py", run=run.id)))
    history = run.history()
    assert history.baselines is not None
    assert samples_html(samples_table(run)) in [one.value for one in at.get("html")]
    assert any("its texts mean nothing" in one.value for one in at.caption)
    assert [row["with prompt"] for row in samples_table(run)] == list(history.evaluations[-1].written)
    assert [row["without prompt"] for row in samples_table(run)] == list(history.baselines.unprompted)
    at.select_slider(key="samples-at").set_value("0").run()
    assert samples_html(samples_table(run, step=0)) in [one.value for one in well(settled(at)).get("html")]
    assert [row["with prompt"] for row in samples_table(run, step=0)] == list(history.evaluations[0].written)
    assert f"{run.id}-perplexity" in figures(at)
    assert samples_table(run, step=0)[0]["reference"] == history.baselines.references[0]
    with pytest.raises(ValueError, match="expected one of the steps 0, 2, 4; got 1"):
        samples_table(run, step=1)


@pytest.mark.parametrize("backbone", ["tiny-decoder", "tiny-encoder-decoder"])
def test_texts_before_and_after_an_edit(page: Page, write_run: Callable[..., Run], backbone: str):
    run = write_run(backbone=backbone)
    at = settled(page("look/embeddings.py", run=run.id))
    at = settled(at.button(key="operate").click().run())
    assert not [one for one in at.get("html") if "ptviz-texts" in one.value], "nothing is edited yet"
    tokens = [*range(len(at.multiselect(key="cut-tokens").options) - 1)]
    at.multiselect(key="cut-tokens").set_value(tokens).run()
    at = well(settled(at.button(key="apply").click().run()))
    edits = [{"kind": "ablate", "tokens": tokens}]
    rows = edited_texts_table(run, edits, step=at.session_state["patient"]["step"])
    changed = [row for row in rows if row["changed"]]
    (shown,) = [one.value for one in at.get("html") if "ptviz-texts" in one.value]
    assert len(rows) == 8
    assert changed, "a prompt of one token writes something else"
    assert shown.count("≠ changed") == len(changed)
    assert shown.count("<mark>") >= len(changed)
    assert {metric.label: metric.value for metric in at.metric}["Changed texts"] == f"{len(changed)} of 8"
    at = well(settled(at.button(key="faithful").click().run()))
    labels = [metric.label for metric in at.metric]
    assert labels.count("Changed texts") == 2, "of the edits, and of the nearest words"
    assert "Changed predictions" not in labels
    at.toggle(key="cut-unchanged").set_value(True).run()
    (shown,) = [one.value for one in well(settled(at)).get("html") if "ptviz-texts" in one.value]
    assert shown.count("= unchanged") == 8 - len(changed)


@pytest.mark.parametrize(
    ("backbone", "method"), [("tiny-decoder", "prompt-tuning"), ("tiny-encoder-decoder", "p-tuning-v2")]
)
def test_the_written_text_token_by_token(page: Page, write_run: Callable[..., Run], backbone: str, method: str):
    run = write_run(backbone=backbone, method=method)
    at = well(settled(page("look/attention.py", run=run.id, own="the cat sees the dog")))
    assert not any("written" in name for name in figures(at)), "nothing is written before it is asked for"
    at = well(settled(at.button(key="measure-written").click().run()))
    shown = figures(at)
    before = shown[f"{run.id}-written"]
    rows = before["layout"]["yaxis"]["ticktext"]
    assert rows
    assert shown[f"{run.id}-written-lens"]["layout"]["xaxis"]["ticktext"] == rows
    assert len(before["layout"]["xaxis"]["ticktext"]) == len(at.multiselect(key="brush").options)
    at.selectbox(key="written-head").set_value("1").run()
    assert figures(well(settled(at)))[f"{run.id}-written"] != before
    at.selectbox(key="written-site").set_value(at.selectbox(key="written-site").options[-1]).run()
    well(settled(at))
    at.toggle(key="written-rest").set_value(True).run()
    cells = figures(well(settled(at)))[f"{run.id}-written"]["data"][0]["z"]
    values = np.frombuffer(base64.b64decode(cells["bdata"]), np.float32).reshape(len(rows), -1)
    assert np.isnan(values).sum(1).tolist() == [1] * len(rows), "the largest column is blank"
    assert {f"{run.id}-written", f"{run.id}-written-lens"} <= redrawn(at)


def test_only_texts_that_are_written_have_a_panel_of_their_tokens(page: Page, write_run: Callable[..., Run]):
    at = well(settled(page("look/attention.py", run=write_run("who").id)))
    assert "measure-written" not in [one.key for one in at.button]


def test_a_run_on_classes_has_no_samples(page: Page, make_run: Callable[..., Run]):
    run = make_run("finished")
    assert samples_table(run) == []
    assert not any(name.endswith("-perplexity") for name in figures(page("train/watch.py", run=run.id)))


def test_the_report_says_of_texts_what_the_page_says(page: Page, write_run: Callable[..., Run]):
    run = write_run()
    said = [one.value for one in well(page("train/watch.py", run=run.id)).text]
    (errors,) = [part for part in run_report(run).sections if part.title == "Errors on the test set"]
    assert [line for line in errors.sentences if line in said] == errors.sentences[1:]
    assert "outputs equal a reference" in errors.sentences[0]
    assert "score higher" in errors.sentences[1]


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


@pytest.mark.parametrize(("task", "noun"), [("seer", "share of exact texts"), ("who", "accuracy")])
def test_probes_name_the_right_answers_they_count(write_run: Callable[..., Run], task: str, noun: str):
    run = write_run(task, "smop")
    ranks = {"ranks": [1, 2], "accuracy": [0.1, 0.2], "loss": [2.0, 1.0], "errors": [0.5, 0.0], "rows": 8}
    assert noun in [trace.name for trace in plot_low_rank_accuracy(run, answer=ranks).data]
    tempered = {"factors": [0.0, 1.0], "accuracy": [0.1, 0.2], "loss": [2.0, 1.0], "rows": 8}
    assert plot_routing_temperatures(run, answer=tempered).layout.yaxis.title.text == noun
