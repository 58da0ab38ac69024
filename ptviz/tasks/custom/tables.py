"""Tables of files, read row by row in bounded memory: CSV and its relatives, JSON Lines, JSON arrays, Parquet.

Rows are numbered as a spreadsheet does in delimited files (the header is row 1), by line in JSON Lines, and from 1 in
JSON arrays and Parquet.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TextIO

from ptviz.tasks.custom.containers import COMPRESSED_ENDINGS, TABLE_ENDINGS, open_unpacked, table_ending
from ptviz.tasks.custom.dialects import detect_dialect, detect_header, guess_columns, looks_like_row
from ptviz.tasks.custom.encodings import detect_encoding
from ptviz.tasks.custom.errors import table_error
from ptviz.tasks.custom.labels import shorten_floats
from ptviz.tasks.custom.table_options import DELIMITER_NAMES, LIMITS, MB, TableLimits, TableOptions
from ptviz.tasks.example import TaskError

_SAMPLE_CHARACTERS, _SAMPLE_LINES = 1_000_000, 2000
_MAX_SUSPECTS = 10_000
"""Lines within quoted cells that are remembered because they look like rows."""
_MAX_BATCH_BYTES = 64 * MB
_MAX_PACKED_PARQUET = 256 * MB
_UNREADABLE_JSON = "expected a JSON object; a number is too long, or lists are too deep"
_NO_BLANK = re.compile(r"[^ \t\r\n]")
_WORD = re.compile(r"\w*[^\x00-\x7f]\w*")


class NumberedRow(NamedTuple):
    """A row's number, and its values in the columns asked for, or why it cannot be read."""

    number: int
    values: Sequence[Any] | TaskError


class SwallowedLine(NamedTuple):
    """A line within a quoted cell of a row, and the label it would have as a row of its own."""

    row: int
    label: str


class Table(Protocol):
    """A file of rows with named columns; ``notes`` say how it is read."""

    columns: list[str]
    notes: tuple[str, ...]
    guessed: tuple[str, str] | None
    """Columns of texts and labels by content, for a table without a header."""
    swallowed: list[SwallowedLine]
    """Filled by ``rows``."""

    def rows(self, columns: Sequence[str]) -> Generator[NumberedRow, None, None]:
        """Return each row's number and its values in these columns; the last column is that of labels."""


class _RowLines:
    """The lines of a text file, of which ``current`` are those of the row being read."""

    def __init__(self, stream: TextIO, path: Path, limits: TableLimits) -> None:
        self._stream, self._path, self._limits, self._limit = stream, path, limits, limits.row
        self.current: list[str] = []
        self.size = self.count = 0

    def __iter__(self) -> Iterator[str]:
        while line := self._stream.readline(self._limit + 1):
            self.count += 1
            if self.count > self._limits.lines:
                raise table_error(self._path, f"expected at most {self._limits.lines:,} lines; split the table")
            self.size += len(line)
            if self.size > self._limit:
                raise _RowTooLong
            self.current.append(line)
            yield line

    def next_row(self) -> None:
        self.current.clear()
        self.size = 0


class _RowTooLong(Exception):
    pass


class _TextFile:
    """A text file of rows: its encoding, and its lines in bounded memory."""

    def __init__(self, path: Path, options: TableOptions, limits: TableLimits) -> None:
        self.path, self.options, self.limits = path, options, limits
        self.columns: list[str] = []
        self.notes: tuple[str, ...] = ()
        self.guessed: tuple[str, str] | None = None
        self.swallowed: list[SwallowedLine] = []
        self.encoding = options.encoding or self._detect_encoding()
        if self.encoding not in ("utf-8", options.encoding):
            way = "" if self.encoding.startswith("utf") else " by a guess"
            self.notes += (f"read as {self.encoding}{way}{self._example_of_encoding()}; another encoding can be named",)

    def _detect_encoding(self) -> str:
        with open_unpacked(self.path, self.limits) as (file, _):
            try:
                return detect_encoding(file, self.limits.detected)
            except TaskError as error:
                if error.args[0].startswith("expected text"):
                    raise table_error(self.path, str(error)) from error
                raise

    def _example_of_encoding(self) -> str:
        """Return a word by which a reader sees whether the encoding is right."""
        with self.open_text() as stream:
            word = _WORD.search(stream.read(_SAMPLE_CHARACTERS))
        return f" (it has the word {word[0][:40]!r})" if word else ""

    @contextmanager
    def open_text(self) -> Iterator[TextIO]:
        # Bytes that do not fit the encoding become lone surrogates, so that the row that has them can be named.
        name = self.encoding.lower().replace("_", "-")
        encoding = "utf-8-sig" if name in ("utf-8", "utf8") else self.encoding
        errors = "strict" if "16" in encoding or "32" in encoding else "surrogateescape"
        with (
            open_unpacked(self.path, self.limits) as (file, _),
            # newline="": lines end with \n, \r\n or \r, and line ends within cells stay what they are.
            io.TextIOWrapper(file, encoding=encoding, errors=errors, newline="") as stream,
        ):
            try:
                yield stream
            except UnicodeError as error:
                raise table_error(self.path, f"expected {encoding} ({error}); name another encoding") from error

    def too_long(self, row: int) -> TaskError:
        problem = f"expected at most {self.limits.row:,} characters in a row; is a quote open, or is this no table?"
        return table_error(self.path, problem, row)


class DelimitedTable(_TextFile):
    """A file of cells with a delimiter: CSV, TSV and others."""

    def __init__(
        self, path: Path, options: TableOptions, limits: TableLimits, names: Sequence[str], ending: str
    ) -> None:
        super().__init__(path, options, limits)
        with self.open_text() as stream:
            lines, self._truncated = _read_sample(stream, limits.row)
        if lines and len(lines[0]) > limits.row:
            raise self.too_long(1)
        tabs_usual = ending in (".tsv", ".tab")
        self.dialect = detect_dialect(
            lines, tabs_usual=tabs_usual, names=names, delimiter=options.delimiter, quoting=options.quoting,
            truncated=self._truncated,
        )  # fmt: skip
        sample = self._read_first_rows()
        self.has_header = detect_header(sample, names) if options.header is None else options.header
        self._name_columns(sample)
        self.notes += tuple(self._dialect_notes(tabs_usual))

    def _read_first_rows(self) -> list[list[str]]:
        with closing(self._iterate_cells()) as cells:
            rows: list[list[str]] = []
            for _, found in islice(cells, _SAMPLE_LINES):
                if isinstance(found, list) and found:
                    rows.append(found)
                    self.columns = self.columns or [cell.strip() for cell in found]  # Errors name columns by them.
            return rows

    def _name_columns(self, sample: list[list[str]]) -> None:
        with closing(self._iterate_cells()) as cells:
            first = next(cells, (1, []))[1]
        if isinstance(first, TaskError):
            raise first
        if not any(cell.strip() for cell in first):
            raise table_error(self.path, "expected a header with the names of the columns; got an empty line", row=1)
        if len(first) > self.limits.columns:
            raise table_error(self.path, f"expected at most {self.limits.columns:,} columns; got {len(first):,}", 1)
        if self.has_header:
            self.columns = [name.strip() for name in first]
            return
        self.columns = [str(number) for number in range(1, len(first) + 1)]
        if (found := guess_columns(sample)) is not None:
            self.guessed = (self.columns[found[0]], self.columns[found[1]])

    def _dialect_notes(self, tabs_usual: bool) -> Iterator[str]:
        dialect, given = self.dialect, self.options
        if given.delimiter is None and dialect.delimiter != ("\t" if tabs_usual else ",") and len(self.columns) > 1:
            names = {char: name for name, char in DELIMITER_NAMES.items()}
            yield f"the delimiter is a {names[dialect.delimiter]}"
        if given.quoting is None and dialect.kept_quotes:
            yield "quotes at the beginning of cells are part of the texts (quoting: none)"
        if given.quoting is None and dialect.quoting == "backslash":
            yield "quotes within cells are escaped by a backslash (quoting: backslash)"
        if given.header is None and not self.has_header:
            yield "the first row is data, not a header: the columns are called 1, 2, ..."

    def rows(self, columns: Sequence[str]) -> Generator[NumberedRow, None, None]:
        """Return each row's number and its values in these columns."""
        picks = [self.columns.index(name) for name in columns]
        width = len(self.columns)
        with closing(self._iterate_cells()) as cells:
            for row, values in cells if not self.has_header else islice(cells, 1, None):
                if isinstance(values, TaskError):
                    yield NumberedRow(row, values)
                elif len(values) == width:
                    long = next((pick for pick in picks if len(values[pick]) > self.limits.cell), None)
                    if long is None:
                        yield NumberedRow(row, [values[pick] for pick in picks])
                    else:
                        yield NumberedRow(row, self._cell_error(row, long, len(values[long])))
                elif values:
                    first = "header" if self.has_header else "first row"
                    problem = f"expected {width} cells, as in the {first}; got {len(values)}; quote cells that hold "
                    problem += f"the delimiter {self.dialect.delimiter!r}"
                    yield NumberedRow(row, table_error(self.path, problem, row, columns[0]))
                self._find_swallowed(row, picks[-1])

    def _cell_error(self, row: int, pick: int, size: int) -> TaskError:
        problem = f"expected at most {self.limits.cell:,} characters in a cell; got {size:,}"
        return table_error(self.path, problem, row, self.columns[pick])

    def _find_swallowed(self, row: int, label: int) -> None:
        """Remember lines within the quoted cells of the current row that would be rows of their own."""
        if len(self._lines.current) < 2 or len(self.swallowed) >= _MAX_SUSPECTS:
            return
        for line in self._lines.current[1:]:
            if looks_like_row(line, self.dialect.delimiter, len(self.columns)):
                cells = line.rstrip("\r\n").split(self.dialect.delimiter)
                self.swallowed.append(SwallowedLine(row, cells[label].strip().strip('"')))

    def _iterate_cells(self) -> Generator[tuple[int, list[str] | TaskError], None, None]:
        # The limit is one of the whole process: raise it, never lower it. Longer cells are refused with their place.
        csv.field_size_limit(max(csv.field_size_limit(), self.limits.row))
        row = 0
        with self.open_text() as stream:
            self._lines = lines = _RowLines(stream, self.path, self.limits)
            reader = self.dialect.read_cells(lines)
            while True:
                lines.next_row()
                row += 1
                try:
                    cells = next(reader, None)
                except _RowTooLong as error:
                    raise self.too_long(row) from error
                except csv.Error as error:
                    found = self._quoting_error(error, row)
                    # A row that took in further lines is no bad row: the quoting of the file is another one.
                    if len(lines.current) > 1:
                        raise found from error
                    yield row, found
                    continue
                if cells is None:
                    return
                yield row, cells

    def _quoting_error(self, error: csv.Error, row: int) -> TaskError:
        cells = next(csv.reader(self._lines.current, delimiter=self.dialect.delimiter), [])
        # An open quote is in the last cell; where another one is wrong is not known.
        at_end = "end of data" in str(error) and 0 < len(cells) <= len(self.columns)
        column = self.columns[len(cells) - 1] if at_end else None
        problem = (
            f"cannot be read as a table ({error}); close every quote and double quotes within quoted cells, "
            "or choose quoting: none, which takes quotes as text"
        )
        return table_error(self.path, problem, row, column)


def _read_sample(stream: TextIO, limit: int) -> tuple[list[str], bool]:
    """Return the first lines of a file, and whether it has more."""
    lines: list[str] = []
    size = 0
    while size < _SAMPLE_CHARACTERS and len(lines) < _SAMPLE_LINES:
        line = stream.readline(limit + 1)
        if not line:
            return lines, False
        lines.append(line)
        size += len(line)
    return lines, True


class JsonTable(_TextFile):
    """A file with one JSON object a line, or one array of objects; its columns are the keys of the first object."""

    def __init__(self, path: Path, options: TableOptions, limits: TableLimits) -> None:
        super().__init__(path, options, limits)
        with self.open_text() as stream:
            self._is_array = stream.read(1000).lstrip()[:1] == "["
        problem: TaskError | None = None
        with closing(self._iterate_objects()) as objects:
            for _, found in objects:
                if not isinstance(found, TaskError):
                    self.columns = list(found)
                    return
                problem = problem or found
                if not options.skip_bad_rows:
                    break
        raise problem or table_error(path, "the file holds no JSON objects; expected one a line, or an array of them")

    def rows(self, columns: Sequence[str]) -> Generator[NumberedRow, None, None]:
        """Return each object's number and its values for these keys; None where a key is absent."""
        with closing(self._iterate_objects()) as objects:
            for row, found in objects:
                if isinstance(found, TaskError):
                    yield NumberedRow(row, found)
                else:
                    yield NumberedRow(row, [found.get(name) for name in columns])

    def _iterate_objects(self) -> Generator[tuple[int, dict[str, Any] | TaskError], None, None]:
        return self._iterate_array() if self._is_array else self._iterate_lines()

    def _iterate_lines(self) -> Generator[tuple[int, dict[str, Any] | TaskError], None, None]:
        row = 0
        with self.open_text() as stream:
            lines = _RowLines(stream, self.path, self.limits)
            try:
                for row, line in enumerate(lines, 1):
                    if line.strip():
                        yield row, self._parse_object(line, row)
                    lines.next_row()
            except _RowTooLong as error:
                raise self.too_long(row + 1) from error

    def _iterate_array(self) -> Generator[tuple[int, dict[str, Any] | TaskError], None, None]:
        row = 0
        with self.open_text() as stream:
            elements = _ArrayElements(stream, self.limits.row)
            try:
                for row, found in enumerate(elements, 1):
                    yield row, self._check_object(found, row)
            except _RowTooLong as error:
                raise self.too_long(row + 1) from error
            except json.JSONDecodeError as error:
                problem = f"expected a JSON array of objects; {error.msg}: the file is damaged or cut short"
                raise table_error(self.path, problem, row + 1) from error
            except (ValueError, RecursionError) as error:
                raise table_error(self.path, _UNREADABLE_JSON, row + 1) from error

    def _parse_object(self, line: str, row: int) -> dict[str, Any] | TaskError:
        try:
            return self._check_object(json.loads(line), row)
        except json.JSONDecodeError as error:
            return table_error(self.path, f"expected a JSON object; {error.msg} at character {error.colno}", row)
        except (ValueError, RecursionError):
            return table_error(self.path, _UNREADABLE_JSON, row)

    def _check_object(self, found: Any, row: int) -> dict[str, Any] | TaskError:
        if not isinstance(found, dict):
            example = '{"text": "...", "label": "..."}'
            return table_error(self.path, f"expected a JSON object such as {example}; got {repr(found)[:40]}", row)
        if len(found) > self.limits.columns:
            return table_error(self.path, f"expected at most {self.limits.columns:,} keys; got {len(found):,}", row)
        for name, value in found.items():
            if isinstance(value, str):
                if len(value) > self.limits.cell:
                    problem = f"expected at most {self.limits.cell:,} characters in a cell; got {len(value):,}"
                    return table_error(self.path, problem, row, name)
            elif isinstance(value, dict | list) and _is_deeper(value, self.limits.nesting):
                return table_error(self.path, f"expected at most {self.limits.nesting} lists within lists", row, name)
        return found


def _is_deeper(value: Any, limit: int) -> bool:
    """Return whether objects and lists are nested more than ``limit`` deep."""
    level = [value]
    for _ in range(limit):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


class _ArrayElements:
    """The elements of a JSON array, parsed one by one from a part of the file that is at most ``limit`` characters."""

    def __init__(self, stream: TextIO, limit: int) -> None:
        self._stream, self._limit = stream, limit
        self._text, self._place = "", 0

    def __iter__(self) -> Iterator[Any]:
        decoder = json.JSONDecoder()
        self._skip_blanks()
        self._place += 1  # the bracket
        while self._next_character() != "]":
            try:
                value, end = decoder.raw_decode(self._text, self._place)
                # What follows shows that the element is whole: 1 may be the beginning of 12.
                whole = end + 100 < len(self._text) or not self._read_more()
            except json.JSONDecodeError:
                if not self._read_more():
                    raise
                continue
            if not whole:
                continue
            self._place = end
            if self._next_character() not in (",", "]"):
                raise json.JSONDecodeError("expected a comma or the end of the array", "", 0)
            self._place += self._next_character() == ","
            yield value
        self._place += 1
        if self._next_character():
            raise json.JSONDecodeError("expected nothing after the end of the array", "", 0)

    def _next_character(self) -> str:
        self._skip_blanks()
        return self._text[self._place : self._place + 1]

    def _skip_blanks(self) -> None:
        while True:
            found = _NO_BLANK.search(self._text, self._place)
            if found is not None:
                self._place = found.start()
                return
            self._place = len(self._text)
            if not self._read_more():
                return

    def _read_more(self) -> bool:
        """Read as much again as is left, so that a long element is parsed a few times only; false at the end."""
        left = self._text[self._place :]
        if len(left) > self._limit:
            raise _RowTooLong
        more = self._stream.read(max(len(left), 1 << 16))
        if more:
            self._text, self._place = left + more, 0
        return bool(more)


class ParquetTable:
    """A Parquet file. Class labels that ``datasets`` wrote as numbers come by their names."""

    def __init__(self, path: Path, options: TableOptions, limits: TableLimits) -> None:
        from pyarrow import ArrowException

        self.path, self.limits = path, limits
        self.notes: tuple[str, ...] = ()
        self.guessed: tuple[str, str] | None = None
        self.swallowed: list[SwallowedLine] = []
        self._arrow_errors = (ArrowException, OSError)
        with open_unpacked(path, limits) as (file, _):
            if file.peek(4)[:4] != b"PAR1":
                raise table_error(path, "expected a Parquet file; this is something else: save it again")
            packed = None if _is_plain(path) else file.read(_MAX_PACKED_PARQUET + 1)
        if packed is not None and len(packed) > _MAX_PACKED_PARQUET:
            raise table_error(path, "a large Parquet file in an archive; unpack it first")
        self._packed = packed
        try:
            self._file = self._open([])
        except self._arrow_errors as error:
            raise table_error(path, f"expected a Parquet file; {error}; save it again") from error
        self.columns: list[str] = list(self._file.schema_arrow.names)
        if len(self.columns) > limits.columns:
            raise table_error(path, f"expected at most {limits.columns:,} columns; got {len(self.columns):,}")
        self._class_names = _read_class_names(self._file.schema_arrow.metadata)

    def rows(self, columns: Sequence[str]) -> Generator[NumberedRow, None, None]:
        """Return each row's number, from 1, and its values in these columns."""
        self._check_sizes(columns)
        row = 0
        names = [self._class_names.get(name) for name in columns]
        try:
            file = self._open(self._text_columns(columns))
            for batch in file.iter_batches(batch_size=4096, columns=list(dict.fromkeys(columns))):
                for cells in zip(*(_unpack_cells(batch.column(name)) for name in columns), strict=True):
                    row += 1
                    yield NumberedRow(row, self._read_row(row, columns, cells, names))
        except self._arrow_errors as error:
            raise table_error(self.path, f"damaged ({error}); save it again", row + 1, columns[0]) from error

    def _read_row(
        self, row: int, columns: Sequence[str], cells: Sequence[Any], class_names: Sequence[list[str] | None]
    ) -> list[Any] | TaskError:
        try:
            values = [_name_class(_as_python(cell), names) for cell, names in zip(cells, class_names, strict=True)]
        except UnicodeDecodeError as error:
            return table_error(self.path, f"expected UTF-8 in a text; {error.reason}: save the table again", row)
        for name, value in zip(columns, values, strict=True):
            if isinstance(value, str) and len(value) > self.limits.cell:
                problem = f"expected at most {self.limits.cell:,} characters in a cell; got {len(value):,}"
                return table_error(self.path, problem, row, name)
        return values

    def _open(self, texts: list[str]) -> Any:
        """Open the file; columns of texts are read as dictionaries, so that a repeated value stays one in memory."""
        from pyarrow.parquet import ParquetFile

        return ParquetFile(self.path if self._packed is None else io.BytesIO(self._packed), read_dictionary=texts)

    def _text_columns(self, columns: Sequence[str]) -> list[str]:
        from pyarrow import types

        kinds = {name: self._file.schema_arrow.field(name).type for name in columns}
        return [name for name, kind in kinds.items() if types.is_string(kind) or types.is_large_string(kind)]

    def _check_sizes(self, columns: Sequence[str]) -> None:
        """Refuse columns that are unreasonably large once unpacked."""
        meta = self._file.metadata
        total = 0
        for group in map(meta.row_group, range(meta.num_row_groups)):
            chunks = map(group.column, range(group.num_columns))
            total += sum(c.total_uncompressed_size for c in chunks if c.path_in_schema.split(".")[0] in columns)
        if total > self.limits.unpacked:
            raise table_error(self.path, f"expected at most {self.limits.unpacked:,} bytes unpacked; got {total:,}")


def _unpack_cells(column: Any) -> Any:
    """Return the values of an Arrow array; its scalars where a small file holds one long text for many rows."""
    from pyarrow import compute

    try:
        longest = compute.max(compute.binary_length(column.dictionary)).as_py() or 0
    except (AttributeError, TypeError, NotImplementedError):
        longest = 0
    try:
        if longest * len(column) >= _MAX_BATCH_BYTES:
            return column
        return shorten_floats(
            column.to_pylist(), {"float": "float32", "halffloat": "float16"}.get(str(column.type), "")
        )
    except UnicodeDecodeError:  # The row that has it is named when its scalar is unpacked.
        return column


def _as_python(cell: Any) -> Any:
    return cell.as_py() if hasattr(cell, "as_py") else cell


def _is_plain(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _read_class_names(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Return the names of class labels by column, from the schema metadata that ``datasets`` writes."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        found = {name: one["names"] for name, one in features.items() if one.get("_type") == "ClassLabel"}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}
    return {
        name: names
        for name, names in found.items()
        if isinstance(names, list) and all(isinstance(one, str) for one in names)
    }


def _name_class(value: Any, names: list[str] | None) -> Any:
    """Return a class label by its name; None, which is a missing label, for a number that has none."""
    if names is None or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None


def open_table(
    path: Path, options: TableOptions | None = None, names: Sequence[str] = (), limits: TableLimits = LIMITS
) -> Table:
    """Return the table in a file, by the file's ending and beginning.

    ``names`` are column names to expect: they help to find the delimiter and the header.

    Raises:
        TaskError: if there is no such file, it is empty or unreadable, exceeds a limit, or has another ending.
    """
    options = options or TableOptions()
    if table_ending(path.name) is None and not path.name.lower().endswith(COMPRESSED_ENDINGS):
        problem = (
            f"expected a file that ends in {', '.join(TABLE_ENDINGS)}, as it is or in {', '.join(COMPRESSED_ENDINGS)}; "
            "save the table as one of these"
        )
        raise table_error(path, problem)
    try:
        if path.stat().st_size == 0:
            raise table_error(path, "the file is empty; expected a table with a column of texts and one of labels")
        with open_unpacked(path, limits) as (file, name):
            ending, head = table_ending(name) or table_ending(path.name) or ".csv", file.peek(4)[:4]
        if ending in (".parquet", ".pq") or head == b"PAR1":
            return ParquetTable(path, options, limits)
        if ending in (".jsonl", ".ndjson", ".json"):
            return JsonTable(path, options, limits)
        return DelimitedTable(path, options, limits, names, ending)
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error}); check the path and its permissions"
        raise table_error(path, problem) from error
