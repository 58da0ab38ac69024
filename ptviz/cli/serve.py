"""``ptviz app``: the browser app, from any folder."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from ptviz.cli.output import UsageError


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command("app")(serve)


def find_app_script() -> Path:
    """Where app.py lies: beside the package in a checkout, inside the package in an installed wheel.

    Raises:
        BadInput: if it is in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_app", package.parent):
        if (folder / "app.py").is_file() and (folder / "pages" / "index.py").is_file():
            return folder / "app.py"
    raise UsageError(f"the app's files are not in {package / '_app'} nor beside {package}; install ptviz again")


def serve(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 8501,
    host: Annotated[
        str, typer.Option(help="The address to listen on. Anything but 127.0.0.1 lets other machines in.")
    ] = "127.0.0.1",
    headless: Annotated[bool, typer.Option("--headless", help="Do not open a browser.")] = False,
) -> None:
    """Start the app and open it in the browser.

    It answers to this machine alone unless --host says otherwise.
    """
    path = find_app_script()
    if not _is_port_free(host, port):
        raise UsageError(f"port {port} of {host} is taken or not allowed; choose another: ptviz app --port {port + 1}")
    command = [sys.executable, "-m", "streamlit", "run", str(path), f"--server.address={host}", f"--server.port={port}"]
    if headless:  # left out, Streamlit sees for itself whether there is a display
        command.append("--server.headless=true")
    sys.stdout.flush()
    if os.name == "posix":  # one process: signals and the exit code are the server's own
        os.execv(sys.executable, command)
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def _is_port_free(host: str, port: int) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError:
        return False
    return True
