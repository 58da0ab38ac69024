"""The Python that redraws a figure: short scripts with the run's own id, which need the library and no page."""

from __future__ import annotations

from collections.abc import Sequence


def figure_script(module: str, lines: Sequence[str], drawn: str, name: str, after: Sequence[str] = ()) -> str:
    """``lines``, then ``drawn``: a call of a function of that module of ``ptviz.figures``, kept as a file of its own.

    Imports may stand anywhere among the lines; they go to the top. ``after`` does more to ``figure``.
    """
    lines = [*lines, _figure_import(module, drawn), f"figure = {drawn}", *after, f'figure.write_html("{name}.html")']
    return _imports_first(lines)


def _figure_import(module: str, drawn: str) -> str:
    return f"from ptviz.figures.{module} import {drawn.split('(')[0]}"


def _imports_first(lines: Sequence[str]) -> str:
    imports = sorted({line for line in lines if line.startswith(("from ", "import "))})
    return "\n".join([*imports, "", *(line for line in lines if line not in imports)])
