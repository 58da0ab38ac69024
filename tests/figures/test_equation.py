"""Equations as MathML: every symbol explained, every word escaped, and what cannot be drawn refused by name."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from ptviz.figures.diagrams.equation import key, parse, to_mathml, unexplained
from ptviz.methods import REGISTRY
from ptviz.methods.glossary import COMMON


def told(name: str) -> dict[str, str]:
    return {key(term.latex): term.words for term in (*COMMON, *REGISTRY[name].card.terms)}


def drawn(latex: str, words: dict[str, str] | None = None) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{to_mathml(latex, words or {})}</div>")


@pytest.mark.parametrize("name", list(REGISTRY))
def test_every_symbol_of_every_equation_is_explained(name: str):
    card = REGISTRY[name].card
    assert unexplained(card.equation, told(name)) == []
    shown = {node.get("data-told") for node in drawn(card.equation, told(name)).iter() if node.get("tabindex") == "0"}
    assert {term.words for term in card.terms} <= shown, "no explanation of what is not there"
    assert {term.part for term in card.terms if term.part} <= parts_of(name)


def parts_of(name: str) -> set[str]:
    from ptviz.methods import build
    from ptviz.prompt import Spec

    return set(build(name, Spec.of_shape(32, 4, 2, 8, 24, ("one", "two", "three"))).parts())


def test_a_symbol_is_found_whatever_its_braces():
    assert key("W_{up}") == key("{W}_{ u p }") != key("W_u")
    assert key(r"\hat{P}_j") == key(r"\hat P_{j}")


def test_a_larger_symbol_comes_before_the_letters_in_it():
    words = {key("P"): "prompt", key("P_s"): "source", key("s"): "task"}
    terms = [node.get("data-told") for node in drawn("P + P_s^s", words).iter("mrow") if node.get("data-told")]
    assert terms == ["prompt", "prompt", "task", "task"]
    assert next(node.get("data-told") for node in drawn("P_s", words).iter("mrow")) == "source"


def test_fractions_roots_sums_and_wide_spaces():
    root = drawn(r"a = \frac{1}{\sqrt{d}}, \quad b = \sum_i x_i^2")
    assert len(root.findall("div")) == 2
    assert [len(root.findall(f".//{tag}")) for tag in ("mfrac", "msqrt", "munder", "msubsup")] == [1, 1, 1, 1]


def test_words_are_escaped():
    text = to_mathml("P < Q", {"P": '<b onclick="x">&'})
    assert "<b" not in text
    assert re.search(r'data-told="&lt;b onclick=&quot;x&quot;&gt;&amp;"', text)
    assert "&lt;</mo>" in text


@pytest.mark.parametrize(
    ("latex", "words"),
    [
        (r"\begin{x}", "begin"),
        ("{a", "closing"),
        ("_a", "follows nothing"),
        (r"\hat", "ends where"),
        (r"\text a", "braces"),
    ],
)
def test_what_cannot_be_drawn_is_refused(latex: str, words: str):
    with pytest.raises(ValueError, match=words):
        parse(latex)
