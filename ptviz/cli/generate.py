"""``ptviz generate``: what a frozen backbone writes with a trained prompt, and without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ptviz.cli.inspect import PATH_HELP, resolve_checkpoint
from ptviz.cli.output import (
    JsonOption,
    UsageError,
    as_usage_error,
    print_json,
    print_line,
    progress_console,
    quiet_libraries,
)
from ptviz.cli.texts import Texts, TextsFile, find_table, print_written, read_table_texts, read_texts

if TYPE_CHECKING:
    from ptviz.engine.text_generation import TextGenerator

T = TypeVar("T")


def generate(
    path: Annotated[str, typer.Argument(metavar="PATH", help=f"{PATH_HELP} Or the id of a saved prompt.")],
    texts: Texts = None,
    backbone: Annotated[str | None, typer.Option(help="Backbone of a checkpoint: name or folder.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Which prompt of a checkpoint with several.")] = None,
    step: Annotated[int | None, typer.Option(min=0, help="Use a run's snapshot after this step.")] = None,
    template: Annotated[
        str, typer.Option(help="How the input is laid out, as in '{prompt}{text}'. Default: as it was trained.")
    ] = "",
    file: TextsFile = None,
    out: Annotated[Path | None, typer.Option(help="Write one JSON object a text to this file.")] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens written, at most. Default: those of its task's longest target, or else 32."),
    ] = None,
    temperature: Annotated[float, typer.Option(min=0, help="Sample at this temperature; 0 is greedy.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Sample from this share of the probability.")] = 1.0,
    beams: Annotated[int, typer.Option(min=1, help="Beams of a beam search.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampling.")] = 0,
    stop_at_newline: Annotated[
        bool, typer.Option("--stop-at-newline", help="End each text at its first line.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write texts with a trained prompt and without it: a run, a saved prompt, or a checkpoint of any format."""
    from ptviz.checkpoints import CheckpointError

    table = find_table(texts, file)
    with as_usage_error(OSError):
        inputs = [] if table else read_texts(texts, 'ptviz generate RUN "The capital of France is"', file)
    settings = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "beams": beams,
        "seed": seed,
        "stop_at_newline": stop_at_newline,
    }
    with (
        progress_console().status("writing"),
        quiet_libraries(),
        as_usage_error(OSError, CheckpointError),
    ):
        if table is not None:
            answer = _generate_table(path, table, settings, backbone or "", prompt, step, template)
        else:
            answer = _generate_texts(path, inputs, settings, backbone or "", prompt, step, template)
    columns = (answer["texts"], answer["with"], answer["without"])
    rows = [dict(zip(("text", "with", "without"), row, strict=True)) for row in zip(*columns, strict=True)]
    if any(tasks := answer.get("tasks", ())):
        rows = [{"task": task, **row} for task, row in zip(tasks, rows, strict=True)]
    if out is not None:
        from ptviz.runs.run_file_io import atomic_write

        with as_usage_error(OSError):
            atomic_write(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
        print_line(f"{len(rows)} texts written to {out}", error=True)
    if as_json:
        print_json(answer)
    elif out is None:
        for row in rows:
            shown = f"{row['task']}: {row['text']}" if "task" in row else row["text"]
            print_written(shown, row["with"], row["without"])


def _generate_table(path: str, table: Path, settings: dict[str, Any], *options: Any) -> dict[str, Any]:
    """Return the texts for the rows of a table, in order, each with the prompt of its task.

    Only a run on several tasks needs the column of the tasks.
    """
    from ptviz.runs import Store

    run = None if Path(path).exists() else _find(lambda: Store().get(path))
    several = run is not None and len(run.config.targets) > 1
    rows = read_table_texts(table, needs_task=several)
    answer: dict[str, Any] = {"prompt": path}
    found: dict[str, list[Any]] = {name: [None] * len(rows) for name in ("texts", "with", "without", "tasks")}
    for task in dict.fromkeys(task for task, _ in rows):
        at = [index for index, (own, _) in enumerate(rows) if own == task]
        place = f"{path}@{task}" if several else path
        written = _generate_texts(place, [rows[index][1] for index in at], settings, *options)
        answer["settings"] = written["settings"]
        for name in ("texts", "with", "without"):
            for index, value in zip(at, written[name], strict=True):
                found[name][index] = value
        for index in at:
            found["tasks"][index] = task
    return {**answer, **found}


def _generate_texts(
    path: str,
    texts: list[str],
    settings: dict[str, Any],
    backbone: str,
    prompt: str | None,
    step: int | None,
    pattern: str,
) -> dict[str, Any]:
    from ptviz.backbones.generation import GenerationSettings

    GenerationSettings(**{name: value for name, value in settings.items() if value is not None})  # refused at once
    if not settings["temperature"] and (settings["top_p"] != 1 or settings["seed"]):
        raise UsageError("--top-p and --seed are for sampling: set --temperature above 0, or leave them out")
    generator = _load_text_generator(path, backbone, prompt, step, pattern)
    chosen = generator.make_settings(**settings)
    return {"prompt": path, **generator.generate(texts, chosen), "settings": asdict(chosen)}


def _load_text_generator(path: str, backbone: str, prompt: str | None, step: int | None, pattern: str) -> TextGenerator:
    from ptviz.checkpoints import open_checkpoint
    from ptviz.engine.loaded_prompt import load_run_prompt
    from ptviz.engine.model_cache import ModelCache
    from ptviz.engine.text_generation import load_checkpoint_text_generator, load_text_generator, make_text_generator
    from ptviz.runs import Store
    from ptviz.runs.saved_prompts import SAVED_PREFIX, get_saved_prompt

    store, model_cache = Store(), ModelCache()
    if not Path(path).exists():
        run = _find(lambda: store.get(path))
        saved = _find(lambda: get_saved_prompt(store.prompts_folder, path)) if run is None else None
        if run is not None or saved is not None:
            what = "run" if run is not None else "saved prompt"
            if given := [flag for flag, value in (("--backbone", backbone), ("--prompt", prompt)) if value]:
                raise UsageError(
                    f"{', '.join(given)}: only for a checkpoint; {path} is a {what}, which has its own; leave it out"
                )
        if run is not None:
            return make_text_generator(load_run_prompt(run, model_cache, None, step), pattern)
        if step is None and saved is not None:
            return load_text_generator(store, model_cache, SAVED_PREFIX + path, pattern=pattern)
    if step is not None:
        raise UsageError(f"--step is for runs; {path} is not a run")
    bundle = open_checkpoint(resolve_checkpoint(Path(path)))
    return load_checkpoint_text_generator(bundle, backbone, model_cache, prompt, pattern)


def _find(look_up: Callable[[], T]) -> T | None:
    from ptviz.runs import StoreError

    with suppress(StoreError):
        return look_up()
    return None
