"""Which encoding a text file is in."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import BinaryIO

from ptviz.tasks.example import TaskError

_PIECE_BYTES = 1 << 16
_SAMPLE_BYTES = 20_000
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
_USUAL_SYMBOLS = frozenset(
    "\u2018\u2019\u201a\u201c\u201d\u201e\u2013\u2014\u2026\u00ab\u00bb\u2039\u203a\u2022\u00b0"
    "\u00a3\u20ac\u00a9\u00ae\u2122\u00a7\u00bf\u00a1\u00b4\u00b7\u00a2\u00a5\u00b1\u00d7\u00aa\u00ba\u00a0\u00ad"
)
"""Characters that are no letters but usual in Western texts."""
_WITHIN_WORDS = frozenset("\u2019\u00ad")
"""Those that are usual between two letters: an apostrophe and a soft hyphen."""
_WESTERN_LETTERS = frozenset("äöüßéèêëàâçñáíóúãõìòùåøæîïôûœÿýÄÖÜÉÈÊËÀÂÇÑÁÍÓÚÃÕÌÒÙÅØÆÎÏÔÛŒŸÝ")
_CENTRAL_LETTERS = frozenset("ąćęłńóśźżáčďéěíňřšťúůýžäöüßőűôľĺŕăâîşţđëĄĆĘŁŃÓŚŹŻÁČĎÉĚÍŇŘŠŤÚŮÝŽÄÖÜŐŰÔĽĹŔĂÂÎŞŢĐË")
_LATIN_ENCODINGS = {
    "cp1252": _WESTERN_LETTERS, "cp1250": _CENTRAL_LETTERS, "latin-1": _WESTERN_LETTERS, "mac_roman": _WESTERN_LETTERS,
}  # fmt: skip
"""Single-byte encodings of Latin letters with the letters of their languages; the more usual ones first."""
_OTHER_SCRIPTS = ["cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp932", "gb18030", "big5", "cp949", "euc_jp"]


def detect_encoding(file: BinaryIO, limit: int) -> str:
    """Return the name of a file's encoding: by its byte order mark, UTF-8 if most lines are, or else a guess.

    The first ``limit`` bytes are examined.
    Source of the guess for other scripts: the package charset-normalizer.

    Raises:
        TaskError: if the file is no text.
    """
    head = file.read(4)
    for mark, name in _BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return name
    head += file.read(4096)
    if b"\0" in head:
        return _detect_utf16(head)
    valid = invalid = 0
    sample = bytearray()
    for piece in _non_ascii_pieces(head, file, limit):
        try:
            codecs.getincrementaldecoder("utf-8")().decode(piece)
            valid += 1
        except UnicodeDecodeError:
            invalid += 1
            sample += piece[:2000] if len(sample) < _SAMPLE_BYTES else b""
    # A UTF-8 file with a few bad bytes stays UTF-8: read as anything else, all its other letters would be wrong.
    return "utf-8" if valid >= invalid else _guess_encoding(bytes(sample))


def _detect_utf16(head: bytes) -> str:
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) > 4 * min(even, odd) and max(even, odd) > len(head) // 8:
        return "utf-16-le" if odd > even else "utf-16-be"
    raise TaskError("expected text; this is a binary file: save the table as CSV, JSONL or Parquet")


def _non_ascii_pieces(head: bytes, file: BinaryIO, limit: int) -> Iterator[bytes]:
    """Yield the lines with bytes above 127; a long line comes in pieces, which begin at a character in UTF-8."""
    piece, count, cut = head, 0, False
    # The head ends within a line: complete it.
    piece += file.readline(_PIECE_BYTES) if head else b""
    lines = piece.splitlines(keepends=True)
    while lines and count < limit:
        for line in lines:
            count += len(line)
            start = line.lstrip(bytes(range(0x80, 0xC0))) if cut else line
            cut = not line.endswith((b"\n", b"\r"))
            if not start.isascii():
                yield start
        piece = file.readline(_PIECE_BYTES)
        lines = [piece] if piece else []


def _guess_encoding(sample: bytes) -> str:
    """Return a guess for lines that are not UTF-8."""
    high = sum(byte > 127 for byte in sample)
    letters = sum(chr(byte).isalpha() for byte in sample if byte < 128)
    if high * 2 > letters:
        from charset_normalizer import from_bytes

        best = from_bytes(sample, cp_isolation=_OTHER_SCRIPTS).best()
        if best is not None:
            return best.encoding.replace("_", "-") if best.encoding.startswith(("koi8", "euc")) else best.encoding
    # Latin letters with a few accents: too little for statistics, but a wrong code page shows in the words' shape.
    return min(_LATIN_ENCODINGS, key=lambda name: _odd_characters(sample, name))


def _odd_characters(sample: bytes, encoding: str) -> int:
    """Return how many characters show that the encoding is wrong.

    They are letters of other languages, capitals after a small letter, and symbols that are unusual or between letters.
    """
    text, letters = sample.decode(encoding, errors="replace"), _LATIN_ENCODINGS[encoding]
    odd = 0
    for before, char, after in zip(" " + text, text, text[1:] + " ", strict=False):
        if char.isalpha():
            odd += char > "\x7f" and (char not in letters or (char.isupper() and before.islower()))
        elif char > "\x7f":
            between = before.isalpha() and after.isalpha() and char not in _WITHIN_WORDS
            odd += between or char not in _USUAL_SYMBOLS
    return odd
