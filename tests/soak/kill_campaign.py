"""Kill a process at each point at which it changes the disk, and check that nothing was lost or left.

``python -m tests.soak.kill_campaign --points 100`` spreads that many kills evenly over all points of all operations.
Each is killed before, within or after a call: opening, writing, syncing, renaming or deleting a file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from safetensors.torch import load_file

from ptviz.atomic_files import atomic_export
from ptviz.backbone_shape import BackboneShape
from ptviz.checkpoints.formats.peft import CONFIG_FILE, WEIGHT_FILES
from ptviz.checkpoints.writers.peft import TrainedBackbone, write_peft
from ptviz.engine.predictions import make_missing_predictions
from ptviz.engine.prompt_export import write_arrays
from ptviz.engine.train_job import execute_run
from ptviz.prompt import Prompt
from ptviz.runs import Run, Store, saved_prompts
from ptviz.runs.archive import pack_run, unpack_run
from ptviz.runs.prepare_resume import prepare_resume
from ptviz.runs.writer import mark_if_dead
from tests.soak.fake_store import EXTENSION, STEPS, check_finished, make_cache, named
from tests.soak.fault_points import FaultPoints

REAL_WRITE = os.write
MOMENTS = ("before", "within", "after")


class Kill(NamedTuple):
    """The call at which a process is killed, and whether before, within (half of a write) or after it."""

    call: int
    moment: str


class Home:
    """A folder of runs for one kill: a finished run, a saved prompt and a bundle are there before."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store(root / "home" / "runs")
        self.outside = root / "outside"
        self.bundle = self.outside / "there.zip"

    @property
    def done(self) -> Run:
        """The run that was finished before."""
        return next(self.store.get(summary.id) for summary in self.store.list() if summary.name == "run 0")

    @classmethod
    def prepare(cls, root: Path) -> Home:
        """Make the home that each kill starts from a copy of."""
        home = cls(root)
        run = home.store.create(named(0))
        execute_run(run.path, make_cache())
        home.outside.mkdir(parents=True)
        pack_run(run, home.bundle)
        write_exports(home)
        saved_prompts.save_prompt(home.store.prompts_folder, {"embeddings": torch.ones(3, 8)}, "one", "", None, {})
        return home


def write_exports(home: Home) -> None:
    """Export a prompt in every format that the shell offers, over earlier exports if there are any."""
    tensor = home.done.prompt()["P"]
    for name in ("npz", "safetensors"):
        write_arrays(home.outside / f"a.{name}", name, {"P": tensor}, {"P": ["m", "d"]})
    shape = BackboneShape(width=8, sites=2, heads=2, head_width=4)
    with atomic_export(home.outside / "peft", marker=CONFIG_FILE) as draft:
        write_peft(draft, Prompt(embeddings=tensor[None]), TrainedBackbone("fake", "decoder", shape))


def check_exports(home: Home) -> None:
    """Check that each export is whole."""
    tensor = home.done.prompt()["P"]
    with np.load(home.outside / "a.npz") as file:
        assert np.array_equal(file["P"], tensor.numpy())
    assert torch.equal(load_file(home.outside / "a.safetensors")["P"], tensor)
    assert json.loads((home.outside / "peft" / CONFIG_FILE).read_bytes())["peft_type"] == "PROMPT_TUNING"
    assert torch.equal(load_file(home.outside / "peft" / WEIGHT_FILES[0])["prompt_embeddings"], tensor)


@dataclass(frozen=True)
class Operation:
    """What is killed, and what must hold afterwards, given a run that was never disturbed."""

    work: Callable[[Home], None]
    check: Callable[[Home, Home], None]


def _others(home: Home) -> list[Run]:
    return [home.store.get(summary.id) for summary in home.store.list() if summary.name != "run 0"]


def _train(home: Home) -> None:
    execute_run(home.store.create(named(1)).path, make_cache())


def _check_trained(home: Home, whole: Home) -> None:
    runs = _others(home)
    assert len(runs) <= 1, "half a run"
    for run in runs:
        if run.status().state != "finished":
            prepare_resume(run)
            execute_run(run.path, make_cache())
        check_finished(run, whole.done)


def _extend(home: Home) -> None:
    prepare_resume(home.done, EXTENSION)
    execute_run(home.done.path, make_cache())


def _check_extended(home: Home, whole: Home) -> None:
    run = home.done
    status, config = run.status(), run.config
    assert config.training.steps == (STEPS + EXTENSION if config.planned else STEPS)
    assert status.steps == config.training.steps, "status and config disagree"
    if status.state == "finished" and not config.planned:
        check_finished(run, whole.done)
    if status.state != "finished":
        prepare_resume(run)
        execute_run(run.path, make_cache())
    if not config.planned:
        prepare_resume(run, EXTENSION)
        execute_run(run.path, make_cache())
    check_finished(run, next(run for run in _others(whole) if run.config.name == "run 2"))


def _pack(home: Home) -> None:
    pack_run(home.done, home.bundle)


def _check_packed(home: Home, whole: Home) -> None:
    with zipfile.ZipFile(home.bundle) as archive:
        assert archive.testzip() is None
    pack_run(home.done, home.bundle)


def _unpack(home: Home) -> None:
    unpack_run(home.store, home.bundle, backbone="fake", task="fake")


def _check_unpacked(home: Home, whole: Home) -> None:
    assert len(home.store.list()) in (1, 2)
    for summary in home.store.list():
        run = home.store.get(summary.id)
        assert torch.equal(run.prompt()["P"], whole.done.prompt()["P"])
        assert len(run.snapshots()) == len(whole.done.snapshots())


def _delete(home: Home) -> None:
    home.store.delete(home.done.id)


def _check_deleted(home: Home, whole: Home) -> None:
    for summary in home.store.list():
        check_finished(home.store.get(summary.id), whole.done)
        home.store.delete(summary.id)
    assert [path for path in home.store.root.iterdir() if not path.name.startswith(".")] == []


def _rename(home: Home) -> None:
    home.store.rename(home.done.id, "run 0")


def _check_renamed(home: Home, whole: Home) -> None:
    check_finished(home.done, whole.done)


def _save_and_delete_prompt(home: Home) -> None:
    folder = home.store.prompts_folder
    saved_prompts.save_prompt(folder, {"embeddings": torch.zeros(3, 8)}, "two", "", None, {})
    saved_prompts.delete_saved_prompt(folder, saved_prompts.list_saved_prompts(folder)[-1].id)


def _check_prompts(home: Home, whole: Home) -> None:
    folder = home.store.prompts_folder
    listed = saved_prompts.list_saved_prompts(folder)
    assert {path.name for path in folder.iterdir()} == {prompt.id for prompt in listed}
    for prompt in listed:
        assert saved_prompts.load_prompt_tensors(folder, prompt.id)["embeddings"].shape == (3, 8)


def _predict(home: Home) -> None:
    (home.done.path / "predictions.parquet").unlink(missing_ok=True)
    list(make_missing_predictions(home.done, make_cache()))


def _check_predicted(home: Home, whole: Home) -> None:
    list(make_missing_predictions(home.done, make_cache()))
    check_finished(home.done, whole.done)


def _check_exported(home: Home, whole: Home) -> None:
    check_exports(home)
    write_exports(home)
    check_exports(home)


OPERATIONS = {
    "train": Operation(_train, _check_trained),
    "extend": Operation(_extend, _check_extended),
    "bundle": Operation(_pack, _check_packed),
    "import": Operation(_unpack, _check_unpacked),
    "delete": Operation(_delete, _check_deleted),
    "rename": Operation(_rename, _check_renamed),
    "prompts": Operation(_save_and_delete_prompt, _check_prompts),
    "predictions": Operation(_predict, _check_predicted),
    "exports": Operation(write_exports, _check_exported),
}


def list_points(operation: Operation, home: Home) -> list[Kill]:
    """Return every point at which the operation can be killed; it is done in another process to find them."""
    reader, writer = os.pipe()

    def work() -> None:
        names = []

        def fault(number: int, name: str, call: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
            names.append(name)
            return call()

        with FaultPoints(fault):
            operation.work(home)
        os.write(writer, json.dumps(names).encode())

    assert _in_child(work) == 0
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        names = json.load(file)
    return [
        Kill(i, moment) for i, name in enumerate(names) for moment in MOMENTS if moment != "within" or name == "write"
    ]


def kill_at(operation: Operation, home: Home, kill: Kill) -> None:
    """Do the operation in another process, which is killed at a point."""

    def fault(number: int, name: str, call: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
        if number != kill.call:
            return call()
        try:
            if kill.moment == "within":
                REAL_WRITE(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            elif kill.moment == "after":
                call()
        finally:  # the call may fail: making a folder that exists, say
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        with FaultPoints(fault):
            operation.work(home)

    assert (status := _in_child(work)) == -signal.SIGKILL, f"it ended with {status} before"


def _in_child(work: Callable[[], None]) -> int:
    """Do some work in a process of its own; return its exit status, negative for a signal."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def check(operation: Operation, home: Home, whole: Home) -> None:
    """Check what holds after every kill, then what holds after this operation's."""
    home.store = Store(home.store.root)
    for summary in home.store.list():
        mark_if_dead(home.store.get(summary.id))
    assert home.store.problems() == (), home.store.problems()
    home.store.remove_leftovers()
    left = [path for path in (home.root / "home").rglob("*") if path.name.endswith(".part")]
    assert left == [], left
    for run in (home.store.get(summary.id) for summary in home.store.list()):
        status = run.status()
        assert status.state in ("stopped", "finished"), status
        assert run.history().damaged_lines == 0
        assert not (run.path / "crash.txt").exists()
        assert not (run.path / "stop").exists()
        if status.state == "finished":
            assert len(run.history().steps) == run.config.training.steps
            assert (run.path / "prompt.safetensors").exists()
    operation.check(home, whole)
    left = [path for path in home.root.rglob("*") if path.name.endswith(".part")]
    assert left == [], left


def choose_kills(every: list[tuple[str, Kill]], points: int, seed: int) -> list[tuple[str, Kill]]:
    """Return some of all points, evenly spread."""
    start, count = random.Random(seed).random(), min(points, len(every))
    return [every[int((start + i) * len(every) / count)] for i in range(count)]


def run_campaign(folder: Path, points: int, seed: int = 0, names: tuple[str, ...] = tuple(OPERATIONS)) -> Counter[str]:
    """Kill operations at some points; return the number of kills by operation.

    Raises:
        AssertionError: if something was lost, damaged or left, naming the operation, the call and the moment.
    """
    os.environ.update(PTVIZ_HOME=str(folder / "nowhere"), PTVIZ_CACHE=str(folder / "cache"))
    template, whole = Home.prepare(folder / "template"), Home.prepare(folder / "whole")
    extended = whole.store.create(named(2))
    execute_run(extended.path, make_cache())
    prepare_resume(extended, EXTENSION)
    execute_run(extended.path, make_cache())
    every = [
        (name, kill) for name in names for kill in list_points(OPERATIONS[name], _copy(template, folder / "points"))
    ]
    killed: Counter[str] = Counter()
    for name, kill in choose_kills(every, points, seed):
        home = _copy(template, folder / "one")
        try:
            kill_at(OPERATIONS[name], home, kill)
            killed[name] += 1
            check(OPERATIONS[name], home, whole)
        except Exception as error:
            raise AssertionError(f"{name}, killed {kill.moment} call {kill.call}: {error!r}") from error
    return killed


def _copy(template: Home, root: Path) -> Home:
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(template.root, root)
    return Home(root)


def main() -> None:
    """Run the campaign and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=100, help="kills; more than there are points: all of them")
    parser.add_argument("--seed", type=int, default=0, help="where the evenly spread points begin")
    parser.add_argument("--operation", action="append", choices=list(OPERATIONS), help="only this one; may be repeated")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ptviz-kills-") as folder, mock.patch.dict(os.environ):
        began = time.perf_counter()
        names = tuple(options.operation or OPERATIONS)
        killed = run_campaign(Path(folder) / "homes", options.points, options.seed, names)
        print(f"{killed.total()} kills in {time.perf_counter() - began:.0f} s, nothing lost, damaged or left:")
        for name, count in killed.items():
            print(f"  {name:<12} {count}")


if __name__ == "__main__":
    sys.exit(main())
