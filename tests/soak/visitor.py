"""A visitor of the app without a browser: speaks Streamlit's websocket, asks for pages, and draws nothing."""

from __future__ import annotations

import http.client
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from urllib.parse import urlencode

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

WATCH_SECONDS = 2.0
"""A fragment that asks less often waits for no answer: it looks whether another process has changed something."""


def enter_classroom(port: int, token: str) -> str:
    """Return the cookie that a classroom gives a browser for the token of its address."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", f"/?{urlencode({'token': token})}")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return (answer.getheader("Set-Cookie") or "").partition(";")[0]


@dataclass
class View:
    """One visit of a page: seconds from the request to the end of its script, and until nothing more came."""

    page: str
    finished_seconds: float | None = None
    settled_seconds: float | None = None
    messages: int = 0
    bytes: int = 0
    words: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Visitor:
    """One open session. Fragments that poll are asked for again in their interval, as a browser does."""

    def __init__(self, port: int, cookie: str = "") -> None:
        self._open = ExitStack()
        self._socket: ClientConnection = self._open.enter_context(
            connect(
                f"ws://127.0.0.1:{port}/_stcore/stream",
                origin=f"http://127.0.0.1:{port}",  # type: ignore[arg-type]
                additional_headers={"Cookie": cookie} if cookie else None,
                subprotocols=[Subprotocol("streamlit")],
                max_size=None,
                open_timeout=120,
                proxy=None,
            )
        )
        self._page, self._query = "", ""
        self._due: dict[str, tuple[float, float]] = {}  # by fragment: its interval, when it is due
        self._buttons: dict[str, str] = {}  # ids by label
        self._running = False

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _ask(self, fragment: str = "", pressed: str = "") -> None:
        message = BackMsg()
        state = message.rerun_script
        if pressed:
            state.widget_states.widgets.add(id=pressed, trigger_value=True)
        state.page_name, state.query_string = self._page, self._query
        state.fragment_id, state.is_auto_rerun = fragment, bool(fragment)
        state.context_info.url = "http://127.0.0.1/"
        self._running = True
        self._socket.send(message.SerializeToString())

    def visit(self, page: str, address: dict[str, str], patience: float, stay: float = 0.0) -> View:
        """Open a page, and wait until it has settled; stay on it for a while.

        A page has settled when its script has ended and no fragment polls faster than ``WATCH_SECONDS``. A page that
        shows something live never stops polling: after its script has ended, ``patience`` seconds are waited for that.
        """
        view, began = View(page), time.monotonic()
        self._page, self._query, self._due, self._buttons = page, urlencode(address), {}, {}
        self._ask()
        return self._wait(view, began, patience, stay)

    def press(self, label: str, patience: float) -> View:
        """Press a button of the page that is open, and wait until the page has settled.

        Raises:
            KeyError: if the page has no such button.
        """
        view, began = View(f"{self._page}: {label}"), time.monotonic()
        self._ask(pressed=self._buttons[label])
        return self._wait(view, began, patience, 0.0)

    def _wait(self, view: View, began: float, patience: float, stay: float) -> View:
        last = began
        while (now := time.monotonic()) - began < patience:
            if view.settled_seconds is not None and now - began - view.settled_seconds >= stay:
                break
            if self._poll(view, now):
                last = time.monotonic()
            if self._running:
                continue
            if view.finished_seconds is None:
                view.finished_seconds = last - began
            if view.settled_seconds is None and all(every >= WATCH_SECONDS for every, _ in self._due.values()):
                view.settled_seconds = last - began
        if view.finished_seconds is not None and view.settled_seconds is None:
            view.settled_seconds = view.finished_seconds if self._due else None
        if view.finished_seconds is None:
            view.problems.append(f"its script did not end within {patience:.0f} s")
        return view

    def _poll(self, view: View, now: float) -> bool:
        """Ask for what is due, take one message; return whether one came."""
        for fragment, (interval, due) in list(self._due.items()):
            if now >= due and not self._running:
                self._due[fragment] = (interval, now + interval)
                self._ask(fragment)
        try:
            data = self._socket.recv(timeout=0.05)
        except TimeoutError:
            return False
        self._take(ForwardMsg.FromString(bytes(data)), view)  # type: ignore[arg-type]
        view.messages += 1
        view.bytes += len(data)
        return True

    def _take(self, message: ForwardMsg, view: View) -> None:
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self._running = True
            if not message.metadata.run.fragment_ids:
                self._due.clear()
        elif kind == "auto_rerun":
            interval = message.auto_rerun.interval
            self._due[message.auto_rerun.fragment_id] = (interval, time.monotonic() + interval)
        elif kind == "stop_auto_rerun":
            for fragment in message.stop_auto_rerun.fragment_ids:
                self._due.pop(fragment, None)
        elif kind == "script_finished":
            self._running = message.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN
        elif kind == "page_not_found":
            view.problems.append("the page was not found")
        elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            self._take_element(message.delta.new_element, view)

    def _take_element(self, element: Element, view: View) -> None:
        kind = element.WhichOneof("type")
        if kind == "button":
            self._buttons[element.button.label] = element.button.id
        elif kind in {"markdown", "text"}:
            view.words.append(getattr(element, kind).body)
        elif kind == "exception":
            view.problems.append(f"exception: {element.exception.message}"[:300])
        elif kind == "alert" and "Something went wrong" in element.alert.body:
            view.problems.append(element.alert.body[:300])
