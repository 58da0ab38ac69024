"""The Python of a page: one call of a public function, made from the call's own arguments."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any

import numpy as np

import ptviz
from ptviz.runs import Run, RunConfig

PRECOMPUTED = frozenset({"answer", "projection"})
"""Parameters that only save time: the function computes them if they are left out."""
_LINE_LENGTH = 88
_VARIABLES = {"Figure": ("figure", "figure.show()"), "Run": ("run", "print(run.status())")}
"""Variable of the result and what is done with it, by the last word of the return type."""


def call_snippet(function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """Return a script that makes this call of a function of ``ptviz`` or ``ptviz.plots``.

    Arguments equal to the function's default and those in ``PRECOMPUTED`` are left out. A run is written as
    ``Store().get("ID")``, a dataclass with the fields that differ from their defaults.

    Raises:
        TypeError: if the function does not take these arguments, or one of them cannot be written down.
    """
    signature, name = inspect.signature(function), function.__name__
    imports = {f"from {'ptviz' if name in ptviz.__all__ else 'ptviz.plots'} import {name}"}
    written = []
    for argument, value in signature.bind(*args, **kwargs).arguments.items():
        parameter = signature.parameters[argument]
        if argument in PRECOMPUTED or _is_default(value, parameter.default):
            continue
        keyword = f"{argument}=" if parameter.kind is inspect.Parameter.KEYWORD_ONLY else ""
        try:
            written.append(keyword + _write(value, imports))
        except TypeError as error:
            raise TypeError(f"argument {argument!r}: {error}") from error
    return _script(name, str(signature.return_annotation).split(".")[-1], written, imports)


def _script(name: str, returned: str, written: Sequence[str], imports: set[str]) -> str:
    if returned in ("Drawing", "Scene"):
        file = f'Path("{name.removeprefix("plot_")}.svg")'
        variable, use = "drawing", f'{file}.write_text(drawing.to_svg(), encoding="utf-8")'
        head = ["from pathlib import Path", ""]
    else:
        variable, use = _VARIABLES.get(returned, ("result", "print(result)"))
        head = []
    return "\n".join([*head, *sorted(imports), "", _call(variable, name, written), use])


def training_snippet(config: RunConfig) -> str:
    """Return a script that trains a run of this config. A comment marks an extended run: it differs from a long one."""
    training = replace(config.training, planned_steps=0)
    plain = replace(config, planned=(), training=training, hyperparameters=config.changed_hyperparameters())
    comment = config.extension_comment("# ")
    # The function itself is not looked up, because it needs torch.
    imports = {"from ptviz import train_and_save"}
    return (comment and f"{comment}\n") + _script("train_and_save", "Run", [_write(plain, imports)], imports)


def _call(variable: str, function: str, arguments: Sequence[str]) -> str:
    line = f"{variable} = {function}({', '.join(arguments)})"
    if len(line) <= _LINE_LENGTH:
        return line
    return "\n".join([f"{variable} = {function}(", *(f"    {argument}," for argument in arguments), ")"])


def _is_default(value: Any, default: Any) -> bool:
    if isinstance(value, Sequence | Set) and not isinstance(value, str) and isinstance(default, Sequence | Set):
        return len(value) == len(default) and list(value) == list(default)
    return type(value) is type(default) and bool(value == default)


def _write(value: Any, imports: set[str]) -> str:
    """Return a value as Python source, and add what it needs to ``imports``."""
    if isinstance(value, Run):
        imports.add("from ptviz.runs import Store")
        return f"Store().get({_write(value.id, imports)})"
    if is_dataclass(value):
        return _write_dataclass(value, imports)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, np.generic):
        return _write(value.item(), imports)
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_write(key, imports)}: {_write(own, imports)}" for key, own in value.items()) + "}"
    if isinstance(value, Set):
        return _write(tuple(sorted(value)), imports)
    if isinstance(value, Sequence):
        return _write_sequence(value, imports)
    raise TypeError(f"expected a run or a plain value, got {type(value).__name__}")


def _write_dataclass(value: Any, imports: set[str]) -> str:
    kind = type(value)
    # Public names are those of the package: ptviz.runs.config.RunConfig is ptviz.runs.RunConfig.
    imports.add(f"from {'.'.join(kind.__module__.split('.')[:2])} import {kind.__name__}")
    arguments = []
    for own in fields(value):
        default = own.default if own.default_factory is MISSING else own.default_factory()
        if getattr(value, own.name) != default:
            arguments.append(f"{own.name}={_write(getattr(value, own.name), imports)}")
    return f"{kind.__name__}({', '.join(arguments)})"


def _write_sequence(values: Sequence[Any], imports: set[str]) -> str:
    written = [_write(value, imports) for value in values]
    if isinstance(values, tuple) and not any(isinstance(value, Run) for value in values):
        return f"({written[0]},)" if len(written) == 1 else f"({', '.join(written)})"
    return f"[{', '.join(written)}]"
