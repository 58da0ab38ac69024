"""Results that pages share and that depend on files alone: computed once, the oldest forgotten first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")
_MOST = 96
_KEPT: OrderedDict[Hashable, Any] = OrderedDict()
_LOCK = threading.Lock()


def remembered(key: Hashable, make: Callable[[], T]) -> T:
    """What ``make`` returned for this key before, or returns now. The key names everything the result depends on."""
    with _LOCK:
        if key in _KEPT:
            _KEPT.move_to_end(key)
            found: T = _KEPT[key]
            return found
    # Outside the lock: a slow computation of one tab must not hold up the others.
    made = make()
    with _LOCK:
        _KEPT[key] = made
        while len(_KEPT) > _MOST:
            _KEPT.popitem(last=False)
    return made
