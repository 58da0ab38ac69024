"""The reader process when a parser has a hole, and the reader of mkultra's pickles: each limit really triggered."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ptviz.checkpoints import CheckpointError, open_checkpoint
from ptviz.checkpoints.detect import open_bytes
from tests.checkpoints.files import ROWS, mkultra, npy

LIMITED = """
import sys
from ptviz.checkpoints.sandbox import child, restrictions
limits = {{{limit}}}
original = restrictions.restrict_process
child.restrict_process = lambda paths: original(paths, **limits)
def hostile(path):
    {act}
child.open_in_process = hostile
from pathlib import Path
child.main(Path(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and time are the kernel's")
@pytest.mark.parametrize(
    ("limit", "act", "message"),
    [
        ("'memory': 200_000_000", "return [bytearray(10_000_000) for _ in range(500)]", "more memory than a prompt"),
        ("'seconds': 1", "while True: pass", "crashed|longer than"),
        ("", "import socket; socket.socket()", "as a prompt .(Permission|Import)Error"),
        ("", "import os; os.kill(os.getppid(), 0)", "as a prompt .PermissionError"),
        (
            "",
            "import os; os.write(os.open('x', os.O_RDWR | os.O_CREAT), b'x')",
            "as a prompt .PermissionError",
        ),
    ],
    ids=["memory", "time", "network", "signals", "writing"],
)
def test_a_parser_with_a_hole_is_ended_by_the_limits(
    limit: str, act: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader's own process, with its parser replaced by what a hole in it might do."""
    from ptviz.checkpoints.sandbox import parent

    path = tmp_path / "good.npy"
    path.write_bytes(npy(ROWS.numpy()))
    command = [sys.executable, "-P", "-c", LIMITED.format(limit=limit, act=act), str(path)]
    popen = parent.subprocess.Popen
    monkeypatch.setattr(parent.subprocess, "Popen", lambda _, **settings: popen(command, **settings))
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda: [ROWS], "expected a tensor|does more than hold"),
        (lambda: torch.nn.Parameter(ROWS), "calls torch._utils._rebuild_parameter"),
        (lambda: {"a": ROWS}, "expected a tensor|does more than hold"),
        (lambda: "text", "expected a tensor|does more than hold"),
        (lambda: torch.ones(2, 3, dtype=torch.complex64), "complex|numbers|dtype|expected"),
        (lambda: torch.full((2, 3), float("inf")), "finite|Inf|infinite"),
        (lambda: torch.ones(3).expand(10**9, 3), "at most|large|limit|overlap|refused|expected"),
        (lambda: Path("x"), "calls .*pathlib"),
    ],
    ids=["list", "parameter", "dict", "text", "complex", "infinite", "a view of a billion rows", "a path"],
)
def test_mkultras_pickle_may_hold_one_tensor_and_nothing_else(value: Callable[[], Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        open_bytes(mkultra(value()), "m")


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_mkultras_pickle_cut_short_is_refused(cut: int) -> None:
    text = json.loads(mkultra())["tensor"]
    with pytest.raises(CheckpointError):
        open_bytes(json.dumps({"metadata": {}, "tensor": text[: 4 * cut]}).encode(), "m")
