"""An allow list of system calls as a seccomp filter: what reading files needs, and nothing else.

Source: kernel.org, userspace-api/seccomp_filter. The numbers are those of the kernel's own tables
(arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h).
"""

from __future__ import annotations

import ctypes
import platform
import struct
from typing import NamedTuple


class Architecture(NamedTuple):
    """AUDIT_ARCH of a machine, its number of seccomp(2), and the allowed calls by name."""

    audit_arch: int
    seccomp: int
    calls: dict[str, int]


ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, 317, {
        "read": 0, "write": 1, "open": 2, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "lseek": 8, "mmap": 9,
        "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15,
        "ioctl": 16, "pread64": 17, "readv": 19, "writev": 20, "access": 21, "sched_yield": 24, "mremap": 25,
        "madvise": 28, "nanosleep": 35, "getpid": 39, "exit": 60, "fcntl": 72, "getcwd": 79, "readlink": 89,
        "gettimeofday": 96, "getrusage": 98, "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108,
        "sigaltstack": 131, "gettid": 186, "futex": 202, "sched_getaffinity": 204, "getdents64": 217,
        "restart_syscall": 219, "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231,
        "openat": 257, "newfstatat": 262, "readlinkat": 267, "faccessat": 269, "set_robust_list": 273,
        "getrandom": 318, "statx": 332, "rseq": 334, "faccessat2": 439,
    }),
    "aarch64": Architecture(0xC00000B7, 277, {
        "getcwd": 17, "fcntl": 25, "ioctl": 29, "faccessat": 48, "openat": 56, "close": 57, "getdents64": 61,
        "lseek": 62, "read": 63, "write": 64, "readv": 65, "writev": 66, "pread64": 67, "readlinkat": 78,
        "newfstatat": 79, "fstat": 80, "exit": 93, "exit_group": 94, "futex": 98, "set_robust_list": 99,
        "nanosleep": 101, "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115, "sched_getaffinity": 123,
        "sched_yield": 124, "restart_syscall": 128, "sigaltstack": 132, "rt_sigaction": 134, "rt_sigprocmask": 135,
        "rt_sigreturn": 139, "getrusage": 165, "gettimeofday": 169, "getpid": 172, "getuid": 174, "geteuid": 175,
        "getgid": 176, "getegid": 177, "gettid": 178, "brk": 214, "munmap": 215, "mremap": 216, "mmap": 222,
        "mprotect": 226, "madvise": 233, "getrandom": 278, "statx": 291, "rseq": 293, "faccessat2": 439,
    }),
}  # fmt: skip
"""By the name that ``platform.machine()`` gives."""

_OPEN_TO_WRITE = 0o20003103  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND and the bit of O_TMPFILE
_SHARED, _EXECUTABLE = 1, 4  # MAP_SHARED, PROT_EXEC
_FORBIDDEN_BITS = {
    "open": ((1, _OPEN_TO_WRITE),),
    "openat": ((2, _OPEN_TO_WRITE),),
    "mmap": ((2, _EXECUTABLE), (3, _SHARED)),
    "mprotect": ((2, _EXECUTABLE),),
}
"""For a call: the index of an argument, and the bits that it must not have."""
_ALLOWED_VALUES = {
    "ioctl": (1, (0x5401,)),  # TCGETS, with which Python asks whether a file is a terminal
    "fcntl": (1, (1, 2, 3, 1030)),  # F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC
}
"""For a call: the index of an argument, and the only values that it may have."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _DENY = 0x7FFF0000, 0x00050001  # SECCOMP_RET_ALLOW, and SECCOMP_RET_ERRNO with EPERM
_SET_MODE_FILTER, _ALL_THREADS = 1, 1

_Step = tuple[int, int, int, int]
"""One instruction: its code, how many to skip if the comparison holds and if not, and its operand."""


def install(libc: ctypes.CDLL) -> int:
    """Install the filter for all threads of this process, which must have no new privileges; 0 if it holds."""
    architecture = ARCHITECTURES[platform.machine()]
    steps = build_filter(architecture)
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(program)))
    return int(libc.syscall(architecture.seccomp, _SET_MODE_FILTER, _ALL_THREADS, header))


def build_filter(architecture: Architecture) -> list[_Step]:
    """Return the filter as instructions of classic BPF."""
    steps = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, architecture.audit_arch),  # another architecture's calls have other numbers: deny
        (_RETURN, 0, 0, _DENY),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, 0, 1, 0x40000000),  # the calls of x32
        (_RETURN, 0, 0, _DENY),
    ]
    for name, number in architecture.calls.items():
        checks = _argument_checks(name)
        steps += [(_EQUAL, 0, len(checks) + 1, number), *checks, (_RETURN, 0, 0, _ALLOW)]
    return [*steps, (_RETURN, 0, 0, _DENY)]


def _argument_checks(name: str) -> list[_Step]:
    steps: list[_Step] = []
    for index, bits in _FORBIDDEN_BITS.get(name, ()):
        steps += [_load_argument(index), (_ANY_BIT, 0, 1, bits), (_RETURN, 0, 0, _DENY)]
    if name in _ALLOWED_VALUES:
        index, values = _ALLOWED_VALUES[name]
        found = [(_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
        steps += [_load_argument(index), *found, (_RETURN, 0, 0, _DENY)]
    return steps


def _load_argument(index: int) -> _Step:
    """Return the instruction that loads the lower half of an argument; flags have no upper half."""
    return (_LOAD, 0, 0, 16 + 8 * index)
