"""`ptviz app` serves from any folder, on this machine alone: from a checkout and from an installed wheel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.app_server import HANGS_SECONDS, PTVIZ, ROOT, AppServer


def serve(folder: Path, **environment: str) -> AppServer:
    """``ptviz app``, started in some other folder."""
    return AppServer(folder / "home", folder / "server.log", PTVIZ, folder, **environment)


def health(server: AppServer) -> dict[str, Any]:
    body = server.get("/ptviz/health")
    assert body is not None
    found: dict[str, Any] = json.loads(body)
    return found


def started_worker(server: AppServer) -> psutil.Process:
    """The process that will train, which the server starts beside itself."""
    deadline = time.monotonic() + HANGS_SECONDS
    while (worker := health(server)["worker"]) is None:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return psutil.Process(worker["pid"])


@pytest.mark.slow
def test_from_a_checkout_in_another_folder(tmp_path: Path) -> None:
    server = serve(tmp_path)
    with server:
        assert health(server)["status"] == "ok"
        assert b"<html" in (server.get("/train/new-run") or b"")
        worker = started_worker(server)
        listening = {c.laddr.ip for c in server.process.net_connections() if c.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}
        second = subprocess.run([*PTVIZ, str(server.port)], capture_output=True, text=True, check=False)
        assert second.returncode == 2
        assert f"port {server.port}" in second.stderr
        server.stop()
        assert psutil.wait_procs([worker], HANGS_SECONDS)[0], "an idle worker goes with the server that started it"
    assert "Traceback" not in server.log.read_text()


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
    with serve(tmp_path, PYTHONPATH=str(installed)) as server:
        assert str(installed / "ptviz" / "_app" / "app.py") in server.process.cmdline()
        assert health(server)["status"] == "ok"
        assert server.get("/train/new-run") is not None
        started_worker(server)


@pytest.mark.slow
def test_a_wheel_holds_everything_the_checkout_does(installed: Path) -> None:
    package = installed / "ptviz"
    for source in (ROOT / "ptviz").rglob("*"):
        if source.is_file() and "__pycache__" not in source.parts:
            assert (package / source.relative_to(ROOT / "ptviz")).is_file(), source
    for source in [ROOT / "app.py", ROOT / ".streamlit" / "config.toml", *(ROOT / "pages").rglob("*.py")]:
        assert (package / "_app" / source.relative_to(ROOT)).is_file(), source
