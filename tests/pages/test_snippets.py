"""The Python below each figure, run on real runs, draws the figure of the page."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from ptviz.backbones import load_backbone
from ptviz.plots import plot_tensor_view, plot_training
from ptviz.plots.snippet import call_snippet
from ptviz.runs import Run, StoreError, saved_prompts
from ptviz.runs.embedding_table import save_vocabulary
from ptviz.ui import backend
from tests.pages.run_pages import figures, settled
from tests.pages.snippets import redrawn

Page = Callable[..., AppTest]


def test_the_training_curve(page: Page, trained: Callable[..., Run]):
    run = trained()
    assert redrawn(page("train/watch.py", run=run.id, smooth="0.5")) == {f"{run.id}-curves"}


def test_every_view_of_a_tensor(page: Page, trained: Callable[..., Run]):
    run = trained("dpt")
    at = page("look/decompositions.py", run=run.id)
    at.selectbox(key="part").set_value("A").run()
    views = {f"{run.id}-A-{name}" for name in ("spectrum", "rank", "values")}
    assert redrawn(at) == {f"{run.id}-tensors"} | views


def test_the_tensors_of_an_earlier_step(page: Page, trained: Callable[..., Run]):
    run = trained("prompt-tuning", m=4)
    first, last = plot_tensor_view(run, "values", step=0), plot_tensor_view(run, "values", step=4)
    assert first.data[0].z.tolist() != last.data[0].z.tolist()
    assert (
        last.data[0].z.tolist() == plot_tensor_view(run, "values", part="P", step=4, tokens=range(4)).data[0].z.tolist()
    )
    some = plot_tensor_view(run, "values", tokens=(1, 3)).data[0].z
    assert np.flatnonzero(np.isfinite(some).all(axis=1)).tolist() == [1, 3]
    assert np.isnan(some[[0, 2]]).all(), "a token that is left out leaves a gap"
    with pytest.raises(StoreError, match=r"no snapshot at step 1 of stage 0; it has 0 of stage 0, 2 of stage 0"):
        plot_tensor_view(run, "values", step=1)
    with pytest.raises(StoreError, match=r"expected one of the tensors P; got 'Q'"):
        plot_tensor_view(run, "values", part="Q")
    with pytest.raises(StoreError, match=r"P has the views spectrum, .*; got 'sites'"):
        plot_tensor_view(run, "sites")


@pytest.fixture
def vocabulary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vocabulary of the smallest backbone, as the worker saves it."""
    monkeypatch.setenv("PTVIZ_CACHE", str(tmp_path / "cache"))
    save_vocabulary(load_backbone("tiny-encoder"))


def save_prompt() -> str:
    tensors = {"embeddings": torch.randn(4, 32)}
    folder = backend.get_store().prompts_folder
    return saved_prompts.save_prompt(folder, tensors, "mine", "tiny-encoder", None, {}).id


@pytest.mark.usefixtures("vocabulary")
def test_every_figure_of_the_page_embeddings(page: Page, trained: Callable[..., Run]):
    run, other, saved = trained(m=5), trained("dpt"), save_prompt()
    address = {"run": run.id, "at": "2", "out": "1", "brush": "2", "words": "all"}
    at = page("look/embeddings.py", **address)
    at.multiselect(key="beside").set_value([other.id, f"kept:{saved}"]).run()
    names = {name.removeprefix(f"{run.id}-") for name in redrawn(at)}
    assert names == {
        "map", "norms", "distances", "words", "word-steps", "word-ranks", "drift", "cosines", "spectrum"
    }  # fmt: skip


@pytest.mark.usefixtures("vocabulary")
def test_experts_of_one_run_in_one_projection(page: Page, trained: Callable[..., Run]):
    run = trained("smop", m=2, k=3)
    at = page("look/embeddings.py", run=run.id, expert="1")
    at.multiselect(key="beside").set_value(["here:0", "here:2"]).run()
    redrawn(at)
    figure = next(own for name, own in figures(at).items() if name.endswith("-map"))
    assert {"this run", "expert 0 of this run", "expert 2 of this run"} <= {
        trace.get("name") for trace in figure["data"]
    }


def test_every_figure_of_keys_and_values(page: Page, trained: Callable[..., Run]):
    run = trained("p-tuning-v2", m=4)
    at = page("look/embeddings.py", run=run.id, out="1", brush="2", site="1", head="2")
    names = {name.removeprefix(f"{run.id}-") for name in redrawn(at)}
    assert names == {"sites", "tokens", "directions", "map", "norms", "cosines", "spectrum"}


@pytest.mark.usefixtures("vocabulary")
def test_every_figure_of_a_saved_prompt(page: Page):
    saved = save_prompt()
    names = {name.removeprefix(f"{saved}-") for name in redrawn(page("look/embeddings.py", run=f"kept:{saved}"))}
    assert {"map", "norms", "distances", "words", "P-spectrum", "P-cosines"} <= names


@pytest.mark.usefixtures("answered")
def test_the_class_probabilities_of_a_sentence(page: Page, trained: Callable[..., Run]):
    run = trained(m=3)
    for at_step in ("best", "2"):
        at = page("train/watch.py", run=run.id, say="good <b>thing</b>", at=at_step)
        while at.session_state["asked"].pending is not None:
            at.run()
        assert figures(at)[f"{run.id}-answers"]["data"], "an empty figure would say little"
        assert redrawn(at) == {f"{run.id}-curves", f"{run.id}-answers"}


@pytest.mark.usefixtures("answered")
def test_the_importance_of_tokens(page: Page, trained: Callable[..., Run]):
    run = trained(m=3)
    at = settled(page("look/embeddings.py", run=run.id))
    for button in ("operate", "weigh"):
        at = settled(at.button(key=button).click().run())
    for _ in range(5):  # one answer leads to the next request
        at = settled(at)
    assert len(figures(at)[f"{run.id}-importance"]["data"]) == 3
    assert f"{run.id}-importance" in redrawn(at)


@pytest.mark.usefixtures("vocabulary")
def test_waywardness(page: Page, trained: Callable[..., Run]):
    pull = {"m": 2, "toward": "good thing", "init": "text", "text": "good thing"}
    runs = [trained(**pull, gamma=gamma) for gamma in (0.0, 50.0)]
    assert f"{runs[0].id}-wayward" in redrawn(page("look/embeddings.py", run=runs[0].id))


@pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")  # umap's own; its worker is a process
@pytest.mark.usefixtures("answered")
@pytest.mark.parametrize("kind", ["t-SNE", pytest.param("UMAP", marks=pytest.mark.slow)])
def test_neighbourhoods_projected_by_the_worker(page: Page, trained: Callable[..., Run], kind: str):
    run = trained(m=4)
    at = settled(page("look/embeddings.py", run=run.id, map=kind, fitted="1000", out="1"))
    wait(at.session_state["inside-asked"].values())
    at.run()
    assert figures(at)[f"{run.id}-map"]["layout"]["xaxis"]["title"]["text"] == f"{kind} axis 1"
    assert f"{run.id}-map" in redrawn(at)


def test_a_snippet_needs_no_page(trained: Callable[..., Run]):
    run = trained()
    code = call_snippet(plot_training, run).replace("figure.show()", "import sys; print('streamlit' in sys.modules)")
    environment = {**os.environ, "PTVIZ_HOME": str(run.path.parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "False"
