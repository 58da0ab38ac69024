"""Parse untrusted files in a separate process that has no network, no right to write, and limited memory.

Its answer is safetensors, read by the same strict reader as any file, and never a pickle. A reader that crashes, hangs
or uses too much memory affects only its own process.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from threading import Timer

from ptviz.checkpoints.bundle import Capability, Measurements, NamedAxesArray, PromptBundle
from ptviz.checkpoints.containers.arrays import is_safetensors, read_safetensors, write_safetensors
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.limits import LIMITS, check_path, check_size, parse_json_object
from ptviz.checkpoints.measurements import measure_prompts
from ptviz.safe_text import safe_text

TIMEOUT_SECONDS = 180.0
"""Wall time after which a reader is killed. Its CPU time has a tighter limit, but on a busy machine the import of
torch may take a minute."""
_REFUSAL_PREFIX = b"refused\n"
_MAX_ANSWER_BYTES = 8 * LIMITS.scalars + LIMITS.header


def open_checkpoint(path: Path | str, seconds: float = TIMEOUT_SECONDS) -> PromptBundle:
    """Return the prompt of a file or folder in any known format.

    Raises:
        CheckpointError: if it is not a checkpoint, is damaged, exceeds a limit, or is too slow or too large to read.
    """
    path = check_path(path)
    answer, code = _run_reader(path, seconds)
    if answer.startswith(_REFUSAL_PREFIX):
        raise CheckpointError(answer[len(_REFUSAL_PREFIX) :].decode("utf-8", "replace")[:4000])
    if code != 0 or not is_safetensors(answer[:9]):
        raise CheckpointError(f"{safe_text(path.name)}: {_describe_exit(code, seconds)}. It was not used")
    return decode_bundle(answer)


def _run_reader(path: Path, seconds: float) -> tuple[bytes, int]:
    """Return the output and the exit code of the reader process."""
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
    """Return the reader's environment: no secrets, one thread, and this copy of the library."""
    inherited = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    own = {name: os.environ[name] for name in inherited if name in os.environ}
    source = str(Path(__file__).resolve().parents[3])
    return {**own, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _describe_exit(code: int, seconds: float) -> str:
    if code == -9:
        return f"reading it took longer than {seconds:g} s or too much memory, and was stopped"
    if code < 0:
        return f"the reader process crashed (signal {-code}), as damaged or hostile files can cause"
    return f"the reader process failed (exit code {code})"


def encode_bundle(bundle: PromptBundle) -> bytes:
    """Return the bundle as safetensors bytes, with its measurements and everything but the tensors in the header."""
    arrays = {str(index): values.array for index, values in enumerate(bundle.tensors.values())}
    measurements = list(measure_prompts(bundle.token_matrices()).values())
    tensors = [[name, list(values.axes)] for name, values in bundle.tensors.items()]
    header = {**bundle.to_json(), "tensors": tensors, "measurements": measurements}
    return write_safetensors(arrays, {"bundle": json.dumps(header)})


def decode_bundle(data: bytes) -> PromptBundle:
    """Return the bundle that ``encode_bundle`` encoded.

    Raises:
        CheckpointError: if the bytes are damaged.
    """
    check_size(len(data), "the reader's answer", _MAX_ANSWER_BYTES)
    found = read_safetensors(data, "the reader's answer")
    header = parse_json_object(found.metadata.get("bundle", "").encode(), "the reader's answer", LIMITS.header)
    try:
        tensors = {
            safe_text(name): NamedAxesArray(found.tensors[str(index)], tuple(map(str, axes)))
            for index, (name, axes) in enumerate(header["tensors"])
        }
        uses = tuple(
            Capability(safe_text(u["what"]), u["possible"] is True, safe_text(u["why"], 300)) for u in header["uses"]
        )
        bundle = PromptBundle(
            name=safe_text(header["name"], 120),
            format=safe_text(header["format"]),
            kind=safe_text(header["kind"]),
            tensors=tensors,
            metadata=_safe_texts(header["source"]),
            warnings=tuple(safe_text(text, 600) for text in header["warnings"]),
            capabilities=uses,
        )
        return replace(bundle, measurements=_read_measurements(bundle, header["measurements"]))
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError("the reader's answer is damaged: the file was not used") from error


def _read_measurements(bundle: PromptBundle, rows: list[tuple[float, float, int]]) -> dict[str, Measurements]:
    """Return the reader's measurements by prompt; they are never made here, where nothing bounds their cost."""
    found = [Measurements(float(rank), float(rest_rank), int(count)) for rank, rest_rank, count in rows]
    if not all(math.isfinite(value) and value >= 0 for row in found for value in row):
        raise ValueError("expected measurements that are finite and not negative")
    return dict(zip(bundle.token_matrices(), found, strict=True))


def _safe_texts(texts: Mapping[str, object]) -> dict[str, str]:
    return {safe_text(key, 60): safe_text(text, 300) for key, text in texts.items()}


def encode_refusal(message: str) -> bytes:
    """Return the bytes with which the reader refuses a file."""
    return _REFUSAL_PREFIX + message.encode()
