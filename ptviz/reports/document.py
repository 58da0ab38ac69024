"""A report as plain data, and as one HTML file that needs nothing else: no network, no server, no other file."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import plotly.graph_objects as go
from jinja2 import Environment, StrictUndefined

import ptviz
from ptviz.analysis.csv_text import table_to_csv
from ptviz.figures.csv_export import figure_to_csv
from ptviz.plots.alt_text import alt_of
from ptviz.plots.drawing import plotly_script
from ptviz.safe_text import escape_hidden

_TEMPLATE = Path(__file__).with_name("report.html.jinja")


@dataclass(frozen=True)
class Table:
    """A table under a title; ``note`` stands below it."""

    kind: ClassVar = "table"
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""

    @property
    def csv(self) -> str:
        """Return the table as a data address of a CSV file."""
        return _data_address(table_to_csv([list(self.columns), *map(list, self.rows)]))


@dataclass(frozen=True)
class Figure:
    """A figure under a title with its caption and the Python call that draws it."""

    kind: ClassVar = "figure"
    title: str
    figure: go.Figure
    caption: str = ""
    snippet: str = ""

    @property
    def alt(self) -> str:
        """Return the figure in words."""
        return alt_of(self.figure)

    @property
    def height(self) -> int:
        """Return the height in pixels."""
        return int(self.figure.layout.height or 450)

    @property
    def json(self) -> str:
        """Return the figure as JSON that may stand inside a script element: no "<" ends it or begins a comment."""
        return str(self.figure.to_json()).replace("<", "\\u003c").replace("\u2028", " ").replace("\u2029", " ")

    @property
    def csv(self) -> str:
        """Return the data of the figure as a data address of a CSV file."""
        return _data_address(figure_to_csv(self.figure))


@dataclass(frozen=True)
class Code:
    """Text to copy: commands, a program, citations."""

    kind: ClassVar = "code"
    title: str
    text: str


@dataclass(frozen=True)
class Section:
    """A part of a report with a heading: sentences, then its tables, figures and code in order."""

    title: str
    sentences: Sequence[str] = ()
    parts: Sequence[Table | Figure | Code] = ()


@dataclass(frozen=True)
class Report:
    """A report; ``made`` is the day it was made."""

    title: str
    subtitle: str
    sections: Sequence[Section]
    made: datetime.date = field(default_factory=datetime.date.today)

    def to_html(self) -> str:
        """Return the report as one HTML document, of about 5 MB: it carries the library that draws its figures.

        Every text in it is escaped; a content security policy forbids it to load anything.
        """
        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        environment.filters["shown"] = _shown
        template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
        return template.render(
            report=self,
            version=ptviz.__version__,
            plotly=plotly_script() if self._has_figure else "",
        )

    @property
    def _has_figure(self) -> bool:
        return any(isinstance(part, Figure) for section in self.sections for part in section.parts)


def _shown(value: object) -> str:
    """Return a cell or sentence as text: no control characters, a dash for what is unknown."""
    return "—" if value is None else escape_hidden(value, keep="\n")


def _data_address(csv: str) -> str:
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(csv.encode("utf-8", "replace")).decode("ascii")
