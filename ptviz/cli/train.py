"""``ptviz train``: one run, in this process, kept in the run store so that the app sees it too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.cli.options import Sets, knobs, snapshot_place
from ptviz.cli.output import (
    BadInput,
    Json,
    RunFailed,
    bad_input,
    emit,
    percent,
    progress_console,
    quietly,
)
from ptviz.cli.progress import Following, Stopping

if TYPE_CHECKING:
    from torch import Tensor

    from ptviz.engine.model_cache import Warm
    from ptviz.runs import Run, RunConfig, Store

WITH_RESUME = ("resume", "extend", "as_json")
"""Options that may stand beside --resume: a resumed run keeps the settings it was started with."""
TRAINING = (
    "steps", "batch", "lr", "optimiser", "schedule", "warmup", "weight_decay", "clip", "seed", "evaluate_every",
    "snapshot_every", "patience", "shots", "train_rows", "validation_rows", "test_rows", "length", "dtype",
    "source_steps",
)  # fmt: skip
"""The options that are fields of TrainConfig, under the same names and with the same defaults."""


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command("train")(train)


def train(
    context: typer.Context,
    method: Annotated[str | None, typer.Argument(metavar="[METHOD]", help="See `ptviz methods`.")] = None,
    backbone: Annotated[str, typer.Option(help="A name, a local folder, or a hub id.")] = "minilm-l6",
    task: Annotated[str, typer.Option(help="A name, a file (CSV, TSV, JSONL, Parquet), or hub:ID.")] = "trec6",
    sets: Sets = None,
    text: Annotated[str | None, typer.Option(help="The column of texts in your file.")] = None,
    label: Annotated[str | None, typer.Option(help="The column of labels in your file.")] = None,
    steps: Annotated[int, typer.Option(help="Updates on the target task, in all stages together.")] = 200,
    batch: Annotated[int, typer.Option(help="Rows an update.")] = 16,
    lr: Annotated[float | None, typer.Option(help="Learning rate; left out: the recorded best.")] = None,
    optimiser: Annotated[str, typer.Option(help="adamw or adafactor.")] = "adamw",
    schedule: Annotated[str, typer.Option(help="linear, constant or cosine.")] = "linear",
    warmup: Annotated[float, typer.Option(help="Warm-up, as a share of the steps.")] = 0.06,
    weight_decay: Annotated[float, typer.Option(help="Weight decay.")] = 1e-5,
    clip: Annotated[float, typer.Option(help="Largest gradient norm; 0: no limit.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Same seed, same numbers.")] = 0,
    evaluate_every: Annotated[int, typer.Option(help="Updates between two evaluations.")] = 25,
    snapshot_every: Annotated[
        int, typer.Option(help="Updates between two snapshots; the best so far is kept besides.")
    ] = 10,
    patience: Annotated[int, typer.Option(help="Stop after so many evaluations without a better one; 0: never.")] = 0,
    shots: Annotated[int, typer.Option(help="Training rows per class; 0: as many as --train-rows allows.")] = 0,
    train_rows: Annotated[int, typer.Option(help="Most training rows.")] = 2000,
    validation_rows: Annotated[int, typer.Option(help="Most validation rows.")] = 200,
    test_rows: Annotated[int, typer.Option(help="Most test rows.")] = 500,
    length: Annotated[int, typer.Option(help="Longest text, in tokens.")] = 64,
    dtype: Annotated[str, typer.Option(help="The frozen weights: float32 or bfloat16.")] = "float32",
    sources: Annotated[
        str | None, typer.Option(metavar="A,B", help="Source tasks of a method that transfers; left out: by family.")
    ] = None,
    source_steps: Annotated[int, typer.Option(help="Updates of each source prompt, and of source stages.")] = 200,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps; left out: the best there is.")] = None,
    name: Annotated[str, typer.Option(help="What to call the run.")] = "",
    branch: Annotated[
        str | None, typer.Option(metavar="RUN:STAGE:STEP", help="Start from a snapshot of another run.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(metavar="ID|PATH", help="Start from a kept prompt, or from a checkpoint.")
    ] = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped.")] = None,
    extend: Annotated[int | None, typer.Option(min=1, help="With --resume: so many more steps.")] = None,
    as_json: Json = False,
) -> None:
    """Train a prompt, and keep the run where the app finds it.

    Ctrl-C stops it cleanly: `ptviz train --resume RUN` goes on from there.
    """
    given = _given(context)
    console = progress_console()
    with quietly():
        if resume is not None:
            if extra := [option for option in given if option not in WITH_RESUME]:
                raise BadInput(
                    f"--resume goes on with the run's own settings; leave out {', '.join(map(_flag, extra))}"
                )
            with console.status("reading the run"):
                run, warm = _resumed(resume, extend)
        else:
            if method is None:
                raise BadInput("train what? Name a method, as in `ptviz train prompt-tuning`, or --resume RUN")
            if extend is not None:
                raise BadInput("--extend adds steps to a kept run; say which: --resume RUN --extend N")
            training = {option: context.params[option] for option in TRAINING}
            fields: dict[str, Any] = {
                "backbone": backbone, "task": task, "method": method, "knobs": knobs(sets), "name": name,
                "text": text, "label": label, "device": device, "sources": _names(sources),
            }  # fmt: skip
            fields |= _started(start, method, fields["knobs"]) if start is not None else {}
            with console.status("loading the backbone and the task"):
                run, warm = _created(training, fields, branch)
        result = _worked(run, warm)
    _answer(run, result, as_json)


def _given(context: typer.Context) -> list[str]:
    """The options that stand on the command line."""
    sources = {option: context.get_parameter_source(option) for option in context.params}
    return [option for option, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def _names(listed: str | None) -> tuple[str, ...] | None:
    """The names of a list with commas."""
    return None if listed is None else tuple(name.strip() for name in listed.split(",") if name.strip())


def _flag(option: str) -> str:
    return {"method": "METHOD", "sets": "--set"}.get(option, "--" + option.replace("_", "-"))


def _created(training: dict[str, Any], fields: dict[str, Any], branch: str | None) -> tuple[Run, Warm]:
    """A new run, made only after everything that can be wrong with it was looked at."""
    from ptviz.runs import RunConfig, Store
    from ptviz.runs.config import placed
    from ptviz.training import TrainConfig

    store = Store()
    with bad_input():
        parent = snapshot_place(branch) if branch is not None else None
        config = placed(RunConfig(training=TrainConfig(**training), parent=parent, **fields).checked())
        start = _start(store, config)
        warm = _ready(config, start)
    try:
        return store.create(config, start=start), warm
    except (OSError, ValueError) as error:
        raise RunFailed(str(error)) from error


def _started(start: str, method: str, knobs: dict[str, str]) -> dict[str, Any]:
    """The fields of a run that starts from a kept prompt, or from a checkpoint that is kept now; m follows it."""
    from ptviz.checkpoints import CheckpointError, open_checkpoint
    from ptviz.cli.inspect import place_of
    from ptviz.methods import REGISTRY
    from ptviz.methods.hyperparameters import knobs_of
    from ptviz.runs import Store, saved_prompts
    from ptviz.runs.import_prompt import keep_opened

    store = Store()
    with bad_input(OSError, CheckpointError):
        if start in [one.id for one in saved_prompts.kept(store)]:
            found = saved_prompts.get(store, start)
        else:
            place = place_of(Path(start))
            found = keep_opened(store, place, open_checkpoint(place))
    if method in REGISTRY and "m" in knobs_of(REGISTRY[method]):
        knobs = {"m": str(found.m), **knobs}
    return {"start": found.id, "knobs": knobs}


def _start(store: Store, config: RunConfig) -> dict[str, Tensor] | None:
    """The snapshot that a branch starts from."""
    if config.parent is None:
        return None
    id, stage, step = config.parent
    source = store.get(id)
    if source.config.method != config.method:
        raise BadInput(
            f"--branch: run {id} trained {source.config.method}, and a branch keeps its method; got {config.method}"
        )
    return source.snapshot(stage, step)


def _resumed(id: str, more: int | None) -> tuple[Run, Warm]:
    """A kept run, ready to go on."""
    from ptviz.runs import Store
    from ptviz.runs.extend import go_on

    with bad_input(OSError):
        run = Store().get(id)
        if run.status().state == "finished" and more is None:
            raise BadInput(f"run {id} has made all its steps; add some: ptviz train --resume {id} --extend 100")
        warm = _ready(run.config.checked())
        go_on(run, more or 0)
        return run, warm


def _ready(config: RunConfig, start: dict[str, Tensor] | None = None) -> Warm:
    """The backbone and the task, loaded, and a trial start of the method.

    Raises:
        ValueError: if one cannot be had, or they do not go together.
    """
    from ptviz.engine.model_cache import Warm
    from ptviz.runs import Store, saved_prompts
    from ptviz.runs.load_state import load
    from ptviz.training.evaluation import limited

    warm = Warm()
    task, backbone = warm.task(config), warm.backbone(config)
    limited(task, config.training)
    method = warm.engine.build(config, backbone, task)
    if start is not None:
        load(method, start)
    if config.start is not None:
        method.begin_with(saved_prompts.whole(saved_prompts.tensors(Store(), config.start)))
    return warm


def _worked(run: Run, warm: Warm) -> dict[str, Any]:
    """Train the run to its end; what came out."""
    from ptviz.engine.train_job import work

    following = Following(run.id, run.config.training.steps, progress_console())
    with Stopping() as stopping, following:
        try:
            work(run.path, warm, following.watch, stopping.reason)
        except ValueError as error:
            raise RunFailed(str(error)) from error
    return _result(run, warm) | {"interrupted": stopping.asked}


def _result(run: Run, warm: Warm) -> dict[str, Any]:
    config, status, curve = run.config.checked(), run.status(), run.curve()
    method = warm.engine.build(config, warm.backbone(config), warm.task(config))
    finished, baselines = curve.finished, curve.baselines
    bare = finished or baselines
    return {
        "run": run.id,
        "state": status.state,
        "reason": status.reason,
        "zero_shot": bare.zero_shot if bare else None,
        "majority": bare.majority if bare else None,
        "validation": finished.validation if finished else status.accuracy,
        "test": finished.test if finished else None,
        "best_step": finished.best_step if finished else status.best_step,
        "seconds": finished.seconds if finished else status.seconds,
        "steps_per_second": finished.steps_per_second if finished else status.steps_per_second,
        "trained": method.trained(),
    }


def _answer(run: Run, result: dict[str, Any], as_json: bool) -> None:
    interrupted = result.pop("interrupted")
    if as_json:
        emit(result)
    elif result["state"] == "finished":
        typer.echo(
            f"{result['run']}: test {percent(result['test'])}, validation {percent(result['validation'])}; "
            f"zero-shot {percent(result['zero_shot'])}, majority {percent(result['majority'])} of the same test rows. "
            f"{result['trained']:,} parameters trained in {result['seconds']:.0f} s "
            f"({result['steps_per_second']:.1f} steps/s)"
        )
    if result["state"] == "finished":
        return
    if result["state"] == "stopped":
        typer.echo(f"ptviz: {result['reason']}. Go on: ptviz train --resume {run.id}", err=True)
        raise typer.Exit(130 if interrupted else 1)
    raise RunFailed(f"run {run.id} failed: {result['reason']}")
