"""Why a run ended, in words for a person who has never seen a traceback."""

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
    """How often the system has killed a process here for lack of memory, as far as it tells."""
    total = 0
    for counter in _OOM_COUNTER_FILES:
        with suppress(OSError):
            found = re.search(r"^oom_kill (\d+)$", Path(counter).read_text(), re.MULTILINE)
            total += int(found[1]) if found else 0
    return total


def resume_hint(kept: int | None) -> str:
    """What a resume would do."""
    return "resume starts it again" if kept is None else f"resume continues from step {kept}"


def crash_reason(folder: Path, kills: int, kept: int | None) -> tuple[Literal["stopped", "failed"], str]:
    """State and reason of a run whose worker vanished without a word."""
    with suppress(OSError):
        if last := (folder / "crash.txt").read_text(errors="replace").strip():
            what = last.splitlines()[0].removeprefix("Fatal Python error: ")
            return "failed", f"the worker crashed ({what}); {resume_hint(kept)}. Details: {folder / 'crash.txt'}"
    if oom_kill_count() > kills:
        return "failed", f"out of memory: the system killed the worker. {_MEMORY_ADVICE}; {resume_hint(kept)}"
    return "stopped", f"the worker was killed; {resume_hint(kept)}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out, on the processor or on an accelerator."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, RuntimeError) and bool(_OUT_OF_MEMORY.search(str(error))))


def failure_reason(error: BaseException, kept: int | None) -> str:
    """The reason of a run that an exception ended.

    Our own errors, and files that are not there, come with words for people and stand as they are.
    """
    if is_out_of_memory(error):
        return f"out of memory. {_MEMORY_ADVICE}; {resume_hint(kept)}"
    told = str(error).strip()
    if isinstance(error, ValueError | OSError | TrainingError) and told:
        return told
    line = told.splitlines()[0] if told else "no message"
    return f"an unexpected {type(error).__name__}: {line}. Details are in the run's error.txt; {resume_hint(kept)}"
