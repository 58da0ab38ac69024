"""Hostile, damaged and absurd files: each ends in a clear refusal, nothing runs, memory stays bounded."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from ptviz.checkpoints import CheckpointError, open_checkpoint
from ptviz.checkpoints.containers import torch_pickle
from ptviz.checkpoints.detect import open_bytes, open_in_process
from ptviz.checkpoints.sandbox.restrictions import LANDLOCK, find_protections
from tests.checkpoints.files import (
    DATA,
    ROWS,
    absurd,
    bombs,
    climbing,
    kobold,
    mkultra,
    npy,
    saved,
    small_files,
    zip_bombs,
    zipped,
)

ABSURD, BOMBS, CLIMBING = absurd(), sorted(bombs(Path("x"))), climbing()
TELLING = ("expected", "refused", "damaged", "cut short", "cannot", "at most", "none of", "never opened", "empty")


@pytest.fixture(scope="module", autouse=True)
def _bounded() -> Iterator[None]:
    """No refusal may need much memory: the whole corpus runs below one bound."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024)
    assert grown < 1_200_000_000


def refused(data: bytes, name: str = "prompt.bin") -> str:
    with pytest.raises(CheckpointError) as caught:
        open_bytes(data, name)
    message = str(caught.value)
    assert any(word in message for word in TELLING), message
    assert len(message) < 1500
    assert message.isprintable()
    return message


@pytest.mark.parametrize("kind", BOMBS)
def test_nothing_is_executed(kind: str, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    refused(bombs(mark)[kind])
    assert not mark.exists()


@pytest.mark.parametrize(
    ("kind", "called"),
    [
        ("os.system in a torch zip", "posix.system"),
        ("eval in a torch zip", "builtins.eval"),
        ("open in a legacy file", "io.open"),
        ("os.system in a plain pickle", "posix.system"),
        ("a module (Petals)", "torch.nn.modules.sparse.Embedding"),
        ("INST in a torch zip", "os.system"),
        ("OBJ in a torch zip", "os.system"),
        ("names out of the memo", "os.system"),
        ("mkultra with os.system", "posix.system"),
        ("mkultra with builtins.getattr", "builtins.getattr"),
    ],
)
def test_the_refusal_names_what_the_file_wanted_to_call(kind: str, called: str, tmp_path: Path) -> None:
    assert called in refused(bombs(tmp_path / "ran")[kind])


def test_the_bombs_are_live(tmp_path: Path) -> None:
    """Companion: unpickled freely, as nothing here ever does, they do run."""
    import pickle

    mark = tmp_path / "ran"
    pickle.loads(bombs(mark)["os.system in a plain pickle"])
    assert mark.exists()


@pytest.mark.parametrize("kind", sorted(ABSURD))
def test_absurd_content_is_refused(kind: str) -> None:
    refused(ABSURD[kind])


@pytest.mark.parametrize(
    "kind", ["json that is one long text", "very deep json", "lists that hold one list a thousand times"]
)
def test_a_refusal_is_quick(kind: str) -> None:
    began = time.process_time()
    refused(ABSURD[kind])
    assert time.process_time() - began < 3


def test_a_torch_file_is_refused_without_advice_to_load_it_unsafely() -> None:
    for data in (saved(ROWS)[:-200], bombs(Path("x"))["an extension's code"], saved({10**5000: ROWS})):
        assert "weights_only" not in refused(data)
        assert "Weights only" not in refused(data)


def test_zip_bombs_are_refused_unopened() -> None:
    said = {
        "zeros": "times its size",
        "zeros in a torch zip": "times its size",
        "very many entries": "5,000 entries",
        "overlapping entries": "overlap",
    }
    for kind, data in zip_bombs().items():
        assert said[kind] in refused(data), kind


@pytest.mark.parametrize("kind", sorted(CLIMBING))
def test_archives_stay_within_themselves(kind: str) -> None:
    assert "refused" in refused(CLIMBING[kind])


@pytest.mark.parametrize("kind", sorted(small_files()))
def test_a_file_cut_at_any_byte_is_refused(kind: str) -> None:
    whole = small_files()[kind]
    assert open_bytes(whole, kind).tensors
    for end in range(len(whole)):
        try:
            found = open_bytes(whole[:end], kind)
        except CheckpointError:
            continue
        # A pickle that was whole before its padding: the numbers must then be whole as well.
        assert {str(v.array.tolist()) for v in found.tensors.values()} == {str(ROWS.numpy().tolist())}, end


def test_flipped_bytes_never_escape() -> None:
    for kind, whole in small_files().items():
        for at in range(0, len(whole), max(1, len(whole) // 60)):
            data = bytearray(whole)
            data[at] ^= 0xFF
            with suppress(CheckpointError):
                open_bytes(bytes(data), kind)


def test_a_peft_folder_cannot_lie_about_its_sizes(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.bin").write_bytes(saved({"prompt_embeddings": ROWS}))
    config = tmp_path / "adapter_config.json"
    for text in (
        "",
        "{",
        "[]",
        '{"peft_type": "LORA"}',
        '{"peft_type": {"a": 1}}',
        '{"peft_type": "PROMPT_TUNING", "num_virtual_tokens": -1}',
        '{"peft_type": "PREFIX_TUNING", "num_layers": 1e9}',
        '{"peft_type": "PROMPT_TUNING", "token_dim": "768"}',
        '{"peft_type": "MULTITASK_PROMPT_TUNING", "num_virtual_tokens": true}',
        '{"peft_type": "PROMPT_TUNING_LORA"}',
        '{"peft_type": "ADAPTION_PROMPT"}',
        '{"peft_type": "PROMPT_TUNING", "x": "' + "y" * 1_000_001 + '"}',
    ):
        config.write_text(text)
        with pytest.raises(CheckpointError):
            open_in_process(tmp_path)


def test_links_out_of_a_folder_are_refused(tmp_path: Path) -> None:
    outside, folder = tmp_path / "secret.npy", tmp_path / "adapter"
    outside.write_bytes(saved({"prompt_embeddings": ROWS}))
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"peft_type": "PROMPT_TUNING"}')
    (folder / "adapter_model.bin").symlink_to(outside)
    with pytest.raises(CheckpointError, match="leads out"):
        open_in_process(folder)
    (folder / "adapter_model.bin").unlink()
    (folder / "adapter_model.bin").symlink_to("adapter_model.bin")
    with pytest.raises(CheckpointError):
        open_in_process(folder)


def test_the_hubs_own_cache_is_followed(tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "snapshots" / "abc", tmp_path / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "1").write_text('{"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4, "token_dim": 8}')
    (blobs / "2").write_bytes(saved({"prompt_embeddings": ROWS}))
    (snapshot / "adapter_config.json").symlink_to("../../blobs/1")
    (snapshot / "adapter_model.bin").symlink_to("../../blobs/2")
    assert open_in_process(snapshot).format == "PEFT PROMPT_TUNING"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(CheckpointError):
            open_in_process(path)
    with pytest.raises(CheckpointError, match="does not exist"):
        open_checkpoint(tmp_path / "absent")
    with pytest.raises(CheckpointError):
        open_checkpoint("a\0b")


def test_an_old_torch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    assert "2.10" in refused(saved(ROWS))
    assert "2.10" in refused(mkultra())


def test_weights_only_is_never_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    whole = torch.load

    def spy(*arguments: object, **options: object) -> object:
        asked.append(options.get("weights_only"))
        return whole(*arguments, **options)

    monkeypatch.setattr(torch, "load", spy)
    refused(bombs(Path("x"))["eval in a torch zip"])
    open_bytes(mkultra(), "m")
    open_bytes(saved(ROWS, legacy=True), "l")
    assert asked == [True] * 3


def test_names_from_files_stay_plain() -> None:
    name = "<img src=x onerror=alert(1)>\x1b[31m\n**bold**"
    bundle = open_bytes(kobold(name=name), "x.zip")
    assert bundle.metadata["name"] == "<img src=x onerror=alert(1)>\\x1b[31m **bold**"
    assert refused(npy(ROWS.numpy())[:50], name).isprintable()


def test_globals_are_read_without_running_them() -> None:
    assert torch_pickle.pickle_globals(b"cos\nsystem\n(S'true'\ntR.") == ["os.system"]
    assert torch_pickle.pickle_globals(b"not a pickle") == []


# The process of its own: few calls, since each starts an interpreter.


def test_the_reader_answers_refuses_and_survives(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    good, bad = tmp_path / "good.npy", tmp_path / "bad.pt"
    good.write_bytes(npy(ROWS.numpy()))
    bad.write_bytes(bombs(mark)["os.system in a torch zip"])
    assert (open_checkpoint(good).input_prompts()["P"] == ROWS.numpy()).all()
    with pytest.raises(CheckpointError, match=r"posix\.system"):
        open_checkpoint(bad)
    assert not mark.exists()


def test_torch_is_loaded_before_the_limits_wherever_a_pickle_may_come(tmp_path: Path) -> None:
    from ptviz.checkpoints.sandbox.child import _may_need_torch

    config, safe, pickled = b'{"peft_type": "PROMPT_TUNING"}', save({"prompt_embeddings": ROWS}), saved(ROWS)
    for number, (files, wanted) in enumerate(
        [
            ({"adapter_config.json": config, "adapter_model.safetensors": safe}, False),
            ({"adapter_config.json": config, "adapter_model.safetensors": pickled}, True),
            ({"adapter_config.json": config, "adapter_model.bin": safe}, False),
            ({"a.npy": npy(ROWS.numpy())}, False),
            ({"a.zip": kobold()}, False),
            ({"a.zip": zipped({"adapter_config.json": config, "adapter_model.bin": pickled})}, True),
            ({"task_prompt": pickled}, True),
            ({"a.json": mkultra()}, True),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        assert _may_need_torch(folder / next(iter(files))) == wanted, files.keys()
        assert "adapter_config.json" not in files or _may_need_torch(folder) == wanted


def test_a_reader_that_hangs_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "good.npy"
    path.write_bytes(npy(ROWS.numpy()))
    with pytest.raises(CheckpointError, match="longer than"):
        open_checkpoint(path, seconds=0.01)


SCRIPT = """
import ctypes, os, socket, subprocess, sys, tempfile, urllib.request
from ptviz.checkpoints.sandbox.restrictions import restrict_process
restrict_process(memory=300_000_000, seconds=5)
def tried(what):
    try:
        what()
        return "done"
    except BaseException as error:
        return type(error).__name__
print(tried(socket.socket))
print(tried(lambda: subprocess.run(["true"])))
print(tried(lambda: os.system("true")))
print(tried(lambda: open("/tmp/ptviz-wrote", "w").write("x")))
print(tried(lambda: bytearray(2_000_000_000)))
print(tried(lambda: open("/etc/hostname").read()))
print(tried(lambda: open(sys.prefix + "/pyvenv.cfg").read()))
"""


def test_a_confined_process_has_no_network_no_programs_no_disk_and_little_memory() -> None:
    import subprocess

    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["PermissionError"] * 4 + [
        "MemoryError",
        "PermissionError" if LANDLOCK in find_protections() else "done",
        "done",
    ]


def test_a_zip_inside_the_real_data_is_still_a_prompt() -> None:
    """Companion to the limits: they let every real file through."""
    if not DATA.exists():
        pytest.skip("the real prompts are not here")
    assert open_bytes((DATA / "checkpoints/thunlp/task_prompt").read_bytes(), "task_prompt").kind == "input prompt"
    assert open_bytes(zipped({"tensor.npy": npy(ROWS.numpy().astype("f2"))}), "k").format == "KoboldAI"
