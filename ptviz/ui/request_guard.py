"""What the web server checks before it answers a request, and the security headers of every answer."""

from __future__ import annotations

import os
import re
import socket
from fnmatch import fnmatchcase
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ALLOWED_HOSTS_VARIABLE = "PTVIZ_ALLOWED_HOSTS"
"""The environment variable with further names of the server, separated by commas or spaces: see ``ptviz app``."""

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
WILDCARD_ADDRESSES = frozenset({"0.0.0.0", "::"})

SECURITY_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'self'",
    "X-Frame-Options": "SAMEORIGIN",  # the same for browsers that do not know frame-ancestors
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # an address can hold the path of a file
    "Cross-Origin-Resource-Policy": "same-origin",  # no page of another site embeds a script or an image from here
}

_FOREIGN_HOST = (
    "ptviz does not accept requests for this host name. Start it with `ptviz app --allow-host NAME`, "
    f"or set {ALLOWED_HOSTS_VARIABLE}, if a proxy or another name of this machine leads here.\n"
)
_FOREIGN_ORIGIN = "ptviz accepts requests from its own pages only; this request came from a page of another site.\n"


def further_hosts() -> frozenset[str]:
    """Return the names that the environment variable and Streamlit's option ``server.allowedHosts`` add."""
    listed = [*re.split(r"[\s,]+", os.environ.get(ALLOWED_HOSTS_VARIABLE, "")), *st.get_option("server.allowedHosts")]
    return frozenset(_bare_name(entry) for entry in listed if entry)


def _bare_name(entry: str) -> str:
    """Return the name in an entry that may be a whole address, such as https://lab.example:8443/."""
    if _is_ip_address(entry):
        return entry.lower()
    return _name(urlsplit(entry if "://" in entry else f"//{entry}"))


def is_host_allowed(name: str, address: str, further: frozenset[str]) -> bool:
    """Return whether a server that listens on ``address`` answers under ``name``.

    A page of another site can let its own name point to this machine (DNS rebinding), so a name has to be known. An
    address in numbers cannot be rebound: where the server listens on every address of the machine, each is accepted.
    Entries of ``further`` can be patterns such as ``*.lab.example``.
    """
    if name in LOOPBACK_NAMES | {address.lower()} or any(fnmatchcase(name, pattern) for pattern in further):
        return True
    if address not in WILDCARD_ADDRESSES:
        return False
    return _is_ip_address(name) or name == socket.gethostname().lower()


def _is_ip_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _split(url: str) -> SplitResult | None:
    """Return the parts of a URL that names a server and nothing more; None for anything else."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for what is no port
    except ValueError:
        return None
    bare = parts.hostname and "@" not in parts.netloc and not (parts.path or parts.query or parts.fragment)
    return parts if bare else None


def _name(parts: SplitResult) -> str:
    return (parts.hostname or "").rstrip(".")


class RequestGuard:
    """ASGI middleware: refuse a foreign Host or Origin on every route and websocket, and add ``SECURITY_HEADERS``.

    Streamlit checks the Host of websockets only, and asks an outside service for this machine's address when it meets
    an Origin that it does not know. So an Origin is checked here and not passed on.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._address = str(st.get_option("server.address") or "0.0.0.0")
        self._further = further_hosts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        if reason := self._refusal(Headers(scope=scope)):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})  # before it is accepted: answered with 403
            else:
                await PlainTextResponse(reason, 403)(scope, receive, send_with_headers)
            return
        passed_on = [(name, value) for name, value in scope["headers"] if name != b"origin"]
        await self._app({**scope, "headers": passed_on}, receive, send_with_headers)

    def _refusal(self, headers: Headers) -> str:
        """Return why a request is refused; "" if it is not."""
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        host = _split(f"//{hosts[0]}") if len(hosts) == 1 else None
        if host is None or not is_host_allowed(_name(host), self._address, self._further):
            return _FOREIGN_HOST
        if not origins:
            return ""
        origin = _split(origins[0]) if len(origins) == 1 else None
        # A proxy may have put its own idea of the host into the request: then the name must have been listed.
        if origin is not None and origin.netloc.lower() == host.netloc.lower():
            return ""
        if origin is not None and any(fnmatchcase(_name(origin), pattern) for pattern in self._further):
            return ""
        return _FOREIGN_ORIGIN
