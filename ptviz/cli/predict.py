"""``ptviz predict``: what a trained prompt answers, and what the backbone answers without it."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from ptviz.cli.output import BadInput, Json, bad_input, emit, percent, progress_console, quietly, table
from ptviz.cli.runs import RunId


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command("predict")(predict)


def predict(
    id: RunId,
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Left out: stdin, a line each.")
    ] = None,
    step: Annotated[int | None, typer.Option(min=0, help="The snapshot after this step; left out: the best.")] = None,
    as_json: Json = False,
) -> None:
    """Class probabilities of texts, with and without the prompt."""
    if not texts and not sys.stdin.isatty():
        texts = [line.strip() for line in sys.stdin if line.strip()]
    if not texts:
        raise BadInput('expected at least one text, as in: ptviz predict RUN "Where is the Nile?"')
    with progress_console().status("asking the backbone"), quietly(), bad_input(OSError):
        answer = _answers(id, texts, step)
    if as_json:
        emit(answer)
        return
    for text, prompted, bare in zip(texts, answer["with"], answer["without"], strict=True):
        typer.echo(text)
        order = sorted(range(len(prompted)), key=lambda index: -prompted[index])
        rows = [(answer["classes"][i], percent(prompted[i]), percent(bare[i])) for i in order]
        table(("class", "with the prompt", "without"), rows)


def _answers(id: str, texts: list[str], step: int | None) -> dict[str, Any]:
    from ptviz.engine.loaded_prompt import chosen
    from ptviz.engine.model_cache import Warm
    from ptviz.runs import Store
    from ptviz.runs.load_state import load

    run, warm = Store().get(id), Warm()
    state, stage, step = chosen(run, None, step)
    config = run.config.checked()
    task, backbone = warm.task(config), warm.backbone(config)
    method = warm.engine.build(config, backbone, task)
    load(method, state)
    length = config.training.length
    return {
        "run": id,
        "stage": stage,
        "step": step,
        "classes": list(task.classes),
        "texts": texts,
        "with": warm.engine.predict(method, backbone, task, texts, length).tolist(),
        "without": warm.engine.predict(None, backbone, task, texts, length).tolist(),
    }
