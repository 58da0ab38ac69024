"""Generated text: the tokens of a slow loop that recomputes everything, and of PEFT's own ``generate``."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from ptviz.backbones import Backbone, generation
from ptviz.backbones.base import kv_kwargs
from ptviz.backbones.errors import BackboneError
from ptviz.backbones.generation import GenerationSettings, generate, newline_tokens
from ptviz.methods import REGISTRY
from ptviz.prompt import Batch, Prompt
from tests.families import DECODERS, ENCODER_DECODERS, case, fresh, method_of, model_of

M = 4
SHORT = GenerationSettings(max_new_tokens=8)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def prompt_for(backbone: Backbone, batch: Batch, ways: str, seed: int = 0) -> Prompt:
    """A loud prompt that enters in these ways; per row where it says so."""
    rows = len(batch) if "instance" in ways else 1
    return Prompt(
        embeddings=random(rows, M, backbone.width, seed=seed),
        key_values=random(backbone.sites, 2, rows, backbone.heads, M, backbone.head_width, seed=seed + 1)
        if "kv" in ways
        else None,
        delta=random(*batch.embeddings.shape, seed=2) * batch.text_mask[..., None] if "delta" in ways else None,
        keep=torch.tensor([True, False, True, True]) if "keep" in ways else None,
    )


def slow_greedy(backbone: Backbone, batch: Batch, prompt: Prompt, steps: int) -> list[list[int]]:
    """Greedy decoding without a cache and without padding, one row after another, by the model's logits."""
    x, mask = backbone.shift_and_mask(batch, prompt)
    x = backbone.fill_slots(batch, x, prompt)
    model, embed = backbone.model, backbone.model.get_input_embeddings()
    past = 0 if prompt.key_values is None else prompt.key_values.shape[-2]
    written = []
    for row in range(len(x)):
        # Relative positions of an encoder count pruned tokens; those of a causal model do not.
        seen = mask[row] if backbone.family == "decoder" else batch.mask[row]
        own, visible = x[row : row + 1, seen], mask[row : row + 1, seen]
        keys = kv_kwargs(prompt)
        if prompt.key_values is not None and prompt.key_values.shape[2] > 1:
            keys = {"prompt_kv": prompt.key_values[:, :, row : row + 1]}
        ids: list[int] = []
        for _ in range(steps):
            if backbone.family == "decoder":
                tail = embed(torch.tensor([ids], dtype=torch.long)).to(own.dtype)
                full = torch.cat([own, tail], 1) if ids else own
                positions = torch.arange(full.shape[1])[None] + past
                logits = model(inputs_embeds=full, position_ids=positions, use_cache=False, **keys).logits
            else:
                encoded = model.get_encoder()(inputs_embeds=own, attention_mask=visible, **keys)
                start = torch.tensor([[model.config.decoder_start_token_id, *ids]])
                logits = model(
                    encoder_outputs=encoded, attention_mask=visible, decoder_input_ids=start, use_cache=False, **keys
                ).logits
            best = int(logits[0, -1].argmax())
            if best in ends(backbone):
                break
            ids.append(best)
        written.append(ids)
    return written


def ends(backbone: Backbone) -> set[int]:
    end = backbone.model.generation_config.eos_token_id
    return {backbone.tokeniser.eos_token_id} if end is None else {end} if isinstance(end, int) else set(end)


WAYS = ("plain", "kv", "delta keep", "instance", "instance kv delta keep")


@pytest.mark.parametrize("ways", WAYS)
@pytest.mark.parametrize("family", [*DECODERS, *ENCODER_DECODERS])
@torch.no_grad()
def test_greedy_writes_what_a_loop_without_a_cache_writes(family: str, ways: str) -> None:
    backbone, batch, _ = case(fresh(family), M)
    backbone.model.generation_config.forced_eos_token_id = None  # BART's own ends every text at the limit
    prompt = prompt_for(backbone, batch, ways)
    written = generate(backbone, batch, prompt, SHORT)
    assert written == slow_greedy(backbone, batch, prompt, 8)
    assert len({tuple(row) for row in written}) > 1 or len(set(written[0])) > 1, "one token only: this compares little"


@pytest.mark.parametrize("ways", ["plain", "kv"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_another_prompt_writes_another_text(family: str, ways: str) -> None:
    """Without this, the equalities above could hold for a prompt that never arrives."""
    backbone, batch, _ = case(family, M)
    first, second = (generate(backbone, batch, prompt_for(backbone, batch, ways, seed), SHORT) for seed in (0, 5))
    assert first != second


def test_the_shared_model_is_left_as_it_was() -> None:
    backbone, batch, _ = case("llama", M)
    kind, before = type(backbone.model), generate(backbone, batch, prompt_for(backbone, batch, "plain"), SHORT)
    generate(backbone, batch, prompt_for(backbone, batch, "kv"), SHORT)
    assert type(backbone.model) is kind
    assert generate(backbone, batch, prompt_for(backbone, batch, "plain"), SHORT) == before


@pytest.mark.parametrize("name", REGISTRY)
@pytest.mark.parametrize("family", ["llama", "t5"])
@torch.no_grad()
def test_every_method_writes(family: str, name: str) -> None:
    backbone = fresh(family)
    method = method_of(name, backbone)
    _, batch, _ = case(backbone, method.slots)
    prompt = method(batch)
    assert generate(backbone, batch, prompt, SHORT) == slow_greedy(backbone, batch, prompt, 8)


def peft_of(family: str, kind: str, **settings: Any) -> Any:
    """A tiny model under PEFT in evaluation mode."""
    import peft

    configs = {"prompt": "PromptTuningConfig", "prefix": "PrefixTuningConfig", "p-tuning": "PromptEncoderConfig"}
    task = "SEQ_2_SEQ_LM" if family in ENCODER_DECODERS else "CAUSAL_LM"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's own remarks on its defaults
        config = getattr(peft, configs[kind])(task_type=task, num_virtual_tokens=M, **settings)
        return peft.get_peft_model(model_of(family), config).eval()


def peft_writes(reference: Any, family: str, batch: Batch, beams: int) -> list[list[int]]:
    """What PEFT writes after each row of a batch, one row at a time: no padding on any side."""
    stops, written = ends(case(family, 0)[0]), []
    for row in range(len(batch)):
        ids = batch.input_ids[row : row + 1, batch.text_mask[row]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = reference.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False,
                num_beams=beams, eos_token_id=sorted(stops), pad_token_id=0,
            )[0].tolist()  # fmt: skip
        tail = out[1 if family in ENCODER_DECODERS else ids.shape[1] :]
        written.append(tail[: next((i for i, one in enumerate(tail) if one in stops), len(tail))])
    return written


BEAMS = pytest.mark.parametrize("beams", [1, 3])


@BEAMS
@pytest.mark.parametrize("family", ["gpt2", "llama", "opt", "qwen3"])
def test_prompt_tuning_writes_pefts_tokens(family: str, beams: int) -> None:
    backbone, batch, _ = case(family, M)
    prompt, reference = prompt_for(backbone, batch, "plain"), peft_of(family, "prompt")
    reference.prompt_encoder["default"].embedding.weight.data.copy_(prompt.embeddings[0])
    ours = generate(backbone, batch, prompt, replace(SHORT, beams=beams))
    assert ours == peft_writes(reference, family, batch, beams)


@BEAMS
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_p_tuning_writes_pefts_tokens(family: str, beams: int) -> None:
    backbone, batch, _ = case(family, M)
    reference = peft_of(family, "p-tuning", encoder_hidden_size=16)
    with torch.no_grad():
        for parameter in reference.prompt_encoder.parameters():
            parameter.copy_(random(*parameter.shape))  # louder than its initialisation, or every prompt is alike
        embeddings = reference.get_prompt(1)
    ours = generate(backbone, batch, Prompt(embeddings), replace(SHORT, beams=beams))
    assert ours == peft_writes(reference, family, batch, beams)


@BEAMS
@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_prefix_tuning_writes_pefts_tokens(family: str, beams: int) -> None:
    backbone, batch, _ = case(family, 0)
    kv, reference = (
        random(backbone.sites, 2, 1, backbone.heads, M, backbone.head_width, seed=1),
        peft_of(family, "prefix"),
    )
    # PEFT's table: one row a virtual token; (site, key or value, head, width) one after the other within it.
    table = kv[:, :, 0].permute(3, 0, 1, 2, 4).reshape(M, -1)
    reference.prompt_encoder["default"].embedding.weight.data.copy_(table)
    ours = generate(backbone, batch, Prompt(key_values=kv), replace(SHORT, beams=beams))
    assert ours == peft_writes(reference, family, batch, beams)


@BEAMS
def test_prompt_tuning_writes_pefts_tokens_on_t5(beams: int) -> None:
    backbone, batch, _ = case("t5", M)
    prompt, reference = prompt_for(backbone, batch, "plain"), peft_of("t5", "prompt", num_transformer_submodules=1)
    reference.prompt_encoder["default"].embedding.weight.data.copy_(prompt.embeddings[0])
    ours = generate(backbone, batch, prompt, replace(SHORT, beams=beams))
    assert ours == peft_writes(reference, "t5", batch, beams)


def test_sampling_depends_on_its_seed_alone() -> None:
    backbone, batch, _ = case("llama", M)
    prompt = prompt_for(backbone, batch, "plain")
    sampled = replace(SHORT, temperature=2.0, top_p=0.9)
    torch.manual_seed(1)
    first, state = generate(backbone, batch, prompt, sampled), torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state()), "the caller's random numbers were used up"
    assert generate(backbone, batch, prompt, sampled) == first
    assert generate(backbone, batch, prompt, replace(sampled, seed=1)) != first


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_streamed_tokens_are_the_written_ones(family: str) -> None:
    backbone, batch, _ = case(family, M, count=1)
    seen: list[int] = []
    written = generate(backbone, batch, prompt_for(backbone, batch, "kv"), SHORT, seen.append)
    assert seen == written[0]
    assert seen


def test_writing_ends_at_a_newline_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, batch, _ = case("llama", M)
    prompt = prompt_for(backbone, batch, "plain")
    whole = generate(backbone, batch, prompt, SHORT)
    newline = backbone.tokenise("\n")
    assert len(newline) == 1
    assert newline_tokens(backbone.tokeniser) == {newline[0]: ""}
    row = next(i for i, one in enumerate(whole) if len(one) > 2)
    end = whole[row].index(whole[row][2])
    for before in ("", "the end"):
        found = {whole[row][2]: before}
        monkeypatch.setattr(generation, "newline_tokens", lambda _, found=found: found)
        cut = generate(backbone, batch, prompt, replace(SHORT, stop_at_newline=True))
        assert cut[row] == [*whole[row][:end], *(backbone.tokenise(before) if before else [])]


def test_a_token_with_more_than_a_newline_ends_a_line() -> None:
    """Byte-pair tokenisers have tokens such as "\\n\\n", "\\n    " and ".\\n", which decoders write in code."""
    backbone, batch, _ = case("llama", M, count=1)
    prompt = prompt_for(backbone, batch, "plain")
    (whole,) = generate(backbone, batch, prompt, SHORT)
    backbone, end = fresh("llama"), whole.index(whole[2])
    core = json.loads(backbone.tokeniser.backend_tokenizer.to_str())
    vocab = core["model"]["vocab"]
    vocab["ok;Ċ"] = vocab.pop(next(text for text, one in vocab.items() if one == whole[2]))
    core["model"]["merges"] = []
    backbone.tokeniser._tokenizer = type(backbone.tokeniser.backend_tokenizer).from_str(json.dumps(core))
    assert newline_tokens(backbone.tokeniser)[whole[2]] == "ok;"
    seen: list[int] = []
    (cut,) = generate(backbone, batch, prompt, replace(SHORT, stop_at_newline=True), seen.append)
    assert cut == seen == [*whole[:end], *backbone.tokenise("ok;")]
    assert backbone.tokeniser.decode(cut).endswith("ok;")


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_settings_in_the_models_own_file_do_not_change_greedy_decoding(family: str) -> None:
    _, batch, _ = case(family, M)
    backbone = fresh(family)
    prompt = prompt_for(backbone, batch, "plain")
    settings = GenerationSettings(16)
    expected = generate(backbone, batch, prompt, settings)
    backbone.model.generation_config.repetition_penalty = 1.5
    backbone.model.generation_config.no_repeat_ngram_size = 1
    assert generate(backbone, batch, prompt, settings) == expected


def test_an_encoder_refuses_to_write() -> None:
    backbone, batch, _ = case("bert", M)
    with pytest.raises(BackboneError, match="reads texts and generates none"):
        generate(backbone, batch, prompt_for(backbone, batch, "plain"))


@pytest.mark.parametrize(
    ("setting", "value"),
    [("max_new_tokens", 0), ("temperature", -1.0), ("top_p", 0.0), ("beams", 0), ("temperature", float("nan"))],
)
def test_a_bad_setting_is_named(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{setting}: expected a number"):
        GenerationSettings(**{setting: value})


def test_beams_and_sampling_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="beam search or sampling"):
        GenerationSettings(beams=2, temperature=1.0)
