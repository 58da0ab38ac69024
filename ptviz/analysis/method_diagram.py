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
from ptviz.methods.diagram import Node

if TYPE_CHECKING:
    from ptviz.methods.base import Part, PromptMethod

Kind = Literal["input", "examples", "tensor", "encoder", "router", "product", "scaled", "sum", "mean", "result"]
State = Literal["trained", "frozen", "processed", "input"]
MOST_CELLS = (12, 24)
"""A heat map in a panel has at most so many rows and columns: each cell is then the mean of a stretch."""
SUBSCRIPTS = dict(zip("aehijklmnoprstuvx0123456789", "ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ₀₁₂₃₄₅₆₇₈₉", strict=True))
_LETTERS = "alpha beta gamma delta zeta theta lamda mu phi sigma tau omega"
GREEK = {name.replace("lamda", "lambda"): lookup(f"GREEK SMALL LETTER {name.upper()}") for name in _LETTERS.split()}


@dataclass(frozen=True)
class Item:
    """One thing in a panel.

    ``axes`` and ``sizes`` describe a tensor; ``stack`` is how many lie on top of one another (experts or tasks);
    ``scalars`` its numbers; ``masked`` the share of each row that is pruned (0 to 1); ``values`` a heat map of a
    real tensor, at most ``MOST_CELLS``, if the module holds one.
    """

    key: str
    kind: Kind
    state: State
    label: str = ""
    axes: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    stack: int = 1
    scalars: int = 0
    masks: tuple[str, ...] = ()
    masked: tuple[float, ...] = ()
    values: Float[np.ndarray, "rows columns"] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Edge:
    """An arrow: of data ("flow"), to a router that looks ("reads"), or of a start before the last stage ("start")."""

    source: str
    target: str
    how: Literal["flow", "reads", "start"] = "flow"
    words: str = ""


@dataclass(frozen=True)
class Panel:
    """One method, ready to draw: its items by key, its edges, and which items enter the backbone.

    ``prompt``, ``tokens`` and ``key_values`` are keys; ``trained`` and ``stored`` count scalars, ``frozen`` those of
    the backbone (0 if unknown), ``slots`` the prompt tokens in the input, ``sites`` the attention sites. ``branch`` is
    the method's place in the survey's tree, ``remark`` what the drawing alone does not say.
    """

    name: str
    title: str
    citation: str
    items: dict[str, Item]
    edges: tuple[Edge, ...]
    prompt: str | None = None
    tokens: str | None = None
    key_values: str | None = None
    trained: int = 0
    stored: int = 0
    frozen: int = 0
    slots: int = 0
    sites: int = 0
    branch: tuple[str, ...] = ()
    remark: str = ""

    def into(self, key: str, how: str = "") -> list[Edge]:
        """The edges that end in an item, in the order of the equation."""
        return [edge for edge in self.edges if edge.target == key and how in ("", edge.how)]


def spoken(symbol: str) -> str:
    """A paper's symbol as plain text: P_s with a small s, gamma as its letter."""
    head, _, tail = symbol.partition("_")
    head = GREEK.get(head, head)
    if not tail:
        return head
    small = "".join(SUBSCRIPTS.get(letter, "") for letter in tail)
    return head + (small if len(small) == len(tail) else f" {tail}")


def shown(values: Any, most: tuple[int, int] = MOST_CELLS) -> Float[np.ndarray, "rows columns"]:
    """A tensor as a small heat map: leading axes averaged away, long axes averaged in equal stretches."""
    array = np.asarray(values, dtype=np.float64)
    array = array.reshape(-1, array.shape[-1]) if array.ndim > 2 else np.atleast_2d(array)
    for axis, limit in enumerate(most):
        if array.shape[axis] > limit:
            pieces = np.array_split(array, limit, axis=axis)
            array = np.stack([piece.mean(axis=axis) for piece in pieces], axis=axis)
    return array


def original(sites: int, length: int, width: int, frozen: int = 0) -> Panel:
    """The backbone with nothing in front of it: the survey's first panel."""
    text = Item("X", "input", "input", "X", ("T", "d"), (length, width))
    return Panel("original", "Original", "the frozen backbone alone", {"X": text}, (), None, "X",
                 frozen=frozen, sites=sites)  # fmt: skip


class _Reader:
    """Walks one method's declaration and gathers items and edges; equal nodes are one item."""

    def __init__(self, method: PromptMethod, length: int, width: int, values: bool) -> None:
        self.method, self.values = method, values
        self.parts = method.parts()
        self.input = ("T", "d"), (length, width)
        self.items: dict[str, Item] = {}
        self.edges: list[Edge] = []
        self.known: dict[Node, str] = {}
        self.parameters = dict(method.named_parameters())
        self.moving = {
            id(tensor)
            for name, tensor in self.parameters.items()
            if any(stage.rate(name) > 0 for stage in method.stages() if stage.tasks != "sources")
        }

    def add(self, node: Node) -> str:
        """The key of a node's item; a node met before is the same thing drawn once."""
        if node not in self.known:
            key = self._new(node)
            self.known[node] = key
        return self.known[node]

    def _new(self, node: Node) -> str:
        match node:
            case words.Input():
                axes, sizes = self.input
                return self._put(Item("X", "input", "input", "X", axes, sizes))
            case words.Examples():
                return self._put(Item("sources", "examples", "input", "source rows", stack=self._tasks()))
            case words.Symbol(part, start, how):
                key = self._put(self._tensor(part))
                if start is not None:
                    self.edges.append(Edge(self.add(start), key, "start", how))
                return key
            case words.Masked(part, masks):
                masked = _masked([self.parts[mask].tensor for mask in masks])
                return self._put(replace(self._tensor(part), masks=tuple(map(spoken, masks)), masked=masked))
            case words.Encoded(of, modules, label):
                return self._with([of], self._module("encoder", label, modules))
            case words.Routed(of, modules, how, reads, label):
                key = self._with(of, replace(self._module("router", label, modules), axes=(how,)))
                if reads is not None:
                    self.edges.append(Edge(self.add(reads), key, "reads"))
                return key
            case words.Product() | words.Scaled() | words.Sum():
                return self._sign(node)

    def _sign(self, node: words.Product | words.Scaled | words.Sum) -> str:
        match node:
            case words.Product(left, right):
                return self._with([left, right], Item("", "product", "processed", "⊗"))
            case words.Scaled(left, right):
                return self._with([left, right], Item("", "scaled", "processed", "⊙"))
            case words.Sum(terms, mean):
                return self._with(terms, Item("", "mean" if mean else "sum", "processed", "⊕"))

    def _with(self, children: Iterable[Node], item: Item) -> str:
        sources = [self.add(child) for child in children]
        key = self._put(item)
        self.edges += [Edge(source, key) for source in sources]
        return key

    def _put(self, item: Item) -> str:
        key = item.key or f"{item.kind}-{len(self.items)}"
        self.items[key] = replace(item, key=key)
        return key

    def _tasks(self) -> int:
        sizes = [size for part in self.parts.values() for axis, size in zip(part.axes, part.tensor.shape, strict=True)
                 if axis == "k"]  # fmt: skip
        return sizes[0] if sizes else 3

    def _tensor(self, symbol: str) -> Item:
        if symbol not in self.parts:
            raise ValueError(f"{self.method.card.title} draws {symbol!r}; its parts are {', '.join(self.parts)}")
        part = self.parts[symbol]
        sizes = tuple(part.tensor.shape)
        stack = sizes[0] if part.axes[:1] == ("k",) and len(sizes) > 1 else 1
        return Item(f"part-{symbol}", "tensor", self._state(part.tensor), spoken(symbol), part.axes, sizes, stack,
                    part.tensor.numel(), values=self.shown(part))  # fmt: skip

    def shown(self, part: Part) -> Float[np.ndarray, "rows columns"] | None:
        """A part as a small heat map; None unless values were asked for and are there."""
        if not self.values or part.tensor.is_meta:
            return None
        return shown(part.tensor.detach().float().cpu().numpy())

    def _state(self, tensor: Any) -> State:
        views = {id(parameter): parameter for parameter in self.parameters.values()}
        same = id(tensor) if id(tensor) in views else next((k for k, p in views.items() if _shares(p, tensor)), None)
        if same is not None:
            return "trained" if same in self.moving else "frozen"
        return "frozen" if any(tensor is held for held in self.method.buffers()) else "processed"

    def _module(self, kind: Kind, label: str, modules: tuple[str, ...]) -> Item:
        own = [
            tensor
            for name, tensor in self.parameters.items()
            if any(name == module or name.startswith(module + ".") for module in modules)
        ]
        trained = any(id(tensor) in self.moving for tensor in own) or not own
        return Item("", kind, "trained" if trained else "frozen", label, scalars=sum(p.numel() for p in own))


def _shares(parameter: Any, tensor: Any) -> bool:
    """Whether a part is a view of a whole parameter: the same memory, seen in another shape."""
    if parameter.is_meta or tensor.is_meta or parameter.numel() != tensor.numel():
        return False
    return bool(parameter.data_ptr() == tensor.data_ptr())


def _masked(masks: list[Any]) -> tuple[float, ...]:
    """The share of each row that the masks leave out; nothing for shapes without values, or before any pruning."""
    if not masks or any(mask.is_meta for mask in masks):
        return ()
    kept = np.ones((1, 1))
    for mask in masks:
        array = np.asarray(mask.detach().cpu().numpy() > 0, dtype=np.float64)
        kept = kept * array.reshape(len(array), -1)
    shares = tuple(float(1 - row.mean()) for row in kept)
    return shares if any(shares) else ()


def anatomy_of(
    method: PromptMethod, length: int, width: int, sites: int, frozen: int = 0, values: bool = False
) -> Panel:
    """A method's panel, with numbers of the live module; ``values`` adds heat maps of its tensors.

    ``length`` is the longest input in tokens, ``width`` d, ``sites`` S, ``frozen`` the backbone's scalars.

    Raises:
        ValueError: if the method's anatomy names a part that it does not have.
    """
    declared = method.anatomy()
    reader = _Reader(method, length, width, values)
    ends = {}
    for place, node in (("key_values", declared.key_values), ("prompt", declared.prompt), ("tokens", declared.tokens)):
        ends[place] = None if node is None else _end(reader, place, node, method, declared.called)
    return Panel(
        method.card.name, method.card.title, method.card.citation, reader.items, tuple(reader.edges),
        **ends, trained=method.trained(), stored=method.stored(), frozen=frozen, slots=method.slots, sites=sites,
        branch=method.card.branch, remark=declared.remark,
    )  # fmt: skip


def _end(reader: _Reader, place: str, node: Node, method: PromptMethod, called: str) -> str:
    """The block that enters the backbone: a part as it is, or the hatched result of what is done to it."""
    key = reader.add(node)
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
    values = reader.shown(part) if part is not None and part.axes == axes else None
    label = spoken(own) if part is not None else own
    end = f"end-{place}"
    reader.items[end] = Item(end, "result", "processed", label, axes, sizes, scalars=math.prod(sizes), values=values)
    reader.edges.append(Edge(key, end))
    return end


def differences(one: Panel, other: Panel) -> tuple[frozenset[str], frozenset[str]]:
    """The keys of what each panel has and the other has not: by kind, state, label, axes and masks, not by size."""

    def looks(panel: Panel) -> dict[str, tuple[object, ...]]:
        return {key: (i.kind, i.state, i.label, i.axes, i.stack > 1, i.masks) for key, i in panel.items.items()}

    left, right = looks(one), looks(other)
    return (
        frozenset(key for key, look in left.items() if look not in right.values()),
        frozenset(key for key, look in right.items() if look not in left.values()),
    )
