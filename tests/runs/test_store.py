from __future__ import annotations

import json
import os
import re
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptviz import atomic_files
from ptviz.atomic_files import temporary_path
from ptviz.runs import Run, RunConfig, RunWriter, Status, Store, StoreError, file_lock
from ptviz.runs.failure_messages import oom_kill_count
from ptviz.runs.file_lock import FileLock
from ptviz.runs.placement import ClusterResources, place_on_cluster
from ptviz.runs.prepare_resume import prepare_resume
from ptviz.runs.run_file_io import atomic_write
from ptviz.runs.store import new_run_id, read_config
from ptviz.training import Event
from ptviz.training.events import event_to_json


def encode_events(events: list[Event]) -> bytes:
    return b"".join(json.dumps(event_to_json(event)).encode() + b"\n" for event in events)


def test_a_new_run_is_whole(store: Store, config: RunConfig) -> None:
    run = store.create(config)
    assert re.fullmatch(r"fake-prompt-tuning-0-[0-9a-f]{4}", run.id)
    assert store.get(run.id).config == config.checked()
    assert run.status().state == "stopped"
    assert run.status().steps == 30
    assert (run.events(), run.snapshots(), run.resume_point(), run.predictions()) == (([], 0), [], None, None)
    assert len(run.history()) == 0
    with pytest.raises(StoreError, match="has no prompt yet"):
        run.prompt()
    assert [p.name for p in store.root.iterdir()] == [run.id]


def test_every_byte_prefix_of_the_events_is_readable(tmp_path: Path, events: list[Event]) -> None:
    whole = encode_events(events)
    path = tmp_path / "run"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(RunConfig().to_json()))
    growing = Run(path)
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    offset, gathered = 0, []
    for size in range(len(whole) + 1):
        (path / "events.jsonl").write_bytes(whole[:size])
        lines = sum(end <= size for end in ends)
        assert Run(path).events()[0] == events[:lines]
        fresh, offset = growing.events(offset)
        gathered += fresh
        assert gathered == events[:lines]
        assert len(growing.history()) == len(Run(path).history())
        Run(path).status()
    assert Run(path).status().state == "finished"
    assert growing.history().losses.tolist() == [1.5, 1.25, 1.0]
    assert growing.history().evaluation_steps == (0, 3)
    assert growing.history().finished == events[-1]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=st.binary(max_size=60), place=st.integers(0, 10))
def test_a_damaged_line_hides_nothing_else(tmp_path: Path, events: list[Event], junk: bytes, place: int) -> None:
    lines = encode_events(events).splitlines(keepends=True)
    lines.insert(min(place, len(lines)), b'{"event": ' + junk.replace(b"\n", b"").replace(b"\r", b"") + b"\n")
    (tmp_path / "events.jsonl").write_bytes(b"".join(lines))
    assert len(Run(tmp_path).history()) == 3


def test_a_step_told_twice_counts_once_and_the_later_stands(tmp_path: Path, events: list[Event]) -> None:
    again = [replace(event, loss=9.0) for event in events if event_to_json(event).get("step") == 2]
    mark = b'{"event": "resumed", "stage": 0, "step": 1, "steps": 3}\n'
    run = Run(tmp_path)
    (tmp_path / "events.jsonl").write_bytes(encode_events(events))
    assert run.history().finished is not None
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(mark)
    back = run.history()
    assert (back.steps.tolist(), back.finished) == ([0, 1], None)
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(encode_events(again))
    assert run.history().losses.tolist() == [1.5, 1.25, 9.0]
    np.testing.assert_array_equal(run.history().global_steps, [0, 1, 2])


def test_a_file_made_anew_is_read_from_its_start(tmp_path: Path, events: list[Event]) -> None:
    run = Run(tmp_path)
    (tmp_path / "events.jsonl").write_bytes(encode_events(events))
    assert len(run.history()) == 3
    (tmp_path / "events.jsonl").write_bytes(encode_events(events[:2]))
    assert len(run.history()) == 1
    assert run.events(after=10**6)[0] == events[:2]


@pytest.mark.parametrize(
    "id", ["../other", "..", ".", "", "/etc", "a/b", "a\\b", ".worker", "a\0b", "x" * 300, "no-such-run-0-0000"]
)
def test_ids_cannot_leave_the_folder(store: Store, config: RunConfig, id: str) -> None:
    store.create(config)
    (store.root.parent / "other").mkdir()
    (store.root.parent / "other" / "config.json").write_text(json.dumps(config.to_json()))
    for ask in (store.get, store.delete, lambda id: store.rename(id, "x")):
        with pytest.raises(StoreError, match=r"expected the id of a run|there is no run"):
            ask(id)
    assert (store.root.parent / "other").exists()


def test_an_unknown_run_gets_a_hint(store: Store, config: RunConfig) -> None:
    run = store.create(config)
    with pytest.raises(StoreError, match=f"Did you mean {run.id}"):
        store.get(run.id + "x")


@given(name=st.text(max_size=120), task=st.text(min_size=1, max_size=200))
def test_ids_are_safe_folder_names(name: str, task: str) -> None:
    assert re.fullmatch(r"[a-z0-9-]{5,100}", new_run_id(RunConfig(task=task, name=name)))


@pytest.mark.parametrize(
    ("task", "start"),
    [
        ("/data/My Mails.csv", "my-mails-"),
        ("C:\\x\\y.TSV", "y-"),
        ("hub:org/ag_news:plain", "ag-news-plain-"),
        ("trec6", "trec6-"),
    ],
)
def test_ids_are_readable(task: str, start: str) -> None:
    assert new_run_id(RunConfig(task=task)).startswith(start + "prompt-tuning-0-")


def test_rename_keeps_the_id(store: Store, config: RunConfig) -> None:
    run = store.create(config)
    store.rename(run.id, "  <b>Tom's</b> ../run ")
    assert store.list()[0].name == "<b>Tom's</b> ../run"
    assert store.get(run.id).config == replace(config.checked(), name="<b>Tom's</b> ../run")
    with pytest.raises(ValueError, match="at most 120"):
        store.rename(run.id, "x" * 200)


def test_a_run_is_renamed_while_it_is_trained(store: Store, config: RunConfig) -> None:
    run = store.create(config)
    with RunWriter(run):
        store.rename(run.id, "new")
    assert run.config.name == "new"


def test_a_rename_and_an_extension_at_once_both_count(
    store: Store, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rename has read the config when the extension comes to write it."""
    run, steps = store.create(config), config.training.steps
    extension = threading.Thread(target=prepare_resume, args=(run, 5))

    def write(path: Path, data: bytes) -> None:
        extension.start()
        extension.join(0.5)  # Ends earlier only if nothing makes it wait for the rename.
        atomic_write(path, data)

    monkeypatch.setattr("ptviz.runs.store.atomic_write", write)
    store.rename(run.id, "new")
    extension.join()
    assert (run.config.name, run.config.training.steps) == ("new", steps + 5)


def test_delete_refuses_a_running_run(store: Store, config: RunConfig) -> None:
    run = store.create(config)
    with RunWriter(run), pytest.raises(StoreError, match="stop it first"):
        store.delete(run.id)
    store.delete(run.id)
    assert store.list() == []
    assert list(store.root.iterdir()) == []


def test_what_is_left_of_a_run_can_be_deleted(store: Store, config: RunConfig) -> None:
    run = store.create(config)
    (run.path / "config.json").unlink()
    assert store.list() == []
    store.delete(run.id)
    assert list(store.root.iterdir()) == []


def test_a_run_that_is_deleted_while_a_writer_waits_for_its_lock_is_not_written(
    store: Store, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.create(config)
    real = file_lock._lock_file

    def delete_first(file: int, shared: bool) -> None:
        monkeypatch.undo()
        store.delete(run.id)
        real(file, shared)

    monkeypatch.setattr(file_lock, "_lock_file", delete_first)
    with pytest.raises(StoreError, match="was deleted"):
        RunWriter(run)
    assert list(store.root.iterdir()) == []


def test_delete_removes_a_link_but_not_what_it_points_to(store: Store, config: RunConfig, tmp_path: Path) -> None:
    run = store.create(config)
    run.path.rename(tmp_path / "elsewhere")
    run.path.symlink_to(tmp_path / "elsewhere")
    assert store.list()[0].id == run.id
    store.delete(run.id)
    assert (tmp_path / "elsewhere" / "config.json").exists()
    assert store.list() == []


def test_foreign_things_are_left_alone_and_told(store: Store, config: RunConfig) -> None:
    good = store.create(config)
    (store.root / "holiday").mkdir()
    (store.root / "notes.txt").write_text("hello")
    (store.root / ".DS_Store").write_text("")
    cut = store.create(config)
    (cut.path / "config.json").write_bytes((cut.path / "config.json").read_bytes()[:20])
    newer = store.create(config)
    (newer.path / "config.json").write_text('{"warp": 9}')
    assert [summary.id for summary in store.list()] == [good.id]
    reasons = {problem.path.name: problem.reason for problem in store.problems()}
    assert set(reasons) == {"holiday", "notes.txt", cut.id, newer.id}
    assert "expected a file config.json" in reasons["holiday"]
    assert "damaged or cut short" in reasons[cut.id]
    assert "a newer ptviz?" in reasons[newer.id]
    with pytest.raises(StoreError, match="damaged or cut short"):
        store.get(cut.id)
    with pytest.raises(StoreError, match="is not a run"):
        store.delete("holiday")
    store.delete(cut.id)


@pytest.mark.parametrize("content", [b"", b'{"state": "run', b"[]", b'{"state": "dancing"}', b"\xff\xfe"])
def test_a_damaged_status_is_read_off_the_events(
    store: Store, config: RunConfig, events: list[Event], content: bytes
) -> None:
    run = store.create(config)
    (run.path / "events.jsonl").write_bytes(encode_events(events[:-1]))
    (run.path / "status.json").write_bytes(content)
    status = run.status()
    assert (status.state, status.step, status.steps, status.accuracy, status.zero_shot) == ("stopped", 2, 3, 0.75, 0.5)
    assert "status.json is damaged: " in status.reason
    assert "derived from the events" in status.reason
    (run.path / "events.jsonl").write_bytes(encode_events(events))
    assert store.list()[0].status.state == "finished"


def test_running_means_that_somebody_writes(store: Store, config: RunConfig) -> None:
    run = store.create(config)
    (run.path / "status.json").write_bytes(
        Status("running", saved_step=20, step=24, oom_kills=oom_kill_count()).to_bytes()
    )
    store.list()
    assert run.status().state == "stopped"
    assert run.status().reason == "the worker was killed; resume continues from step 20"
    lock = FileLock(run.path / "lock")
    assert lock.acquire()
    assert run.status().state == store.list()[0].status.state == "running"
    (run.path / "stop").touch()
    assert run.status().state == store.list()[0].status.state == "stopping"
    lock.release()
    assert run.status().state == store.list()[0].status.state == "stopped"


def test_what_killed_processes_left_is_removed_everywhere(
    store: Store, config: RunConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PTVIZ_CACHE", str(tmp_path / "cache"))
    run, living = store.create(config), store.create(config)
    start = atomic_files._start_time(os.getpid())
    monkeypatch.setattr(atomic_files, "_own_start_time", lambda pid: start - 60)  # as if by a process that has ended
    folders = (store.root, run.path, run.path / "snapshots", store.prompts_folder, tmp_path / "cache" / "tasks")
    for folder in (*folders, store.root / ".worker" / "mail"):
        folder.mkdir(parents=True, exist_ok=True)
        temporary_path(folder / "file").touch()
        temporary_path(folder / "new").mkdir()
    for mark in ("crash.txt", "stop"):
        (run.path / mark).touch()
        (living.path / mark).touch()
    with RunWriter(living):
        store.remove_leftovers()
    assert [path for path in tmp_path.rglob("*.part") if path.exists()] == []
    assert not {"crash.txt", "stop"} & {path.name for path in run.path.iterdir()}
    assert {"crash.txt", "stop"} < {path.name for path in living.path.iterdir()}, "it is being written"
    assert len(store.list()) == 2
    assert store.problems() == ()


def test_a_report_of_a_crash_and_a_request_to_a_queued_run_stay(store: Store, config: RunConfig) -> None:
    crashed, queued = store.create(config), store.create(config, queued=True)
    (crashed.path / "crash.txt").write_text("Fatal Python error: Segmentation fault")
    (queued.path / "stop").touch()
    store.remove_leftovers()
    assert (crashed.path / "crash.txt").exists()
    assert (queued.path / "stop").exists()


def test_the_queue_is_oldest_first(store: Store, config: RunConfig) -> None:
    runs = [store.create(config, queued=True) for _ in range(3)]
    store.create(config)
    assert [summary.id for summary in store.queued_runs()] == [run.id for run in runs]
    assert [summary.id for summary in Store(store.root).queued_runs()] == [run.id for run in runs]


def test_listing_500_runs_reads_only_what_changed(
    store: Store, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.create(config)
    for i in range(499):
        path = store.root / f"run-{i:03d}"
        path.mkdir()
        for name in ("config.json", "status.json"):
            (path / name).write_bytes((first.path / name).read_bytes())
    assert len(store.list()) == 500
    read: list[Path] = []
    monkeypatch.setattr("ptviz.runs.store.read_config", lambda path: (read.append(path), read_config(path))[1])
    store.list()
    assert not read, "what did not change is not read again"
    store.rename("run-007", "bond")
    assert "bond" in {summary.name for summary in store.list()}
    assert {path.name for path in read} == {"run-007"}


def test_status_and_environment_are_read_again_only_if_they_changed(
    store: Store, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, read = store.create(config), []
    (run.path / "environment.json").write_text('{"lr": 0.5}')
    monkeypatch.setattr("ptviz.runs.run.read_small_file", lambda path: (read.append(path.name), path.read_bytes())[1])
    for _ in range(3):
        assert run.status().state == "stopped"
        assert Run(run.path).environment()["lr"] == 0.5
        run.environment()["lr"] = 7  # A reader's own copy.
    assert sorted(read) == ["config.json", "environment.json", "status.json"]
    (run.path / "environment.json").write_text('{"lr": 0.25}')
    (run.path / "status.json").write_bytes(run.status().with_changes(state="failed").to_bytes())
    assert (run.status().state, run.environment()["lr"]) == ("failed", 0.25)
    (run.path / "status.json").unlink()
    assert run.status().is_derived


def test_a_missing_folder_is_an_empty_store(tmp_path: Path) -> None:
    assert Store(tmp_path / "nowhere").list() == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, config: RunConfig) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="could not be written: Not a directory"):
        Store(tmp_path / "file" / "runs").create(config)


def test_the_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTVIZ_HOME", str(tmp_path))
    assert Store().root == tmp_path / "runs"


def test_reading_needs_no_right_to_write(store: Store, config: RunConfig) -> None:
    run = store.create(config)
    before = {p: p.stat().st_mtime_ns for p in run.path.rglob("*")}
    run.status(), run.history(), run.events(), run.snapshots(), store.list()
    assert {p: p.stat().st_mtime_ns for p in run.path.rglob("*")} == before
    assert os.listdir(store.root) == [run.id]  # noqa: PTH208


def test_the_request_to_stop_a_run_of_a_cluster_is_no_leftover(store: Store, config: RunConfig) -> None:
    """The node that trains it still looks for it when the process that collected its files is gone."""
    here, there = store.create(config), store.create(config)
    place_on_cluster(there.path, ClusterResources())
    for run in (here, there):
        (run.path / "stop").write_text("enough")
        (run.path / "crash.txt").touch()
    store.remove_leftovers()
    assert [(run.path / "stop").exists() for run in (here, there)] == [False, True]
    assert not any((run.path / "crash.txt").exists() for run in (here, there))


def test_fields_keep_their_names_on_disk() -> None:
    status = Status("stopped", saved_step=5, oom_kills=2)
    assert (status.to_json()["kept"], status.to_json()["kills"]) == (5, 2)
    assert Status.from_json(status.to_json()) == status
