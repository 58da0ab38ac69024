"""The diagram of a method with the shapes and states of its live module: frozen, trained, processed, routed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from html import unescape
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

from ptviz.methods import diagram as words
from ptviz.methods.diagram import DiagramNode

if TYPE_CHECKING:
    from ptviz.methods.base import MethodTensor, PromptMethod

ItemKind = Literal["input", "examples", "tensor", "encoder", "router", "product", "scaled", "sum", "mean", "result"]
ItemState = Literal["trained", "frozen", "processed", "input"]
MAX_CELLS = (12, 24)
"""The largest number of rows and columns of a heat map in a panel; cells of a larger tensor are averaged."""
SUBSCRIPTS = dict(zip("aehijklmnoprstuvx0123456789", "ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ₀₁₂₃₄₅₆₇₈₉", strict=True))
_GREEK_NAMES = "alpha beta gamma delta zeta theta lambda mu phi sigma tau omega"
GREEK = {name: unescape(f"&{name};") for name in _GREEK_NAMES.split()}


@dataclass(frozen=True)
class DiagramItem:
    """One element of a panel.

    ``axes`` and ``sizes`` are those of a tensor; ``stack`` is how many tensors are drawn as a stack (experts or tasks);
    ``scalars`` counts values; ``masked_shares`` is the share of each row that is pruned (0 to 1); ``values`` is a heat
    map of the tensor, at most ``MAX_CELLS``, if the module has values.
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
    """An arrow: data ("flow"), the input that a router reads ("reads"), or an initialization ("start")."""

    source: str
    target: str
    kind: Literal["flow", "reads", "start"] = "flow"
    label: str = ""


@dataclass(frozen=True)
class DiagramPanel:
    """One method, ready to draw: its items by key, its edges, and which items enter the backbone.

    ``prompt``, ``tokens`` and ``key_values`` are keys of the items that enter the backbone. ``frozen_parameters`` are
    the backbone's (0 if unknown), ``slots`` are the prompt tokens in the input, ``sites`` the attention sites.
    ``branch`` is the method's path in the survey's taxonomy, ``note`` is what the drawing cannot show.
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
        """Return the edges that end in an item, in the order of the equation; all kinds if ``how`` is empty."""
        return [edge for edge in self.edges if edge.target == key and how in ("", edge.kind)]


def symbol_to_text(symbol: str) -> str:
    """Return a symbol as plain text: P_s with a subscript s, gamma as a Greek character."""
    head, _, tail = symbol.partition("_")
    head = GREEK.get(head, head)
    if not tail:
        return head
    small = "".join(SUBSCRIPTS.get(character, "") for character in tail)
    return head + (small if len(small) == len(tail) else f" {tail}")


def thumbnail(values: Any, most: tuple[int, int] = MAX_CELLS) -> Float[np.ndarray, "rows columns"]:
    """Return a tensor as a small heat map: leading axes flattened into rows, long axes averaged in equal segments."""
    array = np.asarray(values, dtype=np.float64)
    array = array.reshape(-1, array.shape[-1]) if array.ndim > 2 else np.atleast_2d(array)
    for axis, limit in enumerate(most):
        if array.shape[axis] > limit:
            pieces = np.array_split(array, limit, axis=axis)
            array = np.stack([piece.mean(axis=axis) for piece in pieces], axis=axis)
    return array


def backbone_panel(sites: int, length: int, width: int, frozen: int = 0) -> DiagramPanel:
    """Return the panel of the backbone without a prompt, the first of the survey's figure 2."""
    text = DiagramItem(key="X", kind="input", state="input", label="X", axes=("T", "d"), sizes=(length, width))
    return DiagramPanel(
        name="original",
        title="Original",
        citation="the frozen backbone alone",
        items={"X": text},
        edges=(),
        tokens="X",
        frozen_parameters=frozen,
        sites=sites,
    )


class _PanelBuilder:
    """Converts one method's declared diagram to items and edges; equal nodes become one item."""

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
        """Return the key of a node's item, which is added for the first of equal nodes."""
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
        tensors = (part for part in self.parts.values() if "k" in part.axes)
        return next((part.tensor.shape[part.axes.index("k")] for part in tensors), 3)

    def _tensor_item(self, symbol: str) -> DiagramItem:
        if symbol not in self.parts:
            raise ValueError(f"{self.method.card.title} draws {symbol!r}; its tensors are {', '.join(self.parts)}")
        part = self.parts[symbol]
        sizes = tuple(part.tensor.shape)
        stack = sizes[0] if part.axes[:1] == ("k",) and len(sizes) > 1 else 1
        return DiagramItem(
            key=f"part-{symbol}",
            kind="tensor",
            state=self._state(part.tensor),
            label=symbol_to_text(symbol),
            axes=part.axes,
            sizes=sizes,
            stack=stack,
            scalars=part.tensor.numel(),
            values=self.tensor_thumbnail(part),
        )

    def tensor_thumbnail(self, part: MethodTensor) -> Float[np.ndarray, "rows columns"] | None:
        """Return a tensor as a small heat map; None without values, or if the panel is built without them."""
        if not self.with_values or part.tensor.is_meta:
            return None
        return thumbnail(part.tensor.detach().float().cpu().numpy())

    def _state(self, tensor: Any) -> ItemState:
        views = {id(parameter): parameter for parameter in self.parameters.values()}
        same = id(tensor) if id(tensor) in views else None
        same = same or next((key for key, p in views.items() if _is_view_of(p, tensor)), None)
        if same is not None:
            return "trained" if same in self.trainable_ids else "frozen"
        return "frozen" if any(tensor is buffer for buffer in self.method.buffers()) else "processed"

    def _module_item(self, kind: ItemKind, label: str, modules: tuple[str, ...]) -> DiagramItem:
        own = [
            tensor
            for name, tensor in self.parameters.items()
            if any(name == module or name.startswith(module + ".") for module in modules)
        ]
        trained = any(id(tensor) in self.trainable_ids for tensor in own) or not own
        return DiagramItem("", kind, "trained" if trained else "frozen", label, scalars=sum(p.numel() for p in own))


def _is_view_of(parameter: Any, tensor: Any) -> bool:
    """Return whether a tensor is a view of all of a parameter: the same memory in another shape."""
    if parameter.is_meta or tensor.is_meta or parameter.numel() != tensor.numel():
        return False
    return bool(parameter.data_ptr() == tensor.data_ptr())


def _masked_shares(masks: list[Any]) -> tuple[float, ...]:
    """Return the share of each row that the masks prune; empty for tensors without values, or before any pruning."""
    if not masks or any(mask.is_meta for mask in masks):
        return ()
    visible = np.ones((1, 1))
    for mask in masks:
        array = np.asarray(mask.detach().cpu().numpy() > 0, dtype=np.float64)
        visible = visible * array.reshape(len(array), -1)
    shares = tuple(float(1 - row.mean()) for row in visible)
    return shares if any(shares) else ()


def build_panel(
    method: PromptMethod, length: int, width: int, sites: int, frozen: int = 0, values: bool = False
) -> DiagramPanel:
    """Build a method's panel from its declared diagram and live module; ``values`` adds heat maps of its tensors.

    ``length`` is the longest input in tokens, ``width`` is d, ``sites`` is S, ``frozen`` counts the backbone's
    parameters.

    Raises:
        ValueError: if the method's diagram names a tensor that the method does not have.
    """
    declared = method.diagram()
    builder = _PanelBuilder(method, length, width, values)
    inputs = {}
    for end, node in (("key_values", declared.key_values), ("prompt", declared.prompt), ("tokens", declared.tokens)):
        inputs[end] = None if node is None else _add_backbone_input(builder, end, node, method, declared.prompt_label)
    return DiagramPanel(
        name=method.card.name,
        title=method.card.title,
        citation=method.card.citation,
        items=builder.items,
        edges=tuple(builder.edges),
        **inputs,
        trainable_parameters=method.trainable_parameters(),
        stored_parameters=method.stored_parameters(),
        frozen_parameters=frozen,
        slots=method.slots,
        sites=sites,
        branch=method.card.branch,
        note=declared.note,
    )


def _add_backbone_input(builder: _PanelBuilder, end: str, node: DiagramNode, method: PromptMethod, label: str) -> str:
    """Return the key of the item that enters the backbone: a tensor as it is, or the result of an operation."""
    key = builder.add_node(node)
    if builder.items[key].kind in ("tensor", "input"):
        return key
    axes: tuple[str, ...] = ("m", "d")
    sizes: tuple[int, ...] = (method.slots, builder.input[1][1])
    symbol = label or ("P̂" if any(i.label == "P" for i in builder.items.values()) else "P")
    if end == "tokens":
        axes, sizes = builder.input
        symbol = "X̂"
    if end == "key_values":
        symbol, kv = next(((name, part) for name, part in builder.parts.items() if "S" in part.axes), ("KV", None))
        axes, sizes = (kv.axes, tuple(kv.tensor.shape)) if kv else ((), ())
    # The result is often one of the method's tensors, which has values to show.
    part = builder.parts.get(symbol)
    item = DiagramItem(
        key=f"end-{end}",
        kind="result",
        state="processed",
        label=symbol_to_text(symbol) if part is not None else symbol,
        axes=axes,
        sizes=sizes,
        scalars=math.prod(sizes),
        values=builder.tensor_thumbnail(part) if part is not None and part.axes == axes else None,
    )
    builder.items[item.key] = item
    builder.edges.append(DiagramEdge(key, item.key))
    return item.key


def panel_differences(one: DiagramPanel, other: DiagramPanel) -> tuple[frozenset[str], frozenset[str]]:
    """Return the keys of the items that only one panel has: by role, kind, state, label, axes and masks, not by size.

    What enters the backbone has the same role in both, whether it is trained itself or computed, and whatever the
    papers call it; a pruned prompt keeps its masks as a difference.
    """

    def features(panel: DiagramPanel) -> dict[str, tuple[object, ...]]:
        roles = {panel.prompt: "prompt", panel.key_values: "keys and values"}
        return {
            key: (roles[key], i.axes, i.masks)
            if key in roles
            else (i.kind, i.state, i.label, i.axes, i.stack > 1, i.masks)
            for key, i in panel.items.items()
        }

    left, right = features(one), features(other)
    return (
        frozenset(key for key, feature in left.items() if feature not in right.values()),
        frozenset(key for key, feature in right.items() if feature not in left.values()),
    )
