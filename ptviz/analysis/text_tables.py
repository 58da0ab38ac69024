"""Tables as Markdown and LaTeX, with cells that no renderer reads as markup."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ptviz.safe_text import escape_hidden


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; markup in a cell is escaped."""

    def cell(value: object) -> str:
        return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", escape_hidden(" ".join(str(value).split())))

    lines = [columns, ["---"] * len(columns), *(list(map(cell, row)) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def latex_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, caption: str = "", label: str = "") -> str:
    """Return a LaTeX table with the rules of booktabs; every special character of a cell is escaped.

    A caption or a label makes it a ``table`` environment, else it is the ``tabular`` alone. The first column is aligned
    to the left, the others to the right.
    """
    import pandas as pd

    def plain(value: object) -> str:
        return escape_hidden(" ".join(str(value).split()))

    frame = pd.DataFrame([list(map(plain, row)) for row in rows], columns=list(map(plain, columns)), dtype=object)
    form = "l" + "r" * (len(columns) - 1)
    text = frame.to_latex(index=False, escape=True, column_format=form, caption=_escape(caption), label=label or None)
    return "% needs \\usepackage{booktabs}\n" + text.rstrip()


def _escape(text: str) -> str | None:
    """Return a caption with LaTeX's special characters escaped, as pandas escapes cells."""
    import pandas as pd

    if not text:
        return None
    body = pd.DataFrame([[" ".join(text.split())]]).to_latex(index=False, header=False, escape=True)
    return body.split("\\midrule\n")[1].split(" \\\\\n")[0]
