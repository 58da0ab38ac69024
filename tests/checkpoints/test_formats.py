"""Every format opened for real: files made by the libraries themselves, and prompts that other people trained."""

from __future__ import annotations

import json
import math
import re
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save as save_safetensors

from ptviz.backbone_shape import BackboneShape
from ptviz.checkpoints import BackboneReference, PromptBundle, PromptDiagnostics, diagnose
from ptviz.checkpoints.containers.arrays import encode_npy, read_npy
from ptviz.checkpoints.detect import open_bytes, open_in_process
from ptviz.checkpoints.diagnostics import incompatibilities
from ptviz.checkpoints.sandbox.parent import decode_bundle, encode_bundle
from ptviz.runs.import_prompt import select_prompt_name
from tests.checkpoints.files import ABSENT, DATA, ROWS, D, M, kobold, mkultra, npy, npz, saved, zipped
from tests.families import model_of

real = pytest.mark.skipif(not DATA.exists(), reason=ABSENT)


def same(bundle: PromptBundle, name: str = "P", rows: torch.Tensor = ROWS) -> bool:
    return np.array_equal(bundle.tensors[name].array, rows.numpy())


# PEFT itself saves, we open.


def peft_saved(path: Path, family: str, kind: str, **settings: Any) -> tuple[Any, PromptBundle]:
    import peft

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's own remarks
        torch.manual_seed(0)
        model = peft.get_peft_model(model_of(family), getattr(peft, f"{kind}Config")(**settings)).eval()
        bins = settings.get("num_virtual_tokens") == 3
        model.save_pretrained(path, safe_serialization=not bins)
    return model, open_in_process(path)


def weight(model: Any) -> torch.Tensor:
    return model.get_prompt_embedding_to_save("default").detach()


@pytest.mark.parametrize("tokens", [3, 4])  # 3 is saved as .bin
def test_peft_prompt_tuning(tmp_path: Path, tokens: int) -> None:
    model, found = peft_saved(tmp_path, "gpt2", "PromptTuning", task_type="CAUSAL_LM", num_virtual_tokens=tokens)
    assert (found.format, found.kind) == ("PEFT PROMPT_TUNING", "input prompt")
    assert same(found, rows=weight(model))
    assert found.tensors["P"].axes == ("m", "d")


def test_peft_prompt_tuning_of_t5_has_an_unused_half(tmp_path: Path) -> None:
    model, found = peft_saved(tmp_path, "t5", "PromptTuning", task_type="SEQ_2_SEQ_LM", num_virtual_tokens=M)
    assert found.tensors["P"].array.shape == (M, 32)
    assert np.array_equal(found.tensors["decoder half"].array, weight(model)[M:].numpy())
    assert any("decoder half" in text for text in found.warnings)
    assert list(found.input_prompts()) == ["P"]


@pytest.mark.parametrize("encoder", ["MLP", "LSTM"])
def test_peft_p_tuning_cannot_be_trained_on(tmp_path: Path, encoder: str) -> None:
    settings = {"encoder_reparameterization_type": encoder, "encoder_dropout": 0.1}
    model, found = peft_saved(
        tmp_path, "gpt2", "PromptEncoder", task_type="CAUSAL_LM", num_virtual_tokens=M, **settings
    )
    assert same(found, rows=weight(model))
    (on,) = [use for use in found.capabilities if use.action.startswith("resume its training")]
    assert not on.possible
    assert "encoder" in on.reason
    assert any("random draw" in text for text in found.warnings) == (encoder == "LSTM")


@pytest.mark.parametrize("projected", [False, True])
def test_peft_prefix_tuning_lies_by_site(tmp_path: Path, projected: bool) -> None:
    model, found = peft_saved(
        tmp_path, "llama", "PrefixTuning", task_type="CAUSAL_LM", num_virtual_tokens=M, prefix_projection=projected
    )
    values = found.tensors["KV"]
    assert values.axes == ("S", "kv", "H", "m", "h")
    past = model.get_prompt(batch_size=1)
    layers = past.layers if hasattr(past, "layers") else past
    for site, layer in enumerate(layers):
        assert np.allclose(values.array[site, 0], layer.keys[0].detach().numpy())
        assert np.allclose(values.array[site, 1], layer.values[0].detach().numpy())


def test_peft_multitask_multiplies_its_factors(tmp_path: Path) -> None:
    _, found = peft_saved(
        tmp_path, "t5", "MultitaskPromptTuning", task_type="SEQ_2_SEQ_LM", num_virtual_tokens=M, num_tasks=2,
        num_ranks=1, num_transformer_submodules=1,
    )  # fmt: skip
    assert found.kind == "prompts from factors"
    shared, u, v = (found.tensors[name].array for name in ("shared", "u", "v"))
    for task in range(2):
        assert np.allclose(found.tensors["P"].array[task], shared * (u[task] @ v[task]))
    assert len(found.input_prompts()) == 3


def test_peft_cpt(tmp_path: Path) -> None:
    ids = [5, 6, 7, 8, 9]
    _, found = peft_saved(
        tmp_path, "gpt2", "CPT", task_type="CAUSAL_LM", cpt_token_ids=ids, cpt_mask=[1] * 5,
        cpt_tokens_type_mask=[1, 2, 2, 3, 4],
    )  # fmt: skip
    assert found.tensors["P"].array.shape == (5, 32)
    assert found.format == "PEFT CPT"


def test_peft_cartridge(tmp_path: Path) -> None:
    _, found = peft_saved(tmp_path, "llama", "Cartridge", task_type="CAUSAL_LM", num_virtual_tokens=M)
    assert found.tensors["KV"].axes == ("S", "kv", "H", "m", "h")
    assert found.tensors["KV"].array.shape[3] == M


def test_peft_adaption_prompt(tmp_path: Path) -> None:
    _, found = peft_saved(tmp_path, "llama", "AdaptionPrompt", task_type="CAUSAL_LM", adapter_len=M, adapter_layers=2)
    assert found.kind == "prompts inside layers"
    assert found.tensors["P"].array.shape == (2, M, 32)
    assert found.tensors["gate"].axes == ("S",)


def test_an_adapter_of_another_name_lies_in_a_subfolder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text('{"peft_type": "PROMPT_TUNING"}')
        (tmp_path / name / "adapter_model.bin").write_bytes(saved({"prompt_embeddings": ROWS}))
        (tmp_path / name / "training_args.bin").write_bytes(b"never opened")
        if name == "one":
            assert open_in_process(tmp_path).name == "one"
    with pytest.raises(ValueError, match="one, two"):
        open_in_process(tmp_path)
    assert open_in_process(tmp_path / "two").name == "two"


def test_a_task_head_and_disagreeing_sizes_are_told(tmp_path: Path) -> None:
    head = {"prompt_embeddings": ROWS, "base_model.classifier.weight": torch.ones(3, D)}
    config = json.dumps({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 20, "token_dim": 768}).encode()
    found = open_bytes(zipped({"a/adapter_config.json": config, "a/adapter_model.bin": saved(head)}), "adapter.zip")
    messages = " ".join(found.warnings)
    assert "task head" in messages
    assert "width 768" in messages
    assert "20 prompt tokens" in messages


def test_an_adapters_weights_are_told_by_their_content(tmp_path: Path) -> None:
    config = b'{"peft_type": "PROMPT_TUNING"}'
    for name, data in (
        ("adapter_model.bin", save_safetensors({"prompt_embeddings": ROWS})),
        ("adapter_model.safetensors", saved({"prompt_embeddings": ROWS})),
    ):
        assert same(open_bytes(zipped({"adapter_config.json": config, name: data}), "a.zip"))


def test_one_file_of_an_adapter_is_read_with_the_config_beside_it(tmp_path: Path) -> None:
    flat = torch.randn(M, 2 * 2 * 2 * 3)
    config = {"peft_type": "PREFIX_TUNING", "num_layers": 2, "num_attention_heads": 2, "token_dim": 6}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    (tmp_path / "adapter_model.safetensors").write_bytes(save_safetensors({"prompt_embeddings": flat}))
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert open_in_process(tmp_path / name).tensors["KV"].array.shape == (2, 2, 2, M, 3)
    (tmp_path / "adapter_config.json").unlink()
    alone = open_in_process(tmp_path / "adapter_model.safetensors")
    assert any("Use both files" in text for text in alone.warnings)


def test_what_cpt_and_a_two_part_mpt_hold_is_told(tmp_path: Path) -> None:
    _, found = peft_saved(
        tmp_path / "a", "gpt2", "CPT", task_type="CAUSAL_LM", cpt_token_ids=[5, 6, 7, 8], cpt_mask=[1] * 4,
        cpt_tokens_type_mask=[1, 2, 3, 4],
    )  # fmt: skip
    assert any("1 of them, labels of examples" in text for text in found.warnings)
    _, found = peft_saved(
        tmp_path / "b", "t5", "MultitaskPromptTuning", task_type="SEQ_2_SEQ_LM", num_virtual_tokens=M, num_tasks=1,
        num_ranks=1,
    )  # fmt: skip
    assert any(f"rows 0 to {M - 1} are for the encoder" in text for text in found.warnings)


def test_a_two_part_mpt_gives_the_encoders_rows(tmp_path: Path) -> None:
    model, found = peft_saved(
        tmp_path, "t5", "MultitaskPromptTuning", task_type="SEQ_2_SEQ_LM", num_virtual_tokens=M, num_tasks=2,
        num_ranks=1,
    )  # fmt: skip
    whole = model.get_prompt(batch_size=2, task_ids=torch.tensor([0, 1])).detach().numpy()
    assert whole.shape == (2, 2 * M, 32)
    assert np.allclose(found.tensors["P"].array, whole[:, :M], atol=1e-6)
    assert np.allclose(found.tensors["decoder half"].array, whole[:, M:], atol=1e-6)
    assert {rows.shape for rows in found.input_prompts().values()} == {(M, 32)}


def test_a_prefix_of_an_encoder_decoder_says_what_it_cannot_be_used_for(tmp_path: Path) -> None:
    _, found = peft_saved(tmp_path, "t5", "PrefixTuning", task_type="SEQ_2_SEQ_LM", num_virtual_tokens=M)
    possible = {use.action: use.possible for use in found.capabilities}
    assert possible["inspect its vectors"]
    assert not possible["predict with it"]
    assert not possible["start a new run from it"]
    assert any("decoder's self-attention alone" in text for text in found.warnings)


PEFT_ENCODERS = {
    "MLP": {"peft_type": "P_TUNING", "encoder_reparameterization_type": "MLP"},
    "LSTM": {"peft_type": "P_TUNING", "encoder_reparameterization_type": "LSTM", "encoder_num_layers": 2},
}


def prompt_encoder(kind: str) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The state of PEFT's own encoder, and what it gives."""
    import peft
    from peft.tuners.p_tuning import PromptEncoder

    sizes = {"num_virtual_tokens": M, "token_dim": D, "num_transformer_submodules": 1, "num_layers": 2}
    settings = {**PEFT_ENCODERS[kind], "encoder_hidden_size": 6, "encoder_dropout": 0.0, "task_type": "CAUSAL_LM"}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = PromptEncoder(peft.PromptEncoderConfig(**sizes, num_attention_heads=2, **settings)).eval()
    with torch.no_grad():
        return dict(encoder.state_dict()), encoder(torch.arange(M)[None])[0]


@pytest.mark.parametrize("prefix", ["", "prompt_encoder.", "prompt_encoder.default.", "base_model.prompt_encoder.x."])
@pytest.mark.parametrize("kind", ["MLP", "LSTM"])
def test_a_p_tuning_encoder_is_applied(kind: str, prefix: str) -> None:
    state, expected = prompt_encoder(kind)
    weights = saved({prefix + name: tensor for name, tensor in state.items()})
    config = json.dumps({"peft_type": "P_TUNING", "num_virtual_tokens": M, "token_dim": D}).encode()
    beside = zipped({"adapter_config.json": config, "adapter_model.bin": weights})
    found = [open_bytes(weights, "p")]
    if prefix:  # beside a config, the tensors carry the module's name
        found.append(open_bytes(beside, "a.zip"))
    for bundle in found:
        assert bundle.kind == "input prompt"
        assert list(bundle.tensors) == ["P"]
        assert np.allclose(bundle.tensors["P"].array, expected.numpy(), atol=1e-6)
        assert not any("task head" in text for text in bundle.warnings)


def test_a_prefix_encoder_of_peft_is_applied() -> None:
    torch.manual_seed(0)
    transform = torch.nn.Sequential(torch.nn.Linear(D, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2 * 2 * D))
    state = {"prompt_encoder.default.embedding.weight": ROWS}
    state |= {f"prompt_encoder.default.transform.{name}": tensor for name, tensor in transform.state_dict().items()}
    alone = open_bytes(saved(state), "p")
    assert alone.kind == "key-value prompt"
    assert np.allclose(alone.tensors["KV"].array, transform(ROWS).detach().numpy(), atol=1e-6)
    config = {"peft_type": "PREFIX_TUNING", "num_layers": 2, "token_dim": D, "num_attention_heads": 2}
    files = {"adapter_config.json": json.dumps(config).encode(), "adapter_model.bin": saved(state)}
    assert open_bytes(zipped(files), "a.zip").tensors["KV"].array.shape == (2, 2, 2, M, D // 2)


def test_encoders_of_several_adapters_are_a_library_or_named() -> None:
    state, expected = prompt_encoder("MLP")
    both = saved({f"prompt_encoder.{a}.{name}": tensor for a in ("one", "two") for name, tensor in state.items()})
    library = open_bytes(both, "p")
    assert list(library.input_prompts()) == ["one", "two"]
    assert np.allclose(library.tensors["two"].array, expected.numpy(), atol=1e-6)
    files = {"adapter_config.json": b'{"peft_type": "P_TUNING"}', "adapter_model.bin": both}
    with pytest.raises(ValueError, match="one adapter; got one, two"):
        open_bytes(zipped(files), "a.zip")


@pytest.mark.parametrize(
    "key",
    ["prompt_embeddings", "prompt_embeddings.default", "base_model.prompt_embeddings.weight",
     "prompt_encoder.default.embedding.weight", "base_model.model.prompt_encoder.embedding.weight"],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_an_adapters_prompt_may_carry_the_adapters_name(key: str, encoding: str) -> None:
    config = '{"peft_type": "PROMPT_TUNING"}'.encode(encoding)
    found = open_bytes(zipped({"adapter_config.json": config, "adapter_model.bin": saved({key: ROWS})}), "a.zip")
    assert same(found)
    assert not found.warnings


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_an_adapter_some_folders_deep_is_opened_or_named(tmp_path: Path, depth: int) -> None:
    def adapter(name: str) -> None:
        folder = tmp_path.joinpath(*"abcdef"[: depth - 1], name)
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text('{"peft_type": "PROMPT_TUNING"}')
        (folder / "adapter_model.bin").write_bytes(saved({"prompt_embeddings": ROWS}))

    adapter("one")
    assert same(open_in_process(tmp_path))
    adapter("two")
    with pytest.raises(ValueError, match=r"2 adapters; open one of them: .*one, .*two"):
        open_in_process(tmp_path)


def test_a_folder_of_very_many_files_is_not_searched_through(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    for number in range(5000):
        (deep / str(number)).touch()
    (tmp_path / "p.npy").write_bytes(npy(ROWS.numpy()))
    assert same(open_in_process(tmp_path))
    with pytest.raises(ValueError, match="more than 4096 files"):
        open_in_process(deep)


def test_a_parameter_dict_of_textual_inversion_is_opened() -> None:
    vectors = torch.nn.ParameterDict({"*": torch.nn.Parameter(ROWS)})
    found = open_bytes(saved({"string_to_token": {"*": 265}, "string_to_param": vectors}), "embedding.pt")
    assert found.format == "textual inversion"
    assert same(found)


NO_PROMPTS = {
    b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 12\n": "git lfs pull",
    b"<!DOCTYPE html><html><body>Sign in</body></html>": "a web page",
    b"\xef\xbb\xbf\n<HTML>": "a web page",
    b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>': "a web page",
    b'{"error":"Repository not found"}': "an error message of a server",
    b'{ "message": "Bad credentials", "status": "401" }': "an error message of a server",
    b"Entry not found": "an error message of a server",
    b"404: Not Found": "an error message of a server",
    b"Access to model a/b is restricted": "an error message of a server",
    b"": "is empty",
    bytes(5000): "zeros only",
    b"\x1f\x8b\x08\x00abc": "gunzip",
    b"GGUF\x03\x00\x00\x00": "complete model in GGUF",
}


@pytest.mark.parametrize("name", ["prompt.bin", "prompt.safetensors", "prompt.pt", "in an adapter"])
@pytest.mark.parametrize("data", NO_PROMPTS)
def test_what_was_saved_instead_of_a_prompt_is_named(data: bytes, name: str) -> None:
    config = b'{"peft_type": "PROMPT_TUNING"}'
    given = zipped({"adapter_config.json": config, "adapter_model.bin": data}) if name == "in an adapter" else data
    with pytest.raises(ValueError, match=NO_PROMPTS[data]) as refused:
        open_bytes(given, name)
    assert "torch.save" not in str(refused.value)


GROUPED = {
    "llama": {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 32},
    "head_dim": {"num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 8, "hidden_size": 64},
    "chatglm": {"num_layers": 2, "num_attention_heads": 4, "multi_query_attention": True, "multi_query_group_num": 2,
                "kv_channels": 8, "hidden_size": 32},
    "in a text model": {"text_config": {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32}},
    "no width": {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2},
}  # fmt: skip


@pytest.mark.parametrize("config", GROUPED)
def test_prefix_encoders_are_split_by_key_value_heads(tmp_path: Path, config: str) -> None:
    table = torch.randn(M, 2 * 2 * 2 * 8)
    (tmp_path / "config.json").write_text(json.dumps(GROUPED[config]))
    (tmp_path / "pytorch_model.bin").write_bytes(saved({"prefix_encoder.embedding.weight": table}))
    values = open_in_process(tmp_path).tensors["KV"]
    assert values.array.shape == (2, 2, 2, M, 8)
    expected = table.view(M, 4, 2, 8).permute(1, 2, 0, 3).reshape(2, 2, 2, M, 8)
    assert np.array_equal(values.array, expected.numpy())


def test_a_config_that_does_not_fit_its_keys_and_values_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32}')
    (tmp_path / "pytorch_model.bin").write_bytes(saved({"prefix_encoder.embedding.weight": torch.randn(M, 60)}))
    found = open_in_process(tmp_path)
    assert found.tensors["KV"].axes == ("m", "features")
    assert any("config beside it does not fit" in text for text in found.warnings)


def test_a_header_of_ours_may_be_anybodys() -> None:
    def read(shape: tuple[int, ...], axes: object) -> tuple[str, ...]:
        texts = {"axes": json.dumps({"P": axes})}
        return open_bytes(save_safetensors({"P": torch.ones(shape)}, texts), "p").tensors["P"].axes

    assert read((4, 8), ["m", "d"]) == ("m", "d")
    assert read((2, 2, 1, 4, 5), ["S", "kv", "H", "m", "h"]) == ("S", "kv", "H", "m", "h")
    for shape, axes in (
        ((4, 8), ["m", ["d"]]), ((4, 8), ["m", "m"]), ((4, 8), ["m", "evil"]), ((4, 8), "md"),
        ((20_000, 4), ["m", "d"]),
        ((2, 3, 1, 4, 5), ["S", "kv", "H", "m", "h"]), ((4, 1), ["m", "d"]),
    ):  # fmt: skip
        assert read(shape, axes) == tuple(f"axis {i}" for i in range(len(shape))), axes


# Others.


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (npy(ROWS.numpy()), "bare tensor"),
        (npy(np.asfortranarray(ROWS.numpy())), "bare tensor"),
        (npy(ROWS.numpy().astype(">f4")), "bare tensor"),
        (npy(ROWS.numpy(), version=(2, 0)), "bare tensor"),
        (npy(ROWS.numpy(), version=(3, 0)), "bare tensor"),
        (saved(torch.nn.Parameter(ROWS)), "bare tensor"),
        (saved(ROWS, legacy=True), "bare tensor"),
        (saved({"step": 5, "tensor": ROWS, "opt_state": {"a": [1]}, "loss": 0.5}), "bare tensor"),
        (saved({"template.learned_embedding": ROWS, "other": torch.ones(2)}), "soft prompt module"),
        (saved({"state_dict": {"prompt_model.template.soft_embeds": ROWS}, "epoch": 3}), "OpenPrompt soft_embeds"),
        (saved({"string_to_token": {"*": 265}, "string_to_param": {"*": ROWS}}), "textual inversion"),
        (save_safetensors({"emb_params": ROWS}), "textual inversion"),
        (save_safetensors({"<cat-toy>": ROWS}), "textual inversion"),
        (npz(P=ROWS.numpy()), "bare tensor"),
        (kobold(), "KoboldAI"),
        (mkultra(), "mkultra"),
        (mkultra(ROWS[None].requires_grad_()), "mkultra"),
    ],
)
def test_other_formats(data: bytes, form: str) -> None:
    found = open_bytes(data, "a file of any name")
    assert found.format == form
    assert same(found)
    again = decode_bundle(encode_bundle(found))
    assert again.to_json() == found.to_json()
    assert same(again)


def test_bfloat16_and_float16_are_widened() -> None:
    half = ROWS.bfloat16()
    raw = half.view(torch.uint16).numpy().view("V2")
    assert same(open_bytes(kobold(raw), "k"), rows=half.float())
    assert same(open_bytes(save_safetensors({"a": half}), "s"), rows=half.float())
    assert same(open_bytes(saved(ROWS.half()), "t"), rows=ROWS.half().float())
    assert np.array_equal(read_npy(encode_npy(ROWS.numpy()), "a"), ROWS.numpy())


def test_openprompts_encoders_are_run() -> None:
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(D, D, 2, bidirectional=True, batch_first=True)
    mlp = torch.nn.Sequential(torch.nn.Linear(2 * D, D), torch.nn.ReLU(), torch.nn.Linear(D, D))
    state = {"t.new_embedding.weight": ROWS}
    state |= {f"t.new_lstm_head.{n}": p for n, p in lstm.state_dict().items()}
    state |= {f"t.new_mlp_head.{n}": p for n, p in mlp.state_dict().items()}
    expected = mlp(lstm(ROWS[None])[0])[0].detach().numpy()
    found = open_bytes(saved(state), "m")
    assert np.allclose(found.tensors["P"].array, expected, atol=1e-6)
    assert same(found, "table")
    mixed = open_bytes(saved({"t.soft_embedding.weight": ROWS}), "m")
    assert same(mixed, rows=ROWS[1:])


def test_prefix_encoders_are_run_and_split_by_the_config_beside(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trans = torch.nn.Sequential(torch.nn.Linear(D, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2 * 2 * D))
    state = {"prefix_encoder.embedding.weight": ROWS}
    state |= {f"prefix_encoder.trans.{n}": p for n, p in trans.state_dict().items()}
    expected = trans(ROWS).detach().numpy()
    alone = open_bytes(saved(state), "m")
    assert alone.tensors["KV"].axes == ("m", "features")
    assert np.allclose(alone.tensors["KV"].array, expected, atol=1e-6)
    (tmp_path / "pytorch_model.bin").write_bytes(saved(state))
    (tmp_path / "config.json").write_text('{"num_hidden_layers": 2, "num_attention_heads": 4}')
    values = open_in_process(tmp_path).tensors["KV"]
    past = torch.tensor(expected).view(M, 4, 4, 2).permute(1, 2, 0, 3).split(2)  # as the released code reads it
    assert np.allclose(values.array, torch.stack(past).numpy(), atol=1e-6)
    assert values.axes == ("S", "kv", "H", "m", "h")


# What an experienced eye sees.


def test_facts_find_what_was_planted() -> None:
    rows = torch.randn(40, 64, generator=torch.Generator().manual_seed(1))
    rows[3] *= 40
    rows[5] = 0
    rows[7] = rows[8]
    ground = BackboneReference("tiny", BackboneShape(64, 2, 4, 16), np.array([0.1, 0.5], np.float32))
    (fact,) = diagnose(open_bytes(saved(rows), "p"), ground)
    assert (fact.outliers, fact.dead, fact.duplicate_rows, fact.inside) == ((3,), (5,), 1, 0.0)
    messages = " ".join(fact.warnings)
    for word in ("row 3 is an outlier", "row 5 is dead", "exact duplicates", "off the vocabulary"):
        assert word in messages
    thin = torch.randn(40, 2) @ torch.randn(2, 64)
    assert any("collapsed" in text for text in diagnose(open_bytes(saved(thin), "p"))[0].warnings)


def test_facts_hold_at_the_ends_of_float32() -> None:
    def fact(rows: torch.Tensor) -> PromptDiagnostics:
        return diagnose(open_bytes(saved(rows), "p"))[0]

    rows = torch.randn(20, 16, generator=torch.Generator().manual_seed(2))
    usual = fact(rows).effective_rank
    assert fact(rows * 1e37).effective_rank == pytest.approx(usual, rel=1e-4)
    assert fact(rows * 1e-37).effective_rank == pytest.approx(usual, rel=1e-4)
    assert fact(torch.full((20, 16), 3e38)).effective_rank == 0
    assert all(map(math.isfinite, fact(torch.full((20, 16), 3e38)).norms))
    assert fact(torch.zeros(20, 16)).dead == tuple(range(20))
    mostly = torch.cat([torch.zeros(12, 16), torch.ones(8, 16)])
    assert fact(mostly).dead == tuple(range(12))
    assert fact(torch.ones(1, 16)).effective_rank == 0


def test_a_very_long_prompt_is_measured_in_a_moment() -> None:
    rows = np.random.default_rng(0).standard_normal((9000, 1500)).astype(np.float16)
    began = time.process_time()
    (fact,) = diagnose(open_bytes(npy(rows), "p"))
    assert time.process_time() - began < 20
    assert 400 < fact.effective_rank < 1024


def test_keys_and_values_have_facts(tmp_path: Path) -> None:
    values = torch.randn(2, 2, 3, 6, 4)
    values[:, :, :, 4] = 0
    (tmp_path / "p.safetensors").write_bytes(
        save_safetensors({"KV": values}, {"axes": json.dumps({"KV": ["S", "kv", "H", "m", "h"]})})
    )
    (fact,) = diagnose(
        open_in_process(tmp_path / "p.safetensors"),
        BackboneReference("tiny", BackboneShape(64, 2, 4, 16), np.ones(3, np.float32)),
    )
    assert (fact.inner, fact.tokens, fact.width, fact.dead, fact.inside) == (True, 6, 48, (4,), None)
    assert fact.norms[1] == pytest.approx(float(values[:, :, :, 1].norm()), rel=1e-5)
    assert not any("width" in text for text in fact.warnings)


def test_a_wrong_width_is_said_before_any_forward_pass() -> None:
    ground = BackboneReference("tiny", BackboneShape(64, 2, 4, 16), np.ones(3, np.float32))
    assert incompatibilities(open_bytes(saved(ROWS), "p"), ground) == [
        "wrong width for tiny: its vectors have 64 dimensions, these have 8"
    ]
    assert not incompatibilities(open_bytes(saved(torch.randn(3, 64)), "p"), ground)


# Real ones.


@real
@pytest.mark.parametrize(
    ("path", "form", "shape"),
    [
        ("checkpoints/google/sst2.npy", "bare tensor", (100, 768)),
        ("checkpoints/thunlp/task_prompt", "bare tensor", (100, 768)),
        ("checkpoints/attempt/record_prefix_embeddings.pt", "bare tensor", (100, 768)),
        ("checkpoints/dept-cola", "PEFT PROMPT_TUNING_LORA", (80, 768)),
        ("checkpoints/dept-cola/adapter_model.bin", "PEFT PROMPT_TUNING_LORA", (80, 768)),  # its config lies beside it
        ("checkpoints/mkultra/emma_gpt2.json", "mkultra", (20, 768)),
        ("checkpoints/mkultra/iotest.json", "mkultra", (2, 768)),
    ],
)
def test_real_checkpoints(path: str, form: str, shape: tuple[int, ...]) -> None:
    found = open_in_process(DATA / path)
    assert found.format == form
    assert next(iter(found.input_prompts().values())).shape == shape


@real
def test_the_real_library_gives_the_published_numbers() -> None:
    """Effective ranks and the runaway row as measured elsewhere on the same files."""
    found = open_in_process(DATA / "prompts/roberta-base.safetensors")
    facts = {fact.name: fact for fact in diagnose(found)}
    assert len(facts) == 15
    expected = {"MNLI": 7.4, "snli": 8.5, "QQP": 27, "QNLI": 45, "SST2": 51, "IMDB": 66, "MRPC": 79, "random": 93}
    for name, rank in expected.items():
        assert facts[name].effective_rank == pytest.approx(rank, abs=0.51 if rank > 10 else 0.06), name
    mnli = facts["MNLI"]
    assert mnli.outliers == (0,)
    assert mnli.norms[0] == pytest.approx(399, abs=1)
    assert mnli.median == pytest.approx(28.9, abs=0.05)
    assert mnli.effective_rank_without_outliers > 80  # the collapse is row 0's doing
    assert not facts["random"].warnings


@real
def test_the_original_form_holds_one_of_the_librarys_prompts() -> None:
    one = open_in_process(DATA / "checkpoints/thunlp/task_prompt").input_prompts()["P"]
    library = open_in_process(DATA / "prompts/roberta-base.safetensors").input_prompts()
    assert any(np.array_equal(one, matrix) for matrix in library.values())


@pytest.mark.parametrize(
    "names",
    [("encoder.soft_prompt", "decoder.soft_prompt"), ("prompt_embeddings", "soft_prompt"), ("a.tensor", "tensor")],
)
def test_every_prompt_of_a_file_with_several_is_shown(names: tuple[str, str], tmp_path: Path) -> None:
    first, second = names
    data = saved({first: ROWS, second: ROWS + 1, "u": torch.ones(4, 3, 2)})
    bundle = open_bytes(data, "x.pt")
    assert (bundle.format, [*bundle.tensors]) == ("collection of prompts", [*names])
    assert same(bundle, first)
    assert same(bundle, second, ROWS + 1)
    assert "left out: u" in bundle.warnings
    with pytest.raises(ValueError, match=rf"{re.escape(first)}, {re.escape(second)}"):
        select_prompt_name(bundle)


def test_what_stands_beside_the_only_prompt_of_a_file_is_named() -> None:
    data = saved({"a.learned_embedding": ROWS, "b.learned_embedding": torch.ones(2, 3, 4), "other": torch.ones(2)})
    bundle = open_bytes(data, "x.pt")
    assert same(bundle)
    assert bundle.metadata["tensor"] == "a.learned_embedding"
    assert bundle.warnings == ("left out: b.learned_embedding, other",)
    two = {"a.soft_embedding.weight": ROWS, "b.soft_embedding.weight": ROWS}
    assert "left out: b.soft_embedding.weight" in open_bytes(saved(two), "x.pt").warnings
    two = {"a.prefix_encoder.embedding.weight": ROWS, "b.prefix_encoder.embedding.weight": ROWS}
    assert "left out: b.prefix_encoder.embedding.weight" in open_bytes(saved(two), "x.pt").warnings
