"""Load what other installed packages add to ptviz: methods, backbones and tasks, declared as entry points."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, TypeVar


class _Named(Protocol):
    @property
    def info(self) -> Any: ...


N = TypeVar("N", bound=_Named)
T = TypeVar("T")
_LOG = logging.getLogger(__name__)


def load_named(point: EntryPoint, kind: type[N], noun: str, taken: Container[str]) -> N:
    """Return the object of an entry point, whose ``info.name`` must be the entry point's and not ``taken``.

    Raises:
        TypeError: if it is not of this kind.
        ValueError: if it has another name, or one that exists already.
    """
    found = point.load()
    if not isinstance(found, kind):
        raise TypeError(f"expected an {kind.__name__}; got {found!r}")
    if found.info.name != point.name:
        raise ValueError(f"expected a {noun} with the name of its entry point; got {found.info.name!r}")
    if point.name in taken:
        raise ValueError(f"a {noun} of this name exists already; choose another name")
    return found


def load_entry_points(group: str, load: Callable[[EntryPoint], T | None]) -> dict[str, T]:
    """Return what ``load`` makes of each entry point of a group, by name in alphabetical order; None is skipped.

    An entry point that fails, for whatever reason, is left out with a warning in the log that names its package and
    the reason: a broken package must not keep ptviz from starting.
    """
    found: dict[str, T] = {}
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        try:
            if point.name in found:
                raise ValueError(f"the name {point.name!r} is taken by another package")
            if (loaded := load(point)) is not None:
                found[point.name] = loaded
        # A module may also call sys.exit while it is imported.
        except (Exception, SystemExit) as error:
            package = point.dist.name if point.dist else "an unnamed package"
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            _LOG.warning("ptviz leaves out %r (entry point %s of %s): %s", point.name, group, package, reason)
    return found
