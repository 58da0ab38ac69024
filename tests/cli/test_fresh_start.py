"""A command that only lists or shows loads nothing that computes, so that its answer comes at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.old_home import RUN, copy_old_home

HEAVY = {"torch", "transformers", "numba", "sklearn", "scipy", "pandas", "pyarrow", "datasets", "plotly", "streamlit"}
SCRIPT = """
import sys
from ptviz.cli import run

heavy, *words = sys.argv[1:]
code = run(words)
print(*set(heavy.split(",")) & set(sys.modules), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("--help", "backbones"),
        ("train --help", "--branch"),
        ("methods --json", "prompt-tuning"),
        ("tasks", "trec6"),
        ("backbones", "minilm-l6"),
        ("runs", RUN),
        (f"show {RUN}", "validation loss"),
    ],
)
def test_lists_load_nothing_that_computes(home: Path, command: str, shown: str) -> None:
    copy_old_home(home)
    call = [sys.executable, "-c", SCRIPT, ",".join(HEAVY), *command.split()]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout
    assert not done.stderr.split(), "these were loaded, or the command complained"
