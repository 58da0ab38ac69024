"""Citations as BibTeX: those of methods by the address on their card, and of the statistics that a report uses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import ptviz
from ptviz.methods import list_methods

SURVEY = "https://arxiv.org/abs/2507.06085"
CALIBRATION = "https://arxiv.org/abs/1706.04599"
MCNEMAR = "https://doi.org/10.1007/BF02295996"
HOLM = "https://www.jstor.org/stable/4615733"
TRANSFERABILITY = "https://aclanthology.org/2022.naacl-main.290"
_FILE = Path(__file__).with_name("references.bib")
_ADDRESS = re.compile(r"url = \{(.*?)\}")


@lru_cache(maxsize=1)
def _entries() -> dict[str, str]:
    """Return the entries of the file by their address."""
    entries = [f"@{entry.strip()}" for entry in _FILE.read_text(encoding="utf-8").split("\n@")]
    entries[0] = entries[0].removeprefix("@")
    return {address[1]: entry for entry in entries if (address := _ADDRESS.search(entry))}


def cite(methods: Iterable[str], addresses: Iterable[str] = ()) -> str:
    """Return BibTeX for methods, then for works by their address, for the survey and for ptviz; each work once.

    A method of a plug-in, which the file does not know, is cited as its card says.
    """
    known, cards = _entries(), list_methods()
    found: dict[str, str] = {}
    for name in methods:
        if name in cards:
            card = cards[name].card
            found.setdefault(card.url, known.get(card.url) or _cite_card(name, card.title, card.citation, card.url))
    for address in (*addresses, SURVEY):
        found.setdefault(address, known[address])
    return "\n\n".join([*found.values(), _cite_ptviz()])


def _cite_card(name: str, title: str, citation: str, url: str) -> str:
    key, title, note = (re.sub(r"[{}\\\s]+", " ", text).strip() for text in (name, title, citation))
    return f"@misc{{{key},\n  title = {{{title}}},\n  note = {{{note}}},\n  url = {{{url}}}\n}}"


def _cite_ptviz() -> str:
    return (
        "@software{ptviz,\n  title = {ptviz: prompt tuning, trained live on a frozen language model},\n"
        f"  author = {{{{The ptviz authors}}}},\n  version = {{{ptviz.__version__}}}\n}}"
    )
