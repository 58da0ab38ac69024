"""The store in which a run is looked up that is given by its id alone.

A script has one: the folder of runs. The app has one for each visitor of a classroom, so it says here which.
"""

from __future__ import annotations

from collections.abc import Callable

from ptviz.runs.store import Store

_choose: Callable[[], Store] = Store


def default_store() -> Store:
    """Return the store of the current user: ``Store()``, unless the app has set another."""
    return _choose()


def set_default_store(choose: Callable[[], Store]) -> None:
    """Have ``default_store`` return what ``choose`` returns at each call."""
    global _choose
    _choose = choose
