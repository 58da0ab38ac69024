"""``ptviz runs | show | note``: list the runs, show one, tag it."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.cli.output import (
    JsonOption,
    UsageError,
    as_usage_error,
    format_score,
    print_error,
    print_json,
    print_line,
    print_table,
)

if TYPE_CHECKING:
    from ptviz.runs import Run, RunSummary, StoreProblem

_UNREADABLE = "unreadable"
"""The state of a run whose files are damaged; it is listed and can be deleted, and nothing else."""
RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run's id: see `ptviz runs`.")]


def summary_to_json(summary: RunSummary) -> dict[str, Any]:
    """Return a row of the list of runs as plain data; scores are by its metric, 0.8 for 80%, None while unknown."""
    config, status = summary.config, summary.status
    return {
        "run": summary.id,
        "name": summary.name,
        "state": status.state,
        "reason": status.reason,
        "backbone": config.backbone,
        "task": config.task_names,
        "method": config.method,
        "seed": config.training.seed,
        "step": status.step,
        "steps": status.steps,
        "metric": summary.metric.name,
        "zero_shot": status.zero_shot,
        "majority": status.majority,
        "validation": status.accuracy,
        "test": status.test,
        "seconds": status.seconds,
        "created": status.created,
        "lr": summary.lr,
        "parameters": summary.trained,
        "tags": list(summary.annotations.tags),
        "notes": summary.annotations.notes,
        "pinned": summary.annotations.pinned,
    }


def _problem_to_json(problem: StoreProblem) -> dict[str, Any]:
    """Return the row of a run that cannot be read: only its id and the reason are known."""
    known = {"run": problem.id, "name": problem.id, "state": _UNREADABLE, "reason": problem.reason}
    fields = (
        "backbone",
        "task",
        "method",
        "seed",
        "step",
        "steps",
        "metric",
        "zero_shot",
        "majority",
        "validation",
        "test",
    )
    more = ("seconds", "created", "lr", "parameters", "tags", "notes", "pinned")
    return {**known, **dict.fromkeys((*fields, *more))}


def runs(
    state: Annotated[
        str | None, typer.Option(help="Only runs in this state: finished, running, stopped, unreadable, ...")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Only runs on this task.")] = None,
    method: Annotated[str | None, typer.Option(help="Only runs of this method.")] = None,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="List the recorded runs that come with ptviz instead of your own.")
    ] = False,
    where: Annotated[
        str | None, typer.Option(help="Only runs that fit a filter, such as 'm=20 lr>=0.1 test>80% tag=paper'.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the runs, newest first."""
    from ptviz.runs import Store
    from ptviz.runs.recorded_runs import recorded_runs
    from ptviz.runs.run_filters import filter_summaries
    from ptviz.runs.status import DERIVED, RUN_STATES

    states = (*RUN_STATES, _UNREADABLE)
    if state is not None and state not in states:
        raise UsageError(f"--state: expected one of {', '.join(states)}; got {state!r}")
    store = Store()
    with as_usage_error(OSError):
        summaries = recorded_runs() if recorded else store.list()
        problems = store.problems() if where is None and not recorded else ()
        found = [summary_to_json(one) for one in (summaries if where is None else filter_summaries(summaries, where))]
        found += [_problem_to_json(problem) for problem in problems]
    wanted = {"state": state, "method": method}
    found = [run for run in found if all(value is None or run[name] == value for name, value in wanted.items())]
    if task is not None:
        found = [run for run in found if _is_on_task(run["task"] or "", task)]
    if as_json:
        print_json(found)
        return
    for run in found:
        if run["state"] == _UNREADABLE:
            print_error(f"{run['run']} cannot be read: {run['reason']}", 2)
        elif DERIVED in run["reason"]:
            print_error(f"{run['run']}: {run['reason']}", 2)
    if not found and (summaries or problems):
        print_line("no run fits these options; list all: ptviz runs", error=True)
    elif not found:
        print_line("no runs yet; train one: ptviz train prompt-tuning --task trec6", error=True)
    print_table(*_run_rows(found))


def _is_on_task(stored: str, task: str) -> bool:
    """Return whether a run has a task of this name; a file is stored by its absolute path, and shown by its name."""
    from ptviz.runs.config import RunConfig, task_label, with_absolute_paths

    names = (stored, *stored.split(", "))
    return with_absolute_paths(RunConfig(task=task)).task in names or task in map(task_label, names)


def _run_rows(found: list[dict[str, Any]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the headings and rows of the list; a column names the metrics if one is not accuracy."""
    from ptviz.tasks.metrics import ACCURACY, recorded_metric

    metrics = [recorded_metric(run["metric"] or ACCURACY.name) for run in found]
    named = any(metric != ACCURACY for metric in metrics)
    rows = [
        (
            run["run"],
            run["state"],
            run["method"] or "-",
            run["task"] or "-",
            run["backbone"] or "-",
            "-" if run["steps"] is None else f"{run['step']}/{run['steps']}",
            *((metric.noun,) if named else ()),
            format_score(metric, run["zero_shot"]),
            format_score(metric, run["validation"]),
            format_score(metric, run["test"]),
            "-" if run["created"] is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(run["created"])),
        )
        for run, metric in zip(found, metrics, strict=True)
    ]
    headings = ("run", "state", "method", "task", "backbone", "step", *(("metric",) if named else ()))
    return (*headings, "zero-shot", "validation", "test", "created"), rows


def show_run(id: RunId, as_json: JsonOption = False) -> None:
    """Show one run: settings, metric history, and the command that repeats it."""
    from ptviz.runs import Store
    from ptviz.tasks.metrics import recorded_metric

    with as_usage_error(OSError):
        data = _run_to_json(Store().get(id))
    if as_json:
        print_json(data)
        return
    status, metric = data["status"], recorded_metric(data["metric"])
    print_line(f"{data['run']}: {status['state']}{': ' + status['reason'] if status['reason'] else ''}")
    print_line(f"folder      {data['folder']}\nrepeat      {data['command']}")
    print_line(f"step        {status['step']} of {status['steps']}")
    if tags := data["annotations"].get("tags"):
        print_line(f"tags        {', '.join(tags)}")
    if own := data["annotations"].get("notes"):
        print_line(f"notes       {own}")
    for text in data["notes"]:
        print_line(f"note        {text}")
    if data["predictions_error"]:
        print_line(f"predictions {data['predictions_error']}")
    for name in ("majority", "zero_shot", "accuracy", "test"):
        label = metric.noun if name == "accuracy" else name.replace("_", "-")
        print_line(f"{label:<11} {format_score(metric, status[name])}")
    print_targets(data)
    if data["damage"]:
        lines = f" ({data['damaged_lines']} damaged lines are left out)" if data["damaged_lines"] else ""
        print_line(f"note        {'; '.join(data['damage'])}{lines}")
    if data["evaluations"]:
        rows = [(e["step"], f"{e['loss']:.3f}", format_score(metric, e["accuracy"])) for e in data["evaluations"]]
        print_table(("step", "validation loss (nats)", metric.noun), rows)


def note(
    id: RunId,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="Add a tag; repeat for several.")] = None,
    untag: Annotated[list[str] | None, typer.Option("--untag", help="Remove a tag.")] = None,
    notes: Annotated[str | None, typer.Option(help="Replace the notes; an empty text removes them.")] = None,
    pin: Annotated[bool | None, typer.Option("--pin/--no-pin", help="Keep the run above the others.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Tag a run, write notes about it, or pin it; without options, show what it has."""
    from ptviz.runs import Store

    with as_usage_error(OSError):
        store = Store()
        found = store.get(id).annotations()
        if any(value is not None for value in (tags, untag, notes, pin)):
            found = store.annotate(id, notes=notes, pinned=pin, add_tags=tags or (), remove_tags=untag or ())
    if as_json:
        print_json({"run": id, **asdict(found)})
        return
    print_line(f"tags        {', '.join(found.tags) or '-'}\nnotes       {found.notes or '-'}")
    print_line(f"pinned      {'yes' if found.pinned else 'no'}")


def targets_to_json(run: Run) -> dict[str, Any]:
    """Return ``tasks`` with a row for each target of a run on several tasks; nothing for a run on one."""
    from ptviz.runs.store import summarise
    from ptviz.runs.target_run import split_targets

    targets = split_targets(run)
    return {"tasks": [summary_to_json(summarise(one)) for one in targets]} if len(targets) > 1 else {}


def print_targets(data: dict[str, Any]) -> None:
    """Print the scores of each target of a run on several tasks, as ``targets_to_json`` gives them."""
    from ptviz.tasks.metrics import recorded_metric

    rows = []
    for run in data.get("tasks", ()):
        metric = recorded_metric(run["metric"])
        scores = (format_score(metric, run[name]) for name in ("zero_shot", "validation", "test"))
        rows.append((run["run"], metric.noun, *scores))
    if rows:
        print_table(("task of the run", "metric", "zero-shot", "validation", "test"), rows)


def _run_to_json(run: Run) -> dict[str, Any]:
    from ptviz.runs.prediction_files import read_predictions_error

    history = run.history()
    environment, damage = _read_environment(run)
    annotations, unreadable = _read_annotations(run)
    return {
        "run": run.id,
        "folder": str(run.path),
        "config": run.config.to_json(),
        "status": run.status().to_json(),
        "command": run.config.shell_command(),
        "metric": run.metric.name,
        "notes": run.task_notes(),
        "environment": environment,
        "predictions_error": read_predictions_error(run.path).reason,
        "annotations": annotations,
        "damage": [text for text in (history.damage, damage, unreadable) if text],
        "damaged_lines": history.damaged_lines,
        **targets_to_json(run),
        "evaluations": [asdict(evaluated) for evaluated in history.evaluations],
        "steps": history.steps.tolist(),
        "losses": history.losses.tolist(),
        "snapshots": [{"stage": s.stage, "step": s.step, "path": str(s.path)} for s in run.snapshots()],
    }


def _read_environment(run: Run) -> tuple[dict[str, Any], str]:
    """Return the run's environment, and what is wrong with its file."""
    from ptviz.runs import StoreError

    try:
        return run.environment(), ""
    except StoreError as error:
        return {}, str(error)


def _read_annotations(run: Run) -> tuple[dict[str, Any], str]:
    """Return the run's tags, notes and pin, and what is wrong with their file."""
    from ptviz.runs import StoreError

    try:
        return asdict(run.annotations()), ""
    except StoreError as error:
        return {}, str(error)
