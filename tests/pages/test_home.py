"""The home page with recorded runs: one of them plays, and its forward pass moves; without them, neither is offered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from ptviz.runs import Run
from ptviz.runs.forward_pass import FORWARD_PASS_FILE, read_forward_pass, write_forward_pass
from ptviz.runs.recorded_runs import recorded_run
from tests.fake_forward_pass import fake_forward_pass
from tests.pages.run_pages import well

Page = Callable[..., AppTest]


@pytest.fixture
def recorded(make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The only recorded run, with a forward pass."""
    folder = tmp_path / "gallery" / "runs" / "recorded-1"
    shutil.move(make_run().path, folder)
    write_forward_pass(folder, fake_forward_pass())
    monkeypatch.setenv("PTVIZ_GALLERY", str(tmp_path / "gallery"))
    return Run(folder)


def drawings(at: AppTest) -> list[dict]:
    found = [json.loads(one.proto.json or "{}") for one in at.get("bidi_component")]
    return [data for data in found if "layers" in data]


def test_the_forward_pass_of_the_recorded_run_is_shown(page: Page, recorded: Run) -> None:
    at = well(page())
    (data,) = drawings(at)
    assert [step["label"] for step in data["steps"]] == ["0", "20"]
    assert data["steps"][1]["probabilities"] == [0.9, 0.1]
    assert data["alone"] == [0.4, 0.6]
    assert any(f"Recorded with run {recorded.id} (ptviz 1)." in caption.value for caption in at.caption)


def test_the_recorded_run_plays(page: Page, recorded: Run) -> None:
    at = page()
    at = next(button for button in at.button if button.label == "Play the recorded run").click().run()
    assert not at.exception
    assert "Replay of a finished run" in " ".join(m.value for m in at.markdown)
    assert at.query_params["run"] in (recorded.id, [recorded.id])


def test_without_recorded_runs_neither_is_offered(page: Page) -> None:
    at = well(page())
    assert not drawings(at)
    assert "Play the recorded run" not in [button.label for button in at.button]


def test_a_recorded_run_without_a_forward_pass_still_plays(page: Page, recorded: Run) -> None:
    (recorded.path / FORWARD_PASS_FILE).unlink()
    at = well(page())
    assert not drawings(at)
    assert "Play the recorded run" in [button.label for button in at.button]


def test_a_damaged_forward_pass_leaves_the_page_whole(page: Page, recorded: Run) -> None:
    (recorded.path / FORWARD_PASS_FILE).write_text("{")
    at = page()
    assert not at.exception
    assert any("measure it again" in text.value for text in at.text)
    assert "Start training" in [button.label for button in at.button]


def test_the_run_that_comes_with_the_app_has_a_forward_pass_of_every_snapshot(gallery: Path) -> None:
    run = recorded_run("prompt-tuning")
    found = read_forward_pass(run)
    assert found is not None
    assert [(one.stage, one.step) for one in found.steps] == [(one.stage, one.step) for one in run.snapshots()]
