"""Panels are read from the live module: frozen, trained, processed and routed items, and their sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ptviz.analysis.method_diagram import backbone_panel, build_panel, panel_differences, symbol_to_text, thumbnail
from ptviz.analysis.taxonomy import build_taxonomy
from ptviz.methods import REGISTRY, build_method
from ptviz.methods.diagram import MatrixProduct, MethodDiagram, RouterOutput, Sum, TensorNode, TextInput, derive_diagram
from ptviz.prompt import Batch, Spec

SPEC = Spec.from_sizes(32, 4, 2, 8, 24, ("one", "two", "three"))
METHODS = pytest.mark.parametrize("name", list(REGISTRY))


def panel(name: str, **values: object):
    return build_panel(build_method(name, SPEC, values), 24, 32, 4, 1000)


@METHODS
def test_what_is_drawn_exists_and_counts_match_the_module(name: str):
    method = build_method(name, SPEC)
    drawn = build_panel(method, 24, 32, 4, 1000)
    assert drawn.trainable_parameters == method.trainable_parameters()
    assert drawn.stored_parameters == method.stored_parameters()
    assert drawn.slots == method.slots
    assert (drawn.prompt is not None) == (method.slots > 0)
    assert drawn.prompt is not None or drawn.key_values is not None
    assert drawn.tokens in drawn.items
    for edge in drawn.edges:
        assert {edge.source, edge.target} <= set(drawn.items)
    counted = sum(i.scalars for i in drawn.items.values() if i.state == "trained")
    assert counted <= sum(p.numel() for p in method.parameters())
    assert any(i.state == "trained" for i in drawn.items.values())


@METHODS
def test_a_trained_tensor_is_a_parameter_that_a_stage_trains(name: str):
    method = build_method(name, SPEC)
    moving = {
        id(p)
        for n, p in method.named_parameters()
        for s in method.stages()
        if s.tasks != "sources" and s.lr_scale(n) > 0
    }
    parts = {symbol_to_text(symbol): part.tensor for symbol, part in method.tensors().items()}
    for item in build_panel(method, 24, 32, 4).items.values():
        if item.kind == "tensor":
            assert (item.state == "trained") == (id(parts[item.label]) in moving), item.label
            assert item.sizes == tuple(parts[item.label].shape)


def test_axes_determine_prompt_product_shift_router_and_prefix():
    assert derive_diagram({"P": ("m", "d")}, {}, 5) == MethodDiagram(TensorNode("P"))
    assert derive_diagram({"A": ("m", "r"), "B": ("r", "d")}, {}, 5) == MethodDiagram(
        MatrixProduct(TensorNode("A"), TensorNode("B"))
    )
    dept = derive_diagram({"P": ("m", "d"), "A": ("T", "r"), "B": ("r", "d")}, {}, 5)
    assert dept == MethodDiagram(TensorNode("P"), Sum((TextInput(), MatrixProduct(TensorNode("A"), TensorNode("B")))))
    routed = derive_diagram({"P": ("k", "m", "d"), "L": ("k", "d")}, {"L": "L.weight"}, 5)
    assert routed == MethodDiagram(RouterOutput((TensorNode("P"),), ("L.weight",)))
    assert derive_diagram({"KV": ("S", "kv", "H", "m", "h")}, {}, 0) == MethodDiagram(key_values=TensorNode("KV"))
    assert derive_diagram({}, {}, 5) == MethodDiagram()
    assert derive_diagram({"z": ("q",)}, {}, 5) == MethodDiagram()


@pytest.mark.parametrize(
    ("name", "signs", "machines"),
    [
        ("prompt-tuning", [], []),
        ("p-tuning-v2", [], []),
        ("dept", ["product", "sum"], []),
        ("smop", [], ["router"]),
        ("residual", ["sum"], ["encoder"]),
        ("prefix-tuning", [], ["encoder"]),
        ("dpt", ["product"], []),
        ("pt-moe", ["product"], ["router"]),
        ("attempt", ["sum"], ["router"]),
        ("mpt", ["product", "scaled"], []),
    ],
)
def test_the_panels_have_the_symbols_of_the_survey(name: str, signs: list[str], machines: list[str]):
    if name not in REGISTRY:
        pytest.skip(f"{name} is not registered in this build; it is drawn once it is")
    kinds = [item.kind for item in panel(name).items.values()]
    assert sorted(k for k in kinds if k in ("product", "scaled", "sum", "mean")) == signs
    assert [k for k in kinds if k in ("encoder", "router")] == machines


def test_prefix_tuning_s_encoder_does_not_see_the_text():
    drawn = panel("prefix-tuning")
    (encoder,) = [key for key, item in drawn.items.items() if item.kind == "encoder"]
    assert drawn.tokens not in {edge.source for edge in drawn.incoming_edges(encoder)}


def test_routers_read_the_text():
    drawn = panel("smop")
    (router,) = [key for key, item in drawn.items.items() if item.kind == "router"]
    assert [edge.source for edge in drawn.incoming_edges(router, "reads")] == [drawn.tokens]
    assert drawn.items[router].scalars == 4 * 32


def test_a_learning_rate_of_zero_draws_a_tensor_as_frozen():
    drawn = panel("dept", ratio=0.0)
    states = {item.label: item.state for item in drawn.items.values() if item.kind == "tensor"}
    assert states == {symbol_to_text("P_s"): "trained", "A": "frozen", "B": "frozen"}


def test_an_unknown_tensor_is_refused_with_the_known_ones():
    method = build_method("prompt-tuning", SPEC)
    method.diagram = lambda: MethodDiagram(TensorNode("Q"))  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"draws 'Q'; its tensors are P"):
        build_panel(method, 24, 32, 4)


def test_masks_give_the_pruned_share_of_each_row():
    method = build_method("xprompt", SPEC, {"m": 4, "pieces": 2})
    real = {name: torch.ones(t.shape) for name, t in method.state_dict().items()}
    real["gamma"] = torch.tensor([1.0, 0.0, 1.0, 1.0])
    real["zeta"] = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    method.load_state_dict(real, assign=True)
    (item,) = [i for i in build_panel(method, 24, 32, 4, values=True).items.values() if i.masks]
    assert item.masked_shares == (0.0, 1.0, 0.5, 0.0)
    assert panel("xprompt").items["part-P"].masked_shares == ()


def test_values_are_optional_and_only_from_real_tensors():
    table = torch.randn(50, 32)
    spec = Spec(table, 4, 2, 8, 24, torch.arange(50), ("yes", "no"))
    method = build_method("prompt-tuning", spec, {"m": 3})
    item = build_panel(method, 24, 32, 4, values=True).items["part-P"]
    assert item.values is not None
    assert item.values.shape == (3, 24)
    assert build_panel(method, 24, 32, 4).items["part-P"].values is None
    assert build_panel(build_method("prompt-tuning", SPEC), 24, 32, 4, values=True).items["part-P"].values is None


@pytest.mark.parametrize(("name", "called"), [("p-tuning", "h"), ("residual", "P'"), ("dpt", "P"), ("mpt", "P"),
                                              ("ctpt", "P")])  # fmt: skip
def test_the_result_has_the_paper_s_name_and_the_values_that_enter_the_backbone(name: str, called: str):
    spec = Spec(torch.randn(50, 32), 4, 2, 8, 24, torch.arange(50), ("yes", "no"), source_tasks=("one", "two"))
    method = build_method(name, spec).eval()
    item = build_panel(method, 24, 32, 4, values=True).items["end-prompt"]
    assert item.label == called
    words = torch.ones(1, 24, dtype=torch.long)
    batch = Batch(words, words > 0, words > 1, words > 0, words[:, 0], words[:, 0], torch.zeros(1, 24, 32))
    made = method(batch).embeddings[0]
    assert np.allclose(item.values, thumbnail(made.detach().numpy()))
    assert build_panel(method, 24, 32, 4).items["end-prompt"].values is None


def test_keys_and_values_from_a_network_are_shown():
    spec = Spec(torch.randn(50, 32), 4, 2, 8, 24, torch.arange(50), ("yes", "no"))
    method = build_method("prefix-tuning", spec)
    item = build_panel(method, 24, 32, 4, values=True).items["end-key_values"]
    assert item.label == "KV"
    assert np.allclose(item.values, thumbnail(method.prefix().detach().numpy()))


def test_a_prompt_that_depends_on_the_text_has_no_single_value():
    spec = Spec(torch.randn(50, 32), 4, 2, 8, 24, torch.arange(50), ("yes", "no"), source_tasks=("one",))
    for name in ("smop", "pt-moe", "attempt"):
        item = build_panel(build_method(name, spec), 24, 32, 4, values=True).items["end-prompt"]
        assert item.label == "P(x)"
        assert item.values is None


@pytest.mark.parametrize("name", ["p-tuning", "transprompt"])
def test_shapes_on_meta_are_those_of_the_real_prompt(name: str):
    """The shape on the meta device is that of the LSTM's output."""
    real = build_method(
        name, Spec(torch.randn(50, 32), 4, 2, 8, 24, torch.arange(50), ("yes", "no"), source_tasks=("one",))
    )
    meta = build_method(name, Spec.from_sizes(32, 4, 2, 8, 24, ("one",)))
    assert {key: part.tensor.shape for key, part in real.tensors().items()} == {
        key: part.tensor.shape for key, part in meta.tensors().items()
    }


def test_heat_maps_average_long_axes_and_keep_short_ones():
    assert np.array_equal(thumbnail([[1.0, 3.0]], (1, 1)), [[2.0]])
    assert np.array_equal(thumbnail([1.0, 2.0]), [[1.0, 2.0]])
    assert thumbnail(np.ones((2, 3, 4, 500))).shape == (12, 24)


def test_differences_ignore_sizes():
    assert panel_differences(panel("prompt-tuning"), panel("prompt-tuning", m=7)) == (frozenset(), frozenset())
    left, right = panel_differences(panel("prompt-tuning"), panel("p-tuning-v2"))
    assert left == {"part-P"}
    assert right == {"part-KV"}


def test_the_original_has_nothing_to_train():
    drawn = backbone_panel(4, 24, 32, 1000)
    assert drawn.trainable_parameters == 0
    assert drawn.prompt is drawn.key_values is None


def test_symbols_are_written_as_in_the_paper():
    assert symbol_to_text("P_s") != "P_s"
    assert len(symbol_to_text("gamma")) == 1
    assert symbol_to_text("P*") == "P*"
    assert symbol_to_text("P_Q") == "P Q"


def test_the_tree_follows_the_cards():
    cards = [method.card for method in REGISTRY.values()]
    tree = build_taxonomy(
        cards, {cards[0].name: 10.0, cards[1].name: 1000.0, "stranger": 1.0, cards[2].name: float("nan")}
    )
    assert [leaf.name for leaf in tree.root.methods()] == sorted(
        (card.name for card in cards), key=[leaf.name for leaf in tree.root.methods()].index
    )
    assert {leaf.name for leaf in tree.root.methods()} == {card.name for card in cards}
    assert tree.root.branches[0].label == "direct"
    for family in tree.root.branches:
        for group in family.branches:
            for where in group.branches:
                for leaf in where.leaves:
                    assert REGISTRY[leaf.name].card.branch == (family.label, group.label, where.label)


def test_values_are_placed_between_the_lowest_and_the_highest():
    cards = [method.card for method in REGISTRY.values()][:3]
    first, second, third = (card.name for card in cards)
    leaves = build_taxonomy(cards, {first: 1.0, second: 10.0, third: 100.0}, "numbers", log=True).root.methods()
    shares = {leaf.name: leaf.relative_value for leaf in leaves}
    assert [shares[n] for n in (first, second, third)] == pytest.approx([0.0, 0.5, 1.0])
    lone = build_taxonomy(cards, {first: 5.0}, "numbers").root.methods()
    assert {leaf.relative_value for leaf in lone} == {0.5, None}
    assert build_taxonomy([], {}).root.methods() == ()


def test_a_computed_prompt_is_the_counterpart_of_a_trained_one():
    left, right = panel_differences(panel("prompt-tuning"), panel("mpt"))
    assert left == frozenset(), "MPT has a prompt too: a product"
    assert "part-P*" in right
    assert "end-prompt" not in right
