"""`ptviz app` serves from any folder, on this machine alone: from a checkout and from an installed wheel."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def served(folder: Path, **environment: str) -> Iterator[tuple[psutil.Process, int]]:
    """``ptviz app`` started in some other folder, once it answers; stopped with Ctrl-C."""
    port, log = free_port(), folder / "server.log"
    command = [sys.executable, "-m", "ptviz", "app", "--headless", "--port", str(port)]
    with (
        log.open("w") as sink,
        subprocess.Popen(
            command, cwd=folder, env=os.environ | environment, stdout=sink, stderr=sink, start_new_session=True
        ) as child,
    ):
        try:
            deadline = time.monotonic() + 180
            while get(port, "/_stcore/health") is None:
                assert child.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield psutil.Process(child.pid), port
            child.send_signal(signal.SIGINT)
            child.wait(timeout=30)
            assert "Traceback" not in log.read_text()
        finally:
            child.kill()


def get(port: int, path: str) -> bytes | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            body: bytes = answer.read()
            return body
    except OSError:  # Not up yet, or up and too busy importing to answer in time.
        return None


def health(port: int) -> dict[str, Any]:
    body = get(port, "/ptviz/health")
    assert body is not None
    found: dict[str, Any] = json.loads(body)
    return found


def started_worker(port: int) -> psutil.Process:
    """The process that will train, which the server starts beside itself."""
    deadline = time.monotonic() + 60
    while (worker := health(port)["worker"]) is None:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return psutil.Process(worker["pid"])


@pytest.mark.slow
def test_from_a_checkout_in_another_folder(tmp_path: Path) -> None:
    with served(tmp_path) as (process, port):
        assert health(port)["status"] == "ok"
        assert b"<html" in (get(port, "/train/compose") or b"")
        worker = started_worker(port)
        listening = {c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}
        command = [sys.executable, "-m", "ptviz", "app", "--headless", "--port", str(port)]
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert second.returncode == 2
        assert f"port {port}" in second.stderr
    psutil.wait_procs([worker], timeout=30)
    assert not worker.is_running(), "an idle worker goes with the server that started it"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built here and unpacked where Python finds it before the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    quiet: dict[str, Any] = {"check": True, "capture_output": True, "text": True, "cwd": ROOT}
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(folder)], **quiet)
    [wheel] = folder.glob("*.whl")
    site = folder / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel)], **quiet
    )
    return site


@pytest.mark.slow
def test_from_an_installed_wheel(installed: Path, tmp_path: Path) -> None:
    where = [sys.executable, "-c", "import ptviz; print(ptviz.__file__)"]
    paths = os.environ | {"PYTHONPATH": str(installed)}
    found = subprocess.run(where, env=paths, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(str(installed))
    with served(tmp_path, PYTHONPATH=str(installed)) as (process, port):
        assert str(installed / "ptviz" / "_app" / "app.py") in process.cmdline()
        assert health(port)["status"] == "ok"
        assert get(port, "/train/compose") is not None
        started_worker(port)


@pytest.mark.slow
def test_a_wheel_holds_everything_the_checkout_does(installed: Path) -> None:
    package = installed / "ptviz"
    for source in (ROOT / "ptviz").rglob("*"):
        if source.is_file() and "__pycache__" not in source.parts:
            assert (package / source.relative_to(ROOT / "ptviz")).is_file(), source
    for source in [ROOT / "app.py", ROOT / ".streamlit" / "config.toml", *(ROOT / "pages").rglob("*.py")]:
        assert (package / "_app" / source.relative_to(ROOT)).is_file(), source
