"""Results that depend on files alone: computed once; the least recently used are dropped when memory runs short."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from cachetools import LRUCache, cached

T = TypeVar("T")
MAX_BYTES = 192 * 2**20
"""What all results together may take. A larger one is returned and not kept."""
_LEAST_BYTES = 2**20
"""What a result counts at least, so that there are never more than 192 of them."""


def size_in_bytes(value: object, seen: set[int] | None = None) -> int:
    """Return about how many bytes a result holds: its arrays and texts, wherever they are in it.

    A file that is mapped into memory takes none: the system gives its pages back by itself.
    """
    seen = set() if seen is None else seen
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, np.memmap):
        return 0
    if callable(usage := getattr(value, "memory_usage", None)):  # a pandas.DataFrame
        return int(usage(deep=True).sum())
    if isinstance(bytes_ := getattr(value, "nbytes", None), int):  # an array or a tensor
        return bytes_
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Mapping):
        return sum(size_in_bytes(part, seen) for part in (*value.keys(), *value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return sum(16 + size_in_bytes(part, seen) for part in value)
    return sum(size_in_bytes(part, seen) for part in getattr(value, "__dict__", {}).values())


def _counted_bytes(value: object) -> int:
    return max(size_in_bytes(value), _LEAST_BYTES)


_CACHE: LRUCache[Hashable, Any] = LRUCache(MAX_BYTES, getsizeof=_counted_bytes)


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


def last_modified(path: Path) -> float:
    """Return when anything at a path last changed, in seconds since 1970; 0 where there is nothing."""
    try:
        entries = islice(path.iterdir(), 500) if path.is_dir() else ()
        inner = [entry.stat().st_mtime for entry in entries]
        return max([path.stat().st_mtime, *inner])
    except (OSError, ValueError):
        return 0.0
