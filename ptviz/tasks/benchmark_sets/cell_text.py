"""From a cell of a benchmark set to the text that a model reads, or to the texts that it is to write."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Form = Callable[[Any], Any]
"""Turns a cell into a text or a list of texts; raises ``TypeError`` or ``ValueError`` for a cell of another kind."""


def join_triples(triples: Any) -> str:
    """Return ``[[subject, relation, object], ...]`` as ``subject : relation : object | ...``.

    Source: Li and Liang, "Prefix-Tuning", https://arxiv.org/abs/2101.00190
    """
    return " | ".join(" : ".join(_texts(triple)) for triple in triples)


def join_written_triples(sets: Any) -> str:
    """Return the first of some lists of ``subject | relation | object`` as ``join_triples`` writes them."""
    return join_triples([re.split(r"\s*\|\s*", triple) for triple in _texts(sets[0] if sets else [])])


def join_names(names: Any) -> str:
    """Return a list of names with commas between them."""
    return ", ".join(_texts(names))


def drop_markup(text: Any) -> str:
    """Return a text without ``<b>`` and ``<br>``."""
    return re.sub(r"</?b>", "", re.sub(r"<br\s*/?>", " ", _text(text)))


def end_highlights(text: Any) -> str:
    """Return a passage whose ``@highlight`` lines are sentences of it."""
    joined = re.sub(r"([.?!\"'])\n@highlight\n", r"\1 ", _text(text))
    return joined.replace("\n@highlight\n", ". ")


def round_similarity(number: Any) -> str:
    """Return a similarity of 0 to 5, rounded to the nearest fifth, as text: 2.55 as "2.6".

    Source: Raffel et al., section 2.4, https://arxiv.org/abs/1910.10683

    Raises:
        ValueError: for another number; -1 stands for one that is withheld.
    """
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise TypeError
    if not 0 <= number <= 5:
        raise ValueError(f"a number from 0 to 5; got {number:g}")
    return f"{round(number * 5) / 5:.1f}"


def final_number(text: Any) -> str:
    """Return what stands after the last ``####`` of a worked answer, without commas."""
    _, marker, answer = _text(text).rpartition("####")
    if not marker or not answer.strip():
        raise ValueError(f"a text that ends with #### and the answer; got {text[-40:]!r}")
    return str(answer.strip().replace(",", ""))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _texts(values: Any) -> list[str]:
    if not isinstance(values, list | tuple):
        raise TypeError
    return [_text(value) for value in values]
