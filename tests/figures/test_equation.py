"""Equations as MathML: every symbol explained, every word escaped, and what cannot be drawn refused by name."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from ptviz.figures.mathml import key, to_mathml
from ptviz.methods import REGISTRY
from ptviz.methods.equation_symbols import COMMON_SYMBOLS


def meanings(name: str) -> dict[str, str]:
    return {key(term.latex): term.meaning for term in (*COMMON_SYMBOLS, *REGISTRY[name].card.symbols)}


def drawn(latex: str, words: dict[str, str] | None = None) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{to_mathml(latex, words or {})}</div>")


def unexplained(node: ElementTree.Element) -> list[str]:
    """The letters and names that no explanation covers."""
    if node.get("class") == "term":
        return []
    own = [node.text] if node.tag in ("mi", "mo", "mn") and any(sign.isalpha() for sign in node.text or "") else []
    return own + [name for child in node for name in unexplained(child)]


@pytest.mark.parametrize("name", list(REGISTRY))
def test_every_symbol_of_every_equation_is_explained(name: str):
    card = REGISTRY[name].card
    assert unexplained(drawn(card.equation, meanings(name))) == []
    shown = {
        node.get("data-meaning") for node in drawn(card.equation, meanings(name)).iter() if node.get("tabindex") == "0"
    }
    assert {term.meaning for term in card.symbols} <= shown, "no explanation of what is not there"
    assert {term.tensor for term in card.symbols if term.tensor} <= parts_of(name)


def parts_of(name: str) -> set[str]:
    from ptviz.methods import build_method
    from ptviz.prompt import Spec

    return set(build_method(name, Spec.from_sizes(32, 4, 2, 8, 24, ("one", "two", "three"))).tensors())


def test_a_symbol_is_found_whatever_its_braces():
    assert key("W_{up}") == key("{W}_{ u p }") != key("W_u")
    assert key(r"\hat{P}_j") == key(r"\hat P_{j}")


def test_a_larger_symbol_comes_before_the_letters_in_it():
    words = {key("P"): "prompt", key("P_s"): "source", key("s"): "task"}
    terms = [node.get("data-meaning") for node in drawn("P + P_s^s", words).iter("mrow") if node.get("data-meaning")]
    assert terms == ["prompt", "prompt", "task", "task"]
    assert next(node.get("data-meaning") for node in drawn("P_s", words).iter("mrow")) == "source"


def test_fractions_roots_sums_and_wide_spaces():
    root = drawn(r"a = \frac{1}{\sqrt{d}}, \quad b = \sum_i x_i^2")
    assert len(root.findall("div")) == 2
    assert [len(root.findall(f".//{tag}")) for tag in ("mfrac", "msqrt", "munder", "msubsup")] == [1, 1, 1, 1]


def test_words_are_escaped():
    text = to_mathml("P < Q", {key("P"): '<b onclick="x">&'})
    assert "<b" not in text
    assert re.search(r'data-meaning="&lt;b onclick=&quot;x&quot;&gt;&amp;"', text)
    assert "&lt;</mo>" in text


def test_greek_letters_and_names_are_drawn_as_they_are_read():
    assert [node.text for node in drawn(r"\beta + \Sigma").iter("mi")] == ["β", "Σ"]
    assert [node.text for node in drawn(r"\mathrm{diag}(x)").iter("mi")] == ["diag", "x"], "a name is one word"
    outlined = [node.text for node in drawn(r"\mathbb{1}[\mathbb{R}]").iter() if node.tag in ("mi", "mn")]
    assert outlined == ["\U0001d7d9", "\u211d"]
    best = drawn(r"\arg\max_j p; \arg\min l")
    assert [node.text for node in best.iter("mo")] == ["arg\u2009max", ";", "arg\u2009min"]
    assert len(best.findall(".//munder")) == 1


@pytest.mark.parametrize(
    ("latex", "words"),
    [
        (r"\begin{x}", "begin"),
        (r"a + \unheard{P}", r"\\unheard is unknown"),
        ("{a", "closing"),
        ("_a", "lacks a part"),
        (r"\frac{1}", "lacks a part"),
        (r"\hat", "it ends where"),
        ("", "it ends where"),
        ("a^b^c", "DoubleSuperscripts"),
    ],
)
def test_what_cannot_be_drawn_is_refused(latex: str, words: str):
    with pytest.raises(ValueError, match=words):
        to_mathml(latex, {})
