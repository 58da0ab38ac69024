"""The stream of a run from its node to the store: changes in a bounded queue, and requests to stop that come back.

A node sends what changed at most every ``interval`` seconds. Where the store is slow, it first collects more changes
into a message, and then waits: at most ``in_flight`` messages and ``max_bytes`` are on their way, so that neither
side's memory grows. Training then waits too.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from ptviz.executors.run_mirror import Change, size_of
from ptviz.training import Event

INTERVAL = 0.25
BUSY_FACTOR = 4
"""How many times longer changes are collected while the store still owes a reply: larger messages cost it less."""
IN_FLIGHT, MAX_BYTES = 4, 32_000_000
ASK_SECONDS = 2.0
"""Seconds without a change, as while the test set is predicted, after which the store is asked whether to stop."""


class Reply(NamedTuple):
    """The store's reply to changes: why the run is to stop ("" if not), and whether another node has taken it over."""

    stop: str = ""
    stale: bool = False


class TakenOver(Exception):
    """Another node trains this run now; what this one does no longer counts."""


class ChangeSource(Protocol):
    """What a stream sends the changes of: a run's folder, see ``ptviz.executors.run_mirror.FolderMirror``."""

    def changes(self) -> list[Change]:
        """Return what changed since the last call."""


class RunStream:
    """Sends the changes of a run's folder.

    ``send`` begins to send changes and returns a handle; ``wait`` returns the handle's reply, None if there is none
    yet and it is not to block.
    """

    def __init__(
        self,
        mirror: ChangeSource,
        send: Callable[[Sequence[Change]], Any],
        wait: Callable[[Any, bool], Reply | None],
        *,
        interval: float = INTERVAL,
        in_flight: int = IN_FLIGHT,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.mirror, self._send, self._wait = mirror, send, wait
        self.interval, self.in_flight, self.max_bytes = interval, in_flight, max_bytes
        self.sent_bytes = self.messages = 0
        self._stop_reason: str | None = None
        self._pending: deque[tuple[Any, int]] = deque()
        self._last_sent = float("-inf")

    def on_event(self, event: Event) -> None:
        """Send what changed, unless something was sent just now.

        Raises:
            TakenOver: if another node has taken the run over.
        """
        self.send_if_due()

    def send_if_due(self) -> None:
        """Send what changed, unless something was sent just now or the store is busy.

        Raises:
            TakenOver: if another node has taken the run over.
        """
        self._read_replies()
        wait = self.interval * (BUSY_FACTOR if self._pending else 1)
        if time.monotonic() - self._last_sent >= wait:
            self.send_changes()

    def stop_reason(self) -> str | None:
        """Return why the run is to stop, or None; the store is asked now and then even if nothing changes.

        Raises:
            TakenOver: if another node has taken the run over.
        """
        if time.monotonic() - self._last_sent >= ASK_SECONDS and not self._pending:
            self.send_changes(even_none=True)
        self._read_replies()
        return self._stop_reason

    def send_changes(self, even_none: bool = False) -> None:
        """Send what changed, after making room for it.

        Raises:
            TakenOver: if another node has taken the run over.
        """
        changes = self.mirror.changes()
        if not changes and not even_none:
            return
        size = size_of(changes)
        while self._pending and (
            len(self._pending) >= self.in_flight or sum(own for _, own in self._pending) + size > self.max_bytes
        ):
            self._take_reply(block=True)
        self._pending.append((self._send(changes), size))
        self.sent_bytes += size
        self.messages += 1
        self._last_sent = time.monotonic()

    def finish(self) -> None:
        """Send the rest and wait until the store has all of it.

        Raises:
            TakenOver: if another node has taken the run over.
        """
        self.send_changes()
        while self._pending:
            self._take_reply(block=True)

    def _read_replies(self) -> None:
        while self._pending and self._take_reply(block=False):
            pass

    def _take_reply(self, block: bool) -> bool:
        reply = self._wait(self._pending[0][0], block)
        if reply is None:
            return False
        self._pending.popleft()
        if reply.stale:
            raise TakenOver("another node trains this run now")
        self._stop_reason = reply.stop or self._stop_reason
        return True
