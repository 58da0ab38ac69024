"""The sign-in of a classroom: a request without a valid token reaches no page, no file and no websocket."""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qsl, quote, urlencode

import streamlit as st
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ptviz.classroom.access import ClassroomKeys, Visitor, load_keys

TOKEN_PARAM = "token"
"""The query parameter of an address with a token."""
_COOKIE_SECONDS = 180 * 24 * 3600
_WITHOUT_TOKEN = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>ptviz: a classroom</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>:root{{color-scheme:light dark}}
body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem}}
input,button{{font:inherit;padding:.4rem .6rem}}</style></head>
<body><main><h1>A classroom of ptviz</h1><p>{problem}</p>
<p>Open the address that your teacher shows you, or type the word behind <code>token=</code> here.</p>
<form method="get" action="{action}"><label>Token <input name="token" required autofocus autocomplete="off"
autocapitalize="none" spellcheck="false" maxlength="100"></label> <button>Enter</button></form>
<p>Your browser must accept a cookie from this address: it keeps your runs yours.</p></main></body></html>"""


class ClassroomDoor:
    """ASGI middleware: admit by the token in the address once, and by a signed cookie from then on.

    The token leaves the address at once, so that a link, a snippet or a picture of the page does not hold it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        base = str(st.get_option("server.baseUrlPath") or "").strip("/")
        self._home = f"/{base}/" if base else "/"
        self._open = f"{self._home}_stcore/health"  # It says "ok" and nothing else.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request without a token, or pass it on."""
        if scope["type"] not in ("http", "websocket") or scope["path"] == self._open:
            await self._app(scope, receive, send)
            return
        connection, keys = HTTPConnection(scope), load_keys()
        known = keys.recognise(connection.cookies.get(keys.cookie, ""))
        token = connection.query_params.get(TOKEN_PARAM)
        if scope["type"] == "websocket":
            if known is None:
                await send({"type": "websocket.close", "code": 1008})  # before it is accepted: answered with 403
            else:
                await self._app(scope, receive, send)
        elif token is None and known is not None:
            await self._app(scope, receive, send)
        else:
            await self._answer(scope, keys, known, token)(scope, receive, send)

    def _answer(self, scope: Scope, keys: ClassroomKeys, known: Visitor | None, token: str | None) -> Response:
        """Return the page that asks for a token, or the way to the address without it."""
        admitted = None if token is None else keys.admit(token)
        if admitted is None:
            problem = "This address needs a token." if token is None else "This token is not the one of this classroom."
            page = _WITHOUT_TOKEN.format(problem=escape(problem), action=escape(self._home))
            return HTMLResponse(page, 401, {"Cache-Control": "no-store"})
        if known is not None and known.is_teacher == admitted.is_teacher:
            admitted = known  # The address of the class was opened again: their runs stay theirs.
        rest = [pair for pair in parse_qsl(scope["query_string"].decode("latin-1"), True) if pair[0] != TOKEN_PARAM]
        # One slash: two would be the name of another server.
        path = "/" + quote(scope["path"].lstrip("/\\"))
        answer = RedirectResponse(path + (f"?{urlencode(rest)}" if rest else ""), 303, {"Cache-Control": "no-store"})
        answer.set_cookie(
            keys.cookie, keys.sign(admitted), max_age=_COOKIE_SECONDS, httponly=True, samesite="lax",
            secure=scope["scheme"] == "https",
        )  # fmt: skip
        return answer
