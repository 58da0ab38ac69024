"""Executor on this machine: queue, stop and resume runs, ask questions, and start the worker process."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptviz.executors.store_executor import StoreExecutor
from ptviz.runs import saved_prompts
from ptviz.runs.config import RunConfig, with_absolute_paths
from ptviz.runs.placement import place_locally
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import StoreError, to_store_error
from ptviz.runs.saved_prompts import SAVED_PREFIX
from ptviz.runs.status import Status
from ptviz.runs.store import Store
from ptviz.worker.directory import EXIT_BUSY, WorkerDir, WorkerInfo, code_modified_at, process_command

if TYPE_CHECKING:
    from torch import Tensor

_MAX_LOG_BYTES = 1 << 20


class _WorkerProcess(subprocess.Popen[bytes]):
    """A worker started by this process and meant to outlive it."""

    def __del__(self) -> None:
        """Suppress the warning that the process still runs."""


_WORKER_PROCESSES: dict[Path, _WorkerProcess] = {}
"""Workers started by this process, by their folder of runs; they may outlive the executor that started them."""
_START_LOCK = threading.Lock()


class LocalExecutor(StoreExecutor):
    """Trains runs on this machine, in one worker process per folder of runs, which outlives its starter.

    A worker that this executor starts frees its models after ``unload_after`` idle seconds and ends after
    ``exit_after``; by default as ``PTVIZ_WORKER_UNLOAD_AFTER`` and ``PTVIZ_WORKER_EXIT_AFTER`` say, or 300 and 600.
    """

    def __init__(
        self, store: Store | None = None, *, unload_after: float | None = None, exit_after: float | None = None
    ) -> None:
        self.store = store or Store()
        self.worker_dir = WorkerDir.of_store(self.store.root)
        self._idle_limits = {"--unload-after": unload_after, "--exit-after": exit_after}
        self._outdated_pids: set[int] = set()

    def predict(
        self, id: str, texts: Sequence[str], stage: int | None = None, step: int | None = None, timeout: float = 60.0
    ) -> dict[str, Any]:
        """Return the answers to texts with and without a run's prompt.

        Without ``step``: the newest snapshot of a running run, the best prompt of one that has ended.

        Returns:
            The answer of ``ptviz.engine.predictions.answer_texts``.

        Raises:
            StoreError: if the run has no such prompt, or the worker does not answer within ``timeout`` seconds.
        """
        return self.ask("predict", id, texts=list(texts), stage=stage, step=step, timeout=timeout)

    def ask(self, kind: str, run: str = "", *, timeout: float = 120.0, **question: Any) -> dict[str, Any]:
        """Return the worker's answer to a question about a run or a saved prompt.

        ``kind`` is one of ``ptviz.worker.handlers.HANDLERS``; the docstring of that function describes ``question`` and
        the answer. ``run`` is the id of a run, or ``ptviz.runs.saved_prompts.SAVED_PREFIX`` and that of a saved prompt.

        Raises:
            StoreError: if there is no such run, the worker cannot answer, or not within ``timeout`` seconds.
        """
        if run.startswith(SAVED_PREFIX):
            saved_prompts.get_saved_prompt(self.store.prompts_folder, run.removeprefix(SAVED_PREFIX))
        elif run:
            self.store.get(run)
        self.ensure_worker()
        request = self.worker_dir.requests.post(kind, {"run": run, **question}, timeout)
        answer = self.worker_dir.requests.wait_for_reply(request, timeout, self._no_reply_reason)
        if "error" in answer:
            raise StoreError(str(answer["error"]))
        return answer

    def preload_models(self, config: RunConfig) -> None:
        """Have an idle worker load the backbone and task of a run that may be queued soon."""
        self.ensure_worker()
        self.worker_dir.requests.post("preload", with_absolute_paths(config).to_json(), 120.0)

    def worker_info(self) -> WorkerInfo | None:
        """Return the living worker, or None."""
        return WorkerInfo.of_worker_dir(self.worker_dir)

    def request_shutdown(self, at_once: bool = False) -> None:
        """Ask the worker to end when its queue is empty; ``at_once`` stops its run, which can be resumed."""
        if self.worker_info() is not None:
            self.worker_dir.requests.post("retire", {"at_once": at_once}, 3600.0)

    def ensure_worker(self) -> None:
        """Start a worker unless one lives. Cheap enough to be called at every refresh of a page.

        A worker that runs older code than this process is asked to end when it is idle.

        Raises:
            StoreError: if its folder cannot be written or it cannot be started.
        """
        with _START_LOCK:
            worker = self.worker_info()
            if worker is None and not self._is_starting():
                self._start_worker()
            elif worker is not None and worker.built < code_modified_at() and worker.pid not in self._outdated_pids:
                self._outdated_pids.add(worker.pid)
                self.request_shutdown()

    def _start_worker(self) -> None:
        worker_dir = self.worker_dir.create()
        environment = {"OMP_WAIT_POLICY": "passive", "TOKENIZERS_PARALLELISM": "false", **os.environ}
        command = process_command(self.store.root.resolve())
        for option, seconds in self._idle_limits.items():
            command += [] if seconds is None else [option, str(seconds)]
        try:
            large = worker_dir.log_file.exists() and worker_dir.log_file.stat().st_size > _MAX_LOG_BYTES
            with worker_dir.log_file.open("wb" if large else "ab") as log:
                _WORKER_PROCESSES[self.store.root.resolve()] = _WorkerProcess(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,  # Closing the terminal, or Ctrl-C in it, does not reach the worker.
                )
        except OSError as error:
            raise to_store_error(error, worker_dir.log_file) from error

    def _is_starting(self) -> bool:
        child = self._worker_process()
        return child is not None and child.poll() is None

    def _worker_process(self) -> _WorkerProcess | None:
        return _WORKER_PROCESSES.get(self.store.root.resolve())

    def _no_reply_reason(self) -> str | None:
        """Return why no reply will come, or None."""
        if self._is_starting() or self.worker_info() is not None:
            return None
        child = self._worker_process()
        if child is not None and child.returncode not in (0, EXIT_BUSY):
            return f"the worker crashed; see {self.worker_dir.log_file}, then try again"
        self.ensure_worker()
        return None

    def _create(self, config: RunConfig, start: Mapping[str, Tensor] | None = None) -> Run:
        return self.store.create(config, queued=True, start=start)

    def _enqueue(self, run: Run, status: Status) -> None:
        place_locally(run.path)
        super()._enqueue(run, status)

    def _start(self, run: Run) -> None:
        self.worker_dir.wake()
        self.ensure_worker()
