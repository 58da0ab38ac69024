"""The page Transfer: empty states, partly filled grids, and choices in the address."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ptviz.analysis.prompt_similarity import SIMILARITY_METRICS
from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import execute_run
from ptviz.experiments import transfer_gain, transfer_prompts, transfer_results, zero_shot_transfer
from ptviz.experiments.transfer_results import SAVED_PREFIX
from ptviz.plots import plot_transfer_curves
from ptviz.runs import Run, RunConfig, RunSummary, Store, saved_prompts
from ptviz.runs.status import Status
from ptviz.tasks import TableOptions
from ptviz.training import TrainConfig
from ptviz.ui.compare import prompt_selection, prompt_similarity, train_all_tasks
from ptviz.worker import background_experiments, background_jobs
from ptviz.worker.handlers import HandlerContext, answer_request
from tests.pages.run_pages import figures
from tests.pages.snippets import redrawn

PAGE = "compare/transfer.py"
MODEL_CACHE = ModelCache()


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("tables")
    made = []
    for name, yes, no in (("feelings", "good", "bad"), ("mail", "free", "day"), ("places", "city", "who")):
        path = folder / f"{name}.csv"
        path.write_text("text,label\n" + "".join(f"{yes} {i},{yes}\n{no} {i},{no}\n" for i in range(30)))
        made.append(path)
    return made


@pytest.fixture
def trained(store: Store, tables: list[Path]) -> Callable[..., Run]:
    def make(place: int = 0, method: str = "prompt-tuning", seed: int = 0) -> Run:
        training = TrainConfig(steps=2, batch=4, seed=seed)
        run = store.create(RunConfig("tiny-encoder", str(tables[place]), method, {"m": 3}, training))
        execute_run(run.path, MODEL_CACHE)
        return run

    return make


def texts(at) -> str:
    kinds = ("text", "caption", "markdown", "header", "subheader", "code")
    return " ".join(str(element.value) for kind in kinds for element in at.get(kind))


def cells(shown: dict) -> np.ndarray:
    """Return the values of a heat map, which plotly packs."""
    z = shown["data"][0]["z"]
    return np.frombuffer(base64.b64decode(z["bdata"]), z["dtype"]).reshape([int(n) for n in z["shape"].split(",")])


def measure(store: Store) -> None:
    runs = transfer_prompts.finished_runs(store)
    for _ in zero_shot_transfer.measure_missing(
        store, runs, transfer_prompts.target_tasks(runs), model_cache=MODEL_CACHE
    ):
        pass


def test_an_empty_store_says_what_to_do(page):
    at = page(PAGE)
    assert not at.exception
    assert "No finished run yet" in texts(at)
    assert at.button(key="start-usual")


def test_one_run_is_too_few_and_a_prefix_is_not_compared(page, trained):
    trained()
    trained(1, "prefix-tuning")
    at = page(PAGE)
    assert not at.exception
    assert "Fewer than two" in texts(at)
    assert "ptviz transfer --backbone tiny-encoder" in texts(at)


def test_the_grid_fills_and_is_correlated_with_similarity(page, trained, store):
    for place in range(3):
        trained(place)
    at = page(PAGE)
    assert not at.exception
    assert "0 of 12 cells are measured" in texts(at)
    assert "Does similarity predict" not in texts(at)
    measure(store)
    at = page(PAGE, metric="concatenated", centred="true", without="true")
    assert not at.exception
    assert "All 12 cells are measured" in texts(at)
    assert "Does similarity predict" in texts(at)
    assert figures(at)["similarity-and-transfer"]["layout"]["meta"]["alt"].startswith("6 points.")
    path = store.root / ".transfer.json"
    content = json.loads(path.read_text())
    content["cells"][0]["accuracy"] = "high"
    path.write_text(json.dumps(content))
    at = page(PAGE)
    assert "1 entry is damaged and left out" in texts(at)
    assert "11 of 12 cells are measured" in texts(at)


def test_two_columns_of_one_file_have_a_row_each(page, store, tmp_path):
    path = tmp_path / "t.csv"
    rows = [f"thing {i},{'good' if i % 2 else 'bad'},{'new' if i % 3 else 'old'}" for i in range(60)]
    path.write_text("text,mood,age\n" + "\n".join(rows) + "\n")
    for label in ("mood", "age"):
        config = RunConfig("tiny-encoder", str(path), "prompt-tuning", {"m": 3}, TrainConfig(steps=2, batch=4))
        execute_run(store.create(replace(config, text="text", label=label)).path, MODEL_CACHE)
    measure(store)
    runs = transfer_prompts.finished_runs(store)
    tasks, setting = transfer_prompts.target_tasks(runs), transfer_gain.TransferGainSettings(2)
    assert len(list(filter(None, transfer_gain.train_missing_pairs(store, runs, tasks, setting, MODEL_CACHE)))) == 4
    at = page(PAGE, steps="2")
    assert not at.exception
    assert "All 6 cells are measured" in texts(at)
    assert "All 4 trainings are done" in texts(at)
    titles = ["t (label age, text text)", "t (label mood, text text)"]
    assert figures(at)["measured-transfer"]["layout"]["yaxis"]["ticktext"] == titles
    assert at.selectbox(key="course").options == titles
    assert "Does similarity predict" in texts(at)
    assert redrawn(at) > {"measured-transfer", "gain-of-a-start", "from-source-against-from-scratch"}
    ids = [run.id for run in runs]
    with pytest.raises(ValueError, match=r"task: expected one of '.*age.*', '.*mood.*'; got '.*t\.csv'"):
        plot_transfer_curves(ids, str(path), steps=2)


def test_every_measure(page, trained):
    trained()
    trained(seed=1)
    at = page(PAGE)
    for metric in SIMILARITY_METRICS:
        at.query_params["metric"] = metric
        at.segmented_control(key="metric").set_value(metric).run()
        assert not at.exception
        assert at.session_state["metric"] == metric
        assert not [text for text in at.text if "unexpected" in text.value]


def test_selected_runs_are_in_the_address(page, trained):
    runs = [trained(place).id for place in range(3)]
    at = page(PAGE, runs=",".join(runs[:2]))
    assert at.multiselect(key="runs").value == runs[:2]
    assert f"--runs {runs[0]},{runs[1]}" in texts(at) or f"--runs {runs[1]},{runs[0]}" in texts(at)
    at.multiselect(key="runs").set_value([]).run()
    assert not at.exception
    assert "Choose at least two prompts" in texts(at)


def test_prompts_of_the_address_that_are_not_there_are_said(page, trained):
    runs = [trained(place).id for place in range(2)]
    at = page(PAGE, runs=f"foo,{runs[0]},{runs[1]}", metric="zzz")
    assert not at.exception
    assert at.multiselect(key="runs").value == runs
    assert "runs: expected ids of prompts of this backbone; got foo. The others are selected" in texts(at)
    assert "metric: expected a value that this page offers; got zzz. mean is used instead" in texts(at)
    at = page(PAGE, runs="foo,bar", backbone="zzz", steps="0")
    assert "got foo, bar. The usual prompts are selected instead" in texts(at)
    assert "backbone: expected one of tiny-encoder; got zzz. tiny-encoder is used instead" in texts(at)
    assert "steps: expected a whole number from 1 to 1,000,000; got 0. " in texts(at)


def test_a_button_queues_the_grid_of_gains_and_it_fills(page, trained, store):
    runs = [trained(place).id for place in (0, 1)]
    at = page(PAGE, steps="2")
    assert "0 of 4 trainings are done" in texts(at)
    assert "--gain --steps 2 --seeds 1" in texts(at)
    at.button(key="fill-gain").click().run()
    assert not at.exception
    order = background_jobs.current_job(store)
    assert (order.what, order.steps, sorted(order.sources)) == ("gain", 2, sorted(runs))
    assert at.button(key="stop-gain")
    assert at.button(key="fill-zero-shot").disabled
    worker = background_experiments.BackgroundExperiments(store, MODEL_CACHE)
    while worker.run_piece():
        pass
    at.run()
    assert not at.exception
    assert "All 4 trainings are done" in texts(at)
    shown = figures(at)
    assert np.isfinite(cells(shown["gain-of-a-start"])).tolist() == [[False, True], [True, False]]
    courses = [trace["name"] for trace in shown["from-source-against-from-scratch"]["data"]]
    assert courses[0] == "from scratch"
    assert len(courses) == 2
    assert "gain of the initialisation" in at.segmented_control(key="against").options


@pytest.fixture
def text_runs(store: Store, tmp_path: Path) -> list[Run]:
    """Finished runs of a decoder on two tables of target texts."""
    made = []
    for name, verb in (("walks", "walk"), ("talks", "talk")):
        path = tmp_path / f"{name}.csv"
        path.write_text("text,answer\n" + "".join(f"they {verb} {i},{verb}ed {i}\n" for i in range(24)))
        table = TableOptions(target="answer", metric="token-f1")
        config = RunConfig(
            "tiny-decoder", str(path), "prompt-tuning", {"m": 3}, TrainConfig(steps=2, batch=4), table=table
        )
        run = store.create(config)
        execute_run(run.path, MODEL_CACHE)
        made.append(run)
    return made


def test_both_grids_fill_on_texts_to_write(page, text_runs, store):
    """The buttons, the worker, and figures by the metric of the tasks."""
    background = background_experiments.BackgroundExperiments(store, MODEL_CACHE)
    at = page(PAGE, steps="2")
    assert not at.exception
    for what, done in (("zero-shot", "All 6 cells are measured"), ("gain", "All 4 trainings are done")):
        at.button(key=f"fill-{what}").click().run()
        assert not at.exception
        assert background_jobs.current_job(store).what == what
        while background.run_piece():
            pass
        assert background_jobs.current_job(store) is None, "no cell was refused"
        at.run()
        assert not at.exception
        assert done in texts(at)
    scores = transfer_results.read_transfer_scores(store).values()
    assert {one.metric for one in scores} == {"token-f1"}
    shown = figures(at)
    assert cells(shown["measured-transfer"]).shape == (2, 3)
    assert np.isfinite(cells(shown["measured-transfer"])).all()
    assert {"gain-of-a-start", "from-source-against-from-scratch"} <= set(shown)
    assert "token F1" in json.dumps(shown["from-source-against-from-scratch"])
    assert redrawn(at) >= {"measured-transfer", "gain-of-a-start"}


def test_stop_cancels_the_job(page, trained, store):
    runs = [trained(place).id for place in (0, 1)]
    background_jobs.submit_job(store, background_jobs.TransferJob("gain", tuple(runs), steps=2))
    at = page(PAGE, steps="2")
    at.button(key="stop-gain").click().run()
    assert background_jobs.current_job(store) is None
    background_jobs.submit_job(
        store, background_jobs.TransferJob("gain", tuple(runs), steps=2, problem="no room on the disk")
    )
    assert "no room on the disk" in texts(at.run())


def test_saved_and_opened_prompts_are_compared_with_runs(page, trained, store, tmp_path, hostile):
    trained()
    torch.manual_seed(0)
    saved_prompts.save_prompt(
        store.prompts_folder, {"embeddings": torch.randn(5, 32)}, hostile[:100], "tiny-encoder", None, {}
    )
    library = {"first": torch.randn(4, 32), "second": torch.randn(4, 32)}
    save_file(library, str(tmp_path / "library.safetensors"))
    at = page(PAGE, library=str(tmp_path / "library.safetensors"))
    assert not at.exception
    similar = figures(at)["similarity-mean"]
    assert cells(similar).shape == (4, 4)
    assert "first" in similar["layout"]["yaxis"]["ticktext"]
    assert not any("<img" in name for name in similar["layout"]["yaxis"]["ticktext"])
    alone = page(PAGE, library=str(tmp_path / "library.safetensors"), backbone="opened")
    assert not alone.exception
    assert cells(figures(alone)["similarity-mean"]).shape == (2, 2)
    wrong = page(PAGE, library=str(tmp_path / "nothing.safetensors"))
    assert not wrong.exception
    assert "nothing.safetensors" in texts(wrong)


def test_an_opened_prompt_does_not_hide_a_saved_one_of_its_name(page, store, tmp_path, monkeypatch):
    torch.manual_seed(0)
    saved_prompts.save_prompt(store.prompts_folder, {"embeddings": torch.randn(5, 32)}, "first", "", None, {})
    save_file({"first": torch.randn(4, 32), "second": torch.randn(4, 32)}, str(tmp_path / "library.safetensors"))
    monkeypatch.chdir(tmp_path)
    at = page(PAGE, library=str(tmp_path / "library.safetensors"), backbone="opened")
    assert not at.exception
    similar = figures(at)["similarity-mean"]
    assert list(similar["layout"]["yaxis"]["ticktext"]) == ["first", "first (opened)", "second"]
    assert "similarity-mean" in redrawn(at)


def test_neurons_come_from_the_worker(page, trained, store, monkeypatch):
    runs = [trained(), trained(1)]
    context = HandlerContext(store, MODEL_CACHE)

    def request(kind: str, run: str, **question: object) -> Future:
        future: Future = Future()
        future.set_result(answer_request(context, kind, {"run": run, **question}))
        return future

    monkeypatch.setattr(prompt_similarity, "request_answer", request)
    at = page(PAGE, metric="neurons")
    assert not at.exception
    assert "error" not in request("measure", runs[0].id, what="neurons", stage=0, step=2, prompts=[]).result()
    shown = cells(figures(at.run())["similarity-neurons"])
    assert np.diag(shown) == pytest.approx(1)
    assert 0 < shown[0, 1] <= 1


def test_published_tables_are_marked_as_published(page, trained):
    trained()
    at = page(PAGE)
    assert "published numbers, not yours" in " ".join(box.label for box in at.expander)
    assert "aclanthology.org/2022.acl-long.346" in texts(at)


def test_of_many_runs_one_per_task_is_selected(store, monkeypatch):
    def run(place: int, task: str, method: str = "prompt-tuning") -> RunSummary:
        return RunSummary(f"run-{place}", RunConfig("tiny-encoder", task, method), Status("finished"))

    newest = [run(0, "trec6", "attempt"), run(1, "trec6", "dpt"), run(2, "trec6"), run(3, "trec6")]
    others = [run(4, "sms", "attempt"), run(5, "sms", "dpt"), run(6, "tweets", "smop")]
    many = [*newest, *others, *(run(place, "trec6") for place in range(7, 20))]
    several = {"attempt", "smop"}
    monkeypatch.setattr(
        transfer_prompts,
        "load_prompt_vectors",
        lambda store, one: None if one.config.method in several else np.zeros((1, 1)),
    )
    assert sorted(prompt_selection._default_runs(many)) == ["run-2", "run-5", "run-6"]
    assert prompt_selection._default_runs(newest) == [one.id for one in newest]  # few: all of them
    assert prompt_selection._default_runs(many[7:]) == [one.id for one in many[7:19]]  # of one task: the newest
    kept = RunSummary(f"{SAVED_PREFIX}a", RunConfig("tiny-encoder", "trec6"), Status("finished"))
    assert f"{SAVED_PREFIX}a" in prompt_selection._default_runs([*many, kept])


def test_each_method_links_to_its_use_of_the_sources():
    assert prompt_selection.look_page_of("prompt-tuning") == ("look/embeddings.py", "")
    assert prompt_selection.look_page_of("attempt") == ("look/routing.py", "")
    assert prompt_selection.look_page_of("spot-single") == ("look/decompositions.py", "sim")
    assert prompt_selection.look_page_of("mpt") == ("look/decompositions.py", "u_k")
    assert prompt_selection.look_page_of("transprompt") == ("look/decompositions.py", "P_k")


def test_one_button_queues_a_prompt_on_every_built_in_task(page, trained, store, monkeypatch):
    trained()
    some = [info for info in train_all_tasks.tasks.list_tasks() if info.name in ("trec6", "sms")]
    monkeypatch.setattr(train_all_tasks.tasks, "list_tasks", lambda: some)
    at = page(PAGE)
    at.button(key="every-task-start").click().run()
    assert not at.exception
    queued = [one for one in store.list() if one.status.state == "queued"]
    assert sorted(one.config.task for one in queued) == ["sms", "trec6"]
    assert {(one.config.method, one.config.backbone) for one in queued} == {("prompt-tuning", "tiny-encoder")}
    assert "2 in progress" in texts(at)
    assert at.button(key="every-task-stop")
    with pytest.raises(KeyError):
        at.button(key="every-task-start")


def test_every_snippet_draws_the_figure_of_the_page(page, trained, store, tmp_path, monkeypatch):
    for place in range(3):
        trained(place)
    measure(store)
    runs = transfer_prompts.finished_runs(store)
    for _ in transfer_gain.train_missing_pairs(
        store, runs, transfer_prompts.target_tasks(runs), transfer_gain.TransferGainSettings(2), MODEL_CACHE
    ):
        pass
    save_file({"first": torch.randn(4, 32), "second": torch.randn(3, 32)}, str(tmp_path / "library.safetensors"))
    monkeypatch.chdir(tmp_path)
    asked = {"steps": "2", "library": str(tmp_path / "library.safetensors"), "centred": "true", "without": "true"}
    at = page(PAGE, metric="CKA", **asked)
    at.session_state["map-open"] = True
    assert redrawn(at.run()) == {
        "similarity-CKA", "prompt-projection", "measured-transfer", "gain-of-a-start",
        "from-source-against-from-scratch",
        "similarity-and-transfer", "correlations", "published-transfer",
    }  # fmt: skip
    at.segmented_control(key="against").set_value("gain over no prompt").run()
    assert {"similarity-and-transfer", "correlations"} < redrawn(at)


def test_prompts_that_began_alike_are_named_and_compared_without_their_start(page, trained, store):
    trained(0)
    trained(1)
    at = page(PAGE)
    assert "start from the same words" in texts(at)
    assert "Random prompts of the same shapes have" in texts(at)
    whole = cells(figures(at)["similarity-mean"])[0, 1]
    at.checkbox(key="minus-start").check().run()
    assert cells(figures(at)["similarity-mean"])[0, 1] < whole - 0.1
    assert "similarity-mean" in redrawn(at)
