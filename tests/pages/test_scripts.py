"""The Python under the figures: run as a reader would, against real runs, it gives the figure on the page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from ptviz.figures.matrix import draw_matrix
from ptviz.material import track_of
from ptviz.runs import Run, RunConfig, Store, StoreError
from ptviz.runs.work import work
from ptviz.training import TrainConfig
from ptviz.ui import scripts as made

Page = Callable[..., AppTest]


def told(at: AppTest, key: str) -> dict[str, Any]:
    """What the component of that key was told."""
    found = [json.loads(element.proto.json or "{}") for element in at.get("bidi_component")]
    return next(data for data in found if data.get("name") == key)


def scripts(at: AppTest, called: str) -> list[str]:
    """The scripts on a page that call a function."""
    assert not at.exception
    return [code.value for code in at.code if f"= {called}(" in code.value]


def drawn(script: str, name: str) -> Any:
    """The variable of that name after a script ran where it may write files."""
    space: dict[str, Any] = {}
    exec(compile(script, "script", "exec"), space)
    return space[name]


def same(figure: Any, shown: dict[str, Any]) -> None:
    assert json.loads(figure.to_json()) == json.loads(shown["figure"])


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
        work(run.path)
        made.append(run)
    monkeypatch.chdir(tmp_path)
    return made


def test_the_training_curve_and_the_strip_of_steps(page: Page, runs: list[Run]):
    at = page("train/watch.py", run=runs[0].id)
    [script] = scripts(at, "draw_training")
    same(drawn(script, "figure"), told(at, f"{runs[0].id}-curves"))
    assert Path(f"{runs[0].id}.html").exists()


def test_the_spectrum_and_every_view_of_a_part(page: Page, runs: list[Run]):
    at = page("look/factors.py", run=runs[0].id)
    at.selectbox(key="part").set_value("A").run()
    found = scripts(at, "view.draw")
    assert len(found) == 3
    for script in found:
        name = script.split("view.name == '")[1].split("'")[0]
        same(drawn(script, "figure"), told(at, f"{runs[0].id}-A-{name}"))


def _race() -> None:
    from ptviz.runs.race import Entry
    from ptviz.ui import race_charts, services

    race_charts.show([Entry(found.config, found.id, found.status.state) for found in services.store().list()])


@pytest.mark.parametrize(
    ("picture", "call", "name"),
    [
        ("Curves", "draw_bands", "race-curves"),
        ("Side by side", "draw_small_multiples", "race-panels"),
        ("Against cost", "draw_front", "race-trained"),
        ("Seeds", "draw_spread", "race-seeds"),
    ],
)
def test_the_pictures_of_a_race(runs: list[Run], picture: str, call: str, name: str):
    at = AppTest.from_function(_race, default_timeout=30)
    at.query_params["picture"] = picture
    at.run()
    [script] = scripts(at, call)
    same(drawn(script, "figure"), told(at, name))


def test_taxonomy_framework_and_pair(page: Page, runs: list[Run]):
    at = page("learn/survey.py", shape="tiny-encoder")
    for call, name in (("draw_taxonomy", "ptviz-taxonomy"), ("draw_framework", "ptviz-framework"), ("draw_pair", None)):
        [script] = scripts(at, call)
        drawn(script, "scene")
        name = name or script.split('Path("')[1].split('.svg"')[0]
        assert Path(f"{name}.svg").read_text() == told(at, name)["file"]


def test_a_panel_with_the_tensors_of_a_run(page: Page, runs: list[Run]):
    at = page("learn/method.py", **{"of": "dpt", "run-dpt": runs[0].id})
    for call, name, file in (("draw_panel", "ptviz-dpt", runs[0].id), ("draw_stages", *["ptviz-dpt-stages"] * 2)):
        [script] = scripts(at, call)
        drawn(script, "scene")
        assert Path(f"{file}.svg").read_text() == told(at, name)["file"]
    costs = scripts(at, "draw_cost")
    assert len(costs) == 2
    for script, knob in zip(costs, ("m", "r"), strict=True):
        same(drawn(script, "figure"), told(at, f"ptviz-dpt-cost-{knob}"))


def test_a_part_at_the_step_looked_at(runs: list[Run]):
    shown = track_of(runs[0], "P", steps=(0, 2), at=2)
    code = made.part(runs[0], shown, "matrix", 'draw_matrix(track.now, "a", "b")', "values")
    same(drawn(code, "figure"), {"figure": draw_matrix(shown.now, "a", "b").to_json()})
    sliced = shown.slice({"m": 1})
    code = made.part(runs[0], sliced, "matrix", 'draw_bars(track.now, "a")', "row")
    assert drawn(code, "track").name == sliced.name
    with pytest.raises(StoreError, match=r"no part 'Q' at step 2; its snapshots are at \[0, 2"):
        track_of(runs[0], "Q", at=2)


def test_a_script_needs_no_page(runs: list[Run]):
    code = made.training(runs[0], 0.9) + "\nimport sys; print('streamlit' in sys.modules)"
    environment = {**os.environ, "PTVIZ_HOME": str(runs[0].path.parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "False"
