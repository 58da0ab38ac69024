"""The request to stop a run: a file in its folder, whose text is the reason, for the process that trains it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ptviz.runs.run import Run
from ptviz.runs.run_file_io import DiskFullError, atomic_write, to_store_error

STOPPED_BY_USER = "stopped by you"
_FILE = "stop"
_MAX_REASON_BYTES = 400


def request_stop(run: Run, reason: str = STOPPED_BY_USER) -> None:
    """Ask the process that trains a run to stop it within a step, for a reason that becomes part of its status.

    Raises:
        StoreError: if the folder cannot be written.
    """
    path = run.path / _FILE
    try:
        atomic_write(path, reason.encode()[:_MAX_REASON_BYTES], durable=False)
    except DiskFullError:  # An empty file needs no space: it is a request of the user.
        try:
            path.touch()
        except OSError as error:
            raise to_store_error(error, path) from error


def stop_request(folder: Path) -> str | None:
    """Return why the run in a folder is to stop, None without a request. A damaged one counts as the user's."""
    with suppress(FileNotFoundError):
        try:
            with (folder / _FILE).open("rb") as file:
                text = file.read(_MAX_REASON_BYTES).decode(errors="replace")
        except FileNotFoundError:
            raise
        except OSError:
            text = ""
        return " ".join(text.split()) or STOPPED_BY_USER
    return None


def remove_stop_request(run: Run) -> None:
    """Forget a request to stop a run.

    Raises:
        StoreError: if the folder cannot be written.
    """
    path = run.path / _FILE
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise to_store_error(error, path) from error
