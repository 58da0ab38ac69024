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

from ptviz.checkpoints.bundle import Capability, NamedAxesArray, PromptBundle
from ptviz.checkpoints.containers.arrays import is_safetensors, read_safetensors, write_safetensors
from ptviz.checkpoints.errors import CheckpointError, safe_text
from ptviz.checkpoints.limits import LIMITS, check_size, parse_json_object

TIMEOUT_SECONDS = 180.0
"""Wall time after which a reader is ended: its processor time is bounded more tightly, but a machine that trains may
take a minute to import torch."""
_REFUSAL_PREFIX = b"refused\n"
_MAX_ANSWER_BYTES = 8 * LIMITS.scalars + LIMITS.header


def open_checkpoint(path: Path | str, seconds: float = TIMEOUT_SECONDS) -> PromptBundle:
    """The prompt at a path (a file or a folder), whatever its format.

    Raises:
        CheckpointError: if it is none, is damaged, breaks a limit, or reading it takes too long or too much memory.
    """
    path = Path(path).expanduser()
    try:
        place = path.absolute()
        there = path.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"expected the path of a checkpoint; got {safe_text(path)} ({safe_text(error)})"
        ) from error
    if not there:
        raise CheckpointError(
            f"there is nothing at {safe_text(path, 200)}: expected a file or folder with a trained prompt"
        )
    answer, code = _run_reader(place, seconds)
    if answer.startswith(_REFUSAL_PREFIX):
        raise CheckpointError(answer[len(_REFUSAL_PREFIX) :].decode("utf-8", "replace")[:4000])
    if code != 0 or not is_safetensors(answer[:9]):
        raise CheckpointError(f"{safe_text(path.name)}: {_describe_exit(code, seconds)}. Nothing of it was used")
    return decode_bundle(answer)


def _run_reader(path: Path, seconds: float) -> tuple[bytes, int]:
    """What the reader process wrote, and how it ended."""
    command = [sys.executable, "-P", "-m", "ptviz.checkpoints.sandbox.child", str(path)]
    quiet, pipe = subprocess.DEVNULL, subprocess.PIPE
    with (
        tempfile.TemporaryDirectory(prefix="ptviz-reader-") as nowhere,
        subprocess.Popen(
            command, stdin=quiet, stdout=pipe, stderr=quiet, env=_reader_environment(), cwd=nowhere
        ) as process,
    ):
        clock = Timer(seconds, process.kill)
        clock.daemon = True
        clock.start()
        assert process.stdout is not None
        try:
            answer = process.stdout.read(_MAX_ANSWER_BYTES + 1)
            if len(answer) > _MAX_ANSWER_BYTES:
                process.kill()
                answer = b""
            code = process.wait()
        finally:
            clock.cancel()
            process.kill()
    return answer, code


def _reader_environment() -> dict[str, str]:
    """The reader's environment: no secrets of the person's, one thread, and this very library."""
    kept = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    own = {name: os.environ[name] for name in kept if name in os.environ}
    source = str(Path(__file__).resolve().parents[3])
    return {**own, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _describe_exit(code: int, seconds: float) -> str:
    if code == -9:
        return f"reading it took longer than {seconds:g} s or more memory than there is, and was ended"
    if code < 0:
        return f"the process that read it died (signal {-code}), as damaged or hostile files can cause"
    return f"the process that read it failed (exit code {code})"


def encode_bundle(bundle: PromptBundle) -> bytes:
    """The bundle as bytes of safetensors; everything but the numbers stands in the header."""
    arrays = {str(index): values.array for index, values in enumerate(bundle.tensors.values())}
    told = {**bundle.to_json(), "tensors": [[name, list(v.axes)] for name, v in bundle.tensors.items()]}
    return write_safetensors(arrays, {"bundle": json.dumps(told)})


def decode_bundle(data: bytes) -> PromptBundle:
    """The bundle that ``encode_bundle`` wrote.

    Raises:
        CheckpointError: if the bytes are damaged.
    """
    check_size(len(data), "the reader's answer", _MAX_ANSWER_BYTES)
    found = read_safetensors(data, "the reader's answer")
    told = parse_json_object(found.metadata.get("bundle", "").encode(), "the reader's answer", LIMITS.header)
    try:
        tensors = {
            safe_text(name): NamedAxesArray(found.tensors[str(index)], tuple(map(str, axes)))
            for index, (name, axes) in enumerate(told["tensors"])
        }
        uses = tuple(
            Capability(safe_text(u["what"]), u["possible"] is True, safe_text(u["why"], 300)) for u in told["uses"]
        )
        return PromptBundle(
            safe_text(told["name"], 120), safe_text(told["format"]), safe_text(told["kind"]), tensors,
            _safe_texts(told["source"]),
            tuple(safe_text(text, 600) for text in told["warnings"]), uses,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError("the reader's answer is damaged: nothing of the file was used") from error


def _safe_texts(texts: Mapping[str, object]) -> dict[str, str]:
    return {safe_text(key, 60): safe_text(text, 300) for key, text in texts.items()}


def encode_refusal(message: str) -> bytes:
    """The bytes by which a reader says no."""
    return _REFUSAL_PREFIX + message.encode()
