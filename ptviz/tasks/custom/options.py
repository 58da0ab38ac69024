"""How a table is read: the choices a user may make, and the limits that keep memory and time bounded."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ptviz.tasks.example import TaskError

QUOTINGS = ("standard", "backslash", "none")
"""Doubled quotes within quoted cells; quotes escaped by a backslash; quotes are ordinary characters."""
DELIMITER_NAMES = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
_UNSAFE_ENCODINGS = ("unicode-escape", "raw-unicode-escape", "idna", "punycode", "utf-7", "undefined", "mbcs", "oem")

MB = 1_000_000


@dataclass(frozen=True)
class TableOptions:
    """How a table is read, and the words of its classes. None: the file decides, and a note says how.

    ``delimiter`` is one character; ``quoting`` one of ``QUOTINGS``; ``encoding`` a name that Python knows; ``header``
    whether the first row names the columns (without a header they are called "1", "2", ...). ``skip_bad_rows`` leaves
    out rows that cannot be used, instead of refusing the table. ``words`` holds (class, word) pairs: the text that
    stands for a class instead of its name.

    Raises:
        TaskError: naming the option, what was expected and what came.
    """

    delimiter: str | None = None
    quoting: str | None = None
    encoding: str | None = None
    header: bool | None = None
    skip_bad_rows: bool = False
    words: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.delimiter is not None:
            delimiter = DELIMITER_NAMES.get(self.delimiter, self.delimiter.replace("\\t", "\t"))
            object.__setattr__(self, "delimiter", delimiter)
            if len(delimiter) != 1 or delimiter in '"\r\n\\' or not (delimiter == "\t" or delimiter.isprintable()):
                known = ", ".join(DELIMITER_NAMES)
                raise TaskError(f"delimiter: expected one character, or one of {known}; got {self.delimiter!r}")
        if self.quoting not in (None, *QUOTINGS):
            raise TaskError(f"quoting: expected one of {', '.join(QUOTINGS)}; got {self.quoting!r}")
        if self.encoding is not None and not _is_text_encoding(self.encoding):
            raise TaskError(f"encoding: expected a name such as utf-8, cp1252 or utf-16; got {self.encoding[:40]!r}")
        names = [name for name, _ in self.words]
        if len(set(names)) < len(names) or not all(name.strip() and word.strip() for name, word in self.words):
            raise TaskError(f"words: expected one word for each class named, none empty; got {dict(self.words)}")
        if len(names) > 1000 or any(len(text) > 1000 for pair in self.words for text in pair):
            raise TaskError("words: expected at most 1,000 words of at most 1,000 characters")

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object of the options that differ from the defaults."""
        usual = asdict(TableOptions())
        return {
            name: list(map(list, value)) if name == "words" else value
            for name, value in vars(self).items()
            if value != usual[name]
        }

    @classmethod
    def from_json(cls, data: Any) -> TableOptions:
        """Return the options of a JSON object.

        Raises:
            TaskError: for an unknown option, or a value of the wrong type.
        """
        if not isinstance(data, Mapping):
            raise TaskError(f"table: expected an object of options; got {type(data).__name__}")
        known = [field.name for field in fields(cls)]
        if unknown := sorted(map(str, set(data) - set(known))):
            raise TaskError(f"table: unknown option {', '.join(unknown)}; expected {', '.join(known)}")
        kinds = {"header": bool, "skip_bad_rows": bool, "words": list}
        for name, value in data.items():
            kind = kinds.get(name, str)
            if not isinstance(value, kind) and not (value is None and name not in ("skip_bad_rows", "words")):
                raise TaskError(f"table: {name}: expected {kind.__name__}; got {type(value).__name__}")
        words = data.get("words", [])
        if not all(isinstance(pair, list) and list(map(type, pair)) == [str, str] for pair in words):
            raise TaskError("table: words: expected pairs of a class and a word, as texts")
        return cls(**{**data, "words": tuple((name, word) for name, word in words)})


def parse_words(text: str) -> tuple[tuple[str, str], ...]:
    """Return the (class, word) pairs of ``LABEL=WORD,LABEL=WORD``; quotes enclose a label or word with a comma.

    Raises:
        TaskError: if a part is not ``LABEL=WORD``.
    """
    parts = [part.rpartition("=") for part in next(csv.reader([text], skipinitialspace=True), [])]
    if not parts or not all(label.strip() and word.strip() for label, _, word in parts):
        raise TaskError(f"words: expected LABEL=WORD,LABEL=WORD, as in 1=good,-1=bad; got {text[:200]!r}")
    return tuple((label.strip(), word.strip()) for label, _, word in parts)


def format_words(words: Iterable[tuple[str, str]]) -> str:
    """Return (class, word) pairs as ``parse_words`` reads them."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([f"{label}={word}" for label, word in words])
    return line.getvalue()


def _is_text_encoding(name: str) -> bool:
    try:
        known = codecs.lookup(name).name
        "".encode(name)  # Raises LookupError for codecs such as hex, which do not encode text.
    except (LookupError, ValueError, UnicodeError):
        return False
    return known not in _UNSAFE_ENCODINGS


@dataclass(frozen=True)
class TableLimits:
    """Limits of a table; what exceeds one is refused with row and column.

    ``file`` and ``unpacked`` in bytes; ``lines`` of a text file; ``row`` and ``cell`` in characters (a row may hold
    several lines); ``columns`` a count; ``nesting`` the depth of JSON objects and lists; ``text`` the characters of a
    text that are kept (the longest text of a run is 8,192 tokens); ``kept`` the characters of all texts that are kept.
    """

    file: int = 4_000 * MB
    unpacked: int = 4_000 * MB
    lines: int = 50_000_000
    row: int = 8 * MB
    cell: int = 4 * MB
    columns: int = 10_000
    nesting: int = 64
    text: int = 100_000
    kept: int = 1_000 * MB


LIMITS = TableLimits()
