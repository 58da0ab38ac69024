"""What is said when a checkpoint is refused."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A checkpoint was refused: the message says what was expected, what came, and what to do."""


def safe_text(text: object, longest: int = 80) -> str:
    """A stranger's text within a message: on one line, printable, cut if it is long."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(str(text)[: 4 * longest].split()))
    return line if len(line) <= longest else line[: longest - 1] + "…"


def safe_list(names: list[str], most: int = 6) -> str:
    """A few names for a message, and how many more there are."""
    some = ", ".join(safe_text(name, 60) for name in names[:most])
    return some + (f" and {len(names) - most} more" if len(names) > most else "") if names else "nothing"
