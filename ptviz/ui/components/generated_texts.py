"""Texts generated with a prompt and without it, side by side, shown token by token as they come."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import streamlit as st

from ptviz.ui.backend import get_client, get_store, run_in_thread
from ptviz.worker.partial_texts import create_partial_texts, read_partial_texts, remove_partial_texts

TITLES = {"without": "Without the prompt", "with": "With the prompt"}
POLL_SECONDS = 0.3
"""Seconds between two looks at a text that is being written."""
_TIMEOUT = 900.0
"""Most seconds for a request: long texts on a slow machine take minutes, and can be read as they are written."""
_CURSOR = "▌"


@dataclass(frozen=True)
class TextRequest:
    """A request for a text with and without a prompt: its answer to come, and the name of what is written so far."""

    answer: Future[dict[str, Any]]
    stream: str

    def texts_so_far(self) -> dict[str, str]:
        """Return the texts so far, by "with" and "without"."""
        return read_partial_texts(get_store(), self.stream)

    def withdraw(self) -> None:
        """Let the worker stop writing; the answer will be an error."""
        remove_partial_texts(get_store(), self.stream)


def request_text(kind: str, run: str = "", **question: Any) -> TextRequest:
    """Request the text that follows one input: ``kind`` is "predict" or "generate", ``question`` its keywords.

    Raises:
        StoreError: if the worker's folder cannot be written.
    """
    store, client = get_store(), get_client()
    stream = create_partial_texts(store)

    def ask() -> dict[str, Any]:
        try:
            return client.ask(kind, run, timeout=_TIMEOUT, stream=stream, **question)
        finally:  # Also where no worker took the request, or it died.
            remove_partial_texts(store, stream)

    return TextRequest(run_in_thread(ask), stream)


def stream_texts(request: TextRequest, titles: Mapping[str, str]) -> None:
    """Show the texts of a request while they are written, and draw the whole page again at its end."""
    st.fragment(_render_so_far, run_every=POLL_SECONDS)(request, titles)


def _render_so_far(request: TextRequest, titles: Mapping[str, str]) -> None:
    # Read before the answer is looked for: the texts are removed when it comes.
    texts = request.texts_so_far()
    if request.answer.done():
        st.rerun()
    # The text with the prompt is written first.
    if "without" in texts:
        texts = {"with": "", **texts, "without": texts["without"] + _CURSOR}
    else:
        texts = {"with": texts.get("with", "") + _CURSOR, "without": _CURSOR}
    render_texts(texts, titles)
    if texts["with"] == _CURSOR:
        st.caption("The worker writes as soon as it can; the first text waits until the backbone is loaded.")


def render_texts(texts: Mapping[str, str], titles: Mapping[str, str]) -> None:
    """Show two texts side by side; ``texts`` and ``titles`` have the keys "without" and "with"."""
    for column, name in zip(st.columns(2), ("without", "with"), strict=True):
        with column, st.container(border=True):
            st.caption(titles[name])
            # A text may hold anything: it is no Markdown.
            st.text(texts[name] or "(the end token at once)")
