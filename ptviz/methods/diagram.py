"""The diagram of a method: an expression over its tensors that reads like its equation.

A method declares what enters the frozen backbone and where; shapes, counts and trained states are read from the live
module. The terms are those of the survey's figure 2 (Li, Su and Collier, "A Survey on Prompt Tuning", 2025,
https://arxiv.org/abs/2507.06085): soft prompt, encoder, router, product, sum, keys and values.
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
    """Training examples of the source tasks, which a first stage learns from."""


@dataclass(frozen=True)
class TensorNode:
    """One of the method's tensors, under the paper's symbol.

    ``initial_node`` is what the tensor is initialised from before its last stage, and ``init_label`` says how.
    """

    tensor: str
    initial_node: DiagramNode | None = None
    init_label: str = ""


@dataclass(frozen=True)
class MaskedTensor:
    """A tensor that other tensors of the method mask in part."""

    tensor: str
    masks: tuple[str, ...]


@dataclass(frozen=True)
class EncoderOutput:
    """The output of an encoder for ``source``; ``modules`` are the method's own submodules or parameters."""

    source: DiagramNode
    modules: tuple[str, ...]
    label: str = "encoder"


@dataclass(frozen=True)
class RouterOutput:
    """One, some, or a mixture of all ``sources``, which are stacks or single prompts, selected by ``router_input``."""

    sources: tuple[DiagramNode, ...]
    modules: tuple[str, ...]
    selection: Literal["one", "some", "mix"] = "one"
    router_input: DiagramNode | None = TextInput()
    label: str = "router"


@dataclass(frozen=True)
class MatrixProduct:
    """The matrix product of two nodes."""

    left: DiagramNode
    right: DiagramNode


@dataclass(frozen=True)
class ElementwiseProduct:
    """The elementwise product of two nodes of one shape."""

    left: DiagramNode
    right: DiagramNode


@dataclass(frozen=True)
class Sum:
    """The sum of two or more nodes, or their ``mean``."""

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
    """What enters the frozen backbone: a prompt in its slots, the text's tokens, keys and values at every site.

    ``prompt_label`` is the paper's name of the resulting prompt: one of the method's tensors, or plain text. ``note``
    says what the drawing cannot show.
    """

    prompt: DiagramNode | None = None
    tokens: DiagramNode = TextInput()
    key_values: DiagramNode | None = None
    prompt_label: str = ""
    note: str = ""


AxesBySymbol = Mapping[str, tuple[str, ...]]


def derive_diagram(axes: AxesBySymbol, modules: Mapping[str, str], slots: int) -> MethodDiagram:
    """Derive the diagram from the axes of a method's own tensors.

    ``axes`` holds the tensors that are parameters or buffers, ``modules`` their attribute names. A tensor with sites is
    keys and values; ``(m, r)`` and ``(r, d)`` multiply to a prompt, ``(T, r)`` and ``(r, d)`` to a shift of the text's
    tokens; a leading ``k`` with a router ``(k, d)`` means that one is selected; several prompts are added. Other
    tensors are left out: such a method defines its own ``diagram``.
    """
    key_values = next((TensorNode(name) for name, own in axes.items() if "S" in own), None)
    wide = next((name for name, own in axes.items() if own == ("r", "d")), None)
    router = next((name for name, own in axes.items() if own == ("k", "d")), None)
    prompts: list[DiagramNode] = []
    tokens: DiagramNode = TextInput()
    for name, own in axes.items():
        factor = own[-1:] == ("r",) and wide is not None
        if own[:1] == ("k",) and own[1:2] == ("m",) and router is not None:
            selected: DiagramNode = RouterOutput((TensorNode(name),), (modules.get(router, router),))
        elif own[:1] == ("m",) and (own[-1:] == ("d",) or factor):
            selected = TensorNode(name)
        elif own == ("T", "r") and wide is not None:
            tokens = Sum((TextInput(), MatrixProduct(TensorNode(name), TensorNode(wide))))
            continue
        else:
            continue
        prompts.append(MatrixProduct(selected, TensorNode(wide)) if factor and wide is not None else selected)
    prompt = None if not slots or not prompts else prompts[0] if len(prompts) == 1 else Sum(tuple(prompts))
    return MethodDiagram(prompt, tokens, key_values)
