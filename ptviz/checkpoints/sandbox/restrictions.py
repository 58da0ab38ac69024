"""Restrict the reader process before it reads an untrusted file: memory, time, system calls, files.

The layers are independent: resource limits (Linux, macOS), an allow list of system calls (Linux), Landlock's rules for
files, sockets and signals (Linux 5.13 or later), and a Python audit hook (everywhere). ``find_protections`` says which
of them this system has; one that it has and that cannot be installed is an error. The parsers and ``weights_only``
already prevent the execution of code; these layers limit the damage of a vulnerability in them.

Everything that reading needs is loaded before: afterwards no library can be mapped and no thread started.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ptviz.checkpoints.sandbox import syscall_filter
from ptviz.process_limits import limit_resources

MEMORY_BYTES = 1_600_000_000
"""Bytes of memory for reading, beyond what the interpreter and torch already map."""
CPU_SECONDS = 20
"""CPU time for reading."""

RESOURCE_LIMITS, SYSCALL_FILTER, LANDLOCK = "memory and time limits", "system call filter", "Landlock"
PROTECTIONS = (RESOURCE_LIMITS, SYSCALL_FILTER, LANDLOCK)
"""What the system itself enforces; the Python audit hook comes with every system."""

_FORBIDDEN_EVENTS = (
    "socket.", "subprocess.", "os.exec", "os.spawn", "os.posix_spawn", "os.system", "os.fork", "os.kill", "os.remove",
    "os.rename", "shutil.", "ctypes.", "urllib.",
)  # fmt: skip
_NO_NEW_PRIVILEGES, _GET_SECCOMP = 38, 21
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FS_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}  # number of rights on files by Landlock's version
_TCP_RIGHTS, _SCOPES = 0b11, 0b11  # bind and connect; abstract sockets and signals


def find_protections() -> tuple[str, ...]:
    """Return which of ``PROTECTIONS`` this system offers; nothing is changed."""
    found = []
    with contextlib.suppress(ImportError):
        import resource  # noqa: F401  # absent on Windows

        found.append(RESOURCE_LIMITS)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if platform.machine() in syscall_filter.ARCHITECTURES and libc.prctl(_GET_SECCOMP, 0, 0, 0, 0) >= 0:
            found.append(SYSCALL_FILTER)
        if _landlock_version(libc) > 0:
            found.append(LANDLOCK)
    return tuple(found)


def describe_missing_protections() -> str:
    """Return what does not confine the reader process on this system, and what to do; "" if nothing is missing."""
    missing = [name for name in PROTECTIONS if name not in find_protections()]
    if not missing:
        return ""
    return (
        f"this system does not offer: {', '.join(missing)}. Files are still read without running code from them; open "
        "only files from people you trust, or use a recent Linux"
    )


def restrict_process(readable: Iterable[Path] = (), memory: int = MEMORY_BYTES, seconds: int = CPU_SECONDS) -> None:
    """Give up every right that reading ``readable`` does not need. This is irreversible: use a separate process.

    Raises:
        OSError: if the system offers a protection and refuses to install it.
    """
    protections = find_protections()
    limit_resources(memory, seconds)
    if LANDLOCK in protections or SYSCALL_FILTER in protections:
        libc = ctypes.CDLL(None, use_errno=True)
        _check(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "prctl")
        if LANDLOCK in protections:
            _restrict_files(libc, [*readable, *map(Path, sys.path), Path(sys.prefix), Path(sys.base_prefix)])
        if SYSCALL_FILTER in protections:
            _check(syscall_filter.install(libc), "seccomp")
    sys.addaudithook(_audit_hook)


def _check(result: int, call: str) -> int:
    if result:
        raise OSError(ctypes.get_errno(), f"the sandbox cannot be set up: {call} failed")
    return result


def _landlock_version(libc: ctypes.CDLL) -> int:
    return int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1))


def _restrict_files(libc: ctypes.CDLL, readable: Iterable[Path]) -> None:
    """Allow reading below some paths, and nothing else with files, TCP or other processes.

    Source: kernel.org, userspace-api/landlock.
    """
    version = _landlock_version(libc)
    rights = (1 << _FS_RIGHTS[max(known for known in _FS_RIGHTS if known <= version)]) - 1
    handled = (rights, *([_TCP_RIGHTS] if version >= 4 else []), *([_SCOPES] if version >= 6 else []))
    attributes = (ctypes.c_uint64 * len(handled))(*handled)
    ruleset = int(libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(ctypes.sizeof(attributes)), 0))
    _check(min(ruleset, 0), "landlock_create_ruleset")
    for path in dict.fromkeys(path for path in readable if path.exists()):
        allowed = _READ_FILE | (_READ_DIR if path.is_dir() else 0)
        file = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = allowed.to_bytes(8, sys.byteorder) + file.to_bytes(4, sys.byteorder)
        _check(libc.syscall(_ADD_RULE, ruleset, 1, rule, 0), "landlock_add_rule")
        os.close(file)
    _check(libc.syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def _audit_hook(event: str, arguments: tuple[Any, ...]) -> None:
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if writes or event.startswith(_FORBIDDEN_EVENTS):
        raise PermissionError(f"{event} is not allowed while reading a checkpoint")
