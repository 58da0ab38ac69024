"""What a page shows while the server is away: how to start it. A page that was cut off or broke is loaded again."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_COMPONENT = st.components.v2.component(
    "ptviz_connection",
    html='<div class="ptviz-away" role="alert" hidden></div>',
    css="""
.ptviz-away {
  position: fixed; z-index: 1000000; top: 0; left: 0; right: 0; padding: .8rem 1rem; text-align: center;
  font-family: var(--st-font); color: var(--st-background-color); background: var(--st-text-color);
}
.ptviz-away code { font-size: 1.05em; }
""",
    js=(Path(__file__).parent / "connection.js").read_text(encoding="utf-8"),
)


def watch_connection() -> None:
    """Let the browser watch whether the server answers."""
    base = "/" + str(st.get_option("server.baseUrlPath") or "").strip("/")
    _COMPONENT(key="connection", data={"health": f"{base.rstrip('/')}/ptviz/health", "command": start_command()})


def start_command() -> str:
    """Return the shell command that starts this server again."""
    port, address = int(st.get_option("server.port")), str(st.get_option("server.address") or "127.0.0.1")
    host = "" if address in ("127.0.0.1", "localhost") else f" --host {address}"
    return f"ptviz app --port {port}{host}"
