"""Why a run ended, in words for a person who has never seen a traceback."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Literal

from ptviz.training import TrainingError

_COUNTERS = (
    "/sys/fs/cgroup/memory.events",
    "/sys/fs/cgroup/memory/memory.oom_control",
    "/proc/vmstat",
)
_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory|cannot allocate memory", re.IGNORECASE)
_LESS = "Try a smaller batch, a shorter length, fewer prompt tokens or a smaller backbone"


def memory_kills() -> int:
    """How often the system has killed a process here for lack of memory, as far as it tells."""
    total = 0
    for counter in _COUNTERS:
        with suppress(OSError):
            found = re.search(r"^oom_kill (\d+)$", Path(counter).read_text(), re.MULTILINE)
            total += int(found[1]) if found else 0
    return total


def going_on(kept: int | None) -> str:
    """What a resume would do."""
    return "resume starts it again" if kept is None else f"resume continues from step {kept}"


def after_death(folder: Path, kills: int, kept: int | None) -> tuple[Literal["stopped", "failed"], str]:
    """State and reason of a run whose worker vanished without a word."""
    with suppress(OSError):
        if last := (folder / "crash.txt").read_text(errors="replace").strip():
            what = last.splitlines()[0].removeprefix("Fatal Python error: ")
            return "failed", f"the worker crashed ({what}); {going_on(kept)}. Details: {folder / 'crash.txt'}"
    if memory_kills() > kills:
        return "failed", f"out of memory: the system killed the worker. {_LESS}; {going_on(kept)}"
    return "stopped", f"the worker was killed; {going_on(kept)}"


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out, on the processor or on an accelerator."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, RuntimeError) and bool(_MEMORY.search(str(error))))


def of_exception(error: BaseException, kept: int | None) -> str:
    """The reason of a run that an exception ended.

    Our own errors, and files that are not there, come with words for people and stand as they are.
    """
    if out_of_memory(error):
        return f"out of memory. {_LESS}; {going_on(kept)}"
    told = str(error).strip()
    if isinstance(error, ValueError | OSError | TrainingError) and told:
        return told
    line = told.splitlines()[0] if told else "no message"
    return f"an unexpected {type(error).__name__}: {line}. Details are in the run's error.txt; {going_on(kept)}"
