"""A method's anatomy with the live module's numbers: what is frozen, trained, processed and routed, and how large."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal
from unicodedata import lookup

import numpy as np
from jaxtyping import Float

from ptviz.methods import diagram as words
from ptviz.methods.diagram import DiagramNode

if TYPE_CHECKING:
    from ptviz.methods.base import MethodTensor, PromptMethod

ItemKind = Literal["input", "examples", "tensor", "encoder", "router", "product", "scaled", "sum", "mean", "result"]
ItemState = Literal["trained", "frozen", "processed", "input"]
MAX_CELLS = (12, 24)
"""A heat map in a panel has at most so many rows and columns: each cell is then the mean of a stretch."""
SUBSCRIPTS = dict(zip("aehijklmnoprstuvx0123456789", "ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ₀₁₂₃₄₅₆₇₈₉", strict=True))
_LETTERS = "alpha beta gamma delta zeta theta lamda mu phi sigma tau omega"
GREEK = {name.replace("lamda", "lambda"): lookup(f"GREEK SMALL LETTER {name.upper()}") for name in _LETTERS.split()}


@dataclass(frozen=True)
class DiagramItem:
    """One thing in a panel.

    ``axes`` and ``sizes`` describe a tensor; ``stack`` is how many lie on top of one another (experts or tasks);
    ``scalars`` its numbers; ``masked`` the share of each row that is pruned (0 to 1); ``values`` a heat map of a
    real tensor, at most ``MAX_CELLS``, if the module holds one.
    """

    key: str
    kind: ItemKind
    state: ItemState
    label: str = ""
    axes: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    stack: int = 1
    scalars: int = 0
    masks: tuple[str, ...] = ()
    masked_shares: tuple[float, ...] = ()
    values: Float[np.ndarray, "rows columns"] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class DiagramEdge:
    """An arrow: of data ("flow"), to a router that looks ("reads"), or of a start before the last stage ("start")."""

    source: str
    target: str
    kind: Literal["flow", "reads", "start"] = "flow"
    label: str = ""


@dataclass(frozen=True)
class DiagramPanel:
    """One method, ready to draw: its items by key, its edges, and which items enter the backbone.

    ``prompt``, ``tokens`` and ``key_values`` are keys; ``trained`` and ``stored`` count scalars, ``frozen`` those of
    the backbone (0 if unknown), ``slots`` the prompt tokens in the input, ``sites`` the attention sites. ``branch`` is
    the method's place in the survey's tree, ``remark`` what the drawing alone does not say.
    """

    name: str
    title: str
    citation: str
    items: dict[str, DiagramItem]
    edges: tuple[DiagramEdge, ...]
    prompt: str | None = None
    tokens: str | None = None
    key_values: str | None = None
    trainable_parameters: int = 0
    stored_parameters: int = 0
    frozen_parameters: int = 0
    slots: int = 0
    sites: int = 0
    branch: tuple[str, ...] = ()
    note: str = ""

    def incoming_edges(self, key: str, how: str = "") -> list[DiagramEdge]:
        """The edges that end in an item, in the order of the equation."""
        return [edge for edge in self.edges if edge.target == key and how in ("", edge.kind)]


def symbol_to_text(symbol: str) -> str:
    """A paper's symbol as plain text: P_s with a small s, gamma as its letter."""
    head, _, tail = symbol.partition("_")
    head = GREEK.get(head, head)
    if not tail:
        return head
    small = "".join(SUBSCRIPTS.get(letter, "") for letter in tail)
    return head + (small if len(small) == len(tail) else f" {tail}")


def thumbnail(values: Any, most: tuple[int, int] = MAX_CELLS) -> Float[np.ndarray, "rows columns"]:
    """A tensor as a small heat map: leading axes averaged away, long axes averaged in equal stretches."""
    array = np.asarray(values, dtype=np.float64)
    array = array.reshape(-1, array.shape[-1]) if array.ndim > 2 else np.atleast_2d(array)
    for axis, limit in enumerate(most):
        if array.shape[axis] > limit:
            pieces = np.array_split(array, limit, axis=axis)
            array = np.stack([piece.mean(axis=axis) for piece in pieces], axis=axis)
    return array


def backbone_panel(sites: int, length: int, width: int, frozen: int = 0) -> DiagramPanel:
    """The backbone with nothing in front of it: the survey's first panel."""
    text = DiagramItem("X", "input", "input", "X", ("T", "d"), (length, width))
    return DiagramPanel("original", "Original", "the frozen backbone alone", {"X": text}, (), None, "X",
                 frozen_parameters=frozen, sites=sites)  # fmt: skip


class _PanelBuilder:
    """Walks one method's declaration and gathers items and edges; equal nodes are one item."""

    def __init__(self, method: PromptMethod, length: int, width: int, values: bool) -> None:
        self.method, self.with_values = method, values
        self.parts = method.tensors()
        self.input = ("T", "d"), (length, width)
        self.items: dict[str, DiagramItem] = {}
        self.edges: list[DiagramEdge] = []
        self.item_keys: dict[DiagramNode, str] = {}
        self.parameters = dict(method.named_parameters())
        self.trainable_ids = {
            id(tensor)
            for name, tensor in self.parameters.items()
            if any(stage.lr_scale(name) > 0 for stage in method.stages() if stage.tasks != "sources")
        }

    def add_node(self, node: DiagramNode) -> str:
        """The key of a node's item; a node met before is the same thing drawn once."""
        if node not in self.item_keys:
            key = self._add_new_node(node)
            self.item_keys[node] = key
        return self.item_keys[node]

    def _add_new_node(self, node: DiagramNode) -> str:
        match node:
            case words.TextInput():
                axes, sizes = self.input
                return self._add_item(DiagramItem("X", "input", "input", "X", axes, sizes))
            case words.SourceExamples():
                return self._add_item(
                    DiagramItem("sources", "examples", "input", "source rows", stack=self._task_count())
                )
            case words.TensorNode(part, start, how):
                key = self._add_item(self._tensor_item(part))
                if start is not None:
                    self.edges.append(DiagramEdge(self.add_node(start), key, "start", how))
                return key
            case words.MaskedTensor(part, masks):
                masked = _masked_shares([self.parts[mask].tensor for mask in masks])
                return self._add_item(
                    replace(self._tensor_item(part), masks=tuple(map(symbol_to_text, masks)), masked_shares=masked)
                )
            case words.EncoderOutput(of, modules, label):
                return self._add_with_inputs([of], self._module_item("encoder", label, modules))
            case words.RouterOutput(of, modules, how, reads, label):
                key = self._add_with_inputs(of, replace(self._module_item("router", label, modules), axes=(how,)))
                if reads is not None:
                    self.edges.append(DiagramEdge(self.add_node(reads), key, "reads"))
                return key
            case words.MatrixProduct() | words.ElementwiseProduct() | words.Sum():
                return self._add_operator(node)

    def _add_operator(self, node: words.MatrixProduct | words.ElementwiseProduct | words.Sum) -> str:
        match node:
            case words.MatrixProduct(left, right):
                return self._add_with_inputs([left, right], DiagramItem("", "product", "processed", "⊗"))
            case words.ElementwiseProduct(left, right):
                return self._add_with_inputs([left, right], DiagramItem("", "scaled", "processed", "⊙"))
            case words.Sum(terms, mean):
                return self._add_with_inputs(terms, DiagramItem("", "mean" if mean else "sum", "processed", "⊕"))

    def _add_with_inputs(self, children: Iterable[DiagramNode], item: DiagramItem) -> str:
        sources = [self.add_node(child) for child in children]
        key = self._add_item(item)
        self.edges += [DiagramEdge(source, key) for source in sources]
        return key

    def _add_item(self, item: DiagramItem) -> str:
        key = item.key or f"{item.kind}-{len(self.items)}"
        self.items[key] = replace(item, key=key)
        return key

    def _task_count(self) -> int:
        sizes = [size for part in self.parts.values() for axis, size in zip(part.axes, part.tensor.shape, strict=True)
                 if axis == "k"]  # fmt: skip
        return sizes[0] if sizes else 3

    def _tensor_item(self, symbol: str) -> DiagramItem:
        if symbol not in self.parts:
            raise ValueError(f"{self.method.card.title} draws {symbol!r}; its parts are {', '.join(self.parts)}")
        part = self.parts[symbol]
        sizes = tuple(part.tensor.shape)
        stack = sizes[0] if part.axes[:1] == ("k",) and len(sizes) > 1 else 1
        return DiagramItem(f"part-{symbol}",
        "tensor", self._state(part.tensor), symbol_to_text(symbol), part.axes, sizes, stack,
                    part.tensor.numel(), values=self.part_thumbnail(part))  # fmt: skip

    def part_thumbnail(self, part: MethodTensor) -> Float[np.ndarray, "rows columns"] | None:
        """A part as a small heat map; None unless values were asked for and are there."""
        if not self.with_values or part.tensor.is_meta:
            return None
        return thumbnail(part.tensor.detach().float().cpu().numpy())

    def _state(self, tensor: Any) -> ItemState:
        views = {id(parameter): parameter for parameter in self.parameters.values()}
        same = (
            id(tensor) if id(tensor) in views else next((k for k, p in views.items() if _is_view_of(p, tensor)), None)
        )
        if same is not None:
            return "trained" if same in self.trainable_ids else "frozen"
        return "frozen" if any(tensor is held for held in self.method.buffers()) else "processed"

    def _module_item(self, kind: ItemKind, label: str, modules: tuple[str, ...]) -> DiagramItem:
        own = [
            tensor
            for name, tensor in self.parameters.items()
            if any(name == module or name.startswith(module + ".") for module in modules)
        ]
        trained = any(id(tensor) in self.trainable_ids for tensor in own) or not own
        return DiagramItem("", kind, "trained" if trained else "frozen", label, scalars=sum(p.numel() for p in own))


def _is_view_of(parameter: Any, tensor: Any) -> bool:
    """Whether a part is a view of a whole parameter: the same memory, seen in another shape."""
    if parameter.is_meta or tensor.is_meta or parameter.numel() != tensor.numel():
        return False
    return bool(parameter.data_ptr() == tensor.data_ptr())


def _masked_shares(masks: list[Any]) -> tuple[float, ...]:
    """The share of each row that the masks leave out; nothing for shapes without values, or before any pruning."""
    if not masks or any(mask.is_meta for mask in masks):
        return ()
    kept = np.ones((1, 1))
    for mask in masks:
        array = np.asarray(mask.detach().cpu().numpy() > 0, dtype=np.float64)
        kept = kept * array.reshape(len(array), -1)
    shares = tuple(float(1 - row.mean()) for row in kept)
    return shares if any(shares) else ()


def build_panel(
    method: PromptMethod, length: int, width: int, sites: int, frozen: int = 0, values: bool = False
) -> DiagramPanel:
    """A method's panel, with numbers of the live module; ``values`` adds heat maps of its tensors.

    ``length`` is the longest input in tokens, ``width`` d, ``sites`` S, ``frozen`` the backbone's scalars.

    Raises:
        ValueError: if the method's anatomy names a part that it does not have.
    """
    declared = method.diagram()
    reader = _PanelBuilder(method, length, width, values)
    ends = {}
    for place, node in (("key_values", declared.key_values), ("prompt", declared.prompt), ("tokens", declared.tokens)):
        ends[place] = None if node is None else _add_backbone_input(reader, place, node, method, declared.prompt_label)
    return DiagramPanel(
        method.card.name, method.card.title, method.card.citation, reader.items, tuple(reader.edges),
        **ends, trainable_parameters=method.trainable_parameters(), stored_parameters=method.stored_parameters(),
        frozen_parameters=frozen, slots=method.slots, sites=sites,
        branch=method.card.branch, note=declared.note,
    )  # fmt: skip


def _add_backbone_input(reader: _PanelBuilder, place: str, node: DiagramNode, method: PromptMethod, called: str) -> str:
    """The block that enters the backbone: a part as it is, or the hatched result of what is done to it."""
    key = reader.add_node(node)
    if reader.items[key].kind in ("tensor", "input"):
        return key
    axes: tuple[str, ...] = ("m", "d")
    sizes: tuple[int, ...] = (method.slots, reader.input[1][1])
    own = called or ("P̂" if any(i.label == "P" for i in reader.items.values()) else "P")
    if place == "tokens":
        axes, sizes = reader.input
        own = "X̂"
    if place == "key_values":
        own, kv = next(((name, part) for name, part in reader.parts.items() if "S" in part.axes), ("KV", None))
        axes, sizes = (kv.axes, tuple(kv.tensor.shape)) if kv else ((), ())
    # What is made is often a part itself, and then has values to show.
    part = reader.parts.get(own)
    values = reader.part_thumbnail(part) if part is not None and part.axes == axes else None
    label = symbol_to_text(own) if part is not None else own
    end = f"end-{place}"
    reader.items[end] = DiagramItem(
        end, "result", "processed", label, axes, sizes, scalars=math.prod(sizes), values=values
    )
    reader.edges.append(DiagramEdge(key, end))
    return end


def panel_differences(one: DiagramPanel, other: DiagramPanel) -> tuple[frozenset[str], frozenset[str]]:
    """The keys of what each panel has and the other has not: by kind, state, label, axes and masks, not by size."""

    def looks(panel: DiagramPanel) -> dict[str, tuple[object, ...]]:
        return {key: (i.kind, i.state, i.label, i.axes, i.stack > 1, i.masks) for key, i in panel.items.items()}

    left, right = looks(one), looks(other)
    return (
        frozenset(key for key, look in left.items() if look not in right.values()),
        frozenset(key for key, look in right.items() if look not in left.values()),
    )
