"""The worker: a process of its own that takes queued runs one after another and stays warm between them.

``python -m ptviz.worker.process ROOT`` serves the runs under ROOT until it was idle for half an hour. It talks to
nobody:
it reads the store and its mailbox, and writes the store and its replies.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import ptviz
from ptviz.runs.atomic_io import StoreError, write_whole
from ptviz.runs.file_lock import Lock, holder
from ptviz.runs.run import Run
from ptviz.runs.store import Store
from ptviz.runs.writer import settle
from ptviz.worker.directory import BUSY, Office, built

_GLANCE = 0.02
"""Seconds between two looks at the bell and the mailbox: far below what a person notices."""
_SCAN = 2.0
"""Seconds between two looks at the whole queue, in case a bell was not heard."""
_BEAT = 1.0
ASKED = "the worker was asked to end"
_PATIENCE = 10.0
"""Seconds before a run that could not be taken is tried again."""


class Worker:
    """Takes queued runs, oldest first; answers letters between steps and while idle."""

    def __init__(self, store: Store, idle: float = 1800.0) -> None:
        # Imported late: the lock is taken before the seconds that the heavy libraries need.
        from ptviz.engine.model_cache import Warm
        from ptviz.worker.background_experiments import Filling
        from ptviz.worker.predict_handler import Answers
        from ptviz.worker.probe_handlers import Looking

        self.store, self.idle = store, idle
        self.office = Office.of(store.root).open()
        self.warm = Warm()
        self.answers = Answers(store, self.warm)
        self.looking = Looking(store, self.warm)
        self.filling = Filling(store, self.warm)
        self.asked_to_end: str | None = None
        self._run: str | None = None
        self._backbone: str | None = None
        self._beaten = self._looked = 0.0
        self._rung = -1
        self._chores: deque[Iterator[None]] = deque(maxlen=8)
        self._postponed: dict[str, float] = {}
        self._retiring = False

    def serve(self) -> None:
        """Work until idle for too long, or asked to end."""
        for summary in self.store.list():
            if settle(self.store.get(summary.id)):
                say(f"{summary.id}: its worker had died")
        self.office.mail.sweep()
        self.store.sweep()
        last = time.monotonic()
        while self.asked_to_end is None:
            if self._next() or self._letters() or self._chore() or self._fill():
                last = time.monotonic()
            elif self._retiring or time.monotonic() - last > self.idle:
                self.asked_to_end = "idle"
            else:
                self._beat()
                time.sleep(_GLANCE)
            if self._tick():
                last = time.monotonic()
        self.looking.mapping.end()

    def _tick(self) -> bool:
        """Look after the maps; whether one is under way."""
        self.looking.mapping.tick()
        return self.looking.mapping.busy

    def _next(self) -> bool:
        """Work on the oldest queued run; False if there is none."""
        rung, now = self.office.rung(), time.monotonic()
        if rung == self._rung and now - self._looked < _SCAN:
            return False
        waiting = [summary.id for summary in self.store.queue() if self._postponed.get(summary.id, 0.0) < now]
        if not waiting:
            self._rung, self._looked = rung, now
            return False
        try:
            self._work(self.store.get(waiting[0]))
        except StoreError as error:
            # It cannot even be marked as taken (a full disk, a folder without rights): let others go first.
            self._postponed[waiting[0]] = now + _PATIENCE
            say(f"{waiting[0]}: {error}")
        return True

    def _work(self, run: Run) -> None:
        from ptviz.engine.train_job import predictions, train_run

        self._run, self._backbone = run.id, run.config.backbone
        self._beat(at_once=True)
        say(f"{run.id}: begins")
        try:
            trained = train_run(run, self.warm, heed=self._heed, if_queued=True)
        finally:
            self._run = None
            self._beat(at_once=True)
        status = run.status()
        say(f"{run.id}: {status.state} {status.reason}")
        if trained is not None:
            self._chores.append(predictions(trained, self.warm.engine))

    def _heed(self) -> str | None:
        self._letters(between_steps=True)
        self._tick()
        self._beat()
        return self.asked_to_end

    def _letters(self, between_steps: bool = False) -> bool:
        letters = self.office.mail.take()
        for letter in letters:
            if letter.kind == "retire":
                self._retiring = True
                if letter.body.get("at_once"):
                    self.asked_to_end = ASKED
            elif letter.kind == "warm" and not between_steps:
                self._backbone = self.answers.warm_up(letter) or self._backbone
            elif letter.kind == "predict" or letter.kind in self.looking.kinds:
                asked = self.answers.predict if letter.kind == "predict" else self.looking.answer
                answer = asked(letter)
                with suppress(StoreError):  # A reply that finds no room must not end the run under way.
                    self.office.mail.reply(letter.id, answer)
        return bool(letters)

    def _chore(self) -> bool:
        """One small piece of what was put off; False if nothing was."""
        if not self._chores:
            return False
        try:
            next(self._chores[0])
        except StopIteration:
            self._chores.popleft()
        except Exception as error:
            say(f"predictions were not written: {error}")
            self._chores.popleft()
        return True

    def _fill(self) -> bool:
        """One small piece of the measurements that were ordered; False if none was, or somebody waits for our place."""
        if self._retiring or not self.filling.step():
            return False
        self._beat()
        return True

    def _beat(self, at_once: bool = False) -> None:
        now = time.monotonic()
        if not at_once and now - self._beaten < _BEAT:
            return
        self._beaten = now
        card: dict[str, Any] = {
            "pid": os.getpid(),
            "run": self._run,
            "backbone": self._backbone,
            "version": ptviz.__version__,
            "built": built(),
            "updated": time.time(),
        }
        if not self.office.lock.exists():
            self.asked_to_end = "its folder is gone"
        with suppress(StoreError):
            write_whole(self.office.card, json.dumps(card).encode(), durable=False)


def say(text: str) -> None:
    """One line in the worker's log."""
    print(time.strftime("%Y-%m-%d %H:%M:%S"), text, flush=True)


def _behave() -> None:
    """Be a good neighbour: pages stay quick while we train, and we are the first to go when memory runs out."""
    import torch

    from ptviz.runs.environment import cpus

    wanted = os.environ.get("PTVIZ_THREADS")
    torch.set_num_threads(int(wanted) if wanted else min(torch.get_num_threads(), cpus()))
    with suppress(OSError, AttributeError):
        os.nice(3)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def main(arguments: list[str] | None = None) -> int:
    """Serve the runs under a folder; the exit status is 3 if another worker does so already."""
    parser = argparse.ArgumentParser(prog="python -m ptviz.worker.process", description=main.__doc__)
    parser.add_argument("root", type=Path, help="the folder of runs")
    parser.add_argument("--idle", type=float, default=30.0, metavar="MINUTES", help="end after this long without work")
    chosen = parser.parse_args(arguments)
    store = Store(chosen.root)
    lock = Lock(Office.of(store.root).open().lock)
    if not lock.acquire():
        say(f"another worker (process {holder(lock.path)}) serves {store.root}")
        return BUSY
    say(f"worker {os.getpid()} serves {store.root}")
    _behave()
    worker = Worker(store, chosen.idle * 60)

    def end(number: int, frame: FrameType | None) -> None:
        worker.asked_to_end = ASKED

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    while True:
        worker.serve()
        lock.release()
        # A run queued just before the lock was let go saw a living worker, and nobody else would come for it.
        if worker.asked_to_end != "idle" or not store.queue() or not lock.acquire():
            break
        worker.asked_to_end = None
    say(f"worker {os.getpid()} ends: {worker.asked_to_end}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
