"""Runs for other trackers, read back by the trackers' own readers."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from ptviz.runs import RunConfig, Store, StoreError
from ptviz.runs.tracker_export import EVENT_FILE, write_tensorboard, write_trackio
from tests.damaged_files import make_run

needs_tensorboard = pytest.mark.skipif(
    find_spec("tensorboard") is None, reason="tensorboard is missing; un-skip with: pip install 'ptviz[tensorboard]'"
)
needs_trackio = pytest.mark.skipif(
    find_spec("trackio") is None, reason="trackio is missing; un-skip with: pip install 'ptviz[trackio]'"
)


@needs_tensorboard
def test_tensorboard_reads_curves_settings_and_scores(store: Store, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG, parse_session_start_info_plugin_data

    run = make_run(store, "a run")
    count = write_tensorboard(run, tmp_path / "events")
    assert [file.name for file in (tmp_path / "events").iterdir()] == [EVENT_FILE]
    read = EventAccumulator(str(tmp_path / "events"))
    read.Reload()
    history = run.history()
    losses = read.Scalars("training/loss_nats")
    assert [one.step for one in losses] == history.global_steps.tolist()
    assert [one.value for one in losses] == pytest.approx(history.losses.tolist())
    scores = read.Scalars("validation/accuracy")
    assert [(one.step, round(one.value, 6)) for one in scores] == [(0, 0.3), (4, 0.5), (8, 0.7)]
    assert [one.value for one in read.Scalars("test/accuracy")] == pytest.approx([0.65])
    assert sum(len(read.Scalars(tag)) for tag in read.Tags()["scalars"]) == count
    data = read.SummaryMetadata(SESSION_START_INFO_TAG).plugin_data.content
    settings = parse_session_start_info_plugin_data(data).hparams
    assert settings["method"].string_value == "prompt-tuning"
    assert settings["m"].number_value == 2
    assert settings["lr"].number_value == pytest.approx(0.1), "the learning rate that was used"


@needs_trackio
def test_trackio_reads_curves_settings_and_scores(store: Store, tmp_path: Path) -> None:
    run = make_run(store, "a run")
    reader = (
        "import sys, json, trackio; from trackio.sqlite_storage import SQLiteStorage as S\n"
        "run, = trackio.Api().runs('mine')\n"
        "print(json.dumps([run.name, run.config, S.get_logs('mine', run.name)]))"
    )
    writer = (
        "import sys; from pathlib import Path; from ptviz.runs import Run\n"
        "from ptviz.runs.tracker_export import write_trackio; print(write_trackio(Run(Path(sys.argv[1])), 'mine'))"
    )
    # In processes of their own: trackio reads its folder from the environment once, and starts threads.
    home = {**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1"}
    steps = subprocess.run(
        [sys.executable, "-c", writer, run.path], env=home, capture_output=True, text=True, check=True
    )
    assert steps.stdout.strip() == "9", "stdout holds nothing but what the caller prints"
    read = subprocess.run([sys.executable, "-c", reader], env=home, capture_output=True, text=True, check=True)
    import json

    name, config, logs = json.loads(read.stdout.splitlines()[-1])
    assert (name, config["method"], config["m"]) == (run.id, "prompt-tuning", 2)
    assert [row["step"] for row in logs] == run.history().global_steps.tolist()
    assert [row["training/loss_nats"] for row in logs] == pytest.approx(run.history().losses.tolist())
    assert logs[-1]["test/accuracy"] == pytest.approx(0.65)
    again = subprocess.run([sys.executable, "-c", writer, run.path], env=home, capture_output=True, text=True)
    assert f"trackio's project mine has run {run.id} already" in again.stderr


def test_what_is_missing_is_said(
    store: Store, config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.create(config)
    if find_spec("tensorboard"):
        with pytest.raises(StoreError, match="has made no step yet: there is nothing to export"):
            write_tensorboard(run, tmp_path / "events")
    monkeypatch.setattr("ptviz.runs.tracker_export.find_spec", lambda name: None)
    for write in (lambda: write_tensorboard(run, tmp_path), lambda: write_trackio(run)):
        with pytest.raises(StoreError, match=r"is not installed: python -m pip install 'ptviz\["):
            write()
    assert not (tmp_path / "events").exists()
