"""What is noted about a run: tags, notes, a pin and whose it is, in a file of the run that can be edited by hand."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from ptviz.runs.run_file_io import StoreError, atomic_write
from ptviz.validation import InvalidData, decode_json

ANNOTATIONS_FILE = "annotations.json"
MAX_TAGS, MAX_TAG_LENGTH, MAX_NOTES_LENGTH = 20, 40, 10_000
_MAX_BYTES = 100_000
Tag = Annotated[str, Meta(min_length=1, max_length=MAX_TAG_LENGTH)]
Owner = Annotated[str, Meta(max_length=40, pattern="^[a-z0-9]*$")]
"""The id of a visitor of a classroom (``ptviz.classroom``); "" is the owner of the folder of runs."""


@dataclass(frozen=True)
class Annotations:
    """Tags in the order they were given, notes as plain text, and whether the run is pinned to the top of lists.

    ``owner`` is the visitor of a classroom who started the run, and ``shared`` whether the other visitors see it.
    """

    tags: Annotated[tuple[Tag, ...], Meta(max_length=MAX_TAGS)] = ()
    notes: Annotated[str, Meta(max_length=MAX_NOTES_LENGTH)] = ""
    pinned: bool = False
    owner: Owner = ""
    shared: bool = False


def decode_annotations(data: bytes) -> Annotations:
    """Return the content of an annotations.json.

    Raises:
        InvalidData: if it is damaged, or a value has the wrong type or is out of its bounds.
    """
    if len(data) > _MAX_BYTES:
        raise InvalidData(f"expected at most {_MAX_BYTES:,} bytes; got {len(data):,}")
    return decode_json(data, Annotations)


def read_annotations(folder: Path) -> Annotations:
    """Return the annotations of the run in a folder; empty ones if it has none.

    Raises:
        StoreError: if the file is damaged.
    """
    path = folder / ANNOTATIONS_FILE
    try:
        with path.open("rb") as file:
            return decode_annotations(file.read(_MAX_BYTES + 1))
    except FileNotFoundError:
        return Annotations()
    except (OSError, InvalidData) as error:
        raise StoreError(f"{path}: {error}; fix or delete it, the run stays readable") from None


def write_annotations(folder: Path, annotations: Annotations) -> None:
    """Write the annotations of the run in a folder.

    Raises:
        StoreError: if the folder cannot be written.
    """
    atomic_write(folder / ANNOTATIONS_FILE, json.dumps(asdict(annotations), indent=1, ensure_ascii=False).encode())


def check_tags(tags: list[str]) -> tuple[str, ...]:
    """Return tags without blanks around them and without doubles.

    Raises:
        ValueError: for too many tags, or one that is too long or holds a comma.
    """
    found = tuple(dict.fromkeys(tag for one in tags if (tag := " ".join(one.split()))))
    if len(found) > MAX_TAGS:
        raise ValueError(f"tags: expected at most {MAX_TAGS}; got {len(found)}")
    for tag in found:
        if len(tag) > MAX_TAG_LENGTH or "," in tag:
            raise ValueError(f"tag: expected at most {MAX_TAG_LENGTH} characters and no comma; got {tag[:80]!r}")
    return found


def check_notes(notes: str) -> str:
    """Return notes without blanks around them.

    Raises:
        ValueError: if they are too long.
    """
    if len(notes.strip()) > MAX_NOTES_LENGTH:
        raise ValueError(f"notes: expected at most {MAX_NOTES_LENGTH:,} characters; got {len(notes.strip()):,}")
    return notes.strip()
