"""Every call by which Python changes the disk, as a numbered point at which something can be made to happen."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self
from unittest import mock

CALLS = ("open", "write", "fsync", "replace", "rename", "unlink", "mkdir", "rmdir", "ftruncate")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

Fault = Callable[[int, str, Callable[[], Any], tuple[Any, ...]], Any]
"""Takes the number and the name of a call, the call itself, and its arguments; returns the call's result."""


class FaultPoints:
    """Within the block, each call that changes the disk goes through ``fault``; ``count`` is their number so far."""

    def __init__(self, fault: Fault) -> None:
        self.fault, self.count = fault, 0
        self._patches = ExitStack()

    def __enter__(self) -> Self:
        for name in CALLS:
            self._patches.enter_context(mock.patch.object(os, name, self._wrap(name, getattr(os, name))))
        self._patches.enter_context(mock.patch.object(io, "open", self._wrap("create", io.open)))
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.close()

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            if not _changes_disk(name, arguments, keywords):
                return real(*arguments, **keywords)
            number, self.count = self.count, self.count + 1
            return self.fault(number, name, lambda: real(*arguments, **keywords), arguments)

        return call


def _changes_disk(name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> bool:
    if name == "open":
        return bool(arguments[1] & _WRITING)
    if name == "create":
        mode = arguments[1] if len(arguments) > 1 else keywords.get("mode", "r")
        return not isinstance(arguments[0], int) and any(letter in mode for letter in "wax+")
    return True
