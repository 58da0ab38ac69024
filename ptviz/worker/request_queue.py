"""File-based request queue to the worker: any process may post a request, and no network port is needed."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct

from ptviz.runs.run_file_io import StoreError, atomic_write, to_store_error
from ptviz.validation import InvalidData, Name, Timestamp, check_depth, decode_json

_REQUEST_FILE = re.compile(r"[0-9a-f-]+\.letter")
_STALE_SECONDS = 3600.0


class _RequestFile(Struct):
    kind: Name
    body: dict[str, Any]
    expires: Timestamp


class Request(NamedTuple):
    """A request to the worker; ``expires`` is when the client stops waiting, in seconds since 1970."""

    id: str
    kind: str
    body: dict[str, Any]
    expires: float


class RequestQueue:
    """A folder of requests and replies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def post(self, kind: str, body: Mapping[str, Any], lasts: float) -> str:
        """Post a request whose client waits for ``lasts`` seconds; return its id.

        Raises:
            StoreError: if the disk is full or the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise to_store_error(error, self.folder) from error
        # The time first, so that requests are read in the order they were posted.
        id = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
        content = {"kind": kind, "body": dict(body), "expires": time.time() + lasts}
        atomic_write(self.folder / f"{id}.letter", json.dumps(content).encode(), durable=False)
        return id

    def take_requests(self) -> list[Request]:
        """Remove all requests from the queue and return them, oldest first, without the expired ones."""
        try:
            names = sorted(entry.name for entry in os.scandir(self.folder) if _REQUEST_FILE.fullmatch(entry.name))
        except OSError:
            return []
        requests = []
        for name in names:
            path = self.folder / name
            with suppress(OSError, InvalidData):
                found = decode_json(path.read_bytes(), _RequestFile)
                check_depth(found.body)
                if found.expires > time.time():
                    requests.append(Request(path.stem, found.kind, found.body, found.expires))
            with suppress(OSError):
                path.unlink()
        return requests

    def reply(self, id: str, answer: Mapping[str, Any]) -> None:
        """Answer a request.

        Raises:
            StoreError: if the disk is full or the folder cannot be written.
        """
        atomic_write(self.folder / f"{id}.reply", json.dumps(dict(answer)).encode(), durable=False)

    def wait_for_reply(self, id: str, seconds: float, alive: Callable[[], str | None]) -> dict[str, Any]:
        """Wait for the reply to a request and return it.

        ``alive`` is called twice a second; a text from it is the reason why no reply will come.

        Raises:
            StoreError: if no reply came in time, or none will.
        """
        path, until, asked = self.folder / f"{id}.reply", time.monotonic() + seconds, time.monotonic()
        try:
            while True:
                with suppress(FileNotFoundError):
                    return decode_json(path.read_bytes(), dict[str, Any], non_finite=True)
                now = time.monotonic()
                if now > until:
                    raise StoreError(f"the worker did not answer within {seconds:g} s: it is busy; try again soon")
                if now - asked > 0.5:
                    asked = now
                    if trouble := alive():
                        raise StoreError(trouble)
                time.sleep(0.01)
        finally:
            for end in ("reply", "letter"):
                with suppress(OSError):
                    (self.folder / f"{id}.{end}").unlink()

    def remove_stale_files(self) -> None:
        """Delete what was left for an hour: replies that were not fetched, partial texts of a worker that died."""
        with suppress(OSError):
            for path in self.folder.iterdir():
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    path.unlink()
