"""How a method is drawn: an expression over its own parts, read like its equation.

A method says what enters the frozen backbone and where; shapes, counts and what is trained are read from the live
module, never declared. The words are those of the survey's figure 2 (Li, Su and Collier, "A Survey on Prompt Tuning",
2025, https://arxiv.org/abs/2507.06085): soft prompt, encoder, router, product, sum, keys and values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Input:
    """The embeddings of the text's own tokens."""


@dataclass(frozen=True)
class Examples:
    """Training rows of the source tasks: what a first stage learns from."""


@dataclass(frozen=True)
class Symbol:
    """One of the method's parts, under the paper's symbol.

    ``start`` is what the part is set to or learned from before its last stage, and ``how`` says it in a few words.
    """

    part: str
    start: Node | None = None
    how: str = ""


@dataclass(frozen=True)
class Masked:
    """A part, some of which is masked out by other parts of the method."""

    part: str
    masks: tuple[str, ...]


@dataclass(frozen=True)
class Encoded:
    """What an encoder makes of ``of``; ``modules`` are the method's own submodules or parameters."""

    of: Node
    modules: tuple[str, ...]
    label: str = "encoder"


@dataclass(frozen=True)
class Routed:
    """One, some, or a mix of all of several: ``of`` are stacks or single prompts; the router sees ``reads``."""

    of: tuple[Node, ...]
    modules: tuple[str, ...]
    how: Literal["one", "some", "mix"] = "one"
    reads: Node | None = Input()
    label: str = "router"


@dataclass(frozen=True)
class Product:
    """The matrix product of two parts."""

    left: Node
    right: Node


@dataclass(frozen=True)
class Scaled:
    """The elementwise product of two things of one shape."""

    left: Node
    right: Node


@dataclass(frozen=True)
class Sum:
    """The sum of two or more, or their ``mean``."""

    terms: tuple[Node, ...]
    mean: bool = False


Node: TypeAlias = Input | Examples | Symbol | Masked | Encoded | Routed | Product | Scaled | Sum


@dataclass(frozen=True)
class Anatomy:
    """What reaches the frozen backbone: a prompt in its slots, the text's tokens, keys and values at every site.

    ``called`` is what the paper calls the prompt that all of it makes: one of the method's parts, or plain text.
    ``remark`` says in a few words what the drawing alone does not.
    """

    prompt: Node | None = None
    tokens: Node = Input()
    key_values: Node | None = None
    called: str = ""
    remark: str = ""


Axes = Mapping[str, tuple[str, ...]]


def derived(axes: Axes, modules: Mapping[str, str], slots: int) -> Anatomy:
    """The anatomy that the axes of a method's own tensors tell by themselves.

    ``axes`` holds the parts that are parameters or buffers, ``modules`` their attribute names. A part with sites is
    keys and values; ``(m, r)`` and ``(r, d)`` multiply to a prompt, ``(T, r)`` and ``(r, d)`` to a shift of the text's
    tokens; a leading ``k`` with a router ``(k, d)`` means that one is picked; several prompts are added. Whatever
    does not fit is left out: such a method writes its own ``anatomy``.
    """
    key_values = next((Symbol(name) for name, own in axes.items() if "S" in own), None)
    wide = next((name for name, own in axes.items() if own == ("r", "d")), None)
    router = next((name for name, own in axes.items() if own == ("k", "d")), None)
    prompts: list[Node] = []
    tokens: Node = Input()
    for name, own in axes.items():
        factor = own[-1:] == ("r",) and wide is not None
        if own[:1] == ("k",) and own[1:2] == ("m",) and router is not None:
            picked: Node = Routed((Symbol(name),), (modules.get(router, router),))
        elif own[:1] == ("m",) and (own[-1:] == ("d",) or factor):
            picked = Symbol(name)
        elif own == ("T", "r") and wide is not None:
            tokens = Sum((Input(), Product(Symbol(name), Symbol(wide))))
            continue
        else:
            continue
        prompts.append(Product(picked, Symbol(wide)) if factor and wide is not None else picked)
    prompt = None if not slots or not prompts else prompts[0] if len(prompts) == 1 else Sum(tuple(prompts))
    return Anatomy(prompt, tokens, key_values)
