"""People's tables, read row by row: CSV, TSV, JSON Lines and Parquet, in memory that does not grow with the file.

Rows are numbered as people see them: in CSV and TSV as a spreadsheet does (the header is row 1), in JSON Lines by line,
in Parquet from 1.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from ptviz.tasks.example import TaskError

NumberedValues = tuple[int, Sequence[Any]]
"""A row's number, and its values in the columns asked for."""


class Table(Protocol):
    """A file of rows with named columns."""

    columns: list[str]

    def rows(self, columns: Sequence[str]) -> Iterator[NumberedValues]:
        """Each row's number and its values in these columns; raises TaskError at a row that cannot be read."""


def table_error(file: Path | str, problem: str, row: int | None = None, column: str | None = None) -> TaskError:
    """An error that names the place: ``reviews.csv, row 17, column 'label': ...``."""
    place = [Path(file).name if isinstance(file, Path) else file]
    place += [f"row {row}"] if row is not None else []
    place += [f"column {column!r}"] if column is not None else []
    return TaskError(f"{', '.join(place)}: {problem}")


class _LineReader:
    """The lines of a UTF-8 file, and how far they were read; ``held`` are those of the row being read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.current_line = b""
        self.line_offset = 0
        self.row_lines: list[str] = []

    def __iter__(self) -> Iterator[str]:
        with self.path.open("rb") as file:
            for number, self.current_line in enumerate(file):
                if number == 0 and self.current_line.startswith((b"\xff\xfe", b"\xfe\xff")):
                    raise table_error(self.path, "expected UTF-8, but the file is UTF-16; save it as UTF-8", row=1)
                # A byte order mark, which spreadsheets like to write, is no part of the first column's name.
                text = self.current_line.decode("utf-8-sig" if number == 0 else "utf-8")
                self.row_lines.append(text)
                yield text
                self.line_offset += len(self.current_line)

    def decoding_error(self, error: UnicodeDecodeError, row: int, column: str | None) -> TaskError:
        shift = 3 if self.line_offset == 0 and self.current_line.startswith(b"\xef\xbb\xbf") else 0
        place = self.line_offset + shift + error.start
        byte = self.current_line[shift + error.start]
        problem = (
            f"expected UTF-8, but byte {place} of the file is 0x{byte:02X}; "
            "save the file as UTF-8 (it may be in Latin-1 or Windows-1252)"
        )
        return table_error(self.path, problem, row, column)

    def current_row_lines(self) -> list[str]:
        """The lines of the row being read, with a mark for every byte that is not UTF-8."""
        return [*self.row_lines, self.current_line.decode("utf-8", errors="replace")]


class DelimitedTable:
    """A CSV or TSV file with a header. In CSV, semicolons or tabs may stand for commas: the header decides."""

    columns: list[str]

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns = []
        with path.open("rb") as file:
            header = file.readline().decode("utf-8", errors="replace")
        self.delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=header.count)
        self.columns = [name.strip() for name in next(self._iterate_cells())[1]]
        if not any(self.columns):
            raise table_error(path, "expected a header with the names of the columns; got an empty line", row=1)

    def rows(self, columns: Sequence[str]) -> Iterator[NumberedValues]:
        """Each row's number and its values in these columns."""
        picks = [self.columns.index(name) for name in columns]
        width = len(self.columns)
        cells = self._iterate_cells()
        next(cells)
        for row, values in cells:
            if len(values) != width:
                if not values:
                    continue
                problem = f"expected {width} cells, as in the header; got {len(values)}; quote cells that hold "
                raise table_error(self.path, problem + f"the separator {self.delimiter!r}", row, columns[0])
            yield row, [values[pick] for pick in picks]

    def _iterate_cells(self) -> Iterator[tuple[int, list[str]]]:
        lines = _LineReader(self.path)
        row = 0
        try:
            # strict: a quote that is never closed must not swallow the rest of the file.
            for row, values in enumerate(csv.reader(lines, delimiter=self.delimiter, strict=True), 1):
                yield row, values
                lines.row_lines.clear()
        except UnicodeDecodeError as error:
            raise lines.decoding_error(error, row + 1, self._faulty_column(lines.current_row_lines())) from error
        except csv.Error as error:
            problem = f"cannot be read as a table ({error}); close every quote, and double quotes within quoted cells"
            raise table_error(self.path, problem, row + 1, self._faulty_column(lines.row_lines)) from error

    def _faulty_column(self, lines: list[str]) -> str | None:
        """The column of a row that cannot be read: where a byte is wrong, or else where the row breaks off."""
        cells = next(csv.reader(lines, delimiter=self.delimiter), [])
        wrong = next((index for index, cell in enumerate(cells) if "\ufffd" in cell), len(cells) - 1)
        return self.columns[wrong] if 0 <= wrong < len(self.columns) else None


class JsonLinesTable:
    """A file with one JSON object a line; its columns are the keys of the first one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        first = next(self._iterate_objects(), None)
        if first is None:
            raise table_error(path, "the file holds only blank lines; expected one JSON object a line")
        self.columns = list(first[1])

    def rows(self, columns: Sequence[str]) -> Iterator[NumberedValues]:
        """Each line's number and its values for these keys; None where a key is absent."""
        for row, found in self._iterate_objects():
            yield row, [found.get(name) for name in columns]

    def _iterate_objects(self) -> Iterator[tuple[int, dict[str, Any]]]:
        lines = _LineReader(self.path)
        row = 0
        try:
            for row, line in enumerate(lines, 1):
                if line.strip():
                    yield row, self._parse_object(line, row)
                lines.row_lines.clear()
        except UnicodeDecodeError as error:
            raise lines.decoding_error(error, row + 1, self._faulty_column(lines.current_row_lines()[-1])) from error

    def _parse_object(self, line: str, row: int) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except json.JSONDecodeError as error:
            hint = "; the file seems to be one JSON array: write one object a line" if line.lstrip()[:1] == "[" else ""
            problem = f"expected a JSON object; {error.msg} at character {error.colno}{hint}"
            raise table_error(self.path, problem, row) from error
        if not isinstance(found, dict):
            problem = f'expected a JSON object such as {{"text": "...", "label": "..."}}; got {line.strip()[:40]}'
            raise table_error(self.path, problem, row)
        return found

    def _faulty_column(self, line: str) -> str | None:
        try:
            found = self._parse_object(line, 0)
        except TaskError:
            return None
        return next((name for name, value in found.items() if "\ufffd" in str(value)), None)


class ParquetTable:
    """A Parquet file."""

    def __init__(self, path: Path) -> None:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile

        self.path = path
        self.arrow_error: type[Exception] = ArrowException
        try:
            self.file = ParquetFile(path)
        except ArrowException as error:
            raise table_error(path, f"expected a Parquet file; {error}; save it again") from error
        self.columns: list[str] = list(self.file.schema_arrow.names)

    def rows(self, columns: Sequence[str]) -> Iterator[NumberedValues]:
        """Each row's number, from 1, and its values in these columns."""
        row = 0
        try:
            for batch in self.file.iter_batches(batch_size=4096, columns=list(dict.fromkeys(columns))):
                values = [batch.column(name).to_pylist() for name in columns]
                for row, found in enumerate(zip(*values, strict=True), row + 1):  # noqa: B020
                    yield row, found
        except (self.arrow_error, OSError) as error:
            raise table_error(self.path, f"damaged ({error}); save it again", row + 1, columns[0]) from error


TABLE_READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": DelimitedTable,
    ".tsv": DelimitedTable,
    ".jsonl": JsonLinesTable,
    ".ndjson": JsonLinesTable,
    ".json": JsonLinesTable,
    ".parquet": ParquetTable,
    ".pq": ParquetTable,
}


def open_table(path: Path) -> Table:
    """The table in a file, by the file's ending.

    Raises:
        TaskError: if there is no such file, it is empty or unreadable, or its ending is none of the known ones.
    """
    ending = path.suffix.lower()
    if ending not in TABLE_READERS:
        raise table_error(
            path, "expected a file that ends in .csv, .tsv, .jsonl or .parquet; save the table as one of these"
        )
    try:
        if path.stat().st_size == 0:
            raise table_error(path, "the file is empty; expected a table with a column of texts and one of labels")
        return TABLE_READERS[ending](path)
    except OSError as error:
        raise table_error(
            path, f"cannot be read ({error.strerror or error}); check the path and its permissions"
        ) from error
