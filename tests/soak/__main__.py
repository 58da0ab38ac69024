"""Many visitors at once, while a run trains, files are hostile, the worker is killed and the disk fills up.

``python -m tests.soak --minutes 30 --visitors 8`` from the repository's root. It is no part of the test suite.
The exit code is 1 if a page failed or did not settle, something hostile ran, or a process was left behind.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path

import psutil

from ptviz.executors.local import LocalExecutor
from ptviz.runs import ACTIVE_STATES, Run, RunConfig, Store
from ptviz.runs.run_file_io import StoreError
from ptviz.training import TrainConfig
from tests.app_server import AppServer, processes_of
from tests.soak.hostile_files import write_hostile_files
from tests.soak.visitor import View, Visitor

PAGES = (
    "", "new-run", "watch", "runs", "survey", "method", "findings", "lessons", "teaching", "glossary",
    "embeddings", "decompositions", "routing", "attention", "compare-methods", "sweep", "transfer", "peft-benchmark",
    "checkpoint",
)  # fmt: skip
RUN_PAGES = ("watch", "embeddings", "decompositions", "routing", "attention")
SAMPLE_SECONDS = 2.0


@dataclass
class Sample:
    """The server at one moment."""

    seconds: float
    memory: float
    processor: float
    sessions: int


@dataclass
class Record:
    """What happened; filled by several threads."""

    views: list[View] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sessions: int = 0
    opened: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def session(self, port: int, cookie: str = "") -> Iterator[Visitor]:
        """Count one open session; the cookie is that of a classroom."""
        with Visitor(port, cookie) as visitor:
            with self.lock:
                self.sessions += 1
                self.opened += 1
            try:
                yield visitor
            finally:
                with self.lock:
                    self.sessions -= 1

    def add(self, view: View) -> None:
        """Note a view and what was wrong with it."""
        with self.lock:
            self.views.append(view)
            self.problems += [f"page {view.page or 'home'!r}: {problem}" for problem in view.problems]


def memory_mb(process: psutil.Process) -> float:
    """Resident memory of the server in MB."""
    return float(process.memory_info().rss) / 1e6


def processor_seconds(process: psutil.Process) -> float:
    """Processor seconds that the server has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def address_of(page: str, runs: Sequence[str], turn: int) -> dict[str, str]:
    """Return the query parameters of a page's visit; the runs take turns."""
    return {"run": runs[turn % len(runs)]} if page in RUN_PAGES and runs else {}


class Soak:
    """One server, its visitors and what is done to it."""

    def __init__(self, server: AppServer, patience: float) -> None:
        self.server, self.patience = server, patience
        self.record, self.over = Record(), threading.Event()
        self.executor = LocalExecutor(Store(server.home / "runs"))
        self.runs: list[str] = []

    def walk(self, number: int) -> None:
        """Visit every page in an order of this visitor's own, in session after session."""
        for turn in count(number):
            with self.record.session(self.server.port) as visitor:
                for place in range(len(PAGES)):
                    page = PAGES[(place * 5 + turn * 3) % len(PAGES)]
                    if self.over.is_set():
                        return
                    self.record.add(visitor.visit(page, address_of(page, self.runs, turn), self.patience, stay=1.0))

    def open_hostile_files(self, folder: Path) -> None:
        """Open every hostile file, again and again, and confirm that it shall be opened."""
        files, witness = write_hostile_files(folder)
        for file in cycle(files):
            if self.over.is_set():
                return
            with self.record.session(self.server.port) as visitor:
                view = visitor.visit("checkpoint", {"path-a": str(file)}, self.patience)
                self.record.add(view)
                if not view.problems:
                    self.record.add(visitor.press("Open it", self.patience))
            if witness.exists():
                self.record.problems.append(f"{file.name} ran a command")
                return
            self.over.wait(2.0)

    def guarded(self, action: Callable[[], None]) -> threading.Thread:
        """Start an action in a thread; an error of its own is a problem, and ends nothing else."""

        def run() -> None:
            while not self.over.is_set():
                try:
                    action()
                except Exception as error:
                    if not self.over.is_set():
                        self.record.problems.append(f"{action}: {type(error).__name__}: {error}"[:300])
                        self.over.wait(1.0)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def sample(self, began: float) -> None:
        """Note the server's memory and processor time."""
        process = self.server.process
        moment = Sample(time.monotonic() - began, memory_mb(process), processor_seconds(process), self.record.sessions)
        self.record.samples.append(moment)

    def watch(self, seconds: float, events: Sequence[tuple[str, Callable[[], None]]]) -> None:
        """Sample for so long; the events happen at equal distances."""
        began, done = time.monotonic(), 0
        while (now := time.monotonic() - began) < seconds:
            self.sample(began)
            if done < len(events) and now > seconds * (done + 1) / (len(events) + 1):
                name, action = events[done]
                done += 1
                try:
                    action()
                except Exception as error:
                    self.record.problems.append(f"{name}: {type(error).__name__}: {error}"[:300])
            time.sleep(SAMPLE_SECONDS)

    # What is done to it.

    def kill_worker(self) -> None:
        """Kill the worker, and resume the run that it trained."""
        worker = self.executor.worker_info()
        if worker is None:
            self.record.notes.append("no worker was there to be killed")
            return
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(worker.pid)
            process.kill()
            psutil.wait_procs([process], timeout=30)
        self.resume(f"worker killed while it trained {worker.run or 'nothing'}")

    def resume(self, what: str) -> None:
        """Resume every run that was cut off, and note it."""
        resumed = []
        for id in self.runs:
            run = self.executor.store.get(id)
            if run.status().state in ("stopped", "failed"):
                self.executor.resume(id)
                resumed.append(id)
        self.record.notes.append(f"{what}; resumed: {', '.join(resumed) or 'nothing'}")

    def fill_disk(self, seconds: float) -> None:
        """Fill the disk of the runs for a while, then make room and resume what was cut off."""
        ballast = self.server.home / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(65536))
        self.over.wait(seconds)
        ballast.unlink()
        self.resume(f"disk full for {seconds:.0f} s")

    def start_run(self, backbone: str, task: str, steps: int, columns: tuple[str, str] | None) -> Run:
        """Queue a run that lasts for the whole time."""
        training = TrainConfig(steps=steps, evaluate_every=50, snapshot_every=25)
        text, label = columns or (None, None)
        run = self.executor.submit(RunConfig(backbone, task, training=training, text=text, label=label))
        self.runs.append(run.id)
        return run


def measure_alone(soak: Soak) -> list[tuple[str, float, float, float]]:
    """Return page, settle time, processor seconds and growth in MB of each page for a single visitor, second visit."""
    rows = []
    with soak.record.session(soak.server.port) as visitor:
        for turn in (0, 1):
            for page in PAGES:
                before, memory = processor_seconds(soak.server.process), memory_mb(soak.server.process)
                view = visitor.visit(page, address_of(page, soak.runs, 0), soak.patience)
                used = processor_seconds(soak.server.process) - before
                if turn:
                    grown = memory_mb(soak.server.process) - memory
                    rows.append((page or "home", view.settled_seconds or float("nan"), used, grown))
    return rows


def measure_sessions(soak: Soak, number: int) -> float:
    """Return MB per open session: ``number`` visitors open the home page and stay."""
    before = memory_mb(soak.server.process)
    visitors = [Visitor(soak.server.port) for _ in range(number)]
    for visitor in visitors:
        soak.record.add(visitor.visit("", {}, soak.patience))
    grown = memory_mb(soak.server.process) - before
    for visitor in visitors:
        visitor.__exit__()
    return grown / number


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of the values lie; nan of none."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)] if values else float("nan")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; numbers with two digits."""
    shown = [[f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(columns), ["---"] * len(columns), *shown])


def report(soak: Soak, alone: Sequence[tuple[str, float, float, float]], per_session: float, seconds: float) -> str:
    """Return everything that was measured, in Markdown."""
    record, parts = soak.record, []
    parts.append("One visitor, second visit of each page:\n")
    parts.append(table(("page", "settled after s", "processor s", "memory MB"), alone))
    by_page = defaultdict(list)
    for view in record.views:
        by_page[view.page or "home"].append(view)
    rows = []
    for page, views in by_page.items():
        settled = [view.settled_seconds for view in views if view.settled_seconds is not None]
        late = len(views) - len(settled)
        median = statistics.median(settled) if settled else float("nan")
        rows.append((page, len(views), median, percentile(settled, 0.95), max(settled, default=float("nan")), late))
    parts.append("\nAll visitors at once:\n")
    parts.append(table(("page", "views", "settled: median s", "95% s", "longest s", "not settled"), sorted(rows)))
    used = record.samples[-1].processor - record.samples[0].processor if record.samples else 0.0
    views = max(len(record.views), 1)
    facts: list[tuple[str, object]] = [
        ("seconds", f"{seconds:.0f}"),
        ("sessions opened", record.opened),
        ("views", len(record.views)),
        ("server's processor seconds per view, polling included", used / views),
        ("share of one core that the server used", used / max(seconds, 1.0)),
        ("memory per open session, MB", per_session),
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        if record.samples:
            moment = record.samples[min(int(share * len(record.samples)), len(record.samples) - 1)]
            facts.append((f"memory after {moment.seconds:.0f} s, MB", moment.memory))
    parts += ["", table(("", "value"), facts), ""]
    parts += [f"- {note}" for note in record.notes]
    parts += [f"- PROBLEM: {problem}" for problem in dict.fromkeys(record.problems)] or ["- no problem"]
    return "\n".join(parts)


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[bool]:
    """Mount a small disk at a path while this lasts; yield whether that was possible."""
    path.mkdir(parents=True)
    mounted = sys.platform == "linux" and os.geteuid() == 0
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)]
    mounted = mounted and subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(path)], check=True)


def train_first_run(home: Path, rows: Path) -> None:
    """Train the finished run that the pages show, in a process of its own."""
    lines = [f"who wrote book number {i},person\nwhere is town number {i},place" for i in range(60)]
    rows.write_text("text,label\n" + "\n".join(lines) + "\n")
    command = [sys.executable, "-m", "ptviz", "train", "prompt-tuning", "--backbone", "tiny-encoder"]
    command += ["--task", str(rows), "--text", "text", "--label", "label", "--steps", "60", "--json"]
    subprocess.run(command, env=os.environ | {"PTVIZ_HOME": str(home)}, check=True, capture_output=True)


def end_runs(soak: Soak, limit: float) -> None:
    """Stop what still trains; a run must end in a state that can be resumed, or finished."""
    for id in soak.runs:
        run = soak.executor.store.get(id)
        with suppress(StoreError):
            soak.executor.stop(id)
        until = time.monotonic() + limit
        while run.status().state in ACTIVE_STATES and time.monotonic() < until:
            time.sleep(0.2)
        status = run.status()
        soak.record.notes.append(f"run {id} ended as {status.state} at step {status.step}: {status.reason}")
        if status.state not in ("finished", "stopped"):
            soak.record.problems.append(f"run {id} is {status.state}: {status.reason}")


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--visitors", type=int, default=8)
    parser.add_argument("--patience", type=float, default=60.0, help="seconds after which a page has not settled")
    parser.add_argument("--backbone", default="minilm-l6", help="of the run that trains meanwhile")
    parser.add_argument("--task", default="trec6")
    parser.add_argument("--calm", action="store_true", help="no kills, no full disk, no hostile files")
    parser.add_argument("--classroom", action="store_true", help="a class instead: many visitors, each with own runs")
    parser.add_argument("--think", type=float, default=10.0, help="seconds that one of a class looks at a page")
    parser.add_argument("--out", type=Path, help="also write the report to this file")
    return parser.parse_args()


def run_soak(options: argparse.Namespace, folder: Path) -> Record:
    """Do everything once, in a folder of its own."""
    home, seconds = folder / "home", options.minutes * 60
    with small_disk(home, 200) if not options.calm else nullcontext(False) as has_small_disk:
        train_first_run(home, folder / "rows.csv")
        server = AppServer(home, folder / "server.log")
        with server:
            soak = Soak(server, options.patience)
            soak.runs += [summary.id for summary in soak.executor.store.list()]
            alone, per_session = measure_alone(soak), measure_sessions(soak, options.visitors)
            soak.record.views.clear()
            soak.start_run(options.backbone, options.task, 1_000_000, None)
            threads = [soak.guarded(lambda number=number: soak.walk(number)) for number in range(options.visitors)]
            events: list[tuple[str, Callable[[], None]]] = []
            if not options.calm:
                threads.append(soak.guarded(lambda: soak.open_hostile_files(folder / "hostile")))
                events = [("a kill", soak.kill_worker), ("a second kill", soak.kill_worker)]
                if has_small_disk:
                    events.insert(1, ("a full disk", lambda: soak.fill_disk(min(20.0, seconds / 10))))
                else:
                    soak.record.notes.append("the disk was not filled: a small one could not be mounted")
            soak.watch(seconds, events)
            soak.over.set()
            for thread in threads:
                thread.join(options.patience + 30)
            end_runs(soak, options.patience + 60)
            if "Traceback" in server.log.read_text():
                soak.record.problems.append(f"the server's log has a traceback: {server.log.read_text()[-2000:]}")
            server.stop()
            left = psutil.wait_procs(processes_of(home), timeout=options.patience)[1]
            soak.record.problems += [f"left behind when the server had stopped: {process}" for process in left]
        text = report(soak, alone, per_session, seconds)
    sys.stdout.write(text + "\n")
    if options.out:
        options.out.write_text(text + "\n")
    return soak.record


def main() -> int:
    """Run it; return the exit code."""
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="ptviz-soak-") as folder:
        if options.classroom:
            from tests.soak.classroom import run_classroom  # It needs this module under its own name.

            return 1 if run_classroom(options, Path(folder)).problems else 0
        record = run_soak(options, Path(folder))
    return 1 if record.problems else 0


if __name__ == "__main__":
    sys.exit(main())
