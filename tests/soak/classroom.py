"""A class at work: visitors who look at pages and queue short runs, each with a cookie of her own.

``python -m tests.soak --classroom --minutes 10 --visitors 30``.
"""

from __future__ import annotations

import argparse
import random
import statistics
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from itertools import count
from pathlib import Path

import psutil

from ptviz.classroom.access import ClassroomKeys
from ptviz.classroom.rules import CLASSROOM_VARIABLE, ClassroomRules
from ptviz.executors.local import LocalExecutor
from ptviz.runs import ACTIVE_STATES, Store
from ptviz.validation import decode_json
from tests.app_server import AppServer, processes_of
from tests.soak.__main__ import PAGES, RUN_PAGES, Record, Sample, memory_mb, percentile, processor_seconds, table
from tests.soak.visitor import Visitor, enter_classroom

BACKBONE, TASK, STEPS = "tiny-encoder", "trec6", 60
RULES = ClassroomRules(max_steps=200, backbones=(BACKBONE,), max_runs=12)
LONGEST_PAGE = 1.0
"""Seconds within which 95 of 100 pages are there."""


class Class:
    """One server with a classroom, and the visitors in it."""

    def __init__(self, server: AppServer, patience: float, think: float) -> None:
        self.server, self.patience, self.think = server, patience, think
        self.record, self.over = Record(), threading.Event()
        self.store = Store(server.home / "runs")
        self.keys = decode_json((server.home / "classroom.json").read_bytes(), ClassroomKeys)
        self.worker_memory: list[float] = []

    def names(self) -> dict[str, str]:
        """Return the owner of each run."""
        return {summary.id: summary.annotations.owner for summary in self.store.list()}

    def attend(self, number: int, cookie: str) -> None:
        """Walk through the pages in an order of this visitor's own; start a run now and then and watch it."""
        known = self.keys.recognise(cookie.partition("=")[2])
        assert known is not None, "the classroom let her in"
        chance = random.Random(number)
        for turn in count():
            with self.record.session(self.server.port, cookie) as visitor:
                for page in chance.sample(PAGES, len(PAGES)):
                    if self.over.is_set():
                        return
                    own = [id for id, owner in self.names().items() if owner == known.id] if page in RUN_PAGES else []
                    self._look(visitor, page, {"run": chance.choice(own)} if own else {}, number, chance)
                    if page == "new-run":
                        self._start_run(visitor, number, turn)

    def _look(self, visitor: Visitor, page: str, address: dict[str, str], number: int, chance: random.Random) -> None:
        view = visitor.visit(page, address, self.patience, stay=self.think * chance.uniform(0.5, 1.5))
        view.problems += [f"visitor {number} sees {word[:80]!r}" for word in view.words if _is_of_another(word, number)]
        self.record.add(view)

    def _start_run(self, visitor: Visitor, number: int, turn: int) -> None:
        address = {"backbone": BACKBONE, "task": TASK, "steps": str(STEPS), "name": f"run-of-{number}-{turn}-"}
        view = visitor.visit("new-run", address, self.patience)
        self.record.add(view)
        if not view.problems:
            with suppress(KeyError):  # Until the plan is there, there is no button.
                self.record.add(visitor.press("Start", self.patience))

    def sample(self, began: float) -> None:
        """Note the memory and processor time of the server, and the memory of the worker."""
        process = self.server.process
        moment = Sample(time.monotonic() - began, memory_mb(process), processor_seconds(process), self.record.sessions)
        self.record.samples.append(moment)
        worker = LocalExecutor(self.store).worker_info()
        with suppress(psutil.Error):
            self.worker_memory.append(memory_mb(psutil.Process(worker.pid)) if worker is not None else 0.0)


def _is_of_another(word: str, number: int) -> bool:
    """Return whether a text on a page names the run of another visitor."""
    names = [part for part in word.replace("`", " ").split() if part.startswith("run-of-")]
    return any(not name.startswith(f"run-of-{number}-") for name in names)


def run_classroom(options: argparse.Namespace, folder: Path) -> Record:
    """Let a class work for a while, in a folder of its own; print what was measured."""
    home, seconds = folder / "home", options.minutes * 60
    with AppServer(home, folder / "server.log", **{CLASSROOM_VARIABLE: RULES.to_text()}) as server:
        room = _open(server, options)
        cookies = [enter_classroom(server.port, room.keys.token) for _ in range(options.visitors)]
        with room.record.session(
            server.port, cookies[0]
        ) as first:  # The libraries are loaded once, before the class comes.
            for page in PAGES:
                first.visit(page, {}, room.patience)
        threads = [_thread(room, number, cookie) for number, cookie in enumerate(cookies)]
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            room.sample(began)
            time.sleep(2.0)
        room.over.set()
        for thread in threads:
            thread.join(options.patience + 30)
        _stop_all(room)
        text = "\n".join([report(room, seconds), "", measure_alone(room, cookies[0])])
        if "Traceback" in server.log.read_text():
            room.record.problems.append(f"the server's log has a traceback: {server.log.read_text()[-2000:]}")
        server.stop()
        left = psutil.wait_procs(processes_of(home), timeout=options.patience)[1]
        room.record.problems += [f"left behind when the server had stopped: {process}" for process in left]
    text += "\n" + "\n".join(
        [f"- PROBLEM: {problem}" for problem in dict.fromkeys(room.record.problems)] or ["- no problem"]
    )
    print(text)
    if options.out:
        options.out.write_text(text + "\n")
    return room.record


def _open(server: AppServer, options: argparse.Namespace) -> Class:
    """Return the class; the server makes its secrets when it is asked for the first time."""
    server.get("/")
    return Class(server, options.patience, options.think)


def _thread(room: Class, number: int, cookie: str) -> threading.Thread:
    def attend() -> None:
        room.over.wait(number * 0.5)  # They do not press a key at the same moment.
        while not room.over.is_set():
            try:
                room.attend(number, cookie)
            except Exception as error:
                if not room.over.is_set():
                    room.record.problems.append(f"visitor {number}: {type(error).__name__}: {error}"[:300])
                    room.over.wait(1.0)

    thread = threading.Thread(target=attend, daemon=True)
    thread.start()
    return thread


def _stop_all(room: Class) -> None:
    """Stop what is queued or trains, and wait for it, so that the worker ends with the server."""
    executor, until = LocalExecutor(room.store), time.monotonic() + room.patience
    active = [summary.id for summary in room.store.list() if summary.status.state in ACTIVE_STATES]
    for id in active:
        executor.stop(id)
    while any(room.store.get(id).status().state in ACTIVE_STATES for id in active) and time.monotonic() < until:
        time.sleep(0.2)


def measure_alone(room: Class, cookie: str) -> str:
    """Return the processor seconds of each page for a single visitor, with all runs of the class there."""
    rows: list[tuple[str, float, float]] = []
    with room.record.session(room.server.port, cookie) as visitor:
        for turn in (0, 1):
            for page in PAGES:
                before = processor_seconds(room.server.process)
                view = visitor.visit(page, {}, room.patience)
                used = processor_seconds(room.server.process) - before
                if turn:
                    rows.append((page or "home", view.finished_seconds or float("nan"), used))
    mean = statistics.mean(used for _, _, used in rows)
    return "\n".join(
        ["One visitor alone:", "", table(("page", "script ended after s", "server's processor s"), rows),
         f"\nmean of the pages: {mean:.3f} processor seconds"]
    )  # fmt: skip


def report(room: Class, seconds: float) -> str:
    """Return what was measured, in Markdown; a page that is too slow is a problem."""
    record, by_page = room.record, defaultdict(list)
    for view in record.views:
        if view.finished_seconds is not None:
            by_page[view.page or "home"].append(view.finished_seconds)
    rows = [(page, len(found), statistics.median(found), percentile(found, 0.95), max(found))
            for page, found in sorted(by_page.items())]  # fmt: skip
    every = [time for found in by_page.values() for time in found]
    summaries = room.store.list()
    states = Counter(summary.status.state for summary in summaries)
    record.problems += [f"{one.id}: {one.status.reason}" for one in summaries if one.status.state == "failed"]
    finished = Counter(one.annotations.owner for one in summaries if one.status.state == "finished")
    slowest = percentile(every, 0.95)
    if not slowest <= LONGEST_PAGE:
        record.problems.append(f"95% of the pages: expected within {LONGEST_PAGE:g} s; it took {slowest:.2f} s")
    facts: list[tuple[str, object]] = [
        ("seconds", f"{seconds:.0f}"),
        ("visitors", len({summary.annotations.owner for summary in summaries})),
        ("pages", len(every)),
        ("pages, median s", statistics.median(every) if every else float("nan")),
        ("pages, 95% s", slowest),
        ("pages, longest s", max(every, default=float("nan"))),
        ("runs", ", ".join(f"{count} {state}" for state, count in sorted(states.items()))),
        ("finished runs of a visitor, least and most", f"{min(finished.values(), default=0)} and "
                                                       f"{max(finished.values(), default=0)} of {len(finished)}"),
        ("worker, most MB", max(room.worker_memory, default=float("nan"))),
    ]  # fmt: skip
    samples = record.samples
    if samples:
        used = samples[-1].processor - samples[0].processor
        facts.append(("share of one core that the server used", used / max(seconds, 1.0)))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        if samples:
            moment = samples[min(int(share * len(samples)), len(samples) - 1)]
            facts.append((f"server's memory after {moment.seconds:.0f} s, MB", moment.memory))
    columns = ("page", "views", "script ended: median s", "95% s", "longest s")
    return "\n".join([table(columns, rows), "", table(("", "value"), facts)])
