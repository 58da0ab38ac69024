"""Every family of the one list gives the scores and gradients of PEFT, or of the model itself, at tiny size."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache

from ptviz.backbones import Backbone, BackboneError, load_backbone, loading, wrap_model
from ptviz.backbones import prompt_attention as attention_module
from ptviz.backbones.base import shift_right
from ptviz.backbones.families import FAMILIES, REFUSED_FAMILIES, Family, describe_families
from ptviz.backbones.generation import GenerationSettings, generate
from ptviz.backbones.label_tokens import assign_label_tokens
from ptviz.backbones.tiny import make_tiny_tokeniser
from ptviz.methods import PromptMethod
from ptviz.prompt import Batch, Prompt
from tests.backbones.family_models import WINDOW, make_config, make_model
from tests.backbones.test_generation import M as GENERATION_M
from tests.backbones.test_generation import prompt_for, slow_greedy
from tests.families import TASK, method_of, rows_of

M, HIDDEN = 5, 11
CLOSE = {"atol": 1e-5, "rtol": 1e-4}
WORDS = assign_label_tokens(make_tiny_tokeniser(), TASK.label_words)
ALIBI = Family("falcon", "Falcon-RW", "decoder", "ALiBi")
EXTRA = {"Falcon-RW": {"alibi": True}}


def only(kind: str) -> Any:
    found = [one for one in FAMILIES if one.kind == kind] + ([ALIBI] if kind == "decoder" else [])
    return pytest.mark.parametrize("family", found, ids=lambda one: one.title)


def model_for(family: Family) -> Any:
    return make_model(family, **EXTRA.get(family.title, {}))


@cache
def backbone_for(family: Family) -> Backbone:
    return wrap_model(family.title, family.title, model_for(family), make_tiny_tokeniser(), random=True).eval()


def in_peft(family: Family, config: str, **settings: Any) -> Any:
    """Return the tiny model in PEFT, with transformers' own attention, in evaluation mode."""
    import peft

    backbone = backbone_for(family)
    task_type = "SEQ_2_SEQ_LM" if family.kind == "encoder-decoder" else "CAUSAL_LM"
    sizes = {
        "num_layers": backbone.sites, "num_attention_heads": backbone.heads, "token_dim": backbone.width,
        "num_transformer_submodules": 1, **settings,
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's own remarks
        made = getattr(peft, config)(task_type=task_type, num_virtual_tokens=M, **sizes)
        return peft.get_peft_model(model_for(family), made).eval()


def scores_of(reference: Any, family: Family, batch: Batch, skip: int) -> Tensor:
    """Return the label words' scores of PEFT; ``skip`` columns of slots precede the texts."""
    ids, mask = batch.input_ids[:, skip:], batch.mask[:, skip:].long()
    if family.kind == "encoder-decoder":
        start = torch.full((len(ids), 1), reference.config.decoder_start_token_id or 0)
        return reference(input_ids=ids, attention_mask=mask, decoder_input_ids=start).logits[:, 0][:, WORDS]
    logits = reference(input_ids=ids, attention_mask=mask).logits
    ahead = logits.shape[1] - ids.shape[1] - skip
    return logits[torch.arange(len(ids)), batch.readout_mask.long().argmax(1) + ahead][:, WORDS]


def compare(family: Family, method: PromptMethod, own: Tensor, reference: Any, as_ours: Callable[..., Tensor]) -> None:
    """Check scores and the gradient of the loss with respect to the prompt."""
    weight = reference.prompt_encoder["default"].embedding.weight
    rows = rows_of(backbone_for(family), method.slots)
    batch = rows.make_batch(range(8))
    assert batch.mask.sum(1).max() > WINDOW + M
    ours = rows.backbone(batch, method(batch), rows.readout).logits
    theirs = scores_of(reference, family, batch, method.slots)
    for found in (ours, theirs):
        F.cross_entropy(found, batch.labels).backward()
    torch.testing.assert_close(ours, theirs, **CLOSE)
    assert own.grad is not None
    torch.testing.assert_close(own.grad, as_ours(weight.grad), **CLOSE)
    assert weight.grad.abs().max() > 1e-4


def prompt_tuned(family: Family) -> None:
    method = method_of("prompt-tuning", backbone_for(family), m=M)
    reference = in_peft(family, "PromptTuningConfig")
    reference.prompt_encoder["default"].embedding.weight.data.copy_(method.P.data)
    compare(family, method, method.P, reference, lambda gradient: gradient)


def prefixed(family: Family) -> None:
    backbone = backbone_for(family)
    method = method_of("p-tuning-v2", backbone, m=M, dropout=0.0)
    reference = in_peft(family, "PrefixTuningConfig", token_dim=backbone.heads * backbone.head_width)
    weight = reference.prompt_encoder["default"].embedding.weight
    weight.data.copy_(method.KV.data.permute(3, 0, 1, 2, 4).flatten(1))
    sizes = (M, backbone.sites, 2, backbone.heads, backbone.head_width)
    compare(family, method, method.KV, reference, lambda gradient: gradient.reshape(sizes).permute(1, 2, 3, 0, 4))


@only("decoder")
def test_prompt_tuning_on_decoders(family: Family) -> None:
    prompt_tuned(family)


@only("decoder")
def test_p_tuning_on_decoders(family: Family) -> None:
    method = method_of("p-tuning", backbone_for(family), m=M, encoder="mlp", hidden=HIDDEN)
    reference = in_peft(
        family, "PromptEncoderConfig", encoder_reparameterization_type="MLP", encoder_hidden_size=HIDDEN
    )
    theirs = reference.prompt_encoder["default"]
    theirs.embedding.weight.data.copy_(method.P.data)
    theirs.mlp_head.load_state_dict(method.MLP.state_dict())
    compare(family, method, method.P, reference, lambda gradient: gradient)


@only("decoder")
def test_prefixes_on_decoders(family: Family) -> None:
    if family.peft_prefix:
        prefixed(family)
    else:  # If PEFT learns it, the list is to say so.
        with pytest.raises((RuntimeError, ValueError)):
            prefixed(family)


@only("encoder-decoder")
def test_prompt_tuning_on_encoder_decoders(family: Family) -> None:
    prompt_tuned(family)


@only("encoder")
@torch.no_grad()
def test_encoders_give_their_own_scores(family: Family) -> None:
    rows = rows_of(backbone_for(family), 0)
    batch, model = rows.make_batch(range(8)), model_for(family)
    # Ids would not do: this vocabulary's [CLS] has the number that RoBERTa takes for padding.
    logits = model(inputs_embeds=model.get_input_embeddings()(batch.input_ids), attention_mask=batch.mask.long()).logits
    expected = logits[torch.arange(8), batch.readout_mask.long().argmax(1)][:, WORDS]
    torch.testing.assert_close(rows.backbone(batch, Prompt(), rows.readout).logits, expected, atol=2e-5, rtol=2e-5)


BY_TYPE = {one.model_type: one for one in FAMILIES}
UNUSUAL = pytest.mark.parametrize(
    "family",
    [*(BY_TYPE[name] for name in ("bloom", "mpt", "falcon", "gemma2", "gemma3_text", "mistral", "cohere2")), ALIBI],
    ids=lambda one: one.title,
)
"""Positions, windows and caps that the usual families lack."""


@UNUSUAL
@pytest.mark.parametrize("ways", ["plain", "kv"])
@torch.no_grad()
def test_greedy_writes_what_a_loop_without_a_cache_writes(family: Family, ways: str) -> None:
    rows = rows_of(backbone_for(family), GENERATION_M)
    batch = rows.make_batch(range(8))
    prompt = prompt_for(rows.backbone, batch, ways)
    written = generate(rows.backbone, batch, prompt, GenerationSettings(max_new_tokens=8))
    assert written == slow_greedy(rows.backbone, batch, prompt, 8)
    assert len({tuple(row) for row in written}) > 1, "one text only: this compares little"


@UNUSUAL
@pytest.mark.parametrize("ways", ["plain", "kv", "instance"])
@torch.no_grad()
def test_targets_after_padding_score_as_without_it(family: Family, ways: str) -> None:
    rows = rows_of(backbone_for(family), GENERATION_M)
    backbone, readout = rows.backbone, rows.backbone.make_vocabulary_readout()
    batch = replace(rows.make_batch(range(8)), targets=torch.arange(32).reshape(8, 4) + 3)
    prompt = prompt_for(backbone, batch, ways)
    together = backbone(batch, prompt, readout).nll
    for row in range(8):
        one = prompt
        if ways == "instance":
            one = replace(prompt, embeddings=prompt.embeddings[row : row + 1])
        alone = replace(rows.make_batch([row]), targets=batch.targets[row : row + 1])
        torch.testing.assert_close(backbone(alone, one, readout).nll[0], together[row], **CLOSE)


LEARNED = pytest.mark.parametrize("name", ["t5", "mt5"])
"""Families that learn a bias for each distance."""


@LEARNED
@torch.no_grad()
def test_a_prefix_of_a_t5_decoder_is_transformers_past(name: str) -> None:
    backbone, rows = backbone_for(BY_TYPE[name]), rows_of(backbone_for(BY_TYPE[name]), 0)
    own = [one.SelfAttention.site for one in backbone.model.get_decoder().modules() if hasattr(one, "SelfAttention")]
    sites = torch.zeros(backbone.sites, dtype=torch.bool).index_fill(0, torch.tensor(own), True)
    key_values = torch.randn(backbone.sites, 2, 1, backbone.heads, M, backbone.head_width)
    batch = replace(rows.make_batch(range(8)), targets=torch.arange(32).reshape(8, 4) + 3)
    prompt = Prompt(key_values=key_values, sites=sites)
    ours = backbone(batch, prompt, backbone.make_vocabulary_readout()).nll

    past = DynamicCache()
    for layer, site in enumerate(own):
        past.update(*(one.expand(8, -1, -1, -1) for one in key_values[site]), layer)
    model = model_for(BY_TYPE[name])
    logits = model(
        input_ids=batch.input_ids, attention_mask=batch.mask.long(),
        past_key_values=EncoderDecoderCache(past, DynamicCache()),
        decoder_input_ids=shift_right(batch.targets, model.config.decoder_start_token_id),
    ).logits  # fmt: skip
    theirs = F.cross_entropy(logits.mT, batch.targets, reduction="none").mean(1)
    torch.testing.assert_close(ours, theirs, **CLOSE)
    written = generate(backbone, batch, prompt, GenerationSettings(max_new_tokens=6))
    assert written == slow_greedy(backbone, batch, prompt, 6)


@LEARNED
@torch.no_grad()
def test_a_prefix_of_a_t5_encoder_has_the_distance_of_the_words_before(name: str) -> None:
    """At the first site keys have no context: those of the first words as a prefix give the weights of the whole."""
    backbone = backbone_for(BY_TYPE[name])
    ids, weights = torch.arange(12)[None] + 5, []

    def keep(site: int, found: Tensor) -> None:
        if site == 0:
            weights.append(found)

    encoder = backbone.model.get_encoder()
    encoder(input_ids=ids, on_attention=keep)
    ahead = backbone.key_values_of_tokens(ids[0, :M].tolist())[:, :, None]
    encoder(input_ids=ids[:, M:], on_attention=keep, prompt_kv=ahead)
    torch.testing.assert_close(weights[1], weights[0][:, :, M:], **CLOSE)


@pytest.mark.parametrize("name", ["bloom", "mpt", "gemma2", "mistral"])
def test_a_prefix_at_another_distance_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Companion: a prefix without ALiBi's distance, and one that a window does not hide."""
    widen_mask, widen_bias = attention_module._widen_mask, attention_module._widen_bias
    monkeypatch.setattr(
        attention_module, "_widen_bias", lambda bias, slopes, m, learned: widen_bias(bias, None, m, learned)
    )
    monkeypatch.setattr(attention_module, "_widen_mask", lambda mask, m, window: widen_mask(mask, m, None))
    with pytest.raises(AssertionError):
        prefixed(BY_TYPE[name])


def test_an_uncapped_score_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Companion: attention scores without Gemma 2's soft cap."""
    weights = attention_module._attention_weights
    monkeypatch.setattr(attention_module, "_attention_weights", lambda *given: weights(*given[:4], None))
    with pytest.raises(AssertionError):
        prompt_tuned(BY_TYPE["gemma2"])


def saved(family: Family, folder: Path, **settings: Any) -> str:
    """Save a tiny model with its tokenizer as a local folder."""
    make_model(family, **settings).save_pretrained(folder)
    make_tiny_tokeniser().save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("name", ["bloom", "mpt", "falcon", "gemma2", "cohere", "t5"])
def test_a_local_folder_loads_and_is_compared_with_itself(name: str, tmp_path: Path) -> None:
    backbone = load_backbone(saved(BY_TYPE[name], tmp_path), "cpu")
    assert backbone.family == BY_TYPE[name].kind
    assert loading.read_backbone_shape(str(tmp_path)) == backbone.shape


@pytest.mark.parametrize("name", REFUSED_FAMILIES)
def test_refused_families_say_why(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(f'{{"model_type": "{name}"}}')
    with pytest.raises(BackboneError) as caught:
        load_backbone(str(tmp_path), "cpu")
    assert REFUSED_FAMILIES[name] in str(caught.value)
    assert describe_families() in str(caught.value)


@pytest.mark.parametrize("name", ["gpt_oss", "diffllama", "doge", "pegasus", "lfm2"])
def test_a_refused_family_would_not_get_past_the_checks(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reasons are real: without the list, the loading check or the comparison refuses the model too."""
    kind = "encoder-decoder" if name == "pegasus" else "decoder"
    layers = {"layer_types": ["conv", "full_attention"]} if name == "lfm2" else {}
    folder = saved(Family(name, name, kind, ""), tmp_path, **layers)
    monkeypatch.setattr(loading, "REFUSED_FAMILIES", {})
    with pytest.raises(BackboneError, match=r"not supported|different outputs"):
        load_backbone(folder, "cpu")


def test_a_config_is_as_small_as_its_tests_want() -> None:
    assert make_config("mistral").sliding_window == WINDOW
    assert make_config("bloom").hidden_size == 32
