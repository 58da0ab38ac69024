"""A stranger's file is parsed in a process of its own, which gives up network, writing and most memory first.

What comes back is safetensors, read by the same strict reader as any file: never a pickle. A reader that crashes,
hangs or eats memory takes nothing with it but itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from threading import Timer

from ptviz.checkpoints.bundle import PromptBundle, Use, Values
from ptviz.checkpoints.containers.arrays import is_safetensors, read_safetensors, write_safetensors
from ptviz.checkpoints.errors import CheckpointError, shown
from ptviz.checkpoints.limits import LIMITS, bounded, plain_json

SECONDS = 180.0
"""Wall time after which a reader is ended: its processor time is bounded more tightly, but a machine that trains may
take a minute to import torch."""
_REFUSED = b"refused\n"
_MOST = 8 * LIMITS.scalars + LIMITS.header


def open_checkpoint(path: Path | str, seconds: float = SECONDS) -> PromptBundle:
    """The prompt at a path (a file or a folder), whatever its format.

    Raises:
        CheckpointError: if it is none, is damaged, breaks a limit, or reading it takes too long or too much memory.
    """
    path = Path(path).expanduser()
    try:
        place = path.absolute()
        there = path.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"expected the path of a checkpoint; got {shown(path)} ({shown(error)})") from error
    if not there:
        raise CheckpointError(
            f"there is nothing at {shown(path, 200)}: expected a file or folder with a trained prompt"
        )
    answer, code = _asked(place, seconds)
    if answer.startswith(_REFUSED):
        raise CheckpointError(answer[len(_REFUSED) :].decode("utf-8", "replace")[:4000])
    if code != 0 or not is_safetensors(answer[:9]):
        raise CheckpointError(f"{shown(path.name)}: {_ended(code, seconds)}. Nothing of it was used")
    return unpacked(answer)


def _asked(path: Path, seconds: float) -> tuple[bytes, int]:
    """What the reader process wrote, and how it ended."""
    command = [sys.executable, "-P", "-m", "ptviz.checkpoints.sandbox.child", str(path)]
    quiet, pipe = subprocess.DEVNULL, subprocess.PIPE
    with (
        tempfile.TemporaryDirectory(prefix="ptviz-reader-") as nowhere,
        subprocess.Popen(command, stdin=quiet, stdout=pipe, stderr=quiet, env=_surroundings(), cwd=nowhere) as process,
    ):
        clock = Timer(seconds, process.kill)
        clock.daemon = True
        clock.start()
        assert process.stdout is not None
        try:
            answer = process.stdout.read(_MOST + 1)
            if len(answer) > _MOST:
                process.kill()
                answer = b""
            code = process.wait()
        finally:
            clock.cancel()
            process.kill()
    return answer, code


def _surroundings() -> dict[str, str]:
    """The reader's environment: no secrets of the person's, one thread, and this very library."""
    kept = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    own = {name: os.environ[name] for name in kept if name in os.environ}
    source = str(Path(__file__).resolve().parents[3])
    return {**own, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _ended(code: int, seconds: float) -> str:
    if code == -9:
        return f"reading it took longer than {seconds:g} s or more memory than there is, and was ended"
    if code < 0:
        return f"the process that read it died (signal {-code}), as damaged or hostile files can cause"
    return f"the process that read it failed (exit code {code})"


def packed(bundle: PromptBundle) -> bytes:
    """The bundle as bytes of safetensors; everything but the numbers stands in the header."""
    arrays = {str(index): values.array for index, values in enumerate(bundle.tensors.values())}
    told = {**bundle.to_json(), "tensors": [[name, list(v.axes)] for name, v in bundle.tensors.items()]}
    return write_safetensors(arrays, {"bundle": json.dumps(told)})


def unpacked(data: bytes) -> PromptBundle:
    """The bundle that ``packed`` wrote.

    Raises:
        CheckpointError: if the bytes are damaged.
    """
    bounded(len(data), "the reader's answer", _MOST)
    found = read_safetensors(data, "the reader's answer")
    told = plain_json(found.texts.get("bundle", "").encode(), "the reader's answer", LIMITS.header)
    try:
        tensors = {
            shown(name): Values(found.tensors[str(index)], tuple(map(str, axes)))
            for index, (name, axes) in enumerate(told["tensors"])
        }
        uses = tuple(Use(shown(u["what"]), u["possible"] is True, shown(u["why"], 300)) for u in told["uses"])
        return PromptBundle(
            shown(told["name"], 120), shown(told["format"]), shown(told["kind"]), tensors, _texts(told["source"]),
            tuple(shown(text, 600) for text in told["warnings"]), uses,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError("the reader's answer is damaged: nothing of the file was used") from error


def _texts(texts: Mapping[str, object]) -> dict[str, str]:
    return {shown(key, 60): shown(text, 300) for key, text in texts.items()}


def refusal(message: str) -> bytes:
    """The bytes by which a reader says no."""
    return _REFUSED + message.encode()
