"""What is read from files, checked: bounded types, and the functions that turn JSON into them.

A dataclass whose fields have these types describes a file. ``decode_json`` and ``convert_json`` return it or raise
``InvalidData``; behind them no value needs another check.
"""

from __future__ import annotations

import json
import math
import re
from functools import cache
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from ptviz.safe_text import safe_text

T = TypeVar("T")

Share = Annotated[float, Meta(ge=0, le=1)]
"""A share or an accuracy, from 0 to 1."""
Score = Annotated[float, Meta(ge=-1, le=1)]
"""A value of a task's metric: an accuracy from 0 to 1, or a correlation from -1 to 1."""
StepCount = Annotated[int, Meta(ge=0, le=10**7)]
"""Updates of a run; ten times as many as a run may be configured for."""
StageIndex = Annotated[int, Meta(ge=0, le=9999)]
Count = Annotated[int, Meta(ge=0, le=10**15)]
"""Examples, parameters, bytes, processes."""
Duration = Annotated[float, Meta(ge=0, le=1e10)]
"""Seconds."""
Timestamp = Annotated[float, Meta(ge=0, le=4_102_444_800)]
"""Seconds since 1970, up to the year 2100; 0 if unknown."""
Magnitude = Annotated[float, Meta(ge=-1e30, le=1e30)]
"""Any finite number that can be squared without overflow in float64."""
Name = Annotated[str, Meta(max_length=300)]
"""An id, a name or a title."""
PathText = Annotated[str, Meta(max_length=4096)]
"""A path, or a name that may be one."""
Sentence = Annotated[str, Meta(max_length=10_000)]
"""A reason or a description."""
Scalar = Annotated[int, Meta(ge=-(10**18), le=10**18)] | Magnitude | Sentence | bool | None
"""A plain value that is only shown."""

_MAX_DEPTH = 32
_TYPE_NAME = re.compile(r"(?<=[`| ])(int|float|str|bool|array|object|null)(?=[`| ])")
_TYPE_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
}
_TYPE_WORDS |= {"object": "an object", "null": "null"}
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?\$(?P<place>.*)`)?$", re.DOTALL)


class InvalidData(ValueError):
    """What a file holds is not what it should hold; the message says where, what was expected and what came."""


def decode_json(data: bytes, kind: type[T], *, non_finite: bool = False) -> T:
    """Return JSON text as a value of ``kind``. Fields that a dataclass does not have are ignored.

    ``non_finite`` accepts NaN and Infinity, which Python writes though JSON has no such numbers; both become NaN.

    Raises:
        InvalidData: for damaged, deeply nested or wrongly typed JSON, for numbers, texts and lists out of bounds, and
            for text with half a surrogate pair.
    """
    try:
        found: T = _decoder(kind).decode(data)  # type: ignore[arg-type]
        return found
    except msgspec.ValidationError as error:
        raise InvalidData(_describe(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if non_finite and (b"NaN" in data or b"Infinity" in data):
            return _convert(_decode_non_finite(data), kind)
        raise InvalidData(f"damaged or cut short ({safe_text(error, 200)})") from None
    except RecursionError:
        raise InvalidData("damaged: nested too deeply") from None


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def convert_json(data: object, kind: type[T]) -> T:
    """Return plain data, as JSON gives it, as a value of ``kind``; see ``decode_json``.

    Raises:
        InvalidData: if a value has the wrong type or is out of its bounds.
    """
    try:
        # Checked here, because msgspec looks for half a surrogate pair only in JSON text.
        json.dumps(data, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidData(f"expected plain data as in JSON ({safe_text(error, 200)})") from None
    return _convert(data, kind)


def check_depth(data: object) -> None:
    """Check that lists and objects are nested at most 32 levels deep.

    Raises:
        InvalidData: if they are not.
    """
    level = [data]
    for _ in range(_MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    if level:
        raise InvalidData(f"nested deeper than {_MAX_DEPTH} levels")


def _convert(data: object, kind: type[T]) -> T:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise InvalidData(_describe(error)) from None
    except RecursionError:
        raise InvalidData("nested too deeply") from None


def _decode_non_finite(data: bytes) -> Any:
    try:
        found = json.loads(data, parse_constant=lambda _: math.nan)
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidData(f"damaged or cut short ({safe_text(error, 200)})") from None
    return found


def _describe(error: msgspec.ValidationError) -> str:
    """Return msgspec's message in the order of our messages: where, what was expected, what came."""
    found = _PLACE.match(str(error))
    assert found is not None
    what = _TYPE_NAME.sub(lambda match: _TYPE_WORDS.get(match[1], match[1]), found["what"])
    what = what.replace("`", "").replace("Expected", "expected").replace(", got ", "; got ").replace(" | ", " or ")
    place = (found["place"] or "").lstrip(".")
    return safe_text(f"{place}: {what}" if place else what, 400)
