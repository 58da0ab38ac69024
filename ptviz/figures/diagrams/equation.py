"""An equation as MathML, with every symbol that is explained marked: what a browser draws and a reader can point at.

Reads the part of LaTeX that the methods' equations use. Source of the elements: MathML Core, https://www.w3.org/TR/mathml-core/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

_TOKEN = re.compile(r"\\arg\\(?:max|min)|\\[A-Za-z]+|\\.|[A-Za-z]|\d+|\s+|.", re.S)
_GREEK = {
    "alpha": "α", "gamma": "γ", "zeta": "ζ", "theta": "θ", "lambda": "λ", "mu": "μ", "tau": "τ", "omega": "ω",  # noqa: RUF001
}  # fmt: skip
_SIGNS = {
    "in": "∈", "times": "×", "odot": "⊙", "circ": "∘", "cdot": "⋅", "partial": "∂", "mid": "∣", "leftarrow": "←",  # noqa: RUF001
    "le": "≤", "mp": "∓", "dots": "…", "top": "⊤", "sum": "∑",  # noqa: RUF001
}  # fmt: skip
_SPACES = {"quad": "1em", ";": "0.28em", ",": "0.17em", " ": "0.25em"}
_OVER = {"hat": "^", "bar": "¯", "overrightarrow": "→", "overleftarrow": "←"}
_DOUBLE = {"R": "\u211d", "E": "\U0001d53c", "1": "\U0001d7d9"}
_NAMES = {"Pr": "Pr", r"arg\max": "arg\u2009max", r"arg\min": "arg\u2009min"}


@dataclass(frozen=True)
class Node:
    """A piece of an equation: its MathML tag, what is below it, and how it was written, without braces and spaces."""

    tag: str
    source: str
    text: str = ""
    children: tuple[Node, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)


def parse(latex: str) -> Node:
    """An equation as a tree.

    Raises:
        ValueError: for LaTeX beyond what the methods' equations use, naming it.
    """
    tokens = _TOKEN.findall(latex)
    return _group(_row(tokens, ""))


def key(latex: str) -> str:
    """A symbol as it is told apart: what is written, whatever the braces and spaces."""
    return parse(latex).source


def to_mathml(latex: str, told: Mapping[str, str]) -> str:
    """The equation as HTML, one ``math`` element for each of its parts: where it has a wide space, a line begins.

    A symbol whose ``key`` is in ``told`` can be pointed at and focused.

    Raises:
        ValueError: see ``parse``.
    """
    whole = parse(latex)
    nodes = whole.children if whole.tag == "mrow" else (whole,)
    lines: list[list[Node]] = [[]]
    for node in nodes:
        if node.tag == "mspace" and node.attributes["width"] == _SPACES["quad"]:
            lines.append([])
        else:
            lines[-1].append(node)
    drawn = ("".join(_drawn(node, told) for node in line) for line in lines)
    return "".join(f'<div><math displaystyle="true">{line}</math></div>' for line in drawn)


def unexplained(latex: str, told: Mapping[str, str]) -> list[str]:
    """The letters and names of an equation that no explanation covers."""
    return _bare(parse(latex), told)


def _bare(node: Node, told: Mapping[str, str]) -> list[str]:
    if node.source in told:
        return []
    if node.tag == "mi":
        return [node.source]
    return [name for child in node.children for name in _bare(child, told)]


def _drawn(node: Node, told: Mapping[str, str]) -> str:
    inside = escape(node.text) or "".join(_drawn(child, told) for child in node.children)
    own = "".join(f' {name}="{escape(value)}"' for name, value in node.attributes.items())
    drawn = f"<{node.tag}{own}>{inside}</{node.tag}>"
    if node.source not in told or node.tag == "mo":
        return drawn
    words = escape(told[node.source])
    return f'<mrow class="term" tabindex="0" data-told="{words}">{drawn}</mrow>'


def _group(nodes: list[Node]) -> Node:
    if len(nodes) == 1:
        return nodes[0]
    return Node("mrow", "".join(node.source for node in nodes), children=tuple(nodes))


def _row(tokens: list[str], end: str) -> list[Node]:
    nodes: list[Node] = []
    while tokens and tokens[0] != end:
        token = tokens.pop(0)
        if token in ("_", "^", "'"):
            raise ValueError(f"equation: {token!r} follows nothing")
        if not token.isspace():
            nodes.append(_scripted(_atom(token, tokens), tokens))
    if end:
        if not tokens:
            raise ValueError(f"equation: expected a closing {end!r}")
        tokens.pop(0)
    return nodes


def _atom(token: str, tokens: list[str]) -> Node:
    if token == "{":
        return _group(_row(tokens, "}"))
    if not token.startswith("\\"):
        tag = "mi" if token.isalpha() else "mn" if token.isdigit() else "mo"
        return Node(tag, token, token, attributes={"stretchy": "false"} if token in "()[]|" else {})
    name = token[1:]
    if name in _SPACES:
        return Node("mspace", "", attributes={"width": _SPACES[name]})
    if name in _GREEK:
        return Node("mi", token, _GREEK[name])
    if name in _NAMES:
        return Node("mi", token, _NAMES[name], attributes={"mathvariant": "normal"})
    if name in _SIGNS:
        # A transpose is explained like a letter.
        return Node("mi" if name == "top" else "mo", token, _SIGNS[name])
    return _command(name, token, tokens)


def _command(name: str, token: str, tokens: list[str]) -> Node:
    if name == "text":
        words = _words(tokens)
        return Node("mtext", token + words, words.replace(" ", "\u00a0"))
    if name in ("mathrm", "mathbb"):
        words = _words(tokens)
        shown = _DOUBLE.get(words, words) if name == "mathbb" else words
        return Node("mi", token + words, shown, attributes={"mathvariant": "normal"})
    if name in _OVER:
        of = _argument(tokens)
        sign = Node("mo", "", _OVER[name], attributes={"stretchy": "true" if "arrow" in name else "false"})
        return Node("mover", token + of.source, children=(of, sign), attributes={"accent": "true"})
    if name == "sqrt":
        of = _argument(tokens)
        return Node("msqrt", token + of.source, children=(of,))
    if name == "frac":
        top, bottom = _argument(tokens), _argument(tokens)
        return Node("mfrac", token + top.source + bottom.source, children=(top, bottom))
    raise ValueError(f"equation: {token} is not among the LaTeX that is drawn here")


def _words(tokens: list[str]) -> str:
    if not tokens or tokens.pop(0) != "{":
        raise ValueError("equation: expected words in braces")
    end = tokens.index("}")
    words = "".join(tokens[:end])
    del tokens[: end + 1]
    return words


def _argument(tokens: list[str]) -> Node:
    while tokens and tokens[0].isspace():
        tokens.pop(0)
    if not tokens:
        raise ValueError("equation: it ends where something must follow")
    return _atom(tokens.pop(0), tokens)


def _scripted(base: Node, tokens: list[str]) -> Node:
    """A thing with what hangs below and above it."""
    below: Node | None = None
    above: list[Node] = []
    while tokens and tokens[0] in ("_", "^", "'"):
        token = tokens.pop(0)
        if token == "'":
            above.append(Node("mo", "'", "′"))  # noqa: RUF001
        elif token == "^":
            above.append(_argument(tokens))
        else:
            below = _argument(tokens)
    if below is None and not above:
        return base
    source = base.source + ("_" + below.source if below else "")
    source += "".join(node.source if node.source == "'" else "^" + node.source for node in above)
    wide = base.text == "∑" or base.source.startswith(r"\arg")
    tags = ("munder", "mover", "munderover") if wide else ("msub", "msup", "msubsup")
    children = [base, *([below] if below else []), *([_group(above)] if above else [])]
    place = 2 if below and above else 0 if below else 1
    return Node(tags[place], source, children=tuple(children))
