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
class TextInput:
    """The embeddings of the text's own tokens."""


@dataclass(frozen=True)
class SourceExamples:
    """Training rows of the source tasks: what a first stage learns from."""


@dataclass(frozen=True)
class TensorNode:
    """One of the method's parts, under the paper's symbol.

    ``start`` is what the part is set to or learned from before its last stage, and ``how`` says it in a few words.
    """

    tensor: str
    initial_node: DiagramNode | None = None
    init_label: str = ""


@dataclass(frozen=True)
class MaskedTensor:
    """A part, some of which is masked out by other parts of the method."""

    tensor: str
    masks: tuple[str, ...]


@dataclass(frozen=True)
class EncoderOutput:
    """What an encoder makes of ``of``; ``modules`` are the method's own submodules or parameters."""

    source: DiagramNode
    modules: tuple[str, ...]
    label: str = "encoder"


@dataclass(frozen=True)
class RouterOutput:
    """One, some, or a mix of all of several: ``of`` are stacks or single prompts; the router sees ``reads``."""

    sources: tuple[DiagramNode, ...]
    modules: tuple[str, ...]
    selection: Literal["one", "some", "mix"] = "one"
    router_input: DiagramNode | None = TextInput()
    label: str = "router"


@dataclass(frozen=True)
class MatrixProduct:
    """The matrix product of two parts."""

    left: DiagramNode
    right: DiagramNode


@dataclass(frozen=True)
class ElementwiseProduct:
    """The elementwise product of two things of one shape."""

    left: DiagramNode
    right: DiagramNode


@dataclass(frozen=True)
class Sum:
    """The sum of two or more, or their ``mean``."""

    terms: tuple[DiagramNode, ...]
    mean: bool = False


DiagramNode: TypeAlias = (
    TextInput
    | SourceExamples
    | TensorNode
    | MaskedTensor
    | EncoderOutput
    | RouterOutput
    | MatrixProduct
    | ElementwiseProduct
    | Sum
)


@dataclass(frozen=True)
class MethodDiagram:
    """What reaches the frozen backbone: a prompt in its slots, the text's tokens, keys and values at every site.

    ``called`` is what the paper calls the prompt that all of it makes: one of the method's parts, or plain text.
    ``remark`` says in a few words what the drawing alone does not.
    """

    prompt: DiagramNode | None = None
    tokens: DiagramNode = TextInput()
    key_values: DiagramNode | None = None
    prompt_label: str = ""
    note: str = ""


AxesBySymbol = Mapping[str, tuple[str, ...]]


def derive_diagram(axes: AxesBySymbol, modules: Mapping[str, str], slots: int) -> MethodDiagram:
    """The anatomy that the axes of a method's own tensors tell by themselves.

    ``axes`` holds the parts that are parameters or buffers, ``modules`` their attribute names. A part with sites is
    keys and values; ``(m, r)`` and ``(r, d)`` multiply to a prompt, ``(T, r)`` and ``(r, d)`` to a shift of the text's
    tokens; a leading ``k`` with a router ``(k, d)`` means that one is picked; several prompts are added. Whatever
    does not fit is left out: such a method writes its own ``anatomy``.
    """
    key_values = next((TensorNode(name) for name, own in axes.items() if "S" in own), None)
    wide = next((name for name, own in axes.items() if own == ("r", "d")), None)
    router = next((name for name, own in axes.items() if own == ("k", "d")), None)
    prompts: list[DiagramNode] = []
    tokens: DiagramNode = TextInput()
    for name, own in axes.items():
        factor = own[-1:] == ("r",) and wide is not None
        if own[:1] == ("k",) and own[1:2] == ("m",) and router is not None:
            picked: DiagramNode = RouterOutput((TensorNode(name),), (modules.get(router, router),))
        elif own[:1] == ("m",) and (own[-1:] == ("d",) or factor):
            picked = TensorNode(name)
        elif own == ("T", "r") and wide is not None:
            tokens = Sum((TextInput(), MatrixProduct(TensorNode(name), TensorNode(wide))))
            continue
        else:
            continue
        prompts.append(MatrixProduct(picked, TensorNode(wide)) if factor and wide is not None else picked)
    prompt = None if not slots or not prompts else prompts[0] if len(prompts) == 1 else Sum(tuple(prompts))
    return MethodDiagram(prompt, tokens, key_values)
