"""How a table is read: the choices a user may make, and the limits that keep memory and time bounded."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, get_args

from msgspec import Meta

from ptviz.tasks.custom.choices import MAX_CHOICES
from ptviz.tasks.example import TaskError
from ptviz.tasks.template import Place
from ptviz.validation import InvalidData, Name, convert_json

QUOTINGS = ("standard", "backslash", "none")
"""Doubled quotes within quoted cells; quotes escaped by a backslash; quotes are ordinary characters."""
DELIMITER_NAMES = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
_UNSAFE_ENCODINGS = ("unicode-escape", "raw-unicode-escape", "idna", "punycode", "utf-7", "undefined", "mbcs", "oem")

MAX_TEMPLATE = 2000
"""Characters of a template at most."""
Word = Annotated[str, Meta(max_length=1000)]
"""A class of a table, or the word that stands for it."""
MB = 1_000_000


@dataclass(frozen=True)
class TableOptions:
    """How a table is read, and the task that is made of it. None: the file decides, and a note says how.

    ``delimiter`` is one character; ``quoting`` one of ``QUOTINGS``; ``encoding`` a name that Python knows; ``header``
    whether the first row names the columns (without a header they are called "1", "2", ...). ``skip_bad_rows`` leaves
    out rows that cannot be used, instead of refusing the table.

    ``words`` holds (class, word) pairs: the text that stands for a class instead of its name; ``word_list`` one word
    for every class instead, in the order of the classes. ``target`` is the column of the target texts, in place of a
    column of labels. ``choices`` are the columns of each row's own choices, or the one that holds a list of them; the
    column of labels then names the right one. ``template``, ``cut_first``, ``metric``, ``chat`` and ``place`` are those
    of ``Task``; the last two are for every task, not only for tables.

    Raises:
        TaskError: naming the option, what was expected and what came.
    """

    delimiter: str | None = None
    quoting: str | None = None
    encoding: str | None = None
    header: bool | None = None
    skip_bad_rows: bool = False
    words: Annotated[tuple[tuple[Word, Word], ...], Meta(max_length=1000)] = ()
    word_list: Annotated[tuple[Word, ...], Meta(max_length=1000)] = ()
    target: Name | None = None
    choices: Annotated[tuple[Name, ...], Meta(max_length=MAX_CHOICES)] = ()
    template: Annotated[str, Meta(max_length=MAX_TEMPLATE)] = ""
    cut_first: Name = ""
    metric: Name = ""
    chat: bool = False
    place: Place = "prefix"

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
        if self.place not in get_args(Place):
            raise TaskError(f"place: expected one of {', '.join(get_args(Place))}; got {self.place!r}")
        if self.choices and self.target is not None:
            raise TaskError("choices: a row has choices or a target text; leave out the choices, or the target")
        if len(set(self.choices)) < len(self.choices) or not all(name.strip() for name in self.choices):
            raise TaskError(f"choices: expected different columns; got {', '.join(self.choices)}")
        if len(self.choices) > MAX_CHOICES:
            raise TaskError(f"choices: expected at most {MAX_CHOICES} columns; got {len(self.choices)}")
        self._check_words()
        if len(self.template) > MAX_TEMPLATE:
            raise TaskError(f"template: expected at most {MAX_TEMPLATE:,} characters; got {len(self.template):,}")

    def _check_words(self) -> None:
        names, texts = (
            [name for name, _ in self.words],
            [*self.word_list, *(part for pair in self.words for part in pair)],
        )
        if len(set(names)) < len(names) or not all(text.strip() for text in texts):
            got = dict(self.words) or ", ".join(self.word_list)
            raise TaskError(f"words: expected one word for each class named, none empty; got {got}")
        if len(texts) > 2000 or any(len(text) > 1000 for text in texts):
            raise TaskError("words: expected at most 1,000 words of at most 1,000 characters")
        if texts and (self.target is not None or self.choices):
            other = "choices have" if self.choices else "a column of targets has"
            raise TaskError(
                f"words: {other} no classes; leave out the words, or the {'choices' if self.choices else 'target'}"
            )
        if self.word_list and (self.words or any("=" in word for word in self.word_list)):
            raise TaskError(f"words: expected only pairs, or only words without =; got {', '.join(self.word_list)}")

    def for_every_task(self) -> TableOptions:
        """Return the options that hold for any task: those of no table."""
        return TableOptions(chat=self.chat, place=self.place)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object of the options that differ from the defaults."""
        changed = {name: value for name, value in vars(self).items() if value != getattr(TableOptions, name)}
        changed |= {"words": list(map(list, self.words))} if self.words else {}
        changed |= {"choices": list(self.choices)} if self.choices else {}
        return changed | ({"word_list": list(self.word_list)} if self.word_list else {})

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
        try:
            return convert_json(dict(data), cls)
        except InvalidData as error:
            raise TaskError(f"table: {error}") from error


def parse_words(text: str) -> dict[str, Any]:
    """Return the options of ``LABEL=WORD,LABEL=WORD``, or of one word for every class: ``yes,no,maybe``.

    Quotes enclose a label or word with a comma.

    Raises:
        TaskError: if a part is empty, or only some are ``LABEL=WORD``.
    """
    parts = [part.strip() for part in next(csv.reader([text], skipinitialspace=True), [])]
    if parts and all(parts) and not any("=" in part for part in parts):
        return {"word_list": tuple(parts)}
    pairs = [part.rpartition("=") for part in parts]
    if not parts or not all(label.strip() and word.strip() for label, _, word in pairs):
        raise TaskError(
            "words: expected LABEL=WORD,LABEL=WORD, as in 1=good,-1=bad, or one word for every class; got "
            f"{text[:200]!r}"
        )
    return {"words": tuple((label.strip(), word.strip()) for label, _, word in pairs)}


def format_words(options: TableOptions) -> str:
    """Return the words as ``parse_words`` reads them."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(
        [*options.word_list, *(f"{own}={word}" for own, word in options.words)]
    )
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
    text that are kept (the longest text of a run is 8,192 tokens); ``total_characters`` those of all
    texts; ``detected`` the bytes at the beginning by which an encoding is detected.
    """

    file: int = 4_000 * MB
    unpacked: int = 4_000 * MB
    lines: int = 50_000_000
    row: int = 8 * MB
    cell: int = 4 * MB
    columns: int = 10_000
    nesting: int = 64
    text: int = 100_000
    total_characters: int = 1_000 * MB
    detected: int = 64 * MB


LIMITS = TableLimits()
