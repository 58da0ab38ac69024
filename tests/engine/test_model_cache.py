"""The model cache holds the most recently used models, and frees memory before the next is loaded."""

from __future__ import annotations

from collections.abc import Hashable

from cachetools import LRUCache

from ptviz.engine.model_cache import get_or_create


def test_the_least_recently_used_goes_before_the_next_is_made():
    cache: LRUCache[Hashable, str] = LRUCache(2)
    get_or_create(cache, "a", lambda: "A")
    get_or_create(cache, "b", lambda: "B")
    assert get_or_create(cache, "a", lambda: "made again") == "A"
    held = []

    def large() -> str:
        held.extend(cache)
        return "C"

    assert get_or_create(cache, "c", large) == "C"
    assert held == ["a"], "room is made first: two large backbones need not fit beside a third"
    assert sorted(map(str, cache)) == ["a", "c"]
