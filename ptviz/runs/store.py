"""The folder of runs: create, find, list, rename and delete runs."""

from __future__ import annotations

import difflib
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptviz import paths
from ptviz.atomic_files import atomic_directory, delete_folder, remove_leftovers
from ptviz.runs import saved_prompts, snapshots
from ptviz.runs.annotations import (
    ANNOTATIONS_FILE,
    Annotations,
    check_notes,
    check_tags,
    read_annotations,
    write_annotations,
)
from ptviz.runs.config import RunConfig, target_slug
from ptviz.runs.environment import BACKBONE_FIELD, TABLES_FIELD
from ptviz.runs.file_lock import FileLock, lock_owner
from ptviz.runs.placement import cluster_resources
from ptviz.runs.queue_order import fair_order
from ptviz.runs.run import (
    Run,
    check_writable,
    is_recorded,
    read_config,
    read_status_file,
    recorded_runs_folder,
)
from ptviz.runs.run_file_io import FileSignature, StoreError, atomic_write, file_signature, to_store_error
from ptviz.runs.status import Status, actual_status
from ptviz.runs.target_run import TARGET_MARK, find_target, split_targets
from ptviz.safe_text import slug
from ptviz.tasks.metrics import ACCURACY, Metric

if TYPE_CHECKING:
    from torch import Tensor

RUN_ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}")
_RUN_FILES = ("config.json", "status.json", "events.jsonl")
"""A folder with one of them is a run, or what is left of one."""
_SUMMARY_FILES = ("config.json", "status.json", "environment.json", ANNOTATIONS_FILE)
"""The files that an entry in the list of runs is made of."""


@dataclass(frozen=True)
class RunSummary:
    """One entry in the list of runs; ``metric`` is that of its task. ``recorded`` runs came with the app.

    ``trained`` is the number of trainable parameters and ``lr`` the learning rate that was used, None before the run
    first ran. ``damage`` says what is wrong with a file of the run that the entry does without. ``tables`` are the
    recorded digests of its own tables, ``backbone_files`` is that of its local backbone.
    """

    id: str
    config: RunConfig
    status: Status
    metric: Metric = ACCURACY
    recorded: bool = False
    annotations: Annotations = field(default_factory=Annotations)
    trained: int | None = None
    lr: float | None = None
    damage: str = ""
    tables: tuple[str, ...] = ()
    backbone_files: str = ""

    @property
    def name(self) -> str:
        """Return the name given by the user, or the id."""
        return self.config.name or self.id


RunSummaries = list[RunSummary]


def summarise(run: Run) -> RunSummary:
    """Return the entry of a run in a list, or of one target task of a run on several.

    Raises:
        StoreError: if its config cannot be read.
    """
    return _make_summary(run, run.status())


def _make_summary(run: Run, status: Status) -> RunSummary:
    annotations, damage, environment = Annotations(), "", {}
    try:
        annotations = run.annotations()
    except StoreError as error:
        damage = str(error)
    with suppress(StoreError):  # Where the file is shown, it is also said that it is damaged.
        environment = run.environment()
    lr = environment.get("lr") or run.config.training.lr
    trained, tables = environment.get("trained"), tuple(environment.get(TABLES_FIELD, ()))
    return RunSummary(
        run.id, run.config, status, run.metric, run.recorded, annotations, trained, lr, damage, tables,
        str(environment.get(BACKBONE_FIELD, "")),
    )  # fmt: skip


@dataclass(frozen=True)
class StoreProblem:
    """An entry of the runs folder that cannot be read as a run, and why."""

    path: Path
    reason: str

    @property
    def id(self) -> str:
        """Return the name of the entry, which is the id of a run."""
        return self.path.name

    @property
    def can_delete(self) -> bool:
        """Return whether ``Store.delete`` deletes it: a damaged run, and nothing else that lies there."""
        return RUN_ID_PATTERN.fullmatch(self.id) is not None and (self.path / "config.json").exists()


class Store:
    """The runs under ``root``, by default ``ptviz.paths.data_dir() / "runs"``. Hidden names belong to the worker.

    The recorded runs of ``ptviz.runs.recorded_runs`` can be read through every store, and changed through none.
    """

    owner = ""
    """Whose the runs are that are created here: see ``Annotations.owner``."""

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = Path(root) if root is not None else paths.data_dir() / "runs"
        self._runs: dict[str, tuple[tuple[int, int], Run]] = {}
        self._summaries: dict[str, tuple[tuple[FileSignature, ...], RunSummary]] = {}
        self._problems: tuple[StoreProblem, ...] = ()
        self._cache_lock = threading.Lock()  # Pages of several tabs share one store.

    @property
    def prompts_folder(self) -> Path:
        """Return the folder of the saved prompts, next to that of the runs."""
        return self.root.with_name("prompts")

    def create(self, config: RunConfig, *, queued: bool = False, start: Mapping[str, Tensor] | None = None) -> Run:
        """Create a run; ``queued`` puts it in the worker's queue, ``start`` is the initial state of a branch.

        A run that starts from a saved prompt gets a copy of it.

        Raises:
            ValueError: if the config is invalid, or the saved prompt does not fit it.
            StoreError: if the folder cannot be written, or the disk is full.
        """
        config = config.checked()
        start = saved_prompts.initial_tensors(self.prompts_folder, config) if config.start is not None else start
        status = Status(
            state="queued" if queued else "stopped",
            reason="" if queued else "not started yet",
            steps=config.training.steps,
            queued=time.time(),
            extensions=len(config.planned),
        )
        try:
            with atomic_directory(self.root) as draft:
                (draft / "snapshots").mkdir()
                atomic_write(draft / "config.json", encode_config(config))
                atomic_write(draft / "status.json", status.to_bytes())
                if start is not None:
                    snapshots.write_tensors(draft / "start.safetensors", start, {})
                self.claim_draft(draft)
                return Run(rename_draft(draft, config))
        except OSError as error:
            raise to_store_error(error, self.root) from error

    def claim_draft(self, draft: Path) -> None:
        """Note in the complete draft of a new run whose it is, whatever an imported file says.

        Raises:
            StoreError: if it cannot be noted.
        """
        found = read_annotations(draft)
        if (found.owner, found.shared) != (self.owner, False):
            write_annotations(draft, replace(found, owner=self.owner, shared=False))

    def may_change(self, id: str) -> bool:
        """Return whether the run ``id`` may be changed through this store: not a recorded one, and not another's."""
        return not is_recorded(self.folder(id))

    def check_unrestricted(self, what: str) -> None:
        """Check that the user of this store may do what concerns all runs; the store of a visitor refuses.

        Raises:
            StoreError: if not, naming ``what``.
        """

    def check_new_saved_prompt(self) -> None:
        """Check that the user of this store may save one more prompt; the store of a visitor has a limit.

        Raises:
            StoreError: if not, with what can be done.
        """

    def get(self, id: str) -> Run:
        """Return the run ``id``, or with ``RUN@TASK`` one target task of a run on several; also a recorded run.

        Raises:
            StoreError: if there is none, or its config cannot be read.
        """
        if TARGET_MARK in str(id):
            whole, _, task = str(id).partition(TARGET_MARK)
            return find_target(self.get(whole), task)
        path = self._existing_folder(id)
        read_config(path)
        folder = path.stat()
        identity = folder.st_dev, folder.st_ino
        with self._cache_lock:
            known = self._runs.get(id)
            if known is None or known[0] != identity:
                known = identity, Run(path)
                self._runs[id] = known
                for old in [*self._runs][:-64]:
                    del self._runs[old]
        return known[1]

    def folder(self, id: str) -> Path:
        """Return where the run ``id`` is, or would be: in the store, else among the recorded runs.

        One target task of a run on several, ``RUN@TASK``, is in the folder of the run.
        """
        name = id.partition(TARGET_MARK)[0]
        own = self.root / name
        if own.is_dir():
            return own
        recorded = recorded_runs_folder() / name
        return recorded if recorded.is_dir() else own

    def _existing_folder(self, id: str) -> Path:
        if not isinstance(id, str) or not RUN_ID_PATTERN.fullmatch(id):
            raise StoreError(f"expected the id of a run (letters, digits, dots, dashes); got {str(id)[:80]!r}")
        path = self.folder(id)
        if not path.is_dir():
            near = difflib.get_close_matches(id, [*_folder_names(self.root), *_folder_names(recorded_runs_folder())], 1)
            hint = f" Did you mean {near[0]}?" if near else f" `ptviz runs` lists the runs in {self.root}."
            raise StoreError(f"there is no run {id!r}.{hint}")
        return path

    def list(self) -> RunSummaries:
        """Return all readable runs of this folder, the newest first.

        ``problems`` then returns the entries that could not be read. ``ptviz.runs.recorded_runs`` lists the
        recorded ones.
        """
        found, problems = [], []
        with self._cache_lock:
            for name in _folder_names(self.root):
                path = self.root / name
                try:
                    found.append(self._read_summary(path))
                except StoreError as error:
                    problems.append(StoreProblem(path, str(error)))
                except Exception as error:  # One damaged run must not hide the others.
                    problems.append(StoreProblem(path, f"{path} cannot be read ({type(error).__name__}: {error})"))
            self._problems = tuple(sorted(problems, key=lambda problem: problem.path))
            names = {summary.id for summary in found}
            self._summaries = {id: known for id, known in self._summaries.items() if id in names}
        return sorted(found, key=lambda summary: (summary.status.created, summary.id), reverse=True)

    def list_targets(self) -> RunSummaries:
        """Return all readable runs, the newest first; one on several tasks has an entry for each target instead."""
        found: RunSummaries = []
        for summary in self.list():
            if not summary.config.more_tasks:
                found.append(summary)
                continue
            with suppress(StoreError):  # It has been deleted since.
                found += [summarise(target) for target in split_targets(self.get(summary.id))]
        return found

    def problems(self) -> tuple[StoreProblem, ...]:
        """Return the entries that the last ``list`` could not read as runs."""
        return self._problems

    def _read_summary(self, path: Path) -> RunSummary:
        if not RUN_ID_PATTERN.fullmatch(path.name):
            raise StoreError(f"{path.name!r} is not a valid run id: expected letters, digits, dots and dashes")
        now = tuple(file_signature(f"{path}{os.sep}{name}") for name in _SUMMARY_FILES)
        known = self._summaries.get(path.name)
        if known is None or known[0] != now:
            known = now, _make_summary(Run(path), read_status_file(path))
            self._summaries[path.name] = known
        # Whether a "running" run is still alive is checked on every call: a crash changes no file.
        status = actual_status(known[1].status, path)
        return known[1] if status is known[1].status else replace(known[1], status=status)

    def queued_runs(self) -> RunSummaries:
        """Return the runs in the queue in their turn: of one owner the oldest first, of several each in turn."""
        return fair_order(self.list())

    def remove_leftovers(self) -> None:
        """Delete what killed processes left among runs, saved prompts, uploads and in the cache.

        Temporary files of living processes stay.
        """
        for folder in (self.root, self.prompts_folder, self.root.with_name("uploads"), paths.cache_dir()):
            remove_leftovers(folder, everywhere=True)
        for name in _folder_names(self.root):
            _remove_marks(self.root / name)

    def rename(self, id: str, name: str) -> None:
        """Change the display name of a run; its id stays.

        Raises:
            StoreError: if there is no such run, it is a recorded one, or it cannot be written.
            ValueError: if the name is too long.
        """
        path = self._existing_folder(id)
        with changing_config(path) as config:
            atomic_write(path / "config.json", encode_config(replace(config, name=name.strip()).checked()))

    def annotate(
        self,
        id: str,
        *,
        tags: Sequence[str] | None = None,
        notes: str | None = None,
        pinned: bool | None = None,
        shared: bool | None = None,
        add_tags: Sequence[str] = (),
        remove_tags: Sequence[str] = (),
    ) -> Annotations:
        """Change the tags, notes or pin of a run, or whether all visitors of a classroom see it.

        None leaves one as it is. ``tags`` takes the place of the run's tags; ``add_tags`` and ``remove_tags`` keep what
        others change at the same time. Returns what the run then has.

        Raises:
            StoreError: if there is no such run, its annotations are damaged, or it cannot be written.
            ValueError: for too many or too long tags, or too long notes.
        """
        path = self._existing_folder(id)
        changes: dict[str, Any] = {}
        if tags is not None:
            changes["tags"] = check_tags([*tags])
        if notes is not None:
            changes["notes"] = check_notes(notes)
        if pinned is not None:
            changes["pinned"] = pinned
        if shared is not None:
            changes["shared"] = shared
        with changing_config(path):  # Two pages may change different ones at the same time.
            found = replace(Run(path).annotations(), **changes)
            if add_tags or remove_tags:
                own = [tag for tag in (*found.tags, *add_tags) if tag not in remove_tags]
                found = replace(found, tags=check_tags(own))
            write_annotations(path, found)
        return found

    def delete(self, id: str) -> None:
        """Delete a run.

        Raises:
            StoreError: if there is no such run, it is a recorded one or being written, or the folder cannot be written.
        """
        path = self._existing_folder(id)
        check_writable(path)
        if not any((path / name).exists() for name in _RUN_FILES):
            raise StoreError(f"{path} is not a run (no config.json), so it was not deleted")
        lock = FileLock(path / "lock")
        if not lock.acquire(wait=1.0):  # The lock of a run that was just stopped is released a moment later.
            raise StoreError(f"run {id} is running: stop it first, then delete it")
        if os.name == "nt":
            lock.release()  # Windows renames no folder with an open file in it.
        try:
            delete_folder(path)
        except OSError as error:
            raise to_store_error(error, path) from error
        finally:
            lock.release()
        self._runs.pop(id, None)


def _folder_names(root: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(root) if not entry.name.startswith(".")]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"the folder of runs {root} cannot be read: {error.strerror or error}") from error


def _remove_marks(folder: Path) -> None:
    """Delete the request to stop and the empty crash report that a killed process left in a run that is not active."""
    lock, crash = FileLock(folder / "lock"), folder / "crash.txt"
    with suppress(StoreError, OSError):
        # The nodes of a cluster may still train a run that no process here writes: its request to stop stays.
        marks = (crash, folder / "stop") if cluster_resources(folder) is None else (crash,)
        left = [mark for mark in marks if mark.exists()]
        if left and lock.acquire(wait=0.0) and read_status_file(folder).state != "queued":
            for mark in left:
                if mark != crash or not mark.stat().st_size:
                    mark.unlink(missing_ok=True)
    lock.release()


@contextmanager
def changing_config(folder: Path) -> Iterator[RunConfig]:
    """Hold the lock under which config.json is read, changed and written; yield what is in it.

    It is not the lock of the run's writer, which does not change its config: a run can be renamed while it is trained.

    Raises:
        StoreError: if another process is changing it, it is a recorded run, or the folder cannot be written.
    """
    check_writable(folder)
    lock = FileLock(folder / "config.lock")
    if not lock.acquire(wait=2.0):
        raise StoreError(f"process {lock_owner(lock.path)} is changing the settings of run {folder.name}: try again")
    try:
        yield read_config(folder)
    finally:
        lock.release()


def new_run_id(config: RunConfig) -> str:
    """Return a readable, unique id: the run's name, or task, method and seed; then four random hex digits."""
    tasks = slug("-".join(map(target_slug, config.targets)), 60)
    words = slug(config.name) if config.name else f"{tasks}-{slug(config.method, 30)}-{config.training.seed}"
    return f"{words}-{secrets.token_hex(2)}"


def rename_draft(draft: Path, config: RunConfig, preferred_id: str | None = None) -> Path:
    """Give a complete draft of a run a free name next to it, ``preferred_id`` if that is free; return the new path.

    Raises:
        StoreError: if no free name is found.
        OSError: if the folder cannot be renamed.
    """
    for name in [*([preferred_id] if preferred_id else []), *(new_run_id(config) for _ in range(100))]:
        path = draft.with_name(name)
        if not path.exists() and not (recorded_runs_folder() / name).exists():
            draft.rename(path)
            return path
    raise StoreError(f"no free name was found in {draft.parent}; delete some runs, or use another folder")


def encode_config(config: RunConfig) -> bytes:
    """Return the content of config.json."""
    return json.dumps(config.to_json(), indent=1, ensure_ascii=False).encode()
