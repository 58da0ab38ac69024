"""Peak memory of a run above what its process used before."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil
import torch

_PROC_SELF = Path("/proc/self")


class PeakMemory:
    """Measures peak memory from its creation on: torch's on an accelerator, else the process's (Linux).

    Freed memory is returned to the system first, so that an earlier run of the same process does not hide this one's.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._bytes_before: int | None = None
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._bytes_before = torch.cuda.memory_allocated(device)
            return
        with suppress(AttributeError):  # Not every C library can return freed memory.
            psutil.heap_trim()
        with suppress(OSError):
            # proc(5): 5 resets the high-water mark, https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html
            (_PROC_SELF / "clear_refs").write_text("5")
            self._bytes_before = psutil.Process().memory_info().rss

    def bytes_above_start(self) -> int | None:
        """Return the bytes between start and peak so far; None where the system cannot report it."""
        if self._bytes_before is None:
            return None
        if self._device.type == "cuda":
            return max(0, torch.cuda.max_memory_allocated(self._device) - self._bytes_before)
        with suppress(OSError, ValueError, StopIteration):
            lines = (_PROC_SELF / "status").read_text().splitlines()
            peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
            return max(0, peak - self._bytes_before)
        return None
