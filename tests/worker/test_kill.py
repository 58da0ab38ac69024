"""Killed at any moment, a run goes on as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import execute_run
from ptviz.runs import RunConfig, Store
from tests.soak.kill_campaign import run_campaign

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork: un-skip with a spawned child on Windows"),
    # The child touches no thread of ours: it moves one small tensor and writes files.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


def test_sigkill_at_any_moment_changes_nothing(
    store: Store, config: RunConfig, model_cache: ModelCache, training: Any
) -> None:
    config = replace(config, training=replace(config.training, steps=60))
    whole, run = store.create(config), store.create(config)
    execute_run(whole.path, model_cache)
    training.before = lambda step: time.sleep(0.002)
    chance, kills = random.Random(0), 0
    while run.status().state != "finished" and kills < 200:
        kept = run.status().saved_step
        child = os.fork()
        if child == 0:
            try:
                execute_run(run.path, model_cache)
            finally:
                os._exit(0)
        # Ever longer lives, so that a busy machine comes to the end too.
        time.sleep(chance.uniform(0.0, 0.08 + kills / 100))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills += 1
        status = run.status()
        assert status.state in ("stopped", "finished")
        assert (status.saved_step or 0) >= (kept or 0)
        assert run.history().damaged_lines == 0
        run.snapshots()
    assert kills > 3
    assert torch.equal(run.prompt()["P"], whole.prompt()["P"])
    assert torch.equal(run.snapshot(0, 60)["P"], whole.snapshot(0, 60)["P"])
    assert run.history().losses.tolist() == whole.history().losses.tolist()
    assert run.history().evaluations == whole.history().evaluations
    assert not [path for path in run.path.rglob("*.part")]
    assert run.predictions() is not None


def test_a_kill_at_any_call_loses_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few of the points that ``python -m tests.soak.kill_campaign`` goes through."""
    monkeypatch.setenv("PTVIZ_CACHE", os.environ.get("PTVIZ_CACHE", ""))  # restored after the campaign sets its own
    killed = run_campaign(tmp_path / "homes", points=18)
    assert killed.total() == 18
    assert {"train", "extend", "import"} <= set(killed)
