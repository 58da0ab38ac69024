"""Every page opens beside a run with a damaged file, and says what is wrong where this run itself is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from ptviz.runs import Run, Store
from tests.damaged_files import ESCAPES, make_run, make_saved_prompt, with_value
from tests.pages.run_pages import settled

pytestmark = pytest.mark.usefixtures("answered")

DEEP = "[" * 100_000 + "]" * 100_000

OTHERS = {
    "home.py": ("status.json", ("created",), '"x"'),
    "train/runs.py": ("status.json", ("accuracy",), "[1]"),
    "train/new_run.py": ("status.json", ("created",), "1e308"),
    "train/watch.py": ("status.json", ("test",), '"x"'),
    "learn/survey.py": ("config.json", ("method",), "3"),
    "learn/method.py": ("config.json", ("knobs",), DEEP),
    "look/embeddings.py": ("config.json", ("name",), '"\\ud800"'),
    "look/decompositions.py": ("config.json", ("training", "steps"), "1e308"),
    "look/routing.py": ("config.json", ("sources",), "{}"),
    "look/attention.py": ("config.json", ("backbone",), "null"),
    "compare/compare_methods.py": ("environment.json", ("trained",), '"many"'),
    "compare/transfer.py": ("status.json", ("zero_shot",), "[]"),
    "compare/peft_benchmark.py": ("config.json", (), "[]"),
    "open/checkpoint.py": ("config.json", ("parent",), "[1, 2, 3]"),
}
"""Another run than the one that a page shows is damaged: the file, the place in it, and what stands there."""

SHOWN = [
    ("train/watch.py", "config.json", ("name",), json.dumps(ESCAPES)),
    ("train/watch.py", "config.json", ("method",), '"a method of a later version"'),
    ("train/watch.py", "config.json", ("knobs", "m"), '"many"'),
    ("train/watch.py", "events.jsonl", ("loss",), '"x"'),
    ("train/watch.py", "events.jsonl", ("loss",), "NaN"),
    ("train/watch.py", "events.jsonl", ("seconds",), "1e308"),
    ("train/watch.py", "config.json", ("task",), '"/etc/passwd"'),
    ("look/embeddings.py", "config.json", ("knobs", "m"), "1000000"),
    ("look/embeddings.py", "events.jsonl", ("step",), DEEP),
    ("look/decompositions.py", "config.json", ("method",), '"smop"'),
    ("look/decompositions.py", "prompt.safetensors", (), ""),
    ("look/routing.py", "config.json", ("knobs",), "{}"),
    ("look/attention.py", "environment.json", (), "{"),
]
"""The run that the page shows is damaged."""

Page = Callable[..., AppTest]


def damage(run: Run, file: str, at: tuple[Any, ...], text: str) -> None:
    path = run.path / file
    if file.endswith(".safetensors"):
        for tensors in (path, run.path / "resume.safetensors", *(info.path for info in run.snapshots())):
            tensors.write_bytes(tensors.read_bytes()[:-7])
    elif file == "events.jsonl":
        lines = path.read_bytes().splitlines(keepends=True)
        number = next(i for i, line in enumerate(lines) if json.loads(line)["event"] == "step")
        lines[number] = with_value(json.loads(lines[number]), at, text) + b"\n"
        path.write_bytes(b"".join(lines))
    else:
        path.write_bytes(with_value(json.loads(path.read_bytes()), at, text))


@pytest.mark.parametrize("path", OTHERS)
def test_a_page_opens_beside_a_damaged_run(page: Page, store: Store, path: str) -> None:
    good = make_run(store, "good")
    bad = make_run(store, "bad")
    make_saved_prompt(store)
    prompt = store.prompts_folder / make_saved_prompt(store)
    (prompt / "about.json").write_bytes(with_value(json.loads((prompt / "about.json").read_bytes()), ("made",), '"x"'))
    damage(bad, *OTHERS[path])
    at = settled(page(path, **({"run": good.id} if path.startswith(("look/", "train/watch")) else {})))
    assert not at.exception, at.exception
    shown = " ".join(text.value for text in at.text)
    assert bad.id not in shown or path in ("train/runs.py", "home.py")


@pytest.mark.parametrize(("path", "file", "place", "text"), SHOWN)
def test_a_damaged_run_is_shown_as_far_as_it_goes(
    page: Page, store: Store, path: str, file: str, place: tuple[Any, ...], text: str
) -> None:
    run = make_run(store, "bad")
    damage(run, file, place, text)
    at = settled(page(path, run=run.id))
    assert not at.exception, at.exception


def test_a_damaged_line_is_counted_where_the_curves_are(page: Page, store: Store) -> None:
    run = make_run(store, "bad")
    damage(run, "events.jsonl", ("loss",), '"x"')
    shown = " ".join(text.value for text in page("train/watch.py", run=run.id).text)
    assert "1 damaged lines are left out" in shown
    assert "loss: expected a number; got a text" in shown


def test_an_unreadable_run_is_listed_and_deleted(page: Page, store: Store) -> None:
    good, bad = make_run(store, "good"), make_run(store, "bad")
    damage(bad, "config.json", ("training", "steps"), '"many"')
    at = page("train/runs.py")
    shown = " ".join(text.value for text in at.text)
    assert bad.id in shown
    assert "steps" in shown
    at.button(key="delete-unreadable-0").click().run()
    assert not at.exception
    assert not bad.path.exists()
    assert good.path.exists()
    assert store.problems() == ()


def test_a_derived_status_is_listed_with_its_reason(page: Page, store: Store) -> None:
    run = make_run(store, "bad")
    damage(run, "status.json", ("created",), '"x"')
    shown = " ".join(text.value for text in page("train/runs.py").text)
    assert "status.json is damaged: created: expected a number; got a text" in shown
