"""``ptviz train``: train one run in this process and save it in the run store, where the app finds it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.cli import options
from ptviz.cli.options import (
    given_options,
    option_flag,
    own_notes,
    parse_hyperparameters,
    parse_snapshot,
    print_notes,
    refuse_options,
    split_names,
    split_tasks,
    with_fields,
    with_table_options,
)
from ptviz.cli.output import (
    JsonOption,
    RunFailed,
    UsageError,
    as_usage_error,
    format_score,
    print_json,
    print_line,
    progress_console,
    quiet_libraries,
)
from ptviz.cli.progress import GracefulStop, RunProgress
from ptviz.cli.runs import print_targets, targets_to_json
from ptviz.methods import method_uses_source_tasks
from ptviz.training.config import TrainConfig

if TYPE_CHECKING:
    from torch import Tensor

    from ptviz.engine.model_cache import ModelCache
    from ptviz.runs import Run, RunConfig, Store

RESUME_OPTIONS = ("resume", "extend", "as_json")
"""Options allowed with --resume: a resumed run keeps the settings it was started with."""


@with_fields(TrainConfig, "training")
@with_table_options("columns")
def train(
    context: typer.Context,
    method: Annotated[str | None, typer.Argument(metavar="[METHOD]", help="See `ptviz methods`.")] = None,
    *,
    backbone: options.BackboneOption = "minilm-l6",
    task: options.TasksOption = "trec6",
    sets: options.SetOption = None,
    columns: dict[str, Any],
    training: dict[str, Any],
    sources: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Source tasks of a transfer method. Default: tasks of the same family."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps. Default: the fastest available.")] = None,
    name: Annotated[str, typer.Option(help="Name of the run.")] = "",
    branch: Annotated[
        str | None, typer.Option(metavar="RUN:STAGE:STEP", help="Start from a snapshot of another run.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(metavar="ID|PATH", help="Start from a saved prompt, or from a checkpoint.")
    ] = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Continue a stopped run.")] = None,
    extend: Annotated[int | None, typer.Option(min=1, help="With --resume: add this many steps.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a prompt and save the run, which the app shows too.

    Ctrl-C stops it cleanly; `ptviz train --resume RUN` continues it.
    """
    console = progress_console()
    with quiet_libraries():
        if resume is not None:
            if extra := [option for option in given_options(context) if option not in RESUME_OPTIONS]:
                flags = ", ".join(map(option_flag, extra))
                raise UsageError(f"--resume keeps the settings of the run; leave out {flags}")
            with console.status("reading the run"):
                run, model_cache = _resume_run(resume, extend)
        else:
            if method is None:
                raise UsageError("expected a method, as in `ptviz train prompt-tuning`, or --resume RUN")
            if extend is not None:
                raise UsageError("--extend adds steps to a saved run; name it: --resume RUN --extend N")
            fields: dict[str, Any] = {
                "backbone": backbone, **split_tasks(task), "method": method, "name": name, **columns,
                "hyperparameters": parse_hyperparameters(sets), "device": device, "sources": split_names(sources),
            }  # fmt: skip
            if not method_uses_source_tasks(method):
                refuse_options(context, ("source_steps", "source_seed"), f"{method} does not learn from source tasks")
            if not fields["more_tasks"]:
                refuse_options(context, ("task_temperature",), "only for a run on several tasks")
            fields |= _start_fields(start, method, fields["hyperparameters"]) if start is not None else {}
            with console.status("loading the backbone and the task"):
                run, model_cache = _create_run(training, fields, branch)
            print_notes(note for one in model_cache.target_tasks(run.config) for note in own_notes(one))
        result = _train_to_end(run, model_cache)
    _print_result(run, result, as_json)


def _create_run(training: dict[str, Any], fields: dict[str, Any], branch: str | None) -> tuple[Run, ModelCache]:
    """Create a run, after its settings, backbone, task and start are checked."""
    from ptviz.runs import RunConfig, Store
    from ptviz.runs.config import with_absolute_paths

    store = Store()
    with as_usage_error():
        parent = parse_snapshot(branch) if branch is not None else None
        config = with_absolute_paths(RunConfig(training=TrainConfig(**training), parent=parent, **fields).checked())
        start = _load_branch_state(store, config)
        model_cache = _load_models(config, start)
    try:
        return store.create(config, start=start), model_cache
    except (OSError, ValueError) as error:
        raise RunFailed(str(error)) from error


def _start_fields(start: str, method: str, hyperparameters: dict[str, str]) -> dict[str, Any]:
    """Return the config fields of a run that starts from a saved prompt, or from a checkpoint, which is saved first."""
    from ptviz.checkpoints import CheckpointError, diagnose, open_checkpoint
    from ptviz.checkpoints.bundle import START_RUN
    from ptviz.checkpoints.diagnostics import list_warnings
    from ptviz.cli.inspect import resolve_checkpoint
    from ptviz.methods import list_methods
    from ptviz.runs import Store, saved_prompts
    from ptviz.runs.import_prompt import import_checkpoint_prompt

    store = Store()
    with as_usage_error(OSError, CheckpointError):
        if start in [one.id for one in saved_prompts.list_saved_prompts(store.prompts_folder)]:
            found = saved_prompts.get_saved_prompt(store.prompts_folder, start)
        else:
            path = resolve_checkpoint(Path(start))
            bundle = open_checkpoint(path)
            for use in bundle.capabilities:
                if use.action == START_RUN and not use.possible:
                    raise UsageError(f"--start: no run can start from {bundle.name}: {use.reason}")
            for warning in list_warnings(bundle, diagnose(bundle)):
                print_line(f"note: {warning}", error=True)
            found = import_checkpoint_prompt(store, path, bundle)
    if method in list_methods() and "m" in list_methods()[method].hyperparameters:
        hyperparameters = {"m": str(found.m), **hyperparameters}
    return {"start": found.id, "hyperparameters": hyperparameters}


def _load_branch_state(store: Store, config: RunConfig) -> dict[str, Tensor] | None:
    """Return the snapshot that a branch starts from, or None without one."""
    if config.parent is None:
        return None
    id, stage, step = config.parent
    source = store.get(id)
    if source.config.method != config.method:
        raise UsageError(f"--branch: a branch of run {id} keeps its method {source.config.method}; got {config.method}")
    return source.snapshot(stage, step)


def _resume_run(id: str, more: int | None) -> tuple[Run, ModelCache]:
    """Return a saved run that is ready to continue."""
    from ptviz.runs import Store
    from ptviz.runs.prepare_resume import prepare_resume
    from ptviz.runs.run import check_writable

    with as_usage_error(OSError):
        run = Store().get(id)
        check_writable(run.path)
        if run.status().state == "finished" and more is None:
            raise UsageError(f"run {id} has finished all its steps; add some: ptviz train --resume {id} --extend 100")
        model_cache = _load_models(run.config.checked())
        prepare_resume(run, more or 0)
        return run, model_cache


def _load_models(config: RunConfig, start: dict[str, Tensor] | None = None) -> ModelCache:
    """Load backbone and task into a new cache, and check that the method can start with them.

    Raises:
        ValueError: if one of them cannot be loaded, or they are incompatible.
    """
    from ptviz.engine.model_cache import ModelCache
    from ptviz.runs import Store, saved_prompts
    from ptviz.runs.restore_method import load_state
    from ptviz.training.distinct_labels import check_label_texts
    from ptviz.training.evaluation import subsample_task

    model_cache = ModelCache()
    tasks, backbone = model_cache.target_tasks(config), model_cache.backbone(config)
    if config.sources is not None:  # Names of the user's own; those by default exist.
        model_cache.source_tasks(config)
    for task in tasks:
        check_label_texts(task, backbone.tokeniser)
        if task.kind != "classification":
            backbone.make_vocabulary_readout()  # An encoder has none, and says so.
        subsample_task(task, config.training)
    method = model_cache.backend.build_method(config, backbone, tasks[0])
    if start is not None:
        load_state(method, start)
    if config.start is not None:
        method.init_from_prompt(
            saved_prompts.to_prompt(saved_prompts.load_prompt_tensors(Store().prompts_folder, config.start))
        )
    return model_cache


def _train_to_end(run: Run, model_cache: ModelCache) -> dict[str, Any]:
    """Train the run to its end and return its result."""
    from ptviz.engine.train_job import execute_run
    from ptviz.runs import Store
    from ptviz.tasks.metrics import MEAN_SCORE

    Store(run.path.parent).remove_leftovers()  # as a worker does when it starts
    tasks = model_cache.target_tasks(run.config)
    metric = MEAN_SCORE if len(tasks) > 1 else tasks[0].scorer
    progress = RunProgress(run.id, run.config.training.steps, progress_console(), metric, tasks)
    with GracefulStop() as stop, progress:
        try:
            execute_run(run.path, model_cache, progress.on_event, stop.reason)
        except ValueError as error:
            raise RunFailed(str(error)) from error
    return _result_json(run, model_cache) | {"interrupted": stop.requested}


def _result_json(run: Run, model_cache: ModelCache) -> dict[str, Any]:
    config, status, history = run.config.checked(), run.status(), run.history()
    method = model_cache.backend.build_method(config, model_cache.backbone(config), model_cache.task(config))
    finished = history.finished
    baselines = finished or history.baselines
    return {
        "run": run.id,
        "metric": run.metric.name,
        "state": status.state,
        "reason": status.reason,
        "zero_shot": baselines.zero_shot if baselines else None,
        "majority": baselines.majority if baselines else None,
        "validation": finished.validation if finished else status.accuracy,
        "test": finished.test if finished else None,
        "best_step": finished.best_step if finished else status.best_step,
        "seconds": finished.seconds if finished else status.seconds,
        "steps_per_second": finished.steps_per_second if finished else status.steps_per_second,
        "trained": method.trainable_parameters(),
        **targets_to_json(run),
    }


def _print_result(run: Run, result: dict[str, Any], as_json: bool) -> None:
    interrupted = result.pop("interrupted")
    if as_json:
        print_json(result)
    elif result["state"] == "finished":
        metric = run.metric
        scores = {name: format_score(metric, result[name]) for name in ("test", "validation", "zero_shot", "majority")}
        print_line(
            f"{result['run']}: test {metric.noun} {scores['test']}, validation {scores['validation']}; on the same "
            f"test examples zero-shot {scores['zero_shot']}, {metric.constant_answer} {scores['majority']}. "
            f"{result['trained']:,} parameters trained in {result['seconds']:.0f} s "
            f"({result['steps_per_second']:.1f} steps/s)"
        )
        print_targets(result)
    if result["state"] == "finished":
        return
    if result["state"] == "stopped":
        print_line(f"ptviz: {result['reason']}. Continue: ptviz train --resume {run.id}", error=True)
        raise typer.Exit(130 if interrupted else 1)
    raise RunFailed(f"run {run.id} failed: {result['reason']}")
