"""What the reader process may do: every other system call, file and socket is refused by the kernel itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ptviz.checkpoints import CheckpointError, open_checkpoint
from ptviz.checkpoints.sandbox import restrictions, syscall_filter
from ptviz.checkpoints.sandbox.restrictions import LANDLOCK, PROTECTIONS, SYSCALL_FILTER, find_protections
from tests.checkpoints.files import ROWS, mkultra, npy, saved

needs_filter = pytest.mark.skipif(
    SYSCALL_FILTER not in find_protections(), reason="this system has no system call filter; Linux has"
)
needs_landlock = pytest.mark.skipif(LANDLOCK not in find_protections(), reason="this system has no Landlock")

CONFINED = """
import ctypes, errno, fcntl, json, mmap, os, socket, sys
from pathlib import Path
from ptviz.checkpoints.sandbox import restrictions
libc = ctypes.CDLL(None, use_errno=True)
syscall = libc.syscall
restrictions.sys.addaudithook = lambda hook: None  # the kernel alone
restrictions.find_protections = lambda: {layers!r}
restrictions.restrict_process([Path({readable!r})])
def call(number, *arguments):
    ctypes.set_errno(0)
    result = syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    return 0 if result >= 0 else ctypes.get_errno()
def attempt(action):
    try:
        action()
        return 0
    except OSError as error:
        return error.errno
"""


def confined(body: str, readable: Path, *layers: str) -> object:
    """Run a script whose last line prints JSON, confined by the layers; return what it printed."""
    script = CONFINED.format(layers=layers, readable=str(readable)) + textwrap.dedent(body)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_filter
def test_every_call_that_is_not_on_the_list_is_refused(tmp_path: Path) -> None:
    allowed = sorted(syscall_filter.ARCHITECTURES[os.uname().machine].calls.values())
    getppid = {"x86_64": 110, "aarch64": 173}[os.uname().machine]
    body = f"""
    assert call({getppid}) == errno.EPERM, "no filter: the calls below would be made"
    skipped = {{335, 336}}  # uretprobe and uprobe of x86-64: the kernel alone may make them, and ends all others
    others = [*({{*range(0, 480), 0x40000000, 0x40000001}} - skipped - {{*{allowed}}})]
    print(json.dumps([number for number in others if call(number, 0, 0, 0, 0, 0, 0) != errno.EPERM]))
    """
    assert confined(body, tmp_path, SYSCALL_FILTER) == []


def test_the_list_has_no_call_that_reaches_beyond_the_process() -> None:
    """The numbers differ by machine and the names do not."""
    harmful = {
        "clone", "clone3", "fork", "vfork", "execve", "execveat", "unshare", "setns", "ptrace", "kill", "tkill",
        "tgkill", "pidfd_open", "pidfd_send_signal", "io_uring_setup", "memfd_create", "socket", "connect", "sendto",
        "unlink", "unlinkat", "rename", "renameat2", "mkdir", "mkdirat", "symlink", "symlinkat", "link", "linkat",
        "chmod", "fchmodat", "chown", "truncate", "ftruncate", "creat", "openat2", "mknodat", "mount", "bpf",
        "prlimit64", "setrlimit", "process_vm_writev", "keyctl", "userfaultfd", "perf_event_open", "prctl", "seccomp",
        "dup", "sendfile", "splice", "pwrite64", "personality", "pkey_mprotect", "utimensat", "setxattr", "ioprio_set",
    }  # fmt: skip
    for architecture in syscall_filter.ARCHITECTURES.values():
        assert not harmful & set(architecture.calls)
        assert len(set(architecture.calls.values())) == len(architecture.calls)
        assert len(syscall_filter.build_filter(architecture)) < 4096
    x86, arm = (set(syscall_filter.ARCHITECTURES[name].calls) for name in ("x86_64", "aarch64"))
    assert arm < x86
    assert x86 - arm == {"open", "stat", "lstat", "access", "readlink"}  # aarch64 has only their newer forms


@needs_filter
def test_allowed_calls_are_refused_with_arguments_that_write_or_execute(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(bytes(4096))
    body = f"""
    here = {str(tmp_path)!r}
    there = os.open(here + "/there", os.O_RDONLY)
    tried = {{
        "write": lambda: os.open(here + "/there", os.O_WRONLY),
        "read and write": lambda: os.open(here + "/there", os.O_RDWR),
        "create": lambda: os.open(here + "/new", os.O_RDONLY | os.O_CREAT),
        "truncate": lambda: os.open(here + "/there", os.O_RDONLY | os.O_TRUNC),
        "temporary": lambda: os.open(here, os.O_TMPFILE | os.O_RDWR),
        "shared mapping": lambda: mmap.mmap(there, 4096, mmap.MAP_SHARED, mmap.PROT_READ),
        "executable mapping": lambda: mmap.mmap(there, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC),
        "typed into the terminal": lambda: fcntl.ioctl(0, 0x5412, b"x"),
        "a signal's owner": lambda: fcntl.fcntl(there, 8, os.getpid()),
        "fork": os.fork,
        "unlink": lambda: os.unlink(here + "/there"),
        "rename": lambda: os.rename(here + "/there", here + "/else"),
        "directory": lambda: os.mkdir(here + "/new"),
        "symlink": lambda: os.symlink("a", here + "/new"),
        "mode": lambda: os.chmod(here + "/there", 0o777),
        "length": lambda: os.truncate(here + "/there", 0),
        "socket": socket.socket,
        "program": lambda: os.execv("/bin/true", ["true"]),
        "read": lambda: os.read(there, 10),
        "list": lambda: os.listdir(here),
    }}
    print(json.dumps({{name: attempt(action) for name, action in tried.items()}}))
    """
    found = confined(body, tmp_path, SYSCALL_FILTER)
    assert isinstance(found, dict)
    assert {name for name, code in found.items() if code == 0} == {"read", "list"}
    assert {code for code in found.values() if code} == {1}
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@needs_landlock
def test_landlock_alone_leaves_only_reading_below_the_given_paths(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "there").write_text("hello")
    body = f"""
    inside, outside = {str(inside)!r}, {str(outside)!r}
    tried = {{
        "read outside": lambda: open(outside + "/there").read(),
        "list outside": lambda: os.listdir(outside),
        "write": lambda: open(inside + "/there", "w"),
        "create": lambda: open(inside + "/new", "w"),
        "truncate": lambda: os.truncate(inside + "/there", 0),
        "unlink": lambda: os.unlink(inside + "/there"),
        "rename": lambda: os.rename(inside + "/there", inside + "/new"),
        "directory": lambda: os.mkdir(inside + "/new"),
        "symlink": lambda: os.symlink("a", inside + "/new"),
        "pipe": lambda: os.mkfifo(inside + "/new"),
        "program": lambda: os.execv("/bin/true", ["true"]),
        "read": lambda: open(inside + "/there").read(),
        "list": lambda: os.listdir(inside),
    }}
    print(json.dumps({{name: attempt(action) for name, action in tried.items()}}))
    """
    found = confined(body, inside, LANDLOCK)
    assert isinstance(found, dict)
    assert {name for name, code in found.items() if code == 0} == {"read", "list"}
    assert {path.name: path.read_text() for path in inside.iterdir()} == {"there": "hello"}


def test_a_protection_that_cannot_be_installed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restrictions, "limit_resources", lambda memory, seconds: None)
    monkeypatch.setattr(restrictions, "find_protections", lambda: PROTECTIONS)
    monkeypatch.setattr(restrictions.ctypes, "CDLL", lambda *a, **k: type("C", (), {"prctl": lambda *a: -1})())
    with pytest.raises(OSError, match="prctl failed"):
        restrictions.restrict_process()


@pytest.mark.skipif(sys.platform != "linux", reason="the audit hook alone protects there")
def test_the_reader_reads_nothing_beside_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's own process, with its parser replaced by what a vulnerability in it might do."""
    from ptviz.checkpoints.sandbox import parent

    secret, path = tmp_path / "secret", tmp_path / "a" / "good.npy"
    path.parent.mkdir()
    secret.write_text("password")
    path.write_bytes(npy(ROWS.numpy()))
    script = (
        "import sys; from pathlib import Path; from ptviz.checkpoints.sandbox import child\n"
        f"child.open_in_process = lambda path: open({str(secret)!r}).read()\nchild.main(Path(sys.argv[1]))"
    )
    popen = parent.subprocess.Popen
    monkeypatch.setattr(
        parent.subprocess, "Popen", lambda _, **more: popen([sys.executable, "-P", "-c", script, str(path)], **more)
    )
    with pytest.raises(CheckpointError, match="PermissionError"):
        open_checkpoint(path)


def test_every_container_is_read_inside(tmp_path: Path) -> None:
    """Nothing that a reader needs is loaded too late."""
    folder = tmp_path / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "1").write_bytes(saved({"prompt_embeddings": ROWS}))
    (folder / "adapter_model.bin").symlink_to("../../blobs/1")
    (folder / "adapter_config.json").write_text('{"peft_type": "PROMPT_TUNING"}')
    (tmp_path / "m.json").write_bytes(mkultra())
    (tmp_path / "legacy.pt").write_bytes(saved(ROWS, legacy=True))
    for path in (folder, folder / "adapter_model.bin", tmp_path / "m.json", tmp_path / "legacy.pt"):
        found = open_checkpoint(path)
        assert found.input_prompts()["P"].tolist() == ROWS.tolist()
        assert len(found.measurements) == 1
