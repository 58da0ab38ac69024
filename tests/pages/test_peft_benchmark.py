"""The page PEFT benchmark: untrusted files and folders are compared, and their names shown as text."""

from __future__ import annotations

import csv
import io
import json

import pytest

from ptviz import plots
from ptviz.analysis.peft_benchmark import parse_result, parse_results
from ptviz.analysis.peft_benchmark_files import read_benchmark_files
from ptviz.methods import list_methods
from ptviz.plots.method_style import method_series_style
from ptviz.plots.peft_benchmark import experiment_styles
from ptviz.ui.compare import peft_benchmark
from tests.analysis.peft_results import result, written
from tests.pages.snippets import redrawn

PAGE = "compare/peft_benchmark.py"


def texts(at) -> str:
    return " ".join(str(element.value) for kind in ("text", "caption", "markdown") for element in at.get(kind))


@pytest.fixture
def folder(tmp_path, hostile):
    odd = result(f"{hostile}/v", test=0.2)
    names = ["prompt_tuning/llama-3.2-3B-lr_0.001", "prompt_tuning/llama-3.2-3B-default", "lora/llama-3.2-3B-rank32"]
    made = written(tmp_path / "results", *(result(name, test=0.3 + i / 10) for i, name in enumerate(names)))
    (made / "odd.json").write_text(json.dumps(odd))
    (made / "broken.json").write_text("{")
    return made


def test_without_files_it_says_where_they_are(page):
    at = page(PAGE)
    assert not at.exception
    assert "method_comparison/MetaMathQA/results" in texts(at)


def test_recorded_runs_are_shown_until_files_are_opened(page, gallery, folder):
    at = page(PAGE)
    assert "They are not results of PEFT's benchmark" in texts(at)
    assert len(at.dataframe[0].value) == len(list_methods())
    assert len(redrawn(at)) == 1
    assert "Recorded meanwhile" not in texts(page(PAGE, **{"path-results": str(folder)}))


@pytest.mark.parametrize("picture", peft_benchmark.CHARTS)
def test_the_results_of_a_folder_are_compared(page, folder, picture, hostile):
    at = page(PAGE, **{"path-results": str(folder), "picture": picture})
    assert not at.exception
    frame = at.dataframe[0].value
    assert frame["Method"].tolist()[0] == "lora rank32"
    assert hostile not in "".join(str(m.value) for m in at.markdown), "an untrusted name became Markdown"
    assert "How to read it" in texts(at)
    assert "broken.json" in texts(at)
    assert "One seed each" in texts(at)
    assert len(redrawn(at)) == 1


def test_one_file_is_enough_and_a_bad_one_is_explained(page, folder):
    at = page(PAGE, **{"path-results": str(next(folder.glob("lora*")))})
    assert not at.exception
    assert len(at.dataframe[0].value) == 1
    at = page(PAGE, **{"path-results": str(folder / "broken.json")})
    assert "expected JSON" in texts(at)
    assert "No result could be read" in texts(at)
    at = page(PAGE, **{"path-results": str(folder / "nowhere")})
    assert "there is nothing" in texts(at)


def test_methods_keep_their_colour_and_variants_differ(folder):
    results, _ = parse_results(read_benchmark_files([folder])[0])
    known = experiment_styles(results)
    prompts = [look.style for method, look in known.items() if method.startswith("prompt_tuning/")]
    assert {mark.colour for mark in prompts} == {method_series_style("prompt-tuning").colour}
    assert len({mark.symbol for mark in prompts}) == 2
    alone = experiment_styles([found for found in results if found.kind == "lora"])
    assert alone["lora/llama-3.2-3B-rank32"].style == known["lora/llama-3.2-3B-rank32"].style


def test_the_csv_holds_the_values_of_the_files():
    found = parse_result(json.dumps(result("lora/a", test=0.5, lr=3e-4)))
    [row] = csv.DictReader(io.StringIO(peft_benchmark.benchmark_to_csv([found])))
    assert (row["method"], float(row["test_mean"]), float(row["lr"]), row["kind"]) == ("lora/a", 0.5, 3e-4, "lora")
    assert float(row["file_mb"]) == pytest.approx(2457728 / 2**20)


def test_methods_select_experiments_and_files_are_read(folder):
    path = str(folder)
    read = parse_results(read_benchmark_files([folder])[0])[0]
    every = plots.plot_peft_benchmark_curves(path)
    assert every.to_json() == plots.plot_peft_benchmark_curves(path, answer=read).to_json()
    assert len(plots.plot_peft_benchmark_curves(path, methods=("lora",)).data) == 1 < len(every.data)
    assert not plots.plot_peft_benchmark_curves(path, answer=()).data
    with pytest.raises(ValueError, match="cost: expected one of trained"):
        plots.plot_peft_benchmark(path, cost="money")
