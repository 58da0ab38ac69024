"""The guide to your own data and model, word for word: train, inspect, export, and answer under PEFT."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptviz.backbones.tiny import make_tiny_model, make_tiny_tokeniser
from ptviz.runs import Store, saved_prompts
from tests.app_server import HANGS_SECONDS

Shell = Callable[..., Any]
GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "guides" / "own-data-and-model.md").read_text()
COMMANDS = [shlex.split(line, comments=True) for line in re.search(r"```sh\n(.*?)```", GUIDE, re.S)[1].splitlines()]
SCRIPT = re.search(r"```python\n(.*?)```", GUIDE, re.S)[1]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and a table, which a person stands in."""
    make_tiny_model("tiny-decoder").save_pretrained(tmp_path / "my-model")
    make_tiny_tokeniser().save_pretrained(tmp_path / "my-model")
    rows = [f"a lovely film number {i},good\nthe worst film number {i},bad" for i in range(40)]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_guide_works(shell: Shell, own: Path) -> None:
    run = ""
    for _, *words in COMMANDS:
        answer = shell(*[word.replace("RUN", run) for word in words])
        assert answer.code == 0, answer.err
        assert words[0] != "inspect" or "compatible with ./my-model\n" in answer.out
        run = run or re.match(r"([\w-]+): test ", answer.out)[1]
    # The script of the guide, in a process that knows nothing of ptviz.
    (own / "use.py").write_text(SCRIPT)
    assert "ptviz" not in SCRIPT
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "use.py"],
        capture_output=True,
        text=True,
        env=os.environ,
        timeout=HANGS_SECONDS,
    )
    assert child.returncode == 0, child.stderr
    theirs, ours = json.loads(child.stdout), shell("predict", run, "a lovely film", "--json").json
    assert list(theirs) == ours["classes"]
    assert np.allclose(list(theirs.values()), ours["with"][0], atol=1e-5)
    assert not np.allclose(list(theirs.values()), ours["without"][0], atol=1e-3)
    # The kept prompt is the exported one, and the second run started there.
    kept = {one.title: one for one in saved_prompts.list_saved_prompts(Store().prompts_folder)}
    assert kept["reviews"].origin["format"] == "PEFT PROMPT_TUNING"
    assert kept["reviews"].backbone == str(own / "my-model")
    second = next(s for s in Store().list() if s.config.start)
    assert second.config.hyperparameters["m"] == 8
    start, best = Store().get(second.id).initial_state()["embeddings"], Store().get(run).prompt()["P"]
    assert np.allclose(start, best, atol=0)


def test_a_start_that_does_not_fit_makes_no_run(shell: Shell, small: list[str], tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.random.default_rng(0).normal(size=(3, 48)).astype(np.float32))
    np.save(tmp_path / "own.npy", np.random.default_rng(0).normal(size=(5, 32)).astype(np.float32))
    answer = shell("train", "prompt-tuning", *small, "--start", tmp_path / "wide.npy")
    assert (answer.code, answer.out) == (2, "")
    assert "vectors of this backbone's width, 32; this prompt's have 48" in answer.err
    answer = shell("train", "prompt-tuning", *small, "--start", tmp_path / "own.npy")  # small sets m=3
    assert "expected 3 prompt tokens; this prompt has 5. Set m to 5" in answer.err
    assert shell("train", "smop", *small, "--start", tmp_path / "own.npy").code == 2
    assert shell("train", "prompt-tuning", *small, "--start", tmp_path / "absent").code == 2
    assert Store().list() == []
    id = shell("import", tmp_path / "own.npy", "--backbone", "tiny-encoder", "--json").json["prompt"]
    assert shell("import", tmp_path / "own.npy", "--backbone", "minilm-l6").code == 2
    done = shell("train", "prompt-tuning", *small[:-2], "--start", id, "--json").json
    assert (done["state"], Store().get(done["run"]).config.start) == ("finished", id)
