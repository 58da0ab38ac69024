"""``ptviz predict``: answers with a trained prompt, and of the backbone without it."""

from __future__ import annotations

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
from ptviz.cli.texts import Texts, print_written, read_texts


def predict(
    id: RunId,
    texts: Texts = None,
    step: Annotated[
        int | None, typer.Option(min=0, help="Use the snapshot after this step. Default: the best.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print class probabilities of texts, or what is written for them, with and without the prompt."""
    texts = read_texts(texts, 'ptviz predict RUN "Where is the Nile?"')
    with progress_console().status("running the backbone"), quiet_libraries(), as_usage_error(OSError):
        answer = _predict_texts(id, texts, step)
    if as_json:
        print_json(answer)
        return
    for text, prompted, unprompted in zip(texts, answer["with"], answer["without"], strict=True):
        if not answer["classes"]:
            print_written(text, prompted, unprompted)
            continue
        print_line(text)
        order = sorted(range(len(prompted)), key=lambda index: -prompted[index])
        rows = [(answer["classes"][i], format_percent(prompted[i]), format_percent(unprompted[i])) for i in order]
        print_table(("class", "with the prompt", "without"), rows)


def _predict_texts(id: str, texts: list[str], step: int | None) -> dict[str, Any]:
    from ptviz.engine.loaded_prompt import load_run_prompt
    from ptviz.engine.model_cache import ModelCache
    from ptviz.engine.predictions import answer_texts
    from ptviz.runs import Store

    model_cache = ModelCache()
    loaded = load_run_prompt(Store().get(id), model_cache, None, step)
    return {"run": id, "texts": texts, **answer_texts(loaded, model_cache.backend, texts)}
