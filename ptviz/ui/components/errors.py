"""What went wrong, in the words of the library's own errors, where it went wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

logger = logging.getLogger(__name__)


def describe_error(error: BaseException) -> str:
    """An error as a sentence for people; the library writes its own for them, others get their type in front."""
    text = str(error).strip()
    if isinstance(error, ValueError | OSError | TimeoutError) and text:
        return text
    return f"an unexpected {type(error).__name__}: {text or 'no message'}. The terminal where ptviz runs says more."


def error_box(message: str) -> None:
    """A box that says what went wrong. The message may quote a stranger's text, so none of it is Markdown."""
    with st.container(border=True, horizontal=True, vertical_alignment="top"):
        st.badge("Problem", icon=":material/error:", color="red")
        st.text(message)


@contextmanager
def show_errors() -> Iterator[None]:
    """Show any error of the block in a sentence where it happened, and go on with the page."""
    try:
        yield
    except Exception as error:
        # Streamlit steers pages with exceptions of its own (rerun, stop, switch): those are no BaseException of ours.
        if not isinstance(error, ValueError | OSError):
            logger.exception("a part of a page failed")
        error_box(describe_error(error))
