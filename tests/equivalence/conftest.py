"""Tiny tensors, one thread."""

from tests.families import one_thread

__all__ = ["one_thread"]
