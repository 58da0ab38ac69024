"""The error of a refused checkpoint, and untrusted text made safe for messages."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A checkpoint was refused: the message says what was expected, what came, and what to do."""


def safe_text(text: object, max_length: int = 80) -> str:
    """Return untrusted text for a message: printable, on one line, truncated to ``max_length`` characters."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(str(text)[: 4 * max_length].split()))
    return line if len(line) <= max_length else line[: max_length - 1] + "…"


def safe_list(names: list[str], most: int = 6) -> str:
    """Return up to ``most`` names for a message, and the number of the others."""
    some = ", ".join(safe_text(name, 60) for name in names[:most])
    return some + (f" and {len(names) - most} more" if len(names) > most else "") if names else "nothing"
