"""Restrict the reader process before it reads an untrusted file: memory, time, writing, network, programs.

The layers are independent, where the system has them: resource limits (Linux, macOS), a system call filter (Linux), and
a Python audit hook (everywhere). The parsers and ``weights_only`` already prevent the execution of code; these layers
limit the damage of a vulnerability in them.
"""

from __future__ import annotations

import contextlib
import ctypes
import platform
import struct
import sys
from typing import Any

MEMORY_BYTES = 1_600_000_000
"""Bytes of memory for reading, beyond what the interpreter and torch already map."""
CPU_SECONDS = 20
"""CPU time for reading."""

_FORBIDDEN_EVENTS = (
    "socket.", "subprocess.", "os.exec", "os.spawn", "os.posix_spawn", "os.system", "os.fork", "os.kill", "os.remove",
    "os.rename", "shutil.", "ctypes.", "urllib.",
)  # fmt: skip
_SYSCALL_NUMBERS = {
    # machine: (AUDIT_ARCH, numbers of socket, connect, sendto, execve, execveat, ptrace, kill)
    "x86_64": (0xC000003E, (41, 42, 44, 59, 322, 101, 62)),
    "aarch64": (0xC00000B7, (198, 203, 206, 221, 281, 117, 129)),
}
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _DENY = 0x7FFF0000, 0x00050001  # SECCOMP_RET_ALLOW, and SECCOMP_RET_ERRNO with EPERM
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2


def restrict_process(memory: int = MEMORY_BYTES, seconds: int = CPU_SECONDS) -> None:
    """Give up every right that reading a file does not need. This is irreversible: call it in a separate process."""
    _limit_resources(memory, seconds)
    _filter_syscalls()
    sys.addaudithook(_audit_hook)


def _limit_resources(memory: int, seconds: int) -> None:
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


def _filter_syscalls() -> None:
    """Make the Linux kernel refuse sockets and programs. Source: kernel.org, userspace-api/seccomp_filter."""
    known = _SYSCALL_NUMBERS.get(platform.machine())
    if sys.platform != "linux" or known is None:
        return
    architecture, calls = known
    count = len(calls)
    steps = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 0, count + 3, architecture),  # another architecture's calls have other numbers: deny
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, count + 1, 0, 0x40000000),
        *((_EQUAL, count - index, 0, call) for index, call in enumerate(calls)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _DENY),
    ]
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(program)))
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        libc.prctl(_SECCOMP, _FILTER, header, 0, 0)


def _audit_hook(event: str, arguments: tuple[Any, ...]) -> None:
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if writes or event.startswith(_FORBIDDEN_EVENTS):
        raise PermissionError(f"{event} is not allowed while reading a checkpoint")
