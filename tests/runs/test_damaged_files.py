"""Whatever one file of one run holds: nothing fails with it, and the other runs are there as before."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from typer.main import get_command

from ptviz import cli
from ptviz.experiments.transfer_results import read_transfer_runs, read_transfer_scores
from ptviz.runs import Run, RunConfig, Store, StoreError
from ptviz.runs.archive import pack_run, unpack_run
from ptviz.runs.same_training import is_same_training
from ptviz.runs.saved_prompts import list_saved_prompts
from ptviz.worker.background_jobs import (
    ReferenceJob,
    TransferJob,
    current_job,
    current_reference_job,
    submit_job,
)
from ptviz.worker.directory import WorkerDir
from ptviz.worker.process import mark_dead_runs
from tests.damaged_files import damaged, files_of, make_run, make_saved_prompt, replace_content

QUICK = settings(deadline=None, database=None, suppress_health_check=[*HealthCheck], print_blob=False)

COMMAND = get_command(cli.shell)
"""Built once: to build the command line takes longer than to run a command."""


class Home:
    """A good run, a waiting one, and one to damage."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = Store(path / "runs")
        self.good = make_run(self.store, "good")
        self.waiting = self.store.create(RunConfig("tiny-encoder"), queued=True)
        self.run = make_run(self.store, "to be damaged")
        self.prompt, self.other_prompt = make_saved_prompt(self.store), make_saved_prompt(self.store)
        pack_run(self.run, path / "good.zip")
        with zipfile.ZipFile(path / "good.zip") as archive:
            self.bundle = {name: archive.read(name) for name in archive.namelist()}
        self.contents = {file: file.read_bytes() for file in files_of(self.run)}

    def restore(self, file: Path) -> None:
        replace_content(file, self.contents[file])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("damaged"))


@pytest.fixture(autouse=True)
def _home(place: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTVIZ_HOME", str(place.path))
    monkeypatch.setattr(cli, "shell", COMMAND)


def shell(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run([*words])
    assert "internal error" not in err.getvalue(), err.getvalue()
    return code, out.getvalue(), err.getvalue()


def read_everything(run: Run) -> None:
    """Every reader of a run's files: each gives its value, or one sentence."""
    readers = (
        lambda: run.config, run.status, run.history, run.events, run.snapshots, run.resume_state, run.resume_point,
        run.prompt, run.initial_state, run.annotations, run.environment, run.predictions, lambda: run.snapshot(0, 4),
    )  # fmt: skip
    for read in readers:
        with contextlib.suppress(StoreError):
            read()


def check_others(home: Home) -> None:
    """Nothing notices the damaged run but the list, which says what is wrong with it."""
    store = Store(home.store.root)
    listed = {summary.id for summary in store.list()}
    bad = {problem.id: problem.reason for problem in store.problems()}
    assert listed | set(bad) == {home.good.id, home.waiting.id, home.run.id}
    assert {home.good.id, home.waiting.id} <= listed
    assert [summary.id for summary in store.queued_runs()][-1] == home.waiting.id
    assert all(bad.values())
    code, out, _ = shell("runs", "--json")
    rows = {row["run"]: row for row in json.loads(out)}
    assert (code, set(rows)) == (0, {home.good.id, home.waiting.id, home.run.id})
    assert (rows[home.run.id]["state"] == "unreadable") == (home.run.id in bad)
    code, out, err = shell("runs")
    assert code == 0
    assert out.isascii()
    assert home.run.id in out
    assert all(id in err for id in bad)
    assert (home.run.id in err) == (home.run.id in bad or "status.json is" in rows[home.run.id]["reason"])
    assert shell("show", home.run.id)[0] == (2 if bad else 0)
    with contextlib.redirect_stdout(io.StringIO()):
        mark_dead_runs(store)
    for summary in store.list():
        is_same_training(store, summary, home.good.config)


@settings(QUICK, max_examples=2000)
@given(data=st.data())
def test_a_damaged_run_harms_nothing_else(place: Home, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(sorted(place.contents)))
    content = data.draw(damaged(file.name, place.contents[file]))
    try:
        replace_content(file, content)
        check_others(place)
        read_everything(Run(place.run.path))
    finally:
        for other in place.contents:
            if other == file or other.name == "status.json":
                place.restore(other)


@settings(QUICK, max_examples=300)
@given(data=st.data())
def test_a_damaged_bundle_is_refused_or_whole(
    place: Home, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Either it is refused and nothing is written, or the run is as good as one that was trained here."""
    folder = tmp_path_factory.mktemp("bundle")
    files = {**place.bundle}
    name = data.draw(st.sampled_from(sorted(files)))
    files[name] = data.draw(damaged(name, files[name]))
    with zipfile.ZipFile(folder / "bad.zip", "w") as archive:
        for one, content in files.items():
            archive.writestr(one, content)
    store = Store(folder / "runs")
    try:
        run = unpack_run(store, folder / "bad.zip", task="trec6")
    except ValueError:
        assert not store.root.exists() or not [*store.root.iterdir()]
        return
    assert [summary.id for summary in store.list()] == [run.id]
    assert store.problems() == ()
    assert run.history().damaged_lines == 0
    assert "derived from the events" not in run.status().reason
    run.environment(), run.annotations(), run.resume_point(), run.prompt()


@settings(QUICK, max_examples=200)
@given(data=st.data())
def test_a_damaged_saved_prompt_hides_no_other(place: Home, data: st.DataObject) -> None:
    folder = place.store.prompts_folder / place.prompt
    file = folder / data.draw(st.sampled_from(["about.json", "prompt.safetensors"]))
    content = file.read_bytes()
    try:
        replace_content(file, data.draw(damaged(file.name, content)))
        assert place.other_prompt in {one.id for one in list_saved_prompts(place.store.prompts_folder)}
    finally:
        replace_content(file, content)


@settings(QUICK, max_examples=300)
@given(data=st.data())
def test_damaged_files_of_the_worker_stop_nobody(place: Home, data: st.DataObject) -> None:
    """Its request queue, its info file, the order of measurements and their record."""
    worker = WorkerDir.of_store(place.store.root).create()
    submit_job(place.store, TransferJob("gain", (place.good.id,)))
    cell = {"run": "a", "task": "b", "rows": 2, "accuracy": 0.5, "loss": 1.0, "stamp": ""}
    trial = {"start": "a", "task": "b", "rows": 2, "steps": 4, "seed": 0, "evaluated": [0, 4], "accuracies": [0.1, 0.2]}
    info = {"pid": 1, "run": None, "backbone": "x", "version": "0", "built": 1.0, "updated": 2.0}
    contents: dict[Path, Any] = {
        worker.info_file: info,
        place.store.root / ".transfer-order.json": json.loads((place.store.root / ".transfer-order.json").read_bytes()),
        place.store.root / ".reference-order.json": asdict(
            ReferenceJob.of_configs(["lora"], [RunConfig("tiny-encoder", "mcid")])
        ),
        place.store.root / ".transfer.json": {"cells": [cell], "trials": [trial]},
        worker.requests.folder / "00000000000000000001-00000000.letter": {"kind": "x", "body": {}, "expires": 4e9},
    }
    file = data.draw(st.sampled_from(sorted(contents)))
    file.write_bytes(data.draw(damaged(f"{file.stem}.json", json.dumps(contents[file]).encode())))
    good = worker.requests.post("predict", {"run": "x"}, 60)
    try:
        assert [request.id for request in worker.requests.take_requests()][-1] == good
        current_job(place.store)
        if (job := current_reference_job(place.store)) is not None:
            with contextlib.suppress(ValueError, TypeCheckError):  # The second by the types that tests check.
                job.configs()
        with contextlib.suppress(StoreError):
            read_transfer_scores(place.store), read_transfer_runs(place.store)
    finally:
        file.unlink(missing_ok=True)


def test_predictions_with_damaged_metadata_are_refused(place: Home) -> None:
    path = place.run.path / "predictions.parquet"
    table = pq.read_table(path)
    metadata = json.loads(table.schema.metadata[b"pandas"])
    for column in metadata["columns"]:
        del column["pandas_type"]
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({b"pandas": json.dumps(metadata)}), buffer)
    try:
        replace_content(path, buffer.getvalue())
        with pytest.raises(StoreError, match="damaged or cut short"):
            Run(place.run.path).predictions()
    finally:
        place.restore(path)
