"""What we write is read by the library it is meant for, and by ourselves."""

from __future__ import annotations

import functools
import json
import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from ptviz.checkpoints import CheckpointError
from ptviz.checkpoints.detect import open_in_process
from ptviz.checkpoints.writers.peft import TrainedBackbone, write_peft
from ptviz.engine.prompt_export import compute_static_prompt, export_projector, find_factors
from ptviz.methods import REGISTRY, PromptMethod, build_method
from ptviz.prompt import Batch, Prompt
from ptviz.runs import Run, Store, StoreError
from ptviz.runs.archive import pack_run, unpack_run
from ptviz.runs.run_file_io import file_digest
from ptviz.tasks import load_task
from tests.checkpoints.files import zipped
from tests.equivalence.test_peft import WORDS, first_scores, last_scores
from tests.families import TASK, backbone_of, case, fresh, method_of, model_of

M = 5
CLOSE = {"atol": 1e-5, "rtol": 1e-4}


def home_of(family: str) -> TrainedBackbone:
    backbone = backbone_of(family)
    return TrainedBackbone("tiny", backbone.family, backbone.shape)


def under_peft(family: str, folder: Path) -> Any:
    """The tiny model with the adapter in ``folder``, loaded by PEFT itself."""
    import peft

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's own remarks
        return peft.PeftModel.from_pretrained(model_of(family), folder).eval()


def exported(family: str, method: PromptMethod, folder: Path) -> dict[str, Any]:
    config, _ = write_peft(folder, compute_static_prompt(method, backbone_of(family)), home_of(family))
    return config


@pytest.mark.parametrize(
    ("family", "name", "scores_of"),
    [
        ("gpt2", "prompt-tuning", last_scores),
        ("llama", "prompt-tuning", last_scores),
        ("t5", "prompt-tuning", first_scores),
        ("gpt2", "p-tuning-v2", last_scores),
        ("qwen3", "p-tuning-v2", last_scores),
    ],
)
@torch.no_grad()
def test_peft_gives_the_same_scores(family: str, name: str, scores_of: Callable[..., Any], tmp_path: Path) -> None:
    method = method_of(name, fresh(family), m=M)
    slots = method.slots
    backbone, batch, readout = case(family, slots)
    config = exported(family, method, tmp_path)
    assert config["peft_type"] == ("PROMPT_TUNING" if slots else "PREFIX_TUNING")
    ours = backbone(batch, method(batch), readout).logits
    theirs = scores_of(under_peft(family, tmp_path), batch, slots)
    torch.testing.assert_close(ours, theirs, **CLOSE)
    # Companion: the backbone without the prompt answers otherwise.
    bare_backbone, bare, bare_readout = case(family, 0)
    assert (bare_backbone(bare, Prompt(), bare_readout).logits - theirs).abs().max() > 1e-3
    read = open_in_process(tmp_path)
    expected = method.P if slots else method.KV
    assert torch.equal(torch.from_numpy(next(iter(read.tensors.values())).array), expected.detach())


NO_FORM = {"dept", "smop", "pt-moe", "attempt"}
"""They shift the words, or make another prompt for each text."""


@pytest.mark.parametrize("name", sorted(REGISTRY))
@torch.no_grad()
def test_every_methods_folded_form_gives_the_same_scores_under_peft(name: str, tmp_path: Path) -> None:
    backbone = backbone_of("llama")
    method = method_of(name, fresh("llama"), m=M).eval()
    random = torch.Generator().manual_seed(3)
    for parameter in method.parameters():
        parameter.add_(0.3 * torch.randn(parameter.shape, generator=random))
    if name == "xprompt":
        method.gamma[1] = 0  # a pruned token
    prompt = compute_static_prompt(method, backbone)
    if name in NO_FORM:
        with pytest.raises(CheckpointError, match="PEFT has no format"):
            write_peft(tmp_path / "x", prompt, home_of("llama"))
        return
    config, _ = write_peft(tmp_path, prompt, home_of("llama"), find_factors(method, prompt))
    backbone, batch, readout = case("llama", method.slots)
    reference, skip = under_peft("llama", tmp_path), method.slots
    if config["peft_type"] == "MULTITASK_PROMPT_TUNING":
        reference = functools.partial(reference, task_ids=torch.zeros(len(batch.labels), dtype=torch.long))
    theirs = last_scores(reference, batch, skip)
    torch.testing.assert_close(backbone(batch, method(batch), readout).logits, theirs, **CLOSE)
    bare_backbone, bare, bare_readout = case("llama", 0)
    assert (bare_backbone(bare, Prompt(), bare_readout).logits - theirs).abs().max() > 1e-3
    assert open_in_process(tmp_path).format == f"PEFT {config['peft_type']}"


@torch.no_grad()
def test_mpt_is_written_as_a_multitask_prompt(tmp_path: Path) -> None:
    backbone, batch, readout = case("gpt2", M)
    spec = backbone.make_spec(64, TASK.label_words, ("one", "two"))
    method = build_method("mpt", spec, {"m": M}).eval()
    for parameter in method.parameters():
        parameter.add_(0.5 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    prompt = compute_static_prompt(method, backbone)
    config, _ = write_peft(tmp_path, prompt, home_of("gpt2"), find_factors(method, prompt))
    assert config["peft_type"] == "MULTITASK_PROMPT_TUNING"
    reference = under_peft("gpt2", tmp_path)
    ids, mask = batch.input_ids[:, M:], batch.mask[:, M:].long()
    logits = reference(input_ids=ids, attention_mask=mask, task_ids=torch.zeros(len(ids), dtype=torch.long)).logits
    at = batch.readout_mask.long().argmax(1)
    theirs = logits[torch.arange(len(ids)), at - ids.shape[1] - M + logits.shape[1]][:, WORDS]
    torch.testing.assert_close(backbone(batch, method(batch), readout).logits, theirs, **CLOSE)
    assert open_in_process(tmp_path).format == "PEFT MULTITASK_PROMPT_TUNING"


def test_folded_methods_are_exported_as_what_they_come_to(tmp_path: Path) -> None:
    """Any method whose prompt is the same for every text; and pruned tokens are left out."""
    rows = torch.randn(1, M, 32)
    keep = torch.tensor([True, False, True, True, False])
    write_peft(tmp_path, Prompt(embeddings=rows, keep=keep), home_of("gpt2"))
    assert torch.equal(torch.from_numpy(open_in_process(tmp_path).tensors["P"].array), rows[0, keep])


def test_what_peft_has_no_form_for_is_refused(tmp_path: Path) -> None:
    rows, kv = torch.randn(1, M, 32), torch.randn(2, 2, 1, 4, M, 8)
    cases = {
        "depends on the input": Prompt(embeddings=rows.expand(2, -1, -1)),
        "changes the input's": Prompt(embeddings=rows, delta=torch.zeros(2, 4, 32)),
        "both together": Prompt(embeddings=rows, key_values=kv),
        "has none": Prompt(),
    }
    for message, prompt in cases.items():
        with pytest.raises(CheckpointError, match=message):
            write_peft(tmp_path / "x", prompt, home_of("gpt2"))
    with pytest.raises(CheckpointError, match="expected a decoder"):
        write_peft(tmp_path / "x", Prompt(key_values=kv), home_of("t5"))
    assert not (tmp_path / "x").exists()
    _, notes = write_peft(tmp_path / "y", Prompt(embeddings=rows), home_of("bert"))
    assert "[CLS]" in notes[0]


def test_routing_methods_are_not_static() -> None:
    backbone = backbone_of("gpt2")
    assert not compute_static_prompt(method_of("smop", backbone), backbone).is_static
    assert compute_static_prompt(method_of("prompt-tuning", backbone), backbone).is_static
    assert isinstance(case("gpt2", 3)[1], Batch)


# Runs that travel.

DEEP = b"[" * 100_000 + b"]" * 100_000 + b"}\n"


@pytest.fixture
def finished(make_run: Callable[..., Run]) -> Run:
    return make_run("finished", name="my run")


def contents(run: Run) -> tuple[Any, ...]:
    status = run.status()
    return run.config, status.state, status.accuracy, status.test, run.history().losses.tolist(), len(run.snapshots())


def test_a_bundle_opens_and_replays_elsewhere(finished: Run, tmp_path: Path) -> None:
    path = tmp_path / "run.zip"
    pack_run(finished, path)
    there = Store(tmp_path / "elsewhere")
    run = unpack_run(there, path)
    assert run.id == finished.id
    assert contents(run) == contents(finished)
    for info in finished.snapshots():
        assert info.path.read_bytes() == (run.path / "snapshots" / info.path.name).read_bytes()
    assert torch.equal(run.prompt()["P"], finished.prompt()["P"])
    assert unpack_run(there, path).id != run.id  # a second copy gets a name of its own
    assert len(there.list()) == 2
    seen = open_in_process(path)
    assert seen.format == "ptviz bundle"
    assert seen.metadata["method"] == "prompt-tuning"
    assert open_in_process(finished.path).format == "ptviz run"


def test_a_run_at_work_is_not_packed(make_run: Callable[..., Run], tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="stop it first"):
        pack_run(make_run("running"), tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_hostile_bundles_are_refused_and_leave_nothing(finished: Run, tmp_path: Path) -> None:
    good, there = tmp_path / "run.zip", Store(tmp_path / "elsewhere")
    pack_run(finished, good)
    files = entries(good)
    config = json.loads(files["config.json"])

    def with_config(**changed: object) -> dict[str, bytes]:
        return {**files, "config.json": json.dumps({**config, **changed}).encode()}

    def with_status(**changed: object) -> dict[str, bytes]:
        return {**files, "status.json": json.dumps({**json.loads(files["status.json"]), **changed}).encode()}

    nan = {"P": torch.full((2, 4), float("nan"))}
    cases = {
        "refused": {**files, "../../evil": b"x"},
        "unexpected file": {**files, "evil.py": b"x"},
        "missing": {name: data for name, data in files.items() if name != "events.jsonl"},
        "download it.*--backbone NAME": with_config(backbone="someone/evil-model"),
        "download it.*--task NAME": with_config(task="hub:someone/evil"),
        "unknown method": with_config(method="no such"),
        "expected": {**files, "events.jsonl": b"[1]\n"},
        "created: expected a number; got a text": with_status(created="x"),
        "created: expected a number <= 4102444800": with_status(created=1e308),
        "accuracy: expected a number or null; got a list": with_status(accuracy=[0.5]),
        "test: expected a number <= 1": with_status(test=70),
        "name: expected a text; got null": with_config(name=None),
        "steps": with_config(training={"steps": "many"}),
        "line 1 of events.jsonl of the bundle: damaged": {
            **files,
            "events.jsonl": b'{"event": "step", "loss": ' + DEEP,
        },
        "line 1 of events.jsonl of the bundle: loss": {
            **files,
            "events.jsonl": b'{"event": "step", "stage": 0, "step": 0, "loss": "x"}\n',
        },
        "nested": {**files, "status.json": b'{"state": ' + DEEP},
        "environment.json of the bundle: lr": {**files, "environment.json": b'{"lr": "fast"}'},
        "NaN": {**files, "prompt.safetensors": save(nan)},
        "cut short": {**files, "resume.safetensors": files["resume.safetensors"][:-3]},
    }
    for said, changed in cases.items():
        path = tmp_path / "bad.zip"
        path.write_bytes(zipped(changed))
        with pytest.raises(ValueError, match=said):
            unpack_run(there, path)
    assert not there.list()
    assert not [*there.root.glob(".new-*")] if there.root.exists() else True


def test_a_path_in_a_bundle_is_never_opened(finished: Run, tmp_path: Path) -> None:
    """It names a file of another machine: the run says so, and how to name one's own copy."""
    path, secret = tmp_path / "run.zip", tmp_path / "secret.csv"
    secret.write_text("text,label\n" + "a,b\nc,d\n" * 20)
    pack_run(finished, path)
    files = entries(path)
    config = {**json.loads(files["config.json"]), "task": str(secret)}
    path.write_bytes(zipped({**files, "config.json": json.dumps(config).encode()}))
    run = unpack_run(Store(tmp_path / "there"), path)
    assert run.config.task == f"elsewhere:{secret}"
    with pytest.raises(ValueError, match=r"on another machine: it is never opened. .*--task PATH"):
        load_task(run.config.task)
    assert unpack_run(Store(tmp_path / "there"), path, task=str(secret)).config.task == str(secret)


def test_a_bundle_cannot_eat_memory(finished: Run, tmp_path: Path) -> None:
    """Neither by events without end, nor by a way of packing that wants gigabytes to be undone."""
    path, there = tmp_path / "run.zip", Store(tmp_path / "elsewhere")
    pack_run(finished, path)
    files = entries(path)
    flood = {"events.jsonl": b"{}\n" * 22_000_000, "padding": os.urandom(3_000_000)}  # below a bomb's ratio
    path.write_bytes(zipped({**files, **flood}, zipfile.ZIP_DEFLATED))
    with pytest.raises(CheckpointError, match=r"events.jsonl has 66.0 MB; .* at most 64 MB"):
        unpack_run(there, path)
    long = {"events.jsonl": b'{"a":"' + b"x" * 300_000 + b'"}\n'}
    path.write_bytes(zipped({**files, **long}))
    with pytest.raises(CheckpointError, match=r"one line of events.jsonl has 0.3 MB"):
        unpack_run(there, path)
    path.write_bytes(zipped(files, zipfile.ZIP_LZMA))
    with pytest.raises(CheckpointError, match="with an unsupported method"):
        unpack_run(there, path)
    assert not there.list()


def test_a_foreign_backbone_is_taken_only_by_name(finished: Run, tmp_path: Path) -> None:
    path = tmp_path / "run.zip"
    pack_run(finished, path)
    files = entries(path)
    config = {**json.loads(files["config.json"]), "backbone": "someone/else"}
    path.write_bytes(zipped({**files, "config.json": json.dumps(config).encode()}))
    assert unpack_run(Store(tmp_path / "there"), path, backbone="someone/else").config.backbone == "someone/else"


def test_a_bundle_is_not_made_a_run_on_something_else(make_run: Callable[..., Run], tmp_path: Path) -> None:
    """A comparison would reuse it as a run on the named task and backbone."""
    own, there = tmp_path / "own.csv", Store(tmp_path / "there")
    own.write_text("text,label\n" + "a,b\nc,d\n" * 20)

    def bundle(**config: Any) -> Path:
        run, path = make_run("finished", **config), tmp_path / "run.zip"
        (run.path / "environment.json").write_text(json.dumps({"tables": tables} if tables else {}))
        pack_run(run, path)
        return path

    tables: list[str] = []
    path = bundle(backbone="tiny-encoder", task="trec6")
    for other, said in (
        ({"backbone": "tiny-decoder"}, "trained on the backbone tiny-encoder, not on tiny-decoder: leave --backbone"),
        ({"task": "mcid"}, "trained on the task trec6, not on mcid: leave --task out"),
        ({"task": str(own)}, "trained on the task trec6, not on .*own.csv: leave --task out"),
    ):
        with pytest.raises(CheckpointError, match=said):
            unpack_run(there, path, **other)
    assert unpack_run(there, path, task="trec6").config.task == "trec6"
    path = bundle(backbone="someone/else", task="/home/theirs.csv")
    with pytest.raises(CheckpointError, match="wrong width for tiny-encoder: its vectors have 32 dimensions, these"):
        unpack_run(there, path, "tiny-encoder", str(own))
    with pytest.raises(CheckpointError, match=r"on the task /home/theirs.csv, not on trec6: name your copy of its"):
        unpack_run(there, path, "someone/else", "trec6")
    assert unpack_run(there, path, "someone/else", str(own)).config.task == str(own)
    tables.append("0123456789abcdef")
    path = bundle(task="/home/theirs.csv")
    with pytest.raises(CheckpointError, match=r"own.csv is not the table that the run was trained on"):
        unpack_run(there, path, task=str(own))
    tables[0] = file_digest(own)
    assert unpack_run(there, bundle(task="/home/theirs.csv"), task=str(own)).config.task == str(own)
    assert len(there.list()) == 3


@pytest.mark.parametrize(("family", "noted"), [("t5", True), ("llama", False)])
def test_an_export_without_pruned_tokens_says_where_it_gives_other_scores(
    family: str, noted: bool, tmp_path: Path
) -> None:
    keep = torch.tensor([True, False, True, True, False])
    for prompt, said in (
        (Prompt(embeddings=torch.ones(1, M, home_of(family).shape.width), keep=keep), noted),
        (Prompt(embeddings=torch.ones(1, M, home_of(family).shape.width)), False),
    ):
        _, notes = write_peft(tmp_path / str(said), prompt, home_of(family))
        assert any("relative positions" in note and "scores with PEFT will differ" in note for note in notes) == said


@torch.no_grad()
def test_the_projector_shows_no_pruned_token_and_keeps_the_numbers_of_the_others(tmp_path: Path) -> None:
    backbone = backbone_of("llama")
    method = method_of("xprompt", backbone, m=M, pruned="drop")
    method.gamma[torch.tensor([1, 3])] = 0
    export_projector(backbone, method, tmp_path / "projector")
    rows = (tmp_path / "projector" / "metadata.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in rows if "\tprompt\t" in row] == ["P[0]", "P[2]", "P[4]"]
