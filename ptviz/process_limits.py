"""Limits of memory and time for a process that handles what came from elsewhere."""

from __future__ import annotations

import contextlib


def limit_resources(memory: int, seconds: int) -> None:
    """Limit this process to ``memory`` bytes and ``seconds`` of CPU time beyond what it used, and to no files written.

    This is irreversible: use a separate process. Systems without such limits, as Windows, are left as they are.
    """
    with contextlib.suppress(ImportError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        limits = {
            "RLIMIT_AS": _mapped_bytes() + memory,
            "RLIMIT_CPU": int(used.ru_utime + used.ru_stime) + seconds,
            "RLIMIT_FSIZE": 0,
            "RLIMIT_CORE": 0,
        }
        for name, value in limits.items():
            with contextlib.suppress(ValueError, OSError):  # macOS defines RLIMIT_AS but refuses to set it
                resource.setrlimit(getattr(resource, name), (value, value))


def _mapped_bytes() -> int:
    """Return the bytes of address space in use; a generous guess where the system does not report it."""
    with contextlib.suppress(OSError, ValueError), open("/proc/self/statm") as file:  # noqa: PTH123
        import resource

        return int(file.read().split()[0]) * resource.getpagesize()
    return 32_000_000_000
