"""An adapter by Hub id: a hub of the test's own stands in, which notes what was asked of it."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import save

from ptviz.checkpoints import CheckpointError, hub, open_checkpoint
from ptviz.checkpoints.detect import open_in_process

CONFIG = json.dumps(
    {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 3, "token_dim": 4, "base_model_name_or_path": "evil/model",
     "auto_mapping": {"base_model_class": "x", "parent_library": "os"}}
).encode()  # fmt: skip
WEIGHTS = save({"prompt_embeddings": torch.arange(12.0).reshape(3, 4)})


class FakeHub:
    """Files by repository; ``requested`` are the files fetched, ``sizes`` override what the Hub says of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, dict[str, bytes]] = {}
        self.sizes: dict[str, int | None] = {}
        self.requested: list[str] = []

    def model_info(self, repository: str, *, files_metadata: bool) -> Any:
        assert files_metadata
        if repository not in self.files:
            raise OSError(f"404: {repository} does not exist\nand more lines")
        files = self.files[repository]
        siblings = [SimpleNamespace(rfilename=n, size=self.sizes.get(n, len(data))) for n, data in files.items()]
        return SimpleNamespace(siblings=siblings, sha="abc123")

    def download(self, repository: str, name: str, *, revision: str) -> str:
        assert revision == "abc123"
        self.requested.append(name)
        path = self.folder / name.replace("/", "_")
        path.write_bytes(self.files[repository][name])
        return str(path)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    made = FakeHub(tmp_path)
    monkeypatch.setenv("PTVIZ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: made)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", made.download)
    return made


def test_only_the_adapters_own_files_are_fetched_and_read_as_any_other(fake: FakeHub) -> None:
    fake.files["me/it"] = {
        "adapter_config.json": CONFIG, "adapter_model.safetensors": WEIGHTS, "adapter_model.bin": b"pickle",
        "README.md": b"# hello", "modeling_evil.py": b"import os", "pytorch_model.bin": b"x", "tokenizer.json": b"{}",
    }  # fmt: skip
    assert hub.find_fetched_adapter("hub:me/it") is None
    folder = hub.fetch_adapter("hub:me/it")
    assert fake.requested == ["adapter_config.json", "adapter_model.safetensors", "README.md"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(fake.requested)
    assert not any(path.is_symlink() for path in folder.iterdir())
    assert hub.find_fetched_adapter("hub:me/it") == folder
    bundle = open_in_process(folder)
    assert (bundle.format, bundle.input_prompts()["P"].shape) == ("PEFT PROMPT_TUNING", (3, 4))
    assert bundle.metadata["base_model_name_or_path"] == "evil/model"
    assert hub.fetch_adapter("hub:me/it") == folder
    assert len(fake.requested) == 3, "what lies here is not fetched again"


class Payload:
    """Creates a folder when it is unpickled without restriction."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.path),)


def pickled(state: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def test_pickled_weights_are_fetched_where_there_are_no_others_and_read_as_tensors(fake: FakeHub) -> None:
    table = torch.arange(12.0).reshape(3, 4)
    fake.files["me/old"] = {"adapter_config.json": CONFIG, "adapter_model.bin": pickled({"prompt_embeddings": table})}
    folder = hub.fetch_adapter("hub:me/old")
    assert fake.requested == ["adapter_config.json", "adapter_model.bin"]
    bundle = open_checkpoint(folder)
    assert bundle.format == "PEFT PROMPT_TUNING"
    assert bundle.input_prompts()["P"].tolist() == table.tolist()


def test_a_fetched_pickle_that_would_run_something_is_refused(fake: FakeHub, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    data = pickled({"prompt_embeddings": torch.zeros(3, 4), "x": Payload(ran)})
    torch.load(io.BytesIO(data), weights_only=False)
    assert ran.exists(), "it would run"
    ran.rmdir()
    fake.files["me/evil"] = {"adapter_config.json": CONFIG, "adapter_model.bin": data}
    folder = hub.fetch_adapter("hub:me/evil")
    with pytest.raises(CheckpointError, match="mkdir"):
        open_checkpoint(folder)
    assert not ran.exists()


def test_an_adapter_in_a_folder_is_named(fake: FakeHub) -> None:
    fake.files["me/many"] = {
        "a/adapter_config.json": CONFIG,
        "a/adapter_model.bin": b"x",
        "b/adapter_config.json": b"",
    }
    with pytest.raises(CheckpointError, match="adapters in the folders a, b: name one"):
        hub.fetch_adapter("hub:me/many")
    hub.fetch_adapter("hub:me/many/a")
    assert fake.requested == ["a/adapter_config.json", "a/adapter_model.bin"]
    with pytest.raises(CheckpointError, match=r"expected b/adapter_config.json and b/adapter_model.safetensors"):
        hub.fetch_adapter("hub:me/many/b")


@pytest.mark.parametrize(
    ("name", "size", "reason"),
    [
        ("adapter_model.safetensors", 300_000_000, "at most 256 MB; the Hub says 300.0 MB"),
        ("adapter_model.safetensors", None, "says no size: refused"),
        ("adapter_config.json", 2_000_000, "at most 1 MB"),
        ("adapter_config.json", 0, "at most 1 MB"),
    ],
)
def test_what_is_too_large_is_not_fetched(fake: FakeHub, name: str, size: int | None, reason: str) -> None:
    fake.files["me/it"] = {"adapter_config.json": CONFIG, "adapter_model.safetensors": WEIGHTS}
    fake.sizes[name] = size
    with pytest.raises(CheckpointError, match=reason):
        hub.fetch_adapter("hub:me/it")
    assert fake.requested == []


def test_a_lie_about_the_size_is_found_out(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.files["me/it"] = {"adapter_config.json": b" " * 1_500_000, "adapter_model.safetensors": WEIGHTS}
    fake.sizes["adapter_config.json"] = 100
    with pytest.raises(CheckpointError, match="more than its limit"):
        hub.fetch_adapter("hub:me/it")
    assert hub.find_fetched_adapter("hub:me/it") is None


def test_no_connection_and_no_such_name_are_told(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be downloaded \(404: me/gone does not exist\)\. Check the name"):
        hub.fetch_adapter("hub:me/gone")
    monkeypatch.undo()  # the real library, which tests keep offline
    with pytest.raises(CheckpointError, match=r"cannot be downloaded \(.*offline"):
        hub.fetch_adapter("hub:me/it")


@pytest.mark.parametrize("id", ["hub:", "hub:me", "hub:../x", "hub:me/..", "hub:a/b/../c", "hub:a b/c", "hub:a/b?x=1"])
def test_what_is_no_id_asks_nobody(fake: FakeHub, id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "model_info", lambda *a, **k: pytest.fail("asked the hub"))
    with pytest.raises(CheckpointError, match="expected hub:USER/NAME"):
        hub.fetch_adapter(id)
