"""Show errors on the page, where they happened, with the message of the library."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st

from ptviz.ui.classroom import hide_folders

logger = logging.getLogger(__name__)


def describe_error(error: BaseException) -> str:
    """Return an error as a sentence; an unexpected one begins with its type."""
    text = str(error).strip()
    if isinstance(error, ValueError | OSError | TimeoutError) and text:
        return text
    return f"an unexpected {type(error).__name__}: {text or 'no message'}. See the terminal where ptviz runs."


def error_box(message: str) -> None:
    """Render an error message. It may quote untrusted text, so it is never read as Markdown."""
    with st.container(border=True, horizontal=True, vertical_alignment="top"):
        st.badge("Problem", icon=":material/error:", color="red")
        st.text(hide_folders(message))


@contextmanager
def show_errors() -> Iterator[None]:
    """Render any error of the block as a sentence, and continue with the page."""
    try:
        yield
    except Exception as error:
        # Streamlit reruns and switches pages by exceptions that are not of this class.
        if not isinstance(error, ValueError | OSError):
            logger.exception("a part of a page failed")
        error_box(describe_error(error))


def run_and_rerun(action: Callable[[], object]) -> None:
    """Run an action of a button, and draw the page again; render its error instead if it fails."""
    done = False
    with show_errors():
        action()
        done = True
    if done:
        st.rerun()
