"""The app as a process of its own on a free port, with its own folder of runs; nothing is left when it has stopped."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import psutil

ROOT = Path(__file__).resolve().parents[1]
STREAMLIT = (sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), "--server.headless=true", "--server.port")
PTVIZ = (sys.executable, "-m", "ptviz", "app", "--headless", "--port")
HANGS_SECONDS = 300
"""No test waits for a time. What has not happened after this long hangs, on however busy a machine."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def processes_of(home: Path) -> list[psutil.Process]:
    """Return the processes that were started with ``home`` as their folder of runs: servers, workers, projections."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get("PTVIZ_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end_processes(home: Path) -> None:
    """End every process that works in ``home``, and wait until it is gone."""
    while left := processes_of(home):
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        for process in psutil.wait_procs(left, timeout=HANGS_SECONDS / 10)[1]:
            with suppress(psutil.NoSuchProcess):
                process.kill()


class AppServer:
    """The app's server, started through ``command``, which ends before the port."""

    def __init__(
        self, home: Path, log: Path, command: tuple[str, ...] = STREAMLIT, cwd: Path = ROOT, **environment: str
    ) -> None:
        self.home, self.log, self.port = home, log, free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._command, self._cwd = command, cwd
        self._environment = os.environ | {"PTVIZ_HOME": str(home)} | environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> psutil.Process:
        """The server's process."""
        assert self._process is not None, "the server was not started"
        return psutil.Process(self._process.pid)

    def start(self, *options: str) -> None:
        """Start it and wait until it answers. Nothing but its health is asked: the first page is the test's own."""
        log: IO[bytes]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, str(self.port), *options],
                cwd=self._cwd,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for _ in range(HANGS_SECONDS * 10):
            if self.get("/_stcore/health") is not None:
                return
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.1)
                raise AssertionError(f"the server ended: {self.log.read_text()}")
        raise AssertionError(f"the server does not answer: {self.log.read_text()}")

    def get(self, path: str) -> bytes | None:
        """Return what the server sends for a path; None while it is not up or answers with an error."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANGS_SECONDS)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            return body if answer.status == 200 else None
        connection.close()
        return None

    def stop(self) -> None:
        """End it as Ctrl-C would; what it started in the background goes on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(HANGS_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                raise AssertionError(f"the server hangs after Ctrl-C: {self.log.read_text()}") from None
            finally:
                self._process = None

    def __enter__(self) -> AppServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            end_processes(self.home)
