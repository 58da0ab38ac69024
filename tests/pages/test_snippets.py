"""The Python under the figures: run as a reader would, against real runs, it gives the figure on the page."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from ptviz.plots import plot_training
from ptviz.plots.snippet import call_snippet
from ptviz.runs import Run
from tests.pages.snippets import redrawn

Page = Callable[..., AppTest]


def test_the_training_curve(page: Page, trained: Callable[..., Run]):
    run = trained()
    assert redrawn(page("train/watch.py", run=run.id, smooth="0.5")) == {f"{run.id}-curves"}


def test_a_snippet_needs_no_page(trained: Callable[..., Run]):
    run = trained()
    code = call_snippet(plot_training, run).replace("figure.show()", "import sys; print('streamlit' in sys.modules)")
    environment = {**os.environ, "PTVIZ_HOME": str(run.path.parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "False"
