"""The page Compare methods: existing runs are reused, missing ones can be started, and runs are read once."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import execute_run
from ptviz.experiments import comparison, planned_runs, run_results
from ptviz.paths import data_dir
from ptviz.runs import RunConfig
from ptviz.training import TrainConfig
from ptviz.ui.compare import methods_results
from ptviz.ui.compare import methods_text as words
from ptviz.ui.compare.methods_results import CHARTS
from ptviz.worker.background_experiments import BackgroundExperiments
from ptviz.worker.background_jobs import current_reference_job
from tests.pages.run_pages import figures, well
from tests.pages.snippets import redrawn

PAGE = "compare/compare_methods.py"
ADDRESS = {"methods": "prompt-tuning,smop", "seeds": "2", "steps": "20"}


def texts(at) -> str:
    return " ".join(
        str(element.value) for kind in ("text", "caption", "markdown", "metric") for element in at.get(kind)
    )


@pytest.fixture
def run_of(store, make_run):
    """A finished run as the page would ask for it."""

    def make(method: str, seed: int, state: str = "finished"):
        run = make_run(state, method=method)
        config = RunConfig(method=method, training=TrainConfig(steps=20, seed=seed)).checked()
        from ptviz.runs.run_file_io import atomic_write
        from ptviz.runs.store import encode_config

        atomic_write(run.path / "config.json", encode_config(config))
        return run

    return make


def test_an_empty_store_offers_to_train_all(page):
    at = page(PAGE, **ADDRESS)
    assert not at.exception
    assert at.button(key="comparison-start").label == "Train 4 runs"
    assert "0 of 4 runs exist" in texts(at)


def test_existing_runs_are_reused_and_only_the_others_are_trained(page, run_of, store):
    run_of("prompt-tuning", 0)
    run_of("smop", 0)
    at = page(PAGE, **ADDRESS)
    assert not at.exception
    assert "2 of 4 runs exist" in texts(at)
    at.button(key="comparison-start").click().run()
    assert not at.exception
    queued = [s.config for s in store.list() if s.status.state == "queued"]
    assert {(c.method, c.training.seed) for c in queued} == {("prompt-tuning", 1), ("smop", 1)}
    assert "2 in progress" in texts(at)
    at.button(key="comparison-stop").click().run()
    assert not [s for s in store.list() if s.status.state == "queued"]


@pytest.mark.parametrize("picture", CHARTS)
def test_every_chart_is_shown(page, run_of, picture):
    for method in ("prompt-tuning", "smop"):
        for seed in (0, 1):
            run_of(method, seed)
    at = page(PAGE, picture=picture, **ADDRESS)
    assert not at.exception
    assert not [b for b in at.button if b.key == "comparison-start"]
    assert "How to read it" in texts(at)
    assert len(redrawn(at)) == 2, "the chart and the grid of learning rates"


def test_the_grid_of_learning_rates_is_drawn_by_its_snippet(page, run_of):
    run_of("prompt-tuning", 0)
    at = page(PAGE, **{**ADDRESS, "seeds": "1"})
    found = figures(at)
    assert {"comparison-curves", "stability"} <= set(found)
    assert redrawn(at) == set(found)


def test_the_results_in_python_are_the_table_of_the_page(page, run_of, capsys):
    for method, seed in (("prompt-tuning", 0), ("prompt-tuning", 1), ("smop", 0)):
        run_of(method, seed)
    run_of("smop", 1, "stopped")
    at = page(PAGE, **ADDRESS)
    (snippet,) = [code.value for code in at.code if "comparison_table" in code.value]
    space = {}
    exec(snippet, space)
    (table,) = [frame.value for frame in at.dataframe if "Test" in frame.value]
    assert [round(100 * row["test_mean"], 1) for row in space["result"]] == pytest.approx(table["Test"].tolist())
    assert [row["seeds"] for row in space["result"]] == table["Seeds"].tolist() == [2, 1]
    assert capsys.readouterr().out == f"{space['result']}\n"


def test_a_value_that_all_methods_share_is_given_once(page, run_of):
    for method in ("prompt-tuning", "smop"):
        run_of(method, 0)
    at = page(PAGE, **ADDRESS)
    (table,) = [frame.value for frame in at.dataframe if "Test" in frame.value]
    assert "Zero-shot" not in table
    assert "Zero-shot, without a prompt: 38.0% on the test set" in texts(at)


SMALL = {"methods": "prompt-tuning", "seeds": "2", "steps": "2", "backbone": "tiny-encoder", "task": "mcid"}


@pytest.fixture
def background(store):
    """A worker's background experiments."""
    return BackgroundExperiments(store, ModelCache())


def test_references_are_trained_by_a_button_and_drawn_as_lines(page, store, background):
    config = RunConfig("tiny-encoder", "mcid", training=TrainConfig(steps=2)).checked()
    execute_run(store.create(config).path, background.model_cache)
    at = page(PAGE, **SMALL)
    assert not at.exception
    assert "0 of 4 trainings are done. How long one takes is known after the first." in texts(at)
    assert any(code.value.endswith("--references lora,full") for code in at.code)
    for kind, done in (("lora", 2), ("full", 4)):
        at.button(key=f"references-{kind}").click().run()
        assert not at.exception
        assert current_reference_job(store).kinds == (kind,)
        assert at.button(key="references-stop")
        while background.run_piece():
            pass
        at.run()
        assert not at.exception
        assert (f"{done} of 4 trainings are done" in texts(at)) == (kind == "lora")
    (table,) = [frame.value for frame in at.dataframe if "Reference" in frame.value]
    assert table["Reference"].tolist() == ["LoRA (r = 8)", "full fine-tuning"]
    assert table["Seeds"].tolist() == [2, 2]
    assert table["Trained"].is_monotonic_increasing
    lines = [trace["name"] for trace in figures(at)["comparison-curves"]["data"] if trace["line"].get("dash") == "dot"]
    assert lines == table["Reference"].tolist()
    assert "Dotted lines are references" in texts(at)
    assert redrawn(at) >= {"comparison-curves"}
    data_dir().joinpath("references.json").write_text("[{]")
    damaged = page(PAGE, **SMALL)
    assert not damaged.exception
    assert "references.json is damaged" in texts(damaged)
    assert "comparison-curves" in figures(damaged)
    data_dir().joinpath("references.json").unlink()
    other = page(PAGE, **{**SMALL, "steps": "3"})
    assert "0 of 4 trainings are done" in texts(other)


def test_a_reference_can_be_stopped_and_one_that_fails_says_why(page, store, background, monkeypatch):
    at = page(PAGE, **SMALL)
    at.button(key="references-full").click().run()
    at.button(key="references-stop").click().run()
    assert current_reference_job(store) is None
    at.button(key="references-full").click().run()

    def fail(*arguments):
        raise ValueError("made to fail")
        yield

    monkeypatch.setattr("ptviz.experiments.lora_and_full_tuning.train_in_steps", fail)
    while background.run_piece():
        pass
    assert "made to fail" in texts(at.run())
    assert at.button(key="references-full")


def test_no_method_and_all_methods(page):
    at = page(PAGE, **ADDRESS)
    at.multiselect(key="methods").set_value([]).run()
    assert not at.exception
    assert "Choose at least one method" in texts(at)
    at.button(key="all-methods").click().run()
    assert at.query_params["methods"] in ("all", ["all"])
    assert not at.exception


def test_a_length_for_all_reaches_every_run(page, store):
    at = page(PAGE, m="7", **ADDRESS)
    at.button(key="comparison-start").click().run()
    assert {s.config.hyperparameters["m"] for s in store.list()} == {7}


def test_a_finished_run_is_read_once(run_of, store, monkeypatch):
    """Keeps the page quick with many runs; `ptviz bench --pages` measures it."""
    for seed in (0, 1):
        run_of("smop", seed)
    wanted = comparison.make_configs(["smop"], range(2), RunConfig(training=TrainConfig(steps=20)))
    found = planned_runs.find_runs(store, wanted)
    first = run_results.load_results(store, found)
    assert len(first) == 2

    def read_again(*args):
        raise AssertionError("a file that did not change was read again")

    monkeypatch.setattr("ptviz.runs.run.read_json", read_again)
    monkeypatch.setattr("ptviz.runs.run.Run._read_lines", read_again)
    assert planned_runs.find_runs(store, wanted) == found
    assert run_results.load_results(store, found) == first


def test_a_result_follows_its_files(run_of, store):
    run = run_of("smop", 0)
    wanted = comparison.make_configs(["smop"], range(1), RunConfig(training=TrainConfig(steps=20)))
    found = planned_runs.find_runs(store, wanted)
    assert run_results.load_results(store, found)[0].size == (run.path / "prompt.safetensors").stat().st_size
    (run.path / "prompt.safetensors").write_bytes(b"12345")
    assert run_results.load_results(store, found)[0].size == 5


def test_the_budget_is_described(page, run_of):
    run_of("prompt-tuning", 0)
    at = page(PAGE, **ADDRESS)
    assert f"Same budget for all: 20 updates with batches of {TrainConfig().batch}, 2 seeds." in texts(at)
    budget = words.describe_budget([5, None, 20], 200, 16, 1)
    assert "Different lengths: 5 to 20" in budget
    assert "Same length: 20" in words.describe_budget([20, 20], 200, 16, 3)


def test_what_the_form_cannot_take_from_the_address_is_said(page):
    at = page(PAGE, methods="foo,dept", seeds="99", steps="0", m="5000", backbone="zzz")
    assert not at.exception
    found = texts(at)
    assert "methods: expected some of prompt-tuning, " in found
    assert ", or all; got foo. The others are selected" in found
    assert at.multiselect(key="methods").value == ["dept"]
    assert "seeds: expected a whole number from 1 to 20; got 99. 3 is used instead" in found
    assert "steps: expected a whole number from 1 to 1,000,000; got 0. 200 is used instead" in found
    assert "m: expected a whole number from 1 to 200; got 5000. The default of each method is used instead" in found
    assert "; got zzz. minilm-l6 is used instead" in found
    assert "is used instead" not in texts(at.number_input(key="seeds").set_value(2).run())


def test_no_known_method_in_the_address_means_the_usual_ones_and_is_said(page):
    at = page(PAGE, methods="foo,bar")
    assert "got foo, bar. The usual methods are selected instead" in texts(at)
    assert at.multiselect(key="methods").value


def test_an_address_of_the_form_needs_no_word(page):
    for methods in ("all", "dept,smop"):
        at = well(page(PAGE, methods=methods, seeds="2", steps="1000", m="200"))
        well(at.number_input(key="m").set_value(5).run())


def test_p_values_sort_as_numbers(page, run_of, monkeypatch):
    for method in ("prompt-tuning", "smop"):
        for seed in (0, 1):
            run_of(method, seed)
    compare = methods_results.compare_with_each

    def with_p(*order):
        return [replace(pair, p=1e-5, adjusted=0.25) for pair in compare(*order)]

    monkeypatch.setattr(methods_results, "compare_with_each", with_p)
    at = page(PAGE, picture="Seeds", **ADDRESS)
    table = next(frame for frame in at.dataframe if "Against" in frame.value)
    shown = json.loads(table.proto.columns)
    for name, value in (("p", 1e-5), ("p, corrected", 0.25)):
        assert table.value[name].tolist() == [value]
        assert shown[name]["type_config"] == {"type": "number", "format": "%.2g"}


def test_the_caption_says_what_each_interval_is_over(page, run_of):
    for seed in (0, 1):
        run_of("smop", seed)
    one_seed = texts(page(PAGE, methods="smop", seeds="1", steps="20"))
    assert "Test is the score of one seed. Length counts" in one_seed
    assert "over seeds. Length" not in one_seed
    two_seeds = texts(page(PAGE, methods="smop", seeds="2", steps="20"))
    assert "Test is the mean over seeds; sd and interval are over seeds. Length" in two_seeds
