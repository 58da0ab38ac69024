"""``ptviz bench``: our training step against PEFT's, one edit of a prompt, and how soon pages answer."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress

from ptviz.cli.output import (
    JsonOption,
    RunFailed,
    UsageError,
    print_json,
    print_line,
    print_table,
    progress_console,
    quiet_libraries,
)

if TYPE_CHECKING:
    from ptviz.experiments.step_benchmark import StepBenchmarkResult

FAMILY_CHOICES = ("encoder", "decoder", "encoder-decoder")
DTYPE_CHOICES = ("float32", "bfloat16")
WORK_CHOICES = ("label", "text", "generate")
COLUMNS = {
    "work": "work", "family": "family", "m": "m", "dtype": "dtype", "ratio": "ratio", "sorted_ratio": "sorted PEFT",
    "ours_per_second": "ours/s", "peft_per_second": "PEFT/s", "peft_sorted_per_second": "sorted/s",
    "ours_peak_mb": "ours MB", "peft_peak_mb": "PEFT MB", "ceiling_share": "of ceiling",
}  # fmt: skip


def bench(
    family: Annotated[list[str] | None, typer.Option(help="encoder, decoder, encoder-decoder. Repeatable.")] = None,
    m: Annotated[list[int] | None, typer.Option("--m", min=1, max=200, help="Prompt tokens. Repeatable.")] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="float32, bfloat16 (frozen weights). Repeatable.")] = None,
    work: Annotated[
        list[str] | None, typer.Option(help="label (a step), text (a step on target texts), generate. Repeatable.")
    ] = None,
    rows: Annotated[int, typer.Option(min=16, help="Examples that pass through both.")] = 512,
    passes: Annotated[int, typer.Option(min=1, help="How often; each batch counts with its median.")] = 3,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of both sides. Default: torch's.")] = None,
    load: Annotated[
        bool, typer.Option("--load", help="Keep one core busy with another process; with --pages: train a run.")
    ] = False,
    edit: Annotated[bool, typer.Option("--edit", help="Measure one prompt edit instead.")] = False,
    growth: Annotated[
        bool, typer.Option("--growth", help="Measure a step at 1 to 8 times each of its sizes instead.")
    ] = False,
    pages: Annotated[bool, typer.Option("--pages", help="Measure the app's pages instead.")] = False,
    runs: Annotated[int, typer.Option(min=1, max=5000, help="With --pages: runs in the store.")] = 500,
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Measure runs on this Ray cluster (or auto) instead.")
    ] = None,
    streams: Annotated[int, typer.Option(min=1, max=5000, help="With --cluster: synthetic runs at once.")] = 200,
    as_json: JsonOption = False,
) -> None:
    """Measure ptviz against PEFT in the same type of weights and with the same threads: training steps, and writing.

    PEFT gets batches in random order, as in its examples, and a second time batches of like length ("sorted PEFT"). The
    same loss and gradient, and the same tokens, are checked first. All works, families, prompt lengths and types take
    hours on two cores: choose some, or fewer rows. --edit and --pages measure the app, --cluster what a run on a Ray
    cluster costs.
    """
    _check_choices("--family", family, FAMILY_CHOICES)
    _check_choices("--dtype", dtype, DTYPE_CHOICES)
    _check_choices("--work", work, WORK_CHOICES)
    if cluster is not None:
        _benchmark_cluster(cluster, streams, passes, as_json)
        return
    if pages:
        _benchmark_pages(runs, load, as_json)
        return
    if edit:
        _benchmark_edits(m or [20], passes, as_json)
        return
    if find_spec("peft") is None:
        raise UsageError("the bench compares with PEFT, which is not installed; run: pip install peft")
    if growth:
        _benchmark_growth(threads, passes, as_json)
        return
    with quiet_libraries():
        conditions = _set_conditions(threads, load)
        found = _benchmark_steps(family, m, dtype, work, rows, passes, load)
    _print_measured(conditions, [asdict(row) for row in found], COLUMNS, as_json)


def _benchmark_pages(runs: int, training: bool, as_json: bool) -> None:
    """Measure the pages in a new process: Streamlit is loaded there and not here."""
    from ptviz.cli.app import find_app_script
    from ptviz.ui.page_benchmark import run_page_benchmark

    index = find_app_script().parent / "pages" / "index.py"
    with (
        progress_console().status(f"opening every page over {runs} runs"),
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
    ):
        try:
            plain = pool.submit(run_page_benchmark, index, runs, training).result()
        except Exception as error:
            raise RunFailed(f"the pages could not be measured: {error}") from error
    if as_json:
        print_json({"runs": runs, "training": training, "rows": plain})
    else:
        print_table(tuple(plain[0]), [[_format_cell(value) for value in row.values()] for row in plain])


def _benchmark_cluster(address: str, streams: int, passes: int, as_json: bool) -> None:
    """Measure runs and streams in a store of its own: the collector writes nothing into the user's."""
    from ptviz.executors.choose import make_executor
    from ptviz.runs import RunConfig, Store
    from ptviz.runs.run_file_io import StoreError
    from ptviz.training import TrainConfig

    with quiet_libraries(), tempfile.TemporaryDirectory(prefix="ptviz-cluster-") as folder:
        try:
            made = make_executor("ray", address, store=Store(Path(folder) / "runs"))
            from ptviz.executors import ray_benchmark

            executor: Any = made
            console = progress_console()
            with console.status("training runs here and on the cluster"):
                config = RunConfig("minilm-l6", "trec6", training=TrainConfig(steps=200))
                cost = asdict(ray_benchmark.measure_run_cost(executor, config, passes))
            with console.status(f"sending the events of {streams} runs"):
                load = asdict(ray_benchmark.measure_streams(executor, streams))
        except (StoreError, RuntimeError) as error:
            raise RunFailed(str(error)) from error
    if as_json:
        print_json({"run": cost, "streams": load, "load": os.getloadavg()})
        return
    rows = [*cost.items(), *((f"streams: {name}", value) for name, value in load.items())]
    print_table(("what", "value"), [(name, _format_cell(value)) for name, value in rows])


def _benchmark_growth(threads: int | None, passes: int, as_json: bool) -> None:
    with quiet_libraries(), Progress(console=progress_console(), transient=True) as bar:
        from ptviz.experiments.growth_benchmark import run_growth_benchmark
        from ptviz.experiments.step_benchmark import BenchmarkError

        conditions = _set_conditions(threads, load=False)
        task = bar.add_task("measuring", total=1.0)
        try:
            points = run_growth_benchmark(
                passes, progress=lambda what, share: bar.update(task, description=what, completed=share)
            )
        except BenchmarkError as error:
            raise RunFailed(f"nothing was timed: {error}") from error
    plain = [asdict(point) for point in points]
    _print_measured(conditions, plain, {name: name for name in plain[0]}, as_json)


def _print_measured(
    conditions: Mapping[str, str | int], plain: list[dict[str, Any]], columns: Mapping[str, str], as_json: bool
) -> None:
    """Print measurements with what they depend on: as JSON, or as a table of these columns under their headings."""
    if as_json:
        print_json({"conditions": conditions, "rows": plain})
        return
    print_line(", ".join(f"{name}: {value}" for name, value in conditions.items()))
    print_table(tuple(columns.values()), [[_format_cell(row[name]) for name in columns] for row in plain])


def _benchmark_edits(lengths: list[int], passes: int, as_json: bool) -> None:
    from ptviz.experiments.edit_benchmark import time_prompt_edit

    with quiet_libraries():
        plain = [asdict(time_prompt_edit(m, passes)) for m in lengths]
    if as_json:
        print_json({"rows": plain})
    else:
        print_table(tuple(plain[0]), [[_format_cell(value) for value in row.values()] for row in plain])


def _set_conditions(threads: int | None, load: bool) -> dict[str, str | int]:
    """Set the number of threads, and return what speeds depend on."""
    import torch

    from ptviz.backbones.frozen_linear import prefers_onednn, processor_name

    if threads is not None:
        torch.set_num_threads(threads)
    return {
        "processor": processor_name(), "threads": torch.get_num_threads(), "torch": torch.__version__,
        "products": "oneDNN" if prefers_onednn() else "torch's", "busy process": "yes" if load else "no",
    }  # fmt: skip


def _benchmark_steps(
    family: list[str] | None, m: list[int] | None, dtype: list[str] | None, work: list[str] | None, rows: int,
    passes: int, load: bool,
) -> list[StepBenchmarkResult]:  # fmt: skip
    from ptviz.experiments import step_benchmark as measuring
    from ptviz.experiments.benchmark_sides import FAMILIES, WORKS
    from ptviz.experiments.busy_process import busy_process

    families = [one for one in FAMILIES if one in (family or FAMILY_CHOICES)]
    works = [one for one in WORKS if one in (work or WORK_CHOICES)]
    with Progress(console=progress_console(), transient=True) as bar, busy_process() if load else nullcontext():
        task = bar.add_task("measuring", total=1.0)

        def show(what: str, share: float) -> None:
            bar.update(task, description=what, completed=share)

        try:
            return measuring.run_step_benchmark(
                families, m or [20, 100], dtype or list(DTYPE_CHOICES), works, count=rows, passes=passes, progress=show
            )
        except measuring.BenchmarkError as error:
            raise RunFailed(f"nothing was timed: {error}") from error


def _check_choices(option: str, values: list[str] | None, choices: tuple[str, ...]) -> None:
    for value in values or ():
        if value not in choices:
            raise UsageError(f"{option}: expected one of {', '.join(choices)}; got {value!r}")


def _format_cell(value: object) -> str:
    return "" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)
