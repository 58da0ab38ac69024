"""Keys and values at some attention sites only, and those that start as the backbone's own of real words."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ptviz.backbones.generation import GenerationSettings, generate
from ptviz.methods import build_method
from ptviz.methods.base import PromptMethod
from ptviz.prompt import Prompt, Spec
from tests.families import TASK, backbone_of, case, method_of

FAMILY_NAMES = ("bert", "pooled", "modernbert", "gpt2", "llama", "t5", "bart")
METHODS = ("p-tuning-v2", "prefix-tuning")
CLOSE = {"atol": 1e-5, "rtol": 1e-4}


def trained(name: str, family: str, layers: str) -> PromptMethod:
    return method_of(
        name, backbone_of(family), m=3, layers=layers, **({"hidden": 7} if name == "prefix-tuning" else {})
    )


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_a_prefix_at_no_other_site(name: str, family: str) -> None:
    """What stands at a site without a prefix has no effect and gets no gradient; the chosen site has both."""
    backbone, batch, readout = case(family, 0)
    method = trained(name, family, "0")
    prompt = method(batch)
    assert prompt.sites is not None
    leaf = torch.randn_like(prompt.key_values, requires_grad=True)
    output = backbone(batch, replace(prompt, key_values=leaf), readout)
    (gradient,) = torch.autograd.grad(output.loss, [leaf])
    assert float(gradient[0].abs().max()) > 0
    assert float(gradient[1:].abs().max()) == 0
    other = torch.cat([leaf[:1].detach(), 9 * torch.ones_like(leaf[1:])])
    with torch.no_grad():
        changed = backbone(batch, replace(prompt, key_values=other), readout).logits
    assert torch.equal(changed, output.logits)
    everywhere = backbone(batch, Prompt(key_values=leaf), readout).logits
    assert (everywhere - output.logits).abs().max() > 1e-4, "a key at a site is seen there"


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_weights_of_a_prefix_that_a_site_does_not_see_are_zero(family: str) -> None:
    backbone, batch, readout = case(family, 0)
    prompt = trained("p-tuning-v2", family, "0")(batch)
    seen: dict[int, torch.Tensor] = {}
    with torch.no_grad():
        watched = backbone(batch, prompt, readout, on_attention=seen.__setitem__).logits
        torch.testing.assert_close(watched, backbone(batch, prompt, readout).logits, **CLOSE)
    assert float(seen[0][..., :3].sum()) > 0
    for site in range(1, backbone.sites):
        assert float(seen[site][..., :3].abs().max()) == 0
        torch.testing.assert_close(seen[site].sum(-1), torch.ones_like(seen[site][..., 0]))


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_a_written_text_sees_the_chosen_sites_only(family: str) -> None:
    """Writing with a cache chooses the token of the highest score without one."""
    backbone, batch, _ = case(family, 0)
    prompt = replace(trained("p-tuning-v2", family, "1")(batch), key_values=None)
    values = torch.randn(
        backbone.sites, 2, 1, backbone.heads, 3, backbone.head_width, generator=torch.Generator().manual_seed(1)
    )
    prompt = replace(prompt, key_values=values)
    silent = values.clone()
    silent[0] = 50.0
    short = GenerationSettings(max_new_tokens=4)
    ours = generate(backbone, batch, prompt, short)
    assert ours == generate(backbone, batch, replace(prompt, key_values=silent), short)
    assert ours != generate(backbone, batch, Prompt(key_values=silent), short)


@pytest.mark.parametrize("name", METHODS)
def test_all_sites_by_number_are_all(name: str) -> None:
    _, batch, _ = case("llama", 0)
    sites = backbone_of("llama").sites
    whole, spelled = (trained(name, "llama", text)(batch) for text in ("all", f"0-{sites - 1}"))
    assert spelled.sites is None
    assert torch.equal(whole.key_values, spelled.key_values)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("layers", "count"), [("all", 12), ("6-11", 6), ("0,2,4-5", 4), ("11", 1)])
def test_parameters_of_some_layers(name: str, layers: str, count: int) -> None:
    spec = Spec.from_sizes(384, 12, 12, 32, 64)
    method = build_method(name, spec, {"m": 20, "layers": layers})
    kv = 2 * count * 20 * 12 * 32
    assert method.stored_parameters() == kv
    hidden = 512
    mlp = 20 * 384 + 384 * hidden + hidden + (hidden + 1) * 2 * count * 12 * 32
    assert method.trainable_parameters() == (kv if name == "p-tuning-v2" else mlp)
    part = method.tensors()["KV"]
    assert part.axes[0] == ("S" if layers == "all" else "s")
    assert part.tensor.shape == (count, 2, 12, 20, 32)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("layers", "expected"),
    [("", "numbers from 0"), ("1,", "numbers from 0"), ("last", "numbers from 0"), ("3-1", "upwards"),
     ("0,0-1", "every site once"), ("12", "sites 0 to 11; got 12")],
)  # fmt: skip
def test_layers_that_do_not_exist_are_refused(name: str, layers: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        build_method(name, Spec.from_sizes(384, 12, 12, 32, 64), {"layers": layers})


def test_a_merged_prefix_of_some_layers_is_the_same() -> None:
    backbone, batch, readout = case("llama", 0)
    method = trained("prefix-tuning", "llama", "1")
    merged = method.merge()
    with torch.no_grad():
        expected = backbone(batch, method(batch), readout).logits
        torch.testing.assert_close(backbone(batch, merged(batch), readout).logits, expected)
    assert merged.stored_parameters() == method.stored_parameters()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_a_prefix_that_starts_as_real_words(name: str, family: str) -> None:
    """Li and Liang 2021: the first keys and values are the frozen model's own of these words."""
    backbone = backbone_of(family)
    spec = backbone.make_spec(64, TASK.label_words)
    method = build_method(name, spec, {"m": 3, "init": "text", "text": "a b c d"})
    expected = backbone.key_values_of_tokens(backbone.tokenise("a b c d")[:3])
    assert expected.shape == (backbone.sites, 2, backbone.heads, 3, backbone.head_width)
    torch.testing.assert_close(method.tensors()["KV"].tensor.detach(), expected, atol=1e-4, rtol=1e-4)
    one = build_method(name, spec, {"m": 3, "init": "text", "text": "a b c d", "layers": "1"})
    torch.testing.assert_close(one.tensors()["KV"].tensor.detach(), expected[1:2], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_real_words_that_are_missing_are_refused(name: str) -> None:
    spec = backbone_of("llama").make_spec(64)
    with pytest.raises(ValueError, match="label words"):
        build_method(name, spec, {"init": "labels"})
    with pytest.raises(ValueError, match="`text`"):
        build_method(name, spec, {"init": "text"})


def test_the_keys_of_real_words_are_those_of_the_models_cache() -> None:
    backbone = backbone_of("llama")
    ids = backbone.tokenise("a b c d e")
    cache = backbone.model(input_ids=torch.tensor([ids]), use_cache=True).past_key_values
    found = backbone.key_values_of_tokens(ids)
    for site, layer in enumerate(cache.layers):
        torch.testing.assert_close(found[site, 0], layer.keys[0])
        torch.testing.assert_close(found[site, 1], layer.values[0])
