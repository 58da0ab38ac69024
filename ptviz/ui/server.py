"""The web server around the pages: the worker's life, routes, checks of requests, and errors without tracebacks."""

from __future__ import annotations

import ctypes
import io
import os
import sys
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import segno
import streamlit as st
from starlette import websockets
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

import ptviz
from ptviz.classroom.rules import active_rules
from ptviz.safe_text import escape_log_records
from ptviz.ui.classroom_sign_in import ClassroomDoor
from ptviz.ui.request_guard import RequestGuard

_M_ARENA_MAX = -8
"""The number of this setting in glibc's malloc.h."""

_FIRST_PAGE_SECONDS = 3
"""Time for the page that a browser opens with the server: it is drawn before libraries are loaded beside it."""

PLOTLY_ROUTE = f"/ptviz/plotly-{version('plotly')}.min.js"
"""Path of plotly.js. The version is part of it, so that browsers may cache the file for ever."""

QR_ROUTE = "/ptviz/code.svg"
"""Path of QR codes: ``?text=`` is what they say."""
_MAX_QR_BYTES = 1500
"""Longest text of a code that a camera still reads from a screen."""


def _plotly_file() -> Path | None:
    spec = find_spec("plotly")
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]) / "package_data" / "plotly.min.js" if places else None


async def plotly_script(request: Request) -> Response:
    """Serve the plotly.min.js of the installed plotly: the app needs no content network."""
    path = _plotly_file()
    if path is None or not path.is_file():
        return PlainTextResponse("plotly.min.js is not in the installed plotly package; reinstall plotly", 404)
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return FileResponse(path, media_type="text/javascript", headers=headers)


async def qr_code(request: Request) -> Response:
    """Draw a text, the address of a figure, as a QR code (ISO/IEC 18004): dark on white also on a dark page."""
    text = request.query_params.get("text", "")
    size = len(text.encode())
    if not 0 < size <= _MAX_QR_BYTES:
        return PlainTextResponse(f"expected text of 1 to {_MAX_QR_BYTES} bytes, got {size}", 400)
    picture = io.BytesIO()
    segno.make_qr(text).save(picture, kind="svg", xmldecl=False, scale=8, border=2, dark="#000", light="#fff")
    return Response(picture.getvalue(), media_type="image/svg+xml")


async def health(request: Request) -> Response:
    """Return the state of the server and its worker as JSON."""
    from ptviz.ui.backend import server_client

    info = await anyio.to_thread.run_sync(lambda: server_client().worker_info())
    # In a classroom each visitor may ask, and the id of a run is for its owner.
    worker = {"pid": info.pid, "run": info.run if active_rules() is None else None} if info is not None else None
    return JSONResponse({"status": "ok", "version": ptviz.__version__, "worker": worker})


@asynccontextmanager
async def lifespan(app: st.App) -> AsyncIterator[None]:
    """Start the worker with the server, and open a browser; a worker that trains outlives the server."""
    escape_log_records()
    _limit_memory_pools()
    from ptviz.ui.backend import start_worker, stop_idle_worker

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, start_worker)
        tasks.start_soon(_open_browser)
        tasks.start_soon(_load_libraries_unasked)
        yield
        tasks.cancel_scope.cancel()
    await anyio.to_thread.run_sync(stop_idle_worker)


async def _load_libraries_unasked() -> None:
    """Load what pages compute with before the first visitor comes, unless that visitor's page has begun to."""
    from ptviz.ui.heavy_libraries import load_libraries_in_background

    await anyio.sleep(_FIRST_PAGE_SECONDS)
    load_libraries_in_background()


def _limit_memory_pools() -> None:
    """Let glibc serve all threads from two pools of memory.

    Every run of a page is a thread. By default each gets one of up to eight pools for every core, and what is freed in
    a pool stays with the process.
    """
    with suppress(OSError, AttributeError):  # not Linux, or another C library
        ctypes.CDLL("libc.so.6").mallopt(_M_ARENA_MAX, 2)


def _has_screen() -> bool:
    """Return whether there is a screen for a browser; without one, Linux would start it inside the terminal."""
    named = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    return not sys.platform.startswith("linux") or any(os.environ.get(name) for name in named)


async def _open_browser() -> None:
    """Open a browser once the app answers: Streamlit does so for a script, but not for an ``st.App``."""
    if st.get_option("server.headless") or not _has_screen():
        return
    address = str(st.get_option("server.address") or "127.0.0.1")
    host = "127.0.0.1" if address in ("0.0.0.0", "::") else address
    port = int(st.get_option("server.port"))
    for _ in range(100):
        try:
            stream = await anyio.connect_tcp(host, port)
        except OSError:
            await anyio.sleep(0.1)
        else:
            await stream.aclose()
            base = str(st.get_option("server.baseUrlPath") or "").strip("/")
            shown = f"[{host}]" if ":" in host else host
            await anyio.to_thread.run_sync(webbrowser.open, f"http://{shown}:{port}/{base}")
            return


def on_script_error(error: Exception) -> bool:
    """Show an error in one sentence; Streamlit has written the traceback to the terminal."""
    st.error(
        "Something went wrong on this page. Reload it; if it fails again, see the terminal where ptviz runs.",
        icon=":material/error:",
    )
    return True


async def _ignore_disconnect(connection: object, error: Exception) -> None:
    """Ignore that a tab was closed in the middle of an answer."""


def exception_handlers() -> dict[type[Exception], Any]:
    """Return handlers for ends of a connection that are no errors, but would print a traceback."""
    disconnected = getattr(websockets, "WebSocketDisconnected", None)  # newer Starlette only
    return {disconnected: _ignore_disconnect} if disconnected is not None else {}


def routes() -> list[Route]:
    """Return the app's own routes, under the server's base path if it has one."""
    base = "/" + str(st.get_option("server.baseUrlPath") or "").strip("/")
    base = base.rstrip("/")
    return [
        Route(base + PLOTLY_ROUTE, plotly_script),
        Route(base + QR_ROUTE, qr_code),
        Route(base + "/ptviz/health", health),
    ]


def middleware() -> list[Middleware]:
    """Return what stands in front of all routes, Streamlit's and the app's own."""
    return [Middleware(RequestGuard), *([Middleware(ClassroomDoor)] if active_rules() is not None else [])]
