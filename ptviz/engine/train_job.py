"""Train one run, record its events and the reason why it ended."""

from __future__ import annotations

import faulthandler
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from ptviz.engine.check_table import check_table_labels
from ptviz.engine.model_cache import ModelCache
from ptviz.engine.peak_memory import PeakMemory
from ptviz.engine.predictions import record_predictions
from ptviz.engine.source_prompt_runs import collect_source_prompts
from ptviz.methods.base import PromptMethod
from ptviz.methods.source_prompt import SourcePrompt
from ptviz.runs import saved_prompts
from ptviz.runs.backbone_files import backbone_digest
from ptviz.runs.config import RunConfig, with_absolute_paths
from ptviz.runs.environment import BACKBONE_FIELD, TABLES_FIELD, describe_environment, table_digests
from ptviz.runs.failure_messages import failure_reason, is_out_of_memory, resume_hint
from ptviz.runs.restore_method import load_state
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.same_training import check_same_files
from ptviz.runs.snapshots import AxesByTensor
from ptviz.runs.stop_request import STOPPED_BY_USER, stop_request
from ptviz.runs.store import Store, summarise
from ptviz.runs.target_run import METRICS_FIELD
from ptviz.runs.writer import RunWriter
from ptviz.tasks import Task
from ptviz.tasks.metrics import MEAN_SCORE
from ptviz.training import Baselines, Event, Finished, ResumePoint, default_learning_rate
from ptviz.training.source_prompts import check_unique_names
from ptviz.training.stage_steps import count_stage_steps

EventCallback = Callable[[Event], None]
StopCheck = Callable[[], str | None]


def execute_run(
    folder: Path,
    model_cache: ModelCache | None = None,
    on_event: EventCallback | None = None,
    should_stop: StopCheck | None = None,
) -> None:
    """Train the run in ``folder`` to its end, from its last state if it has one, with its test predictions.

    ``on_event`` gets every event after it was written. ``should_stop`` is called between events; a text that it returns
    stops the run for that reason. A run that fails raises nothing; its status has the reason.

    Raises:
        StoreError: if the folder is not a run, cannot be written, or is written by another process.
        KeyboardInterrupt: after recording that the run was stopped.
    """
    train_run(Run(folder), model_cache or ModelCache(), on_event, should_stop)


def train_and_save(config: RunConfig) -> Run:
    """Train a run in this process, and save it in the run store, where the app finds it too.

    Raises:
        ValueError: if the config is wrong, or the backbone cannot distinguish the labels of its table.
        StoreError: if the run cannot be written, or does not come to its end; the message gives the reason.
    """
    store = Store()
    start = None if config.parent is None else store.get(config.parent[0]).snapshot(*config.parent[1:])
    config = with_absolute_paths(config)
    check_table_labels(config)
    run = store.create(config, start=start)
    execute_run(run.path)
    if (status := run.status()).state != "finished":
        raise StoreError(f"run {run.id} {status.state}: {status.reason}")
    return run


def train_run(
    run: Run,
    model_cache: ModelCache,
    on_event: EventCallback | None = None,
    should_stop: StopCheck | None = None,
    *,
    if_queued: bool = False,
) -> None:
    """Train a run as ``execute_run`` does, with models from ``model_cache``.

    ``if_queued`` leaves a run alone if it is no longer queued.

    Raises:
        StoreError: if the run cannot be written.
        KeyboardInterrupt: after recording that the run was stopped.
    """
    on_event, should_stop = on_event or (lambda event: None), should_stop or (lambda: None)
    with RunWriter(run) as writer:
        if if_queued and writer.status.state != "queued":
            return
        try:
            with _crash_report(run.path):
                finished = _train_and_record(writer, model_cache, on_event, should_stop)
            if finished is not None:  # The crash report is gone by now: a finished run has no such file.
                writer.write_event(finished)
        except KeyboardInterrupt:
            writer.end("stopped", f"interrupted from the keyboard; {resume_hint(writer.status.saved_step)}")
            raise
        except Exception as error:
            writer.end("failed", failure_reason(error, writer.status.saved_step), traceback.format_exc())
            if is_out_of_memory(error):
                model_cache.clear()
            return
        if finished is not None:
            on_event(finished)


def _train_and_record(
    writer: RunWriter, model_cache: ModelCache, on_event: EventCallback, should_stop: StopCheck
) -> Finished | None:
    """Train to the end and make the predictions; return the last event, not yet written, or None if it was stopped."""
    run, config = writer.run, writer.run.config.checked()
    resumed = run.resume_state()
    if resumed is not None:
        config = _resumed_config(run, config)
    # Before they are read: files that change in between then count as changed.
    tables, backbone_files = table_digests(config), backbone_digest(config.backbone)
    writer.begin(resumed)
    backbone, tasks = model_cache.backbone(config), model_cache.target_tasks(config)
    task = tasks[0]
    method = model_cache.backend.build_method(config, backbone, task)
    writer.axes = axes_by_tensor(method)
    facts = describe_environment(backbone.device, backbone.dtype, config.training.seed) | method_facts(method, config)
    facts |= task_facts(tasks) | ({"dtype_choice": backbone.dtype_reason} if backbone.dtype_reason else {})
    facts |= {TABLES_FIELD: tables} if any(tables) else {}
    facts |= {BACKBONE_FIELD: backbone_files} if backbone_files else {}
    writer.write_environment(facts)
    if resumed is None:
        _load_initial_state(method, run)
    resume = None if resumed is None else ResumePoint(resumed.method, resumed.resume, resumed.progress)
    if stop_if_requested(writer, should_stop):
        return None
    baselines = model_cache.baselines(config) or (run.history().baselines if resumed else None)
    peak = PeakMemory(backbone.device)
    transfer = _source_arguments(writer, model_cache, method, on_event, should_stop)
    if transfer is None:
        return None
    if len(tasks) > 1:
        transfer["more_tasks"] = tasks[1:]
    events = model_cache.backend.train(
        method, backbone, task, config.training, resume=resume, baselines=baselines, **transfer
    )
    with closing(_as_generator(events)) as open_events:
        for event in open_events:
            if isinstance(event, Finished):
                writer.write_environment(facts | {"memory": peak.bytes_above_start()})
                made = record_predictions(writer, model_cache, lambda: stop_if_requested(writer, should_stop))
                return event if made else None
            writer.write_event(event)
            if isinstance(event, Baselines):
                model_cache.save_baselines(config, event)
            on_event(event)
            if stop_if_requested(writer, should_stop):
                return None
    raise StoreError(
        "the training ended without a result: expected a Finished event at its end; see error.txt and resume the run"
    )


def _resumed_config(run: Run, config: RunConfig) -> RunConfig:
    """Return the config with which a run goes on from a saved state.

    Raises:
        StoreError: if its tables or its backbone are no longer those that it began with.
    """
    check_same_files(run)  # Also here: they may have changed while it was queued.
    if config.training.dtype != "auto":
        return config
    # Another measurement may choose another type.
    return replace(config, training=replace(config.training, dtype=run.environment().get("dtype", "auto")))


def _load_initial_state(method: PromptMethod, run: Run) -> None:
    """Load the run's initial prompt or state, if it has one, into a new method."""
    start = run.initial_state()
    if run.config.start is not None:
        if start is None:
            raise StoreError(f"run {run.id}: its copy of the saved prompt it starts from is missing; create a new run")
        method.init_from_prompt(saved_prompts.to_prompt(start))
    elif start is not None:
        load_state(method, start)


def _source_arguments(
    writer: RunWriter, model_cache: ModelCache, method: PromptMethod, on_event: EventCallback, should_stop: StopCheck
) -> dict[str, Any] | None:
    """Return the sources a transfer method trains with, recording each source prompt; None if the run was stopped."""
    run, config = writer.run, writer.run.config
    if not method.uses_source_tasks:
        return {}
    tasks = model_cache.source_tasks(config)
    check_unique_names(tasks)
    if not method.needs_source_prompts or writer.status.saved_step is not None:
        return {"sources": tasks}

    def stop_reason() -> str | None:
        return should_stop() or ("the run that needs it was stopped" if stop_request(run.path) else None)

    def make(source: Run) -> None:
        train_run(source, model_cache, should_stop=stop_reason)

    found: dict[str, SourcePrompt] = {}
    store, family = Store(run.path.parent), model_cache.task(config).family
    store.owner = summarise(run).annotations.owner  # In a classroom, other visitors' runs are not continued.
    for ready, prompt in collect_source_prompts(store, config, method.slots, make, family):
        # The config names a file by its path, the training by the task's name.
        task = tasks[len(found)].name
        found[task] = replace(prompt, task=task)
        writer.write_event(ready)
        on_event(ready)
        if stop_if_requested(writer, should_stop):
            return None
    if len(found) < len(tasks):
        reason = should_stop() or stop_request(run.path) or STOPPED_BY_USER
        writer.end("stopped", f"{reason} while its source prompts were trained; resume continues with them")
        return None
    return {"sources": tasks, "source_prompts": found}


def _as_generator(events: Iterable[Event]) -> Generator[Event, None, None]:
    """Yield the events; closing this closes the training at once, even within a step."""
    yield from events


def stop_if_requested(writer: RunWriter, should_stop: StopCheck) -> bool:
    """Stop the run if that was requested; return whether it was stopped."""
    reason = should_stop() or stop_request(writer.folder)
    if reason is None:
        return False
    status = writer.status
    writer.end("stopped", f"{reason} at step {status.step}; {resume_hint(status.saved_step)}")
    return True


@contextmanager
def _crash_report(folder: Path) -> Iterator[None]:
    """Record the name of a crash in native code, which raises no exception, in the run's crash.txt."""
    path = folder / "crash.txt"
    file: TextIO | None = None
    with suppress(OSError):  # If the file cannot be written, a crash looks like a kill.
        path.unlink(missing_ok=True)
        file = None if faulthandler.is_enabled() else path.open("w")
    if file is None:
        yield
        return
    with file:
        faulthandler.enable(file, all_threads=False)
        try:
            yield
        finally:
            faulthandler.disable()
            with suppress(OSError):
                path.unlink(missing_ok=True)


def axes_by_tensor(method: PromptMethod) -> AxesByTensor:
    """Return the axes of the parameters that are named tensors, by their names in the state dict."""
    parts, named = method.tensors().values(), method.named_parameters()
    return {name: part.axes for name, tensor in named for part in parts if part.tensor is tensor}


def task_facts(tasks: Sequence[Task]) -> dict[str, Any]:
    """Return the metric of a run's tasks, that of each of several, and the notes on their data."""
    several = len(tasks) > 1
    facts: dict[str, Any] = {"metric": MEAN_SCORE.name if several else tasks[0].metric}
    if several:
        facts[METRICS_FIELD] = [task.metric for task in tasks]
    notes = [f"{task.name}: {note}" if several else note for task in tasks for note in task.notes]
    return facts | ({"notes": notes} if notes else {})


def method_facts(method: PromptMethod, config: RunConfig) -> dict[str, Any]:
    """Return facts about the run's method: learning rate, parameters, input positions, updates of all stages."""
    return {
        "lr": config.training.lr or default_learning_rate(config.method, config.backbone),
        "trained": method.trainable_parameters(),
        "stored": method.stored_parameters(),
        "slots": method.slots,
        "steps": sum(count_stage_steps(method.stages(), config.training)),
    }
