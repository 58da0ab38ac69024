"""``ptviz app``: start the web app from any folder."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from ptviz.cli.output import UsageError


def find_app_script() -> Path:
    """Return the path of app.py: next to the package in a checkout, inside the package in an installed wheel.

    Raises:
        UsageError: if it is in neither folder.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_app", package.parent):
        if (folder / "app.py").is_file() and (folder / "pages" / "index.py").is_file():
            return folder / "app.py"
    raise UsageError(f"app.py is neither in {package / '_app'} nor in {package.parent}; reinstall ptviz")


def serve(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 8501,
    host: Annotated[
        str, typer.Option(help="The address to listen on. Any other than 127.0.0.1 lets other machines connect.")
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="A further name under which browsers reach the app, as behind a proxy; repeat for several."),
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Do not open a browser.")] = False,
) -> None:
    """Start the app and open it in the browser.

    The server listens on 127.0.0.1 only, unless --host is given. It answers to localhost, to the address of --host and
    to the names of --allow-host. PTVIZ_ALLOWED_HOSTS does the same as --allow-host, also for `streamlit run app.py`.
    """
    path = find_app_script()
    if not _is_port_free(host, port):
        raise UsageError(f"port {port} of {host} is in use or not allowed; choose another: ptviz app --port {port + 1}")
    command = [sys.executable, "-m", "streamlit", "run", str(path), f"--server.address={host}", f"--server.port={port}"]
    if host in (
        "0.0.0.0",
        "::",
    ):  # Without a name to show, Streamlit asks an outside service for this machine's address.
        command.append(f"--browser.serverAddress={socket.gethostname()}")
    if allow_host:
        os.environ["PTVIZ_ALLOWED_HOSTS"] = ",".join([*allow_host, os.environ.get("PTVIZ_ALLOWED_HOSTS", "")])
    if headless:  # Without the option, Streamlit finds out whether there is a display.
        command.append("--server.headless=true")
    sys.stdout.flush()
    if os.name == "posix":  # One process, so signals and the exit code are the server's own.
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
