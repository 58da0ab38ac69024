"""Progress of a training run: a bar on stderr, and Ctrl-C as a request to stop."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ptviz.cli.output import format_percent, format_score
from ptviz.safe_text import escape_hidden

if TYPE_CHECKING:
    from ptviz.tasks import Task
    from ptviz.tasks.metrics import Metric
    from ptviz.training import Event

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class GracefulStop:
    """Turn the first Ctrl-C (or SIGTERM) in the block into a request to stop after the step; a second interrupts."""

    def __init__(self) -> None:
        self.requested = False
        self._previous_handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> GracefulStop:
        self._previous_handlers = {number: signal.signal(number, self._on_signal) for number in STOP_SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def reason(self) -> str | None:
        """Return why to stop, or None while nothing was requested."""
        return "interrupted from the keyboard" if self.requested else None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


class RunProgress:
    """Draw the events of a run: a bar for its steps, and a line for each evaluation."""

    def __init__(
        self, title: str, steps: int, console: Console, metric: Metric | None = None, tasks: Sequence[Task] = ()
    ) -> None:
        from ptviz.tasks.metrics import ACCURACY

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}", markup=False),
            TimeRemainingColumn(),
        )
        self._console = console
        self._title, self._metric, self._tasks = title, metric or ACCURACY, tasks
        self._named = "" if self._metric == ACCURACY else f"{self._metric.noun} "
        self._bar = Progress(*columns, console=console, transient=True)
        self._task = self._bar.add_task(title, total=steps, loss="")

    def __enter__(self) -> RunProgress:
        self._print_line(f"{self._title}: training (Ctrl-C stops it; the app shows it too)")
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def on_event(self, event: Event) -> None:
        """Draw one event."""
        data: Any = event  # Each kind has its own fields.
        match event.kind:
            case "source":
                origin = "reused from" if data.reused else "trained as"
                accuracy = format_percent(data.accuracy)
                self._print_line(f"source prompt of {data.task}: {origin} run {data.run}, validation {accuracy}")
            case "stage":
                self._bar.reset(self._task, total=data.steps, description=escape_hidden(f"{self._title} {data.name}"))
            case "step":
                self._bar.update(self._task, completed=data.step, loss=f"loss {data.loss:.3f}")
            case "baselines":
                zero_shot, majority = self._format(data.zero_shot), self._format(data.majority)
                baseline = f"{self._metric.constant_answer} {majority}"
                self._print_line(f"backbone without a prompt: zero-shot {zero_shot}, {baseline}")
            case "evaluation":
                best = "  best so far" if data.best else ""
                score = f"validation {self._named}{self._format(data.accuracy)}"
                self._print_line(f"step {data.step:>5}  {score}, loss {data.loss:.3f}{best}")
                if data.tasks:
                    scores = zip(self._tasks, data.tasks, strict=False)
                    own = [f"{task.name} {format_score(task.scorer, one.accuracy)}" for task, one in scores]
                    self._print_line(f"{'':12}{', '.join(own)}")

    def _format(self, score: float) -> str:
        return format_score(self._metric, score)

    def _print_line(self, line: str) -> None:
        self._console.print(escape_hidden(line), markup=False, highlight=False, soft_wrap=True)
