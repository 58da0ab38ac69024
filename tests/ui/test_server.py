"""What the server does by itself, before anyone asks for a page."""

from __future__ import annotations

import anyio
import pytest
import streamlit as st

from ptviz.ui import server
from tests.app_server import HANGS_SECONDS


def test_libraries_are_loaded_without_a_visitor(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = anyio.Event()
    monkeypatch.setattr(server, "_FIRST_PAGE_SECONDS", 0)
    monkeypatch.setattr("ptviz.ui.heavy_libraries.load_libraries_in_background", loaded.set)
    monkeypatch.setattr("ptviz.ui.backend.start_worker", lambda: None)
    monkeypatch.setattr("ptviz.ui.backend.stop_idle_worker", lambda: None)

    async def serve() -> None:
        with anyio.fail_after(HANGS_SECONDS):
            async with server.lifespan(st.App("pages/index.py")):
                await loaded.wait()

    anyio.run(serve)
