"""``ptviz app``: start the web app from any folder."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import psutil
import typer

from ptviz.cli.options import split_names
from ptviz.cli.output import UsageError, print_line


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
    classroom: Annotated[
        bool,
        typer.Option("--classroom", help="Serve a class: each visitor has their own runs, and visitors take turns."),
    ] = False,
    max_steps: Annotated[
        int | None, typer.Option(min=1, help="With --classroom: most training steps of a visitor's run (1000).")
    ] = None,
    backbones: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="With --classroom: the backbones that visitors may use, with commas."),
    ] = None,
    max_runs: Annotated[
        int | None, typer.Option(min=1, help="With --classroom: most runs that a visitor has at a time (20).")
    ] = None,
) -> None:
    """Start the app and open it in the browser.

    The server listens on 127.0.0.1 only, unless --host is given. It answers to localhost, to the address of --host and
    to the names of --allow-host. PTVIZ_ALLOWED_HOSTS does the same as --allow-host, also for `streamlit run app.py`.

    With --classroom the terminal prints two addresses with a token: one for the class, one for the teacher.
    """
    path = find_app_script()
    if not _is_port_free(host, port):
        raise UsageError(f"port {port} of {host} is in use or not allowed; choose another: ptviz app --port {port + 1}")
    set_aside = {"--max-steps": max_steps, "--backbones": backbones, "--max-runs": max_runs}
    if not classroom and (given := [name for name, value in set_aside.items() if value is not None]):
        raise UsageError(f"{given[0]}: it limits the visitors of a classroom; add --classroom")
    command = [sys.executable, "-m", "streamlit", "run", str(path), f"--server.address={host}", f"--server.port={port}"]
    if host in (
        "0.0.0.0",
        "::",
    ):  # Without a name to show, Streamlit asks an outside service for this machine's address.
        command.append(f"--browser.serverAddress={socket.gethostname()}")
    if allow_host:
        os.environ["PTVIZ_ALLOWED_HOSTS"] = ",".join([*allow_host, os.environ.get("PTVIZ_ALLOWED_HOSTS", "")])
    from ptviz.classroom.rules import CLASSROOM_VARIABLE, MAX_UPLOAD_MB

    if classroom:
        _open_classroom(host, port, max_steps, backbones, max_runs)
        # A browser would show the page without a token; an address on its command line can be read by others.
        headless = True
        command.append(f"--server.maxUploadSize={MAX_UPLOAD_MB}")
    else:
        os.environ.pop(CLASSROOM_VARIABLE, None)
    if headless:  # Without the option, Streamlit finds out whether there is a display.
        command.append("--server.headless=true")
    sys.stdout.flush()
    if os.name == "posix":  # One process, so signals and the exit code are the server's own.
        os.execv(sys.executable, command)
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def _open_classroom(host: str, port: int, max_steps: int | None, names: str | None, max_runs: int | None) -> None:
    """Print the two addresses of a classroom, and put its rules where the server finds them."""
    from ptviz.classroom.access import load_keys
    from ptviz.classroom.rules import CLASSROOM_VARIABLE, ClassroomRules
    from ptviz.executors.choose import is_local
    from ptviz.training.config import MAX_STEPS

    if not is_local():
        raise UsageError("--classroom: its queue is that of this machine's worker; unset PTVIZ_EXECUTOR")
    usual = ClassroomRules()
    rules = ClassroomRules(
        max_steps=max_steps or usual.max_steps,
        backbones=split_names(names) or (),
        max_runs=max_runs or usual.max_runs,
    )
    try:
        rules.check_known()
        if max_steps is not None and max_steps > MAX_STEPS:
            raise ValueError(f"--max-steps: expected at most {MAX_STEPS:,}; got {max_steps:,}")
    except ValueError as error:
        raise UsageError(str(error)) from None
    os.environ[CLASSROOM_VARIABLE] = rules.to_text()
    keys = load_keys()
    places = [f"{f'[{one}]' if ':' in one else one}:{port}" for one in _reachable_addresses(host)]
    for title, token in (("For the class:", keys.token), ("For the teacher alone:", keys.teacher)):
        print_line(title)
        for place in places:
            print_line(f"  http://{place}/?token={token}")
    if host in ("127.0.0.1", "localhost", "::1"):
        print_line("Only this machine can open them; to let others in, add --host 0.0.0.0")


def _reachable_addresses(host: str) -> list[str]:
    """Return the addresses under which other machines reach a server that listens on ``host``."""
    if host not in ("0.0.0.0", "::"):
        return [host]
    found = [
        one.address
        for name, addresses in psutil.net_if_addrs().items()
        if (stats := psutil.net_if_stats().get(name)) is not None and stats.isup
        for one in addresses
        if one.family == socket.AF_INET and not one.address.startswith(("127.", "169.254."))
    ]
    return found or [socket.gethostname()]


def _is_port_free(host: str, port: int) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError:
        return False
    return True
