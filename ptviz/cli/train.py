"""``ptviz train``: one run, in this process, kept in the run store so that the app sees it too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.cli.options import SetOption, parse_hyperparameters, parse_snapshot
from ptviz.cli.output import (
    JsonOption,
    RunFailed,
    UsageError,
    as_usage_error,
    format_percent,
    print_json,
    progress_console,
    quiet_libraries,
)
from ptviz.cli.progress import GracefulStop, RunProgress

if TYPE_CHECKING:
    from torch import Tensor

    from ptviz.engine.model_cache import ModelCache
    from ptviz.runs import Run, RunConfig, Store

RESUME_OPTIONS = ("resume", "extend", "as_json")
"""Options that may stand beside --resume: a resumed run keeps the settings it was started with."""
TRAINING_OPTIONS = (
    "steps", "batch", "lr", "optimiser", "schedule", "warmup", "weight_decay", "clip", "seed", "evaluate_every",
    "snapshot_every", "patience", "shots", "train_rows", "validation_rows", "test_rows", "length", "dtype",
    "source_steps",
)  # fmt: skip
"""The options that are fields of TrainConfig, under the same names and with the same defaults."""


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("train")(train)


def train(
    context: typer.Context,
    method: Annotated[str | None, typer.Argument(metavar="[METHOD]", help="See `ptviz methods`.")] = None,
    backbone: Annotated[str, typer.Option(help="A name, a local folder, or a hub id.")] = "minilm-l6",
    task: Annotated[str, typer.Option(help="A name, a file (CSV, TSV, JSONL, Parquet), or hub:ID.")] = "trec6",
    sets: SetOption = None,
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
    as_json: JsonOption = False,
) -> None:
    """Train a prompt, and keep the run where the app finds it.

    Ctrl-C stops it cleanly: `ptviz train --resume RUN` goes on from there.
    """
    given = _given_options(context)
    console = progress_console()
    with quiet_libraries():
        if resume is not None:
            if extra := [option for option in given if option not in RESUME_OPTIONS]:
                raise UsageError(
                    f"--resume goes on with the run's own settings; leave out {', '.join(map(_option_flag, extra))}"
                )
            with console.status("reading the run"):
                run, warm = _resume_run(resume, extend)
        else:
            if method is None:
                raise UsageError("train what? Name a method, as in `ptviz train prompt-tuning`, or --resume RUN")
            if extend is not None:
                raise UsageError("--extend adds steps to a kept run; say which: --resume RUN --extend N")
            training = {option: context.params[option] for option in TRAINING_OPTIONS}
            fields: dict[str, Any] = {
                "backbone": backbone, "task": task, "method": method, "knobs": parse_hyperparameters(sets),
                "name": name,
                "text": text, "label": label, "device": device, "sources": _split_names(sources),
            }  # fmt: skip
            fields |= _start_fields(start, method, fields["knobs"]) if start is not None else {}
            with console.status("loading the backbone and the task"):
                run, warm = _create_run(training, fields, branch)
        result = _train_to_end(run, warm)
    _print_result(run, result, as_json)


def _given_options(context: typer.Context) -> list[str]:
    """The options that stand on the command line."""
    sources = {option: context.get_parameter_source(option) for option in context.params}
    return [option for option, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def _split_names(listed: str | None) -> tuple[str, ...] | None:
    """The names of a list with commas."""
    return None if listed is None else tuple(name.strip() for name in listed.split(",") if name.strip())


def _option_flag(option: str) -> str:
    return {"method": "METHOD", "sets": "--set"}.get(option, "--" + option.replace("_", "-"))


def _create_run(training: dict[str, Any], fields: dict[str, Any], branch: str | None) -> tuple[Run, ModelCache]:
    """A new run, made only after everything that can be wrong with it was looked at."""
    from ptviz.runs import RunConfig, Store
    from ptviz.runs.config import with_absolute_paths
    from ptviz.training import TrainConfig

    store = Store()
    with as_usage_error():
        parent = parse_snapshot(branch) if branch is not None else None
        config = with_absolute_paths(RunConfig(training=TrainConfig(**training), parent=parent, **fields).checked())
        start = _load_branch_state(store, config)
        warm = _load_models(config, start)
    try:
        return store.create(config, start=start), warm
    except (OSError, ValueError) as error:
        raise RunFailed(str(error)) from error


def _start_fields(start: str, method: str, knobs: dict[str, str]) -> dict[str, Any]:
    """The fields of a run that starts from a kept prompt, or from a checkpoint that is kept now; m follows it."""
    from ptviz.checkpoints import CheckpointError, open_checkpoint
    from ptviz.cli.inspect import resolve_checkpoint
    from ptviz.methods import REGISTRY
    from ptviz.methods.hyperparameters import hyperparameters_of
    from ptviz.runs import Store, saved_prompts
    from ptviz.runs.import_prompt import import_checkpoint_prompt

    store = Store()
    with as_usage_error(OSError, CheckpointError):
        if start in [one.id for one in saved_prompts.list_saved_prompts(store.prompts_folder)]:
            found = saved_prompts.get_saved_prompt(store.prompts_folder, start)
        else:
            place = resolve_checkpoint(Path(start))
            found = import_checkpoint_prompt(store, place, open_checkpoint(place))
    if method in REGISTRY and "m" in hyperparameters_of(REGISTRY[method]):
        knobs = {"m": str(found.m), **knobs}
    return {"start": found.id, "knobs": knobs}


def _load_branch_state(store: Store, config: RunConfig) -> dict[str, Tensor] | None:
    """The snapshot that a branch starts from."""
    if config.parent is None:
        return None
    id, stage, step = config.parent
    source = store.get(id)
    if source.config.method != config.method:
        raise UsageError(
            f"--branch: run {id} trained {source.config.method}, and a branch keeps its method; got {config.method}"
        )
    return source.snapshot(stage, step)


def _resume_run(id: str, more: int | None) -> tuple[Run, ModelCache]:
    """A kept run, ready to go on."""
    from ptviz.runs import Store
    from ptviz.runs.extend import prepare_resume

    with as_usage_error(OSError):
        run = Store().get(id)
        if run.status().state == "finished" and more is None:
            raise UsageError(f"run {id} has made all its steps; add some: ptviz train --resume {id} --extend 100")
        warm = _load_models(run.config.checked())
        prepare_resume(run, more or 0)
        return run, warm


def _load_models(config: RunConfig, start: dict[str, Tensor] | None = None) -> ModelCache:
    """The backbone and the task, loaded, and a trial start of the method.

    Raises:
        ValueError: if one cannot be had, or they do not go together.
    """
    from ptviz.engine.model_cache import ModelCache
    from ptviz.runs import Store, saved_prompts
    from ptviz.runs.load_state import load_state
    from ptviz.training.evaluation import subsample_task

    warm = ModelCache()
    task, backbone = warm.task(config), warm.backbone(config)
    subsample_task(task, config.training)
    method = warm.backend.build_method(config, backbone, task)
    if start is not None:
        load_state(method, start)
    if config.start is not None:
        method.init_from_prompt(
            saved_prompts.to_prompt(saved_prompts.load_prompt_tensors(Store().prompts_folder, config.start))
        )
    return warm


def _train_to_end(run: Run, warm: ModelCache) -> dict[str, Any]:
    """Train the run to its end; what came out."""
    from ptviz.engine.train_job import execute_run

    following = RunProgress(run.id, run.config.training.steps, progress_console())
    with GracefulStop() as stopping, following:
        try:
            execute_run(run.path, warm, following.on_event, stopping.reason)
        except ValueError as error:
            raise RunFailed(str(error)) from error
    return _result_json(run, warm) | {"interrupted": stopping.requested}


def _result_json(run: Run, warm: ModelCache) -> dict[str, Any]:
    config, status, curve = run.config.checked(), run.status(), run.history()
    method = warm.backend.build_method(config, warm.backbone(config), warm.task(config))
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
        "trained": method.trainable_parameters(),
    }


def _print_result(run: Run, result: dict[str, Any], as_json: bool) -> None:
    interrupted = result.pop("interrupted")
    if as_json:
        print_json(result)
    elif result["state"] == "finished":
        typer.echo(
            f"{result['run']}: test {format_percent(result['test'])}, validation {format_percent(result['validation'])}; "
            f"zero-shot {format_percent(result['zero_shot'])}, majority {format_percent(result['majority'])} of the same test rows. "
            f"{result['trained']:,} parameters trained in {result['seconds']:.0f} s "
            f"({result['steps_per_second']:.1f} steps/s)"
        )
    if result["state"] == "finished":
        return
    if result["state"] == "stopped":
        typer.echo(f"ptviz: {result['reason']}. Go on: ptviz train --resume {run.id}", err=True)
        raise typer.Exit(130 if interrupted else 1)
    raise RunFailed(f"run {run.id} failed: {result['reason']}")
