"""Declarations of a method: hyperparameters within bounds, a complete card, tensors that fit their axes."""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import fields, replace
from importlib.resources import files
from typing import Any

import pytest
import torch

from ptviz.methods import REGISTRY, MethodCard, MethodTensor, build_method, list_methods, listing
from ptviz.methods.hyperparameters import HyperparameterInfo, hyperparameters_of
from ptviz.methods.listing import encode_declarations
from tests.families import TASK, backbone_of, method_of

METHODS = pytest.mark.parametrize("name", REGISTRY)
INFOS = [(name, info) for name in REGISTRY for info in hyperparameters_of(REGISTRY[name]).values()]
EACH_INFO = pytest.mark.parametrize(("name", "info"), INFOS, ids=[f"{name}-{info.name}" for name, info in INFOS])


def extremes(info: HyperparameterInfo) -> list[Any]:
    if info.choices:
        return list(info.choices)
    if info.declaration.pattern:
        return [info.default, "0"]
    return {bool: [True, False], str: ["", "some words"]}.get(
        info.value_type, [info.declaration.minimum, info.declaration.maximum]
    )


@EACH_INFO
def test_hyperparameters_can_be_read(name: str, info: HyperparameterInfo) -> None:
    assert info.declaration.symbol
    assert len(info.declaration.meaning.split()) > 1, "a few words for people"
    assert info.value_type in (int, float, str, bool)
    assert info.validate(info.default) == info.default
    if info.value_type in (int, float):
        assert info.declaration.minimum is not None
        assert info.declaration.maximum is not None
        assert info.declaration.minimum <= info.default <= info.declaration.maximum


@EACH_INFO
@torch.no_grad()
def test_methods_work_at_the_bounds_of_every_hyperparameter(name: str, info: HyperparameterInfo) -> None:
    backbone = backbone_of("llama")
    for value in extremes(info):
        needed = {"text": "text", "gamma": "toward"}.get("text" if value == "text" else info.name)
        values = {info.name: value, **({needed: "who what where"} if needed else {})}
        method = build_method(name, backbone.make_spec(64, TASK.label_words), values).eval()
        assert all(p.isfinite().all() for p in method.parameters())
        assert method.trainable_parameters() > 0


def wrong(info: HyperparameterInfo) -> list[Any]:
    if info.choices:
        return ["nonsense", "", 3, None]
    if info.value_type is bool:
        return ["perhaps", 2, None]
    if info.value_type is str:
        return []
    fraction = [1.5] if info.value_type is int else []
    low, high = info.declaration.minimum, info.declaration.maximum
    return [low - 1, high + 1, float("nan"), float("inf"), "many", None, True, [1], *fraction]


@EACH_INFO
def test_bad_values_are_refused_by_name(name: str, info: HyperparameterInfo) -> None:
    for value in wrong(info):
        with pytest.raises(ValueError, match=f"(?s)^{info.name}.*expected .*got {re.escape(repr(value))}"):
            build_method(name, backbone_of("llama").make_spec(64, TASK.label_words), {info.name: value})


@EACH_INFO
def test_values_may_be_texts(name: str, info: HyperparameterInfo) -> None:
    """As they come from a shell or a form."""
    checked = list_methods()[name].check_hyperparameters({info.name: str(info.default)})
    assert checked[info.name] == info.default
    assert type(checked[info.name]) is info.value_type


@METHODS
def test_unknown_hyperparameters_are_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ValueError, match=r"unknown hyperparameter length; .* has: m"):
        build_method(name, backbone_of("llama").make_spec(64, TASK.label_words), {"length": 3})


def test_unknown_methods_are_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"unknown method 'prompt tuning'; expected one of prompt-tuning, xprompt, p-tuning-v2"
    ):
        build_method("prompt tuning", backbone_of("llama").make_spec(64, TASK.label_words))


@METHODS
def test_initialisations_with_missing_inputs_are_refused(name: str) -> None:
    if "init" not in hyperparameters_of(REGISTRY[name]):
        pytest.skip("starts from noise alone; methods with the hyperparameter init are tested here")
    spec = backbone_of("llama").make_spec(64)
    with pytest.raises(ValueError, match="init 'labels' needs a task with label words"):
        build_method(name, spec, {"init": "labels"})
    with pytest.raises(ValueError, match=r"init 'text' needs some words.*got none"):
        build_method(name, spec, {"init": "text", "text": "  "})


@METHODS
def test_the_card_is_complete(name: str) -> None:
    card = REGISTRY[name].card
    assert isinstance(card, MethodCard)
    assert card.name == name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert card.reported_results, "what its paper reports"
    assert 3 <= len(re.findall(r"[.:;?] ", card.lesson + " ")) <= 9, "a paragraph for who hears of it the first time"
    assert card.suggested_experiment.endswith((".", "?")), "one thing to try, which goes on after a colon"
    assert card.suggested_experiment[0].islower()
    results = [claim.text for claim in card.reported_results]
    assert len(set(results)) == len(results)
    for field in fields(card):
        value = getattr(card, field.name)
        nested = {"reported_results": results, "symbols": [term.meaning for term in card.symbols]}
        texts = nested.get(field.name) or ([value] if isinstance(value, str) else value)
        assert all(part.strip() for part in texts), f"{field.name} is empty"
    assert card.url.startswith("https://")
    assert re.search(r"\b20\d\d\b", card.citation)
    assert "\\" in card.equation or "=" in card.equation
    assert len(card.branch) == 3
    assert card.branch[0] in ("direct", "transfer")


@METHODS
def test_the_module_names_its_equation_and_source(name: str) -> None:
    words = sys.modules[REGISTRY[name].__module__].__doc__ or ""
    assert ".. math::" in words
    assert REGISTRY[name].card.url in words


@METHODS
def test_tensors_fit_the_names_of_their_axes(name: str) -> None:
    backbone = backbone_of("t5")
    method = method_of(name, backbone)
    values = {key: info.default for key, info in hyperparameters_of(REGISTRY[name]).items()}
    sizes = {
        "d": backbone.width, "S": backbone.sites, "H": backbone.heads, "h": backbone.head_width, "T": 64, "kv": 2,
        **{symbol: values[symbol] for symbol in ("m", "k", "r") if symbol in values},
    }  # fmt: skip
    if REGISTRY[name].uses_source_tasks:
        sizes.pop("k", None)  # k counts tasks there, sources alone or with the target
    parts = method.tensors()
    assert parts
    for symbol, part in parts.items():
        for axis, size in zip(part.axes, part.tensor.shape, strict=True):
            # An inner width of a method has no size elsewhere: it must be the same throughout.
            assert size == sizes.setdefault(axis, size), f"{symbol}: axis {axis}"
        assert part.tensor.isfinite().all()
    shown = {part.tensor.data_ptr() for part in parts.values()}
    assert shown >= {p.data_ptr() for p in method.parameters()}, "every trained tensor can be looked at"


def test_a_tensor_needs_a_name_for_each_axis() -> None:
    with pytest.raises(ValueError, match="one axis name for each"):
        MethodTensor(torch.zeros(2, 3), ("m",))


@METHODS
def test_stages_are_data(name: str) -> None:
    method = method_of(name, backbone_of("llama"))
    stages = method.stages()
    names = [stage.name for stage in stages]
    assert stages
    assert len(set(names)) == len(names)
    parameters = {key for key, _ in method.named_parameters()}
    modules = {key for key, _ in method.named_modules()}
    for stage in stages:
        assert set(stage.lr_scales) <= parameters | modules, "a stage trains what the method has"
        assert any(stage.lr_scale(key) > 0 for key in parameters)


@METHODS
def test_initialisation_depends_on_the_seed_and_not_on_global_randomness(name: str) -> None:
    spec = backbone_of("llama").make_spec(64, TASK.label_words)
    before = torch.get_rng_state()
    one, same, other = (build_method(name, spec, seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@METHODS
def test_constructors_take_only_a_spec_and_hyperparameters(name: str) -> None:
    parameters = list(inspect.signature(REGISTRY[name].__init__).parameters)
    assert parameters[:2] == ["self", "spec"]
    assert parameters[2:] == list(hyperparameters_of(REGISTRY[name]))


def test_an_argument_without_a_declaration_is_refused() -> None:
    class Loose:
        def __init__(self, spec: object, m: int = 3) -> None: ...

    with pytest.raises(TypeError, match=r"Loose\.m needs Annotated"):
        hyperparameters_of(Loose)


def test_the_declarations_for_lists_are_those_of_the_classes() -> None:
    stored = (files("ptviz.methods") / "declarations.json").read_bytes()
    assert stored == encode_declarations(), "run: python -m ptviz.methods.listing"
    assert list(list_methods()) == list(REGISTRY)


def test_loaded_classes_come_before_what_was_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hyperparameters that were changed since are those that a process with the classes checks and trains with."""
    old = dict(listing._declared_methods())
    info = old["prompt-tuning"]
    m = replace(info.hyperparameters["m"], default=7)
    old["prompt-tuning"] = replace(info, hyperparameters={**info.hyperparameters, "m": m})
    monkeypatch.setattr(listing, "_declared_methods", lambda: old)
    assert list_methods()["prompt-tuning"] == listing.describe_method(REGISTRY["prompt-tuning"])
