"""The checkpoints of a folder are listed by names alone."""

from __future__ import annotations

from pathlib import Path

from ptviz.checkpoints.folder_listing import list_checkpoints
from ptviz.checkpoints.limits import DiskFolder


def _write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_adapters_and_loose_files_are_listed_and_their_parts_are_not(tmp_path: Path) -> None:
    _write(
        tmp_path,
        *("adapter_config.json", "adapter_model.safetensors", "README.md", "notes.txt"),
        *("checkpoint-10/adapter_config.json", "checkpoint-10/adapter_model.bin"),
        *("model/config.json", "model/pytorch_model.bin"),
        *("other/prompt.npy", "other/data.csv"),
    )
    found = [path.relative_to(tmp_path).as_posix() for path in list_checkpoints(tmp_path)]
    assert found == [".", "checkpoint-10", "model", "other/prompt.npy"]


def test_an_ordinary_folder_is_one_checkpoint_or_none(tmp_path: Path) -> None:
    assert list_checkpoints(tmp_path) == []
    _write(tmp_path, "a.pt")
    assert list_checkpoints(tmp_path) == [tmp_path / "a.pt"]


def test_a_copy_of_the_hub_is_called_by_its_id(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--someone--a--prompt" / "snapshots" / "0123abcd"
    _write(snapshot, "adapter_config.json")
    assert DiskFolder(snapshot).name == "someone/a--prompt"
    assert DiskFolder(tmp_path).name == tmp_path.name
