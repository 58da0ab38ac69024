"""Tables as CSV that a spreadsheet opens as data."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def table_to_csv(table: Iterable[Sequence[object]]) -> str:
    """Return rows, the header first, as CSV in which no cell is a formula to a spreadsheet.

    Lines end as in RFC 4180: only then does Python before 3.13 quote a cell that holds a carriage return.
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([_as_data(cell) for cell in row] for row in table)
    return out.getvalue()


def _as_data(cell: object) -> object:
    """Return a cell with an apostrophe before text that a spreadsheet would run; numbers stay as they are.

    Source: OWASP, CSV injection.
    """
    if not isinstance(cell, str) or not cell.startswith(_FORMULA_STARTS):
        return cell
    try:
        float(cell)
    except ValueError:
        return "'" + cell
    return cell
