"""Text from files, made safe to print: a terminal obeys control characters, and a reader is misled by hidden ones."""

from __future__ import annotations

import logging
import re
import threading
import unicodedata
from typing import Any

_JOINERS = "\u200c\u200d"
"""Invisible characters that Persian, Indic scripts and emoji need; they change no other text."""
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control characters, format characters (such as bidi overrides), lone surrogates, line and paragraph separators."""


def escape_hidden(text: object, keep: str = "") -> str:
    r"""Return a text with control and format characters shown as escapes such as ``\x1b``, except those in ``keep``."""
    found = str(text)
    return found if found.isprintable() else "".join(c if c in keep else _escape(c) for c in found)


def escape_hidden_json(document: str) -> str:
    r"""Return an equal JSON document in which characters as in ``escape_hidden`` are written as ``\uXXXX``."""
    if document.isprintable():
        return document
    # Outside its strings a document of json.dumps holds no such character, inside them the escape means the same.
    return "".join(c if not _is_hidden(c) else _json_escape(c) for c in document)


def safe_text(text: object, max_length: int = 80) -> str:
    """Return untrusted text for a message: printable, on one line, truncated to ``max_length`` characters."""
    line = escape_hidden(" ".join(str(text)[: 4 * max_length].split()))
    return line if len(line) <= max_length else line[: max_length - 1] + "…"


def safe_list(names: list[str], most: int = 6) -> str:
    """Return up to ``most`` names for a message, and the number of the others."""
    some = ", ".join(safe_text(name, 60) for name in names[:most])
    return some + (f" and {len(names) - most} more" if len(names) > most else "") if names else "nothing"


def slug(text: str, max_length: int = 40, empty: str = "run", *, ascii_only: bool = True) -> str:
    """Return a text as a short name: lower case, words joined by single dashes, ``empty`` if nothing is left.

    With ``ascii_only`` it has only a-z, 0-9 and dashes, so that it can be part of a folder's name on every system;
    without, also letters of other scripts and inner underscores.
    """
    rest = r"[^a-z0-9]+" if ascii_only else r"[^\w]+"
    plain = re.sub(rest, "-", text.lower() if ascii_only else text.casefold()).strip("-_")
    return plain[:max_length].strip("-_") or empty


def escape_log_records() -> None:
    """Escape texts from files in all that this process logs from now on, whichever library and handler it is."""
    logging.setLogRecordFactory(_EscapedRecord)
    logging.captureWarnings(True)
    threading.excepthook = _log_thread_error


class _EscapedRecord(logging.LogRecord):
    """A log record without hidden characters in its message and tracebacks."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        if self.exc_info and self.exc_info[0] is not None:
            # Formatters use this text where it is there, instead of formatting the traceback.
            self.exc_text = escape_hidden(logging.Formatter().formatException(self.exc_info), keep="\n")
        if self.stack_info:
            self.stack_info = escape_hidden(self.stack_info, keep="\n")

    def getMessage(self) -> str:  # noqa: N802 - overrides
        """Return the message with its arguments."""
        return escape_hidden(super().getMessage(), keep="\n\t")


def _log_thread_error(error: threading.ExceptHookArgs) -> None:
    if error.exc_value is not None:
        logging.getLogger(__name__).error("a thread failed", exc_info=error.exc_value)


def _is_hidden(character: str) -> bool:
    return character not in _JOINERS and unicodedata.category(character) in _HIDDEN_CATEGORIES


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode() if _is_hidden(character) else character


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
