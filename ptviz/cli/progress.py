"""A run while it trains: a progress bar on stderr, and Ctrl-C as a request to stop."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ptviz.cli.output import format_percent

if TYPE_CHECKING:
    from ptviz.training import Event

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class GracefulStop:
    """Inside this block the first Ctrl-C (or SIGTERM) asks the run to stop after its step; a second one breaks in."""

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
        """Why to stop, once somebody asked."""
        return "interrupted from the keyboard" if self.requested else None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


class RunProgress:
    """Draws the events of a run: a bar of its steps, and a line for each evaluation."""

    def __init__(self, title: str, steps: int, console: Console) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}", markup=False),
            TimeRemainingColumn(),
        )
        self._console = console
        self._title = title
        self._bar = Progress(*columns, console=console, transient=True)
        self._task = self._bar.add_task(title, total=steps, loss="")

    def __enter__(self) -> RunProgress:
        self._print_line(f"{self._title}: training (Ctrl-C stops it; the app shows it, too)")
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def on_event(self, event: Event) -> None:
        """Show one event."""
        told: Any = event
        match event.kind:
            case "source":
                how = "reused from" if told.reused else "trained as"
                self._print_line(
                    f"source prompt of {told.task}: {how} run {told.run}, validation {format_percent(told.accuracy)}"
                )
            case "stage":
                self._bar.reset(self._task, total=told.steps, description=f"{self._title} {told.name}")
            case "step":
                self._bar.update(self._task, completed=told.step, loss=f"loss {told.loss:.3f}")
            case "baselines":
                self._print_line(
                    f"untouched backbone: zero-shot {format_percent(told.zero_shot)}, majority {format_percent(told.majority)}"
                )
            case "evaluation":
                best = "  best so far" if told.best else ""
                self._print_line(
                    f"step {told.step:>5}  validation {format_percent(told.accuracy)}, loss {told.loss:.3f}{best}"
                )

    def _print_line(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
