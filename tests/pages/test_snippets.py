"""The Python under the figures: run as a reader would, against real runs, it gives the figure on the page."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from ptviz.plots import plot_tensor_view, plot_training
from ptviz.plots.snippet import call_snippet
from ptviz.runs import Run, StoreError
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
    assert redrawn(at) == {"moment", f"{run.id}-tensors"} | views


def test_the_tensors_of_an_earlier_step(page: Page, trained: Callable[..., Run]):
    run = trained("prompt-tuning", m=4)
    first, last = plot_tensor_view(run, "values", step=0), plot_tensor_view(run, "values", step=4)
    assert first.data[0].z.tolist() != last.data[0].z.tolist()
    assert (
        last.data[0].z.tolist() == plot_tensor_view(run, "values", part="P", step=4, tokens=range(4)).data[0].z.tolist()
    )
    assert len(plot_tensor_view(run, "values", tokens=(1, 3)).data[0].z) == 2
    with pytest.raises(StoreError, match=r"no snapshot at step 1 of stage 0; it has 0 of stage 0, 2 of stage 0"):
        plot_tensor_view(run, "values", step=1)
    with pytest.raises(StoreError, match=r"expected one of the tensors P; got 'Q'"):
        plot_tensor_view(run, "values", part="Q")
    with pytest.raises(StoreError, match=r"P has the views spectrum, .*; got 'sites'"):
        plot_tensor_view(run, "sites")


def test_a_snippet_needs_no_page(trained: Callable[..., Run]):
    run = trained()
    code = call_snippet(plot_training, run).replace("figure.show()", "import sys; print('streamlit' in sys.modules)")
    environment = {**os.environ, "PTVIZ_HOME": str(run.path.parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "False"
