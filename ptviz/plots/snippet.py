"""The Python that draws a figure again: one call of a public plot function, made from the call's own arguments."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import numpy as np

from ptviz.runs import Run

PRECOMPUTED = frozenset({"answer", "projection"})
"""Parameters that only save time: the function computes them if they are left out."""
_LINE_LENGTH = 88


def call_snippet(function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """Return a script that makes this call of a function of ``ptviz.plots``.

    Arguments equal to the function's default and those in ``PRECOMPUTED`` are left out. A run is written as
    ``Store().get("ID")``.

    Raises:
        TypeError: if the function does not take these arguments, or one of them cannot be written down.
    """
    signature = inspect.signature(function)
    written = []
    for name, value in signature.bind(*args, **kwargs).arguments.items():
        parameter = signature.parameters[name]
        if name in PRECOMPUTED or _is_default(value, parameter.default):
            continue
        keyword = f"{name}=" if parameter.kind is inspect.Parameter.KEYWORD_ONLY else ""
        written.append(keyword + _write(value, name))
    imports = [f"from ptviz.plots import {function.__name__}"]
    if any("Store()" in argument for argument in written):
        imports.append("from ptviz.runs import Store")
    if str(signature.return_annotation).endswith("Figure"):
        return "\n".join([*imports, "", _call("figure", function.__name__, written), "figure.show()"])
    file = f'Path("{function.__name__.removeprefix("plot_")}.svg")'
    return "\n".join(
        [
            "from pathlib import Path",
            "",
            *imports,
            "",
            _call("drawing", function.__name__, written),
            f'{file}.write_text(drawing.to_svg(), encoding="utf-8")',
        ]
    )


def _call(variable: str, function: str, arguments: Sequence[str]) -> str:
    line = f"{variable} = {function}({', '.join(arguments)})"
    if len(line) <= _LINE_LENGTH:
        return line
    return "\n".join([f"{variable} = {function}(", *(f"    {argument}," for argument in arguments), ")"])


def _is_default(value: Any, default: Any) -> bool:
    if isinstance(value, Sequence | Set) and not isinstance(value, str) and isinstance(default, Sequence | Set):
        return len(value) == len(default) and list(value) == list(default)
    return type(value) is type(default) and bool(value == default)


def _write(value: Any, name: str) -> str:
    """Return a value as Python source."""
    if isinstance(value, Run):
        return f"Store().get({_write(value.id, name)})"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, np.generic):
        return _write(value.item(), name)
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_write(key, name)}: {_write(own, name)}" for key, own in value.items()) + "}"
    if isinstance(value, Set):
        return _write(tuple(sorted(value)), name)
    if isinstance(value, Sequence):
        return _write_sequence(value, name)
    raise TypeError(f"argument {name!r}: expected a run or a plain value, got {type(value).__name__}")


def _write_sequence(values: Sequence[Any], name: str) -> str:
    written = [_write(value, name) for value in values]
    if isinstance(values, tuple) and not any(isinstance(value, Run) for value in values):
        return f"({written[0]},)" if len(written) == 1 else f"({', '.join(written)})"
    return f"[{', '.join(written)}]"
