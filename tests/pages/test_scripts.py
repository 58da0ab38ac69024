"""The Python under the figures: run as a reader would, against real runs, it gives the figure on the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

from ptviz.engine.train_job import execute_run
from ptviz.figures.linked_selection import PICKABLE
from ptviz.runs import Run, RunConfig, Store, saved_prompts
from ptviz.runs.embedding_table import save_vocabulary
from ptviz.training import TrainConfig
from ptviz.ui import backend

Page = Callable[..., AppTest]


def told(at: AppTest, key: str) -> dict[str, Any]:
    """What the component of that key was told; the strip of steps has no name of its own."""
    found = [json.loads(element.proto.json or "{}") for element in at.get("bidi_component")]
    name = "" if key.endswith("-moment") else key
    return next(data for data in found if data.get("name") == name and {"figure", "file"} & set(data))


def scripts(at: AppTest, called: str) -> list[str]:
    """The scripts on a page that call a function, or all that draw a figure."""
    assert not at.exception
    wanted = f"= {called}(" if called else "figure = "
    return [code.value for code in at.code if wanted in code.value]


def drawn(script: str, name: str) -> Any:
    """The variable of that name after a script ran where it may write files."""
    space: dict[str, Any] = {}
    exec(compile(script, "script", "exec"), space)
    return space[name]


def bare(figure: str) -> dict[str, Any]:
    """A figure without what it tells the page about clicks."""
    read: dict[str, Any] = json.loads(figure)
    for trace in read["data"]:
        if trace.get("meta") == PICKABLE:
            del trace["meta"], trace["customdata"]
    return read


def same(figure: Any, shown: dict[str, Any]) -> None:
    assert bare(figure.to_json()) == bare(shown["figure"])


@pytest.fixture
def runs(store: Store, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Two seeds of a method with two factors, trained for real on the smallest backbone."""
    training = TrainConfig(steps=4, snapshot_every=2, evaluate_every=2, batch=4)
    made = []
    for seed in (0, 1):
        config = RunConfig(
            "tiny-encoder", str(table), "dpt", {}, replace(training, seed=seed), text="text", label="label"
        )
        run = store.create(config)
        execute_run(run.path)
        made.append(run)
    monkeypatch.chdir(tmp_path)
    return made


def shown_as(script: str, at: AppTest) -> str:
    """The name of the page's figure that a script draws, once the two were found to hold the same marks."""
    figure = json.loads(drawn(script, "figure").to_json())
    name = script.split('write_html("')[1].split('.html"')[0]
    shown = json.loads(told(at, name)["figure"])
    for trace in (*figure["data"], *shown["data"]):
        for pickable in ("customdata", "meta"):
            trace.pop(pickable, None)
    assert figure["data"] == shown["data"], name
    assert figure["layout"] == shown["layout"], name
    return name


def test_every_figure_of_the_page_of_embeddings(
    page: Page, runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from ptviz import load_backbone

    monkeypatch.setenv("PTVIZ_CACHE", str(tmp_path / "cache"))
    save_vocabulary(load_backbone("tiny-encoder"))
    one = saved_prompts.save_prompt(
        backend.get_store().prompts_folder, {"embeddings": torch.randn(4, 32)}, "mine", "tiny-encoder", None, {}
    )
    address = {"run": runs[0].id, "at": "2", "out": "1", "brush": "2", "words": "all"}
    at = page("look/embeddings.py", **address)
    at.multiselect(key="beside").set_value([runs[1].id, f"kept:{one.id}"]).run()
    found = [shown_as(script, at).removeprefix(f"{runs[0].id}-") for script in scripts(at, "")]
    assert sorted(found) == sorted(
        ["moment", "map", "norms", "distances", "words", "word-steps", "places", "drift", "cosines", "spectrum"]
    )
