"""The pages that need no tensor are drawn before torch is loaded, so that the first page is there at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import ptviz
from tests.app_server import HANGS_SECONDS
from tests.old_home import RUN, copy_old_home

HEAVY = {"torch", "transformers", "numba", "sklearn", "scipy", "datasets"}
SCRIPT = """
import sys
from streamlit.testing.v1 import AppTest
from ptviz.executors.local import LocalExecutor
from ptviz.ui import heavy_libraries

index, page, seconds, heavy, *query = sys.argv[1:]
LocalExecutor.ensure_worker = lambda executor: None
heavy_libraries.load_libraries_in_background = lambda: None
at = AppTest.from_file(index, default_timeout=float(seconds)).run()
if page != "home.py":
    at.switch_page(page)
    for parameter in query:
        name, value = parameter.split("=")
        at.query_params[name] = value
    at.run()
assert not at.exception, at.exception
assert not at.error, at.error
print(*[one.value for one in at.title], *set(heavy.split(",")) & set(sys.modules), sep="|")
"""


@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("home.py", "See a prompt learn"),
        ("train/runs.py", "All runs"),
        (f"train/watch.py run={RUN}", ""),
    ],
)
def test_pages_without_tensors_load_no_torch(home: Path, page: str, title: str) -> None:
    copy_old_home(home)
    index = Path(ptviz.__file__).parents[1] / "pages" / "index.py"
    path, *query = page.split()
    call = [sys.executable, "-c", SCRIPT, str(index), path, str(HANGS_SECONDS), ",".join(HEAVY), *query]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown, *loaded = done.stdout.strip().split("|")
    assert title in shown
    assert not loaded


def test_an_empty_home_page_needs_no_table_library() -> None:
    names = "ptviz.ui.server, ptviz.ui.home, ptviz.ui.train.run_table"
    script = f"import sys, {names}; print(*{HEAVY | {'pandas', 'pyarrow'}!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not done.stdout.split()


def test_the_plan_says_that_it_waits_for_the_libraries(
    page: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    @contextmanager
    def spinner(text: str) -> Iterator[None]:
        said.append(text)
        yield

    monkeypatch.setattr("ptviz.ui.heavy_libraries.are_libraries_loaded", lambda: False)
    monkeypatch.setattr("streamlit.spinner", spinner)
    at = page("train/new_run.py")
    assert not at.exception
    assert [text for text in said if text.startswith("Loading the libraries")]
