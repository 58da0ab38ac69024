"""``ptviz predict``: answers with a trained prompt, and of the backbone without it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ptviz.cli.output import (
    JsonOption,
    as_usage_error,
    format_percent,
    print_json,
    print_line,
    print_table,
    progress_console,
    quiet_libraries,
)
from ptviz.cli.runs import RunId
from ptviz.cli.texts import Texts, print_written, read_table_texts, read_texts
from ptviz.tasks.custom.containers import is_table_name


def predict(
    id: RunId,
    texts: Texts = None,
    step: Annotated[
        int | None, typer.Option(min=0, help="Use the snapshot after this step. Default: the best.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="Texts, one a line; or a table with a column text, and task for a run on several tasks."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print class probabilities of texts, or what is written for them, with and without the prompt.

    A table's rows of several tasks share the batches of the backbone, each with the prompt of its task.
    """
    if file is not None and not texts and is_table_name(file.name):
        with progress_console().status("running the backbone"), quiet_libraries(), as_usage_error(OSError):
            rows = _predict_table(id, file, step)
        if as_json:
            print_json({"run": id, "rows": rows})
            return
        for row in rows:
            _print_answer(row["text"], row["classes"], row["with"], row["without"], row["task"])
        return
    with as_usage_error(OSError):
        texts = read_texts(texts, 'ptviz predict RUN "Where is the Nile?"', file)
    with progress_console().status("running the backbone"), quiet_libraries(), as_usage_error(OSError):
        answer = _predict_texts(id, texts, step)
    if as_json:
        print_json(answer)
        return
    for text, prompted, unprompted in zip(texts, answer["with"], answer["without"], strict=True):
        _print_answer(text, answer["classes"], prompted, unprompted)


def _print_answer(text: str, classes: list[str], prompted: Any, unprompted: Any, task: str = "") -> None:
    shown = f"{task}: {text}" if task else text
    if not classes:
        print_written(shown, prompted, unprompted)
        return
    print_line(shown)
    order = sorted(range(len(prompted)), key=lambda index: -prompted[index])
    rows = [(classes[i], format_percent(prompted[i]), format_percent(unprompted[i])) for i in order]
    print_table(("class", "with the prompt", "without"), rows)


def _predict_texts(id: str, texts: list[str], step: int | None) -> dict[str, Any]:
    from ptviz.engine.loaded_prompt import load_run_prompt
    from ptviz.engine.model_cache import ModelCache
    from ptviz.engine.predictions import answer_texts
    from ptviz.runs import Store

    model_cache = ModelCache()
    loaded = load_run_prompt(Store().get(id), model_cache, None, step)
    return {"run": id, "texts": texts, **answer_texts(loaded, model_cache.backend, texts)}


def _predict_table(id: str, path: Path, step: int | None) -> list[dict[str, Any]]:
    """Return the answers to the rows of a table, in order, each with its task and text."""
    from ptviz.engine.loaded_prompt import load_run_prompt
    from ptviz.engine.mixed_batches import answer_rows
    from ptviz.engine.model_cache import ModelCache
    from ptviz.runs import Store
    from ptviz.runs.target_run import find_target

    run, model_cache = Store().get(id), ModelCache()
    several = len(run.config.targets) > 1
    rows = read_table_texts(path, needs_task=several)
    own = {name: find_target(run, name) if several else run for name in dict.fromkeys(task for task, _ in rows)}
    loaded = {name: load_run_prompt(one, model_cache, None, step) for name, one in own.items()}
    answers = answer_rows([(loaded[task], text) for task, text in rows])
    return [{**answer, "text": text} for (_, text), answer in zip(rows, answers, strict=True)]
