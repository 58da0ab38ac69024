"""Neurons that a prompt activates, against the plain model, layer by layer."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from ptviz.analysis.prompt_similarity import neuron_overlap
from ptviz.backbones import Backbone, load_backbone
from ptviz.backbones.errors import BackboneError
from ptviz.backbones.neuron_activations import activated_neurons


def loud(name: str) -> Backbone:
    """Return a tiny backbone with larger weights, so that a prompt changes the sign of neurons."""
    backbone = copy.deepcopy(load_backbone(name))
    for weight in backbone.model.parameters():
        if weight.ndim == 2:
            weight.mul_(8)
    return backbone


def drawn(seed: int, m: int = 4) -> Tensor:
    return torch.randn(m, 32, generator=torch.Generator().manual_seed(seed))


def plain_encoder(backbone: Backbone, prompt: Tensor) -> Tensor:
    """BERT written out: [MASK] at position 0, followed by the prompt; attention by an explicit softmax."""
    bert, embeddings = backbone.model.bert, backbone.model.bert.embeddings
    mask = backbone.tokeniser.mask_token_id
    x = torch.cat([embeddings.word_embeddings(torch.tensor([mask])), prompt])
    x = x + embeddings.position_embeddings.weight[: len(x)] + embeddings.token_type_embeddings.weight[0]
    x = embeddings.LayerNorm(x)
    found = []
    for layer in bert.encoder.layer:
        own = layer.attention.self
        q, k, v = (part(x).reshape(len(x), 4, 8).transpose(0, 1) for part in (own.query, own.key, own.value))
        weights = (q @ k.transpose(1, 2) / 8**0.5).softmax(-1)
        heard = layer.attention.output.dense((weights @ v).transpose(0, 1).reshape(len(x), 32))
        x = layer.attention.output.LayerNorm(heard + x)
        inner = torch.nn.functional.gelu(layer.intermediate.dense(x))
        found.append(inner[0] > 0)
        x = layer.output.LayerNorm(layer.output.dense(inner) + x)
    return torch.stack(found)


def plain_decoder(backbone: Backbone, prompt: Tensor) -> Tensor:
    """Llama with transformers' own attention, and the gates of its last token."""
    found: list[Tensor] = []
    model = type(backbone.model)(backbone.model.config)
    model.load_state_dict(backbone.model.state_dict())
    model.set_attn_implementation("eager")
    special = backbone.tokeniser.bos_token_id
    special = backbone.tokeniser.eos_token_id if special is None else special
    x = torch.cat([prompt, model.get_input_embeddings()(torch.tensor([special]))])[None]
    for layer in model.model.layers:
        layer.mlp.act_fn.register_forward_hook(lambda module, given, out: found.append(out[0, -1] > 0))
    model.eval()(inputs_embeds=x)
    return torch.stack(found)


def plain_encoder_decoder(backbone: Backbone, prompt: Tensor) -> Tensor:
    """T5 in transformers' own attention: ReLU of the decoder's first token."""
    model = type(backbone.model)(backbone.model.config)
    model.load_state_dict(backbone.model.state_dict())
    model.set_attn_implementation("eager")
    found: list[Tensor] = []
    x = torch.cat([prompt, model.get_input_embeddings()(torch.tensor([backbone.tokeniser.eos_token_id]))])[None]
    for block in model.decoder.block:
        block.layer[-1].DenseReluDense.act.register_forward_hook(lambda module, given, out: found.append(out[0, 0] > 0))
    model.eval()(inputs_embeds=x, decoder_input_ids=torch.tensor([[0]]))
    return torch.stack(found)


@pytest.mark.parametrize(
    ("name", "plainly"),
    [("tiny-encoder", plain_encoder), ("tiny-decoder", plain_decoder), ("tiny-encoder-decoder", plain_encoder_decoder)],
)
@torch.no_grad()
def test_neurons_are_those_of_the_plain_model(name, plainly):
    backbone = loud(name)
    found = [activated_neurons(backbone, drawn(seed)) for seed in range(3)]
    for seed, active in enumerate(found):
        assert active.shape == (2, 37)
        assert active.dtype == torch.bool
        assert torch.equal(active, plainly(backbone, drawn(seed)))
    assert not torch.equal(found[0], found[1])
    hooks = [hook for module in backbone.model.modules() for hook in module._forward_hooks.values()]
    assert not [hook for hook in hooks if hook.__module__.startswith("ptviz")]


def test_overlap_is_the_intersection_over_the_root_of_both_sizes():
    a = np.array([[True, True, False], [True, False, False]])
    b = np.array([[True, False, False], [True, True, True]])
    found = neuron_overlap([a, b, ~a])
    assert found.metric == "neurons"
    assert found.values[0, 1] == pytest.approx(2 / (3 * 4) ** 0.5)
    assert found.values[0, 2] == 0
    assert np.allclose(np.diag(found.values), 1)
    assert neuron_overlap([np.zeros((1, 3), dtype=bool)] * 2).values[0, 1] == 0
    with pytest.raises(ValueError, match="of one backbone"):
        neuron_overlap([a, a[:1]])


def test_another_width_is_refused():
    with pytest.raises(BackboneError, match=r"\(m, 32\)"):
        activated_neurons(load_backbone("tiny-encoder"), torch.zeros(3, 8))
