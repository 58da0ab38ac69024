"""The error of a refused checkpoint."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A checkpoint was refused: the message says what was expected, what came, and what to do."""
