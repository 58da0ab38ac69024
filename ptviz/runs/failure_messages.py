"""Why a run ended, in plain words without a traceback."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Literal

from ptviz.training import TrainingError

_OOM_COUNTER_FILES = (
    "/sys/fs/cgroup/memory.events",
    "/sys/fs/cgroup/memory/memory.oom_control",
    "/proc/vmstat",
)
_OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|cannot allocate memory", re.IGNORECASE
)
_MEMORY_ADVICE = "Try a smaller batch, a shorter length, fewer prompt tokens or a smaller backbone"


def oom_kill_count() -> int:
    """Return how many processes the system's out-of-memory killer has ended, as far as its counters show."""
    total = 0
    for counter in _OOM_COUNTER_FILES:
        with suppress(OSError):
            found = re.search(r"^oom_kill (\d+)$", Path(counter).read_text(), re.MULTILINE)
            total += int(found[1]) if found else 0
    return total


def resume_hint(saved_step: int | None) -> str:
    """Return what resuming the run would do."""
    return "resume starts it again" if saved_step is None else f"resume continues from step {saved_step}"


def crash_reason(folder: Path, kills: int, saved_step: int | None) -> tuple[Literal["stopped", "failed"], str]:
    """Return the state and the reason of a run whose worker ended without writing them."""
    with suppress(OSError):
        if last := (folder / "crash.txt").read_text(errors="replace").strip():
            what = last.splitlines()[0].removeprefix("Fatal Python error: ")
            return "failed", f"the worker crashed ({what}); {resume_hint(saved_step)}. Details: {folder / 'crash.txt'}"
    if oom_kill_count() > kills:
        return "failed", f"out of memory: the system killed the worker. {_MEMORY_ADVICE}; {resume_hint(saved_step)}"
    return "stopped", f"the worker was killed; {resume_hint(saved_step)}"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception means out of memory, on the CPU or on an accelerator."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, RuntimeError) and bool(_OUT_OF_MEMORY.search(str(error))))


def failure_reason(error: BaseException, saved_step: int | None) -> str:
    """Return the reason for a run that ended with an exception.

    Errors of ptviz and of missing files already have readable messages, which are returned unchanged.
    """
    if is_out_of_memory(error):
        return f"out of memory. {_MEMORY_ADVICE}; {resume_hint(saved_step)}"
    message = str(error).strip()
    if isinstance(error, ValueError | OSError | TrainingError) and message:
        return message
    line = message.splitlines()[0] if message else "no message"
    return f"unexpected {type(error).__name__}: {line}. See error.txt in the run's folder; {resume_hint(saved_step)}"
