"""Tiny tensors, one thread; a method with two stages."""

from tests.families import one_thread
from tests.training.transfer import toy
from tests.training.two_stages import two_stages

__all__ = ["one_thread", "toy", "two_stages"]
