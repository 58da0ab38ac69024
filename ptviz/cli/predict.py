"""``ptviz predict``: class probabilities with a trained prompt, and of the backbone without it."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from ptviz.cli.output import (
    JsonOption,
    UsageError,
    as_usage_error,
    format_percent,
    print_json,
    print_line,
    print_table,
    progress_console,
    quiet_libraries,
)
from ptviz.cli.runs import RunId


def predict(
    id: RunId,
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Default: stdin, one text a line.")
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=0, help="Use the snapshot after this step. Default: the best.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print class probabilities of texts, with and without the prompt."""
    if not texts and not sys.stdin.isatty():
        texts = [line.strip() for line in sys.stdin if line.strip()]
    if not texts:
        raise UsageError('expected at least one text, as in: ptviz predict RUN "Where is the Nile?"')
    with progress_console().status("running the backbone"), quiet_libraries(), as_usage_error(OSError):
        answer = _predict_texts(id, texts, step)
    if as_json:
        print_json(answer)
        return
    for text, prompted, unprompted in zip(texts, answer["with"], answer["without"], strict=True):
        print_line(text)
        order = sorted(range(len(prompted)), key=lambda index: -prompted[index])
        rows = [(answer["classes"][i], format_percent(prompted[i]), format_percent(unprompted[i])) for i in order]
        print_table(("class", "with the prompt", "without"), rows)


def _predict_texts(id: str, texts: list[str], step: int | None) -> dict[str, Any]:
    from ptviz.engine.loaded_prompt import load_run_prompt
    from ptviz.engine.model_cache import ModelCache
    from ptviz.runs import Store

    model_cache = ModelCache()
    loaded = load_run_prompt(Store().get(id), model_cache, None, step)
    task, backbone, length = loaded.task, loaded.backbone, loaded.config.training.length
    predict = model_cache.backend.predict
    return {
        "run": id,
        **loaded.position,
        "classes": list(task.classes),
        "texts": texts,
        "with": predict(loaded.method, backbone, task, texts, length).tolist(),
        "without": predict(None, backbone, task, texts, length).tolist(),
    }
