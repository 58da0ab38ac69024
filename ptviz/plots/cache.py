"""Results that depend on files alone: computed once, the least recently used dropped first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from cachetools import LRUCache, cached

T = TypeVar("T")
_CACHE: LRUCache[Hashable, Any] = LRUCache(96)


def cached_by_signature(key: Hashable, make: Callable[[], T]) -> T:
    """Return what ``make`` returned for this key before, or returns now.

    The key names everything the result depends on.
    """
    found: T = _computed(key, make)
    return found


# Computed outside the lock: a slow computation of one tab must not hold up the others.
@cached(_CACHE, key=lambda key, make: key, lock=threading.Lock())
def _computed(key: Hashable, make: Callable[[], Any]) -> Any:
    return make()
