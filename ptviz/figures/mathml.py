"""Equations as MathML, in which every explained symbol is marked, so that a reader can point at it.

latex2mathml converts. Its elements are simplified here: a name is one element, so that it is read out as one word.
Source of the elements: MathML Core, https://www.w3.org/TR/mathml-core/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape
from xml.etree.ElementTree import Element, tostring

from latex2mathml.converter import convert_to_element

_CHILDREN = {"msub": 2, "msup": 2, "munder": 2, "mover": 2, "mfrac": 2, "msubsup": 3, "munderover": 3}
_LIMITS = ("max", "min", "sup", "inf", "lim")
_QUAD = "1em"
_DOUBLE_STRUCK = {ord("0") + digit: 0x1D7D8 + digit for digit in range(10)}


def to_mathml(latex: str, meanings: Mapping[str, str]) -> str:
    """Return the equation as HTML, one ``math`` element per line; a quad begins a new line.

    A symbol whose ``key`` is in ``meanings`` can be pointed at and focused.

    Raises:
        ValueError: for LaTeX that cannot be drawn, naming it.
    """
    whole = _converted(latex)
    lines = [Element("math", displaystyle="true")]
    for node in whole if whole.tag == "mrow" else (whole,):
        if node.tag == "mspace" and node.get("width") == _QUAD:
            lines.append(Element("math", displaystyle="true"))
        else:
            lines[-1].append(_marked(node, meanings))
    return "".join(f"<div>{_text(line)}</div>" for line in lines)


def key(latex: str) -> str:
    """Return the key of a symbol: its MathML, which is the same for all ways to write it in LaTeX.

    Raises:
        ValueError: see ``to_mathml``.
    """
    return _text(_converted(latex))


def _converted(latex: str) -> Element:
    if latex.count("{") != latex.count("}"):
        raise ValueError(f"equation {latex!r}: expected a closing brace for every opening one")
    try:
        # Two commands in LaTeX, one in latex2mathml.
        found = convert_to_element(re.sub(r"\\arg\s*\\(max|min)", r"\\arg\1", latex), display="block")
    except Exception as error:  # its errors have no common class and no message
        raise ValueError(
            f"equation {latex!r}: expected LaTeX; it ends where something must follow ({type(error).__name__})"
        ) from error
    for node in found.iter():
        if (node.text or "").startswith("\\"):
            raise ValueError(f"equation {latex!r}: {node.text} is unknown to latex2mathml; use another command")
        if len(node) != _CHILDREN.get(node.tag, len(node)) or (node.tag == "mi" and not node.text):
            raise ValueError(f"equation {latex!r}: expected LaTeX; an index, a power or a fraction lacks a part")
    return _simpler(found[0])


def _simpler(node: Element) -> Element:
    """Return the element without rows of one element, with names in one element and operators as such."""
    node.text = unescape(node.text or "")
    node[:] = [_simpler(child) for child in node]
    if node.tag == "mrow" and len(node) == 1:
        return node[0]
    if node.tag == "mrow" and len(node) and all(child.get("mathvariant") == "normal" for child in node):
        name = Element("mi", mathvariant="normal")
        name.text = "".join(child.text or "" for child in node)
        return name
    if node.tag == "mi" and node.text in (";", ":", "′"):  # noqa: RUF001
        node.tag = "mo"
    elif node.tag == "mo" and node.text[:1].isalpha():
        # TeX's space between the name of a function and its argument.
        node.attrib |= {"lspace": "0", "rspace": "0.17em"}
    elif node.tag == "mn" and node.attrib.pop("mathvariant", "") == "double-struck":
        # Browsers do not apply this variant to digits: there are characters for it.
        node.text = node.text.translate(_DOUBLE_STRUCK)
    elif node.tag == "mover" and node[1].tag == "mo":
        node.set("accent", "true")
    elif node.tag in ("msub", "msup", "msubsup") and node[0].tag == "mo" and (node[0].text or "").endswith(_LIMITS):
        node.tag = node.tag.replace("sub", "under").replace("sup", "over")
    return node


def _marked(node: Element, meanings: Mapping[str, str]) -> Element:
    meaning = meanings.get(_text(node))
    node[:] = [_marked(child, meanings) for child in node]
    if meaning is None:
        return node
    term = Element("mrow", {"class": "term", "tabindex": "0", "data-meaning": meaning})
    term.append(node)
    return term


def _text(node: Element) -> str:
    return tostring(node, encoding="unicode")
