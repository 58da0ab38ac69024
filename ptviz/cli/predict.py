"""``ptviz predict``: answers with a trained prompt or the vote of several, and of the backbone without one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
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
from ptviz.cli.texts import Texts, TextsFile, find_table, print_written, read_table_texts, read_texts


def predict(
    id: Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run's id: see `ptviz runs`.")] = None,
    texts: Texts = None,
    ensemble: Annotated[
        str | None,
        typer.Option(
            metavar="RUN,RUN,...",
            help="Several runs on one task in place of RUN: the vote of their prompts. Without texts it is scored on"
            " the test set.",
        ),
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=0, help="Use the snapshot after this step. Default: the best.")
    ] = None,
    file: TextsFile = None,
    as_json: JsonOption = False,
) -> None:
    """Print class probabilities of texts, or what is written for them, with and without the prompt.

    A table's rows of several tasks share the batches of the backbone, each with the prompt of its task. With --ensemble
    the answer is the class that most prompts give; a tie goes to the class of the larger mean probability.
    """
    if ensemble is not None:
        if id is not None and _is_run(id):
            raise UsageError(f"--ensemble names the runs: name {id} there too, or leave it out")
        own = [*([id] if id else []), *(texts or [])]
        _predict_with_ensemble(ensemble.split(","), own, file, step, as_json)
        return
    if id is None:
        raise UsageError('expected a run, as in: ptviz predict RUN "Where is the Nile?"')
    if table := find_table(texts, file):
        with progress_console().status("running the backbone"), quiet_libraries(), as_usage_error(OSError):
            rows = _predict_table(id, table, step)
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


def _is_run(text: str) -> bool:
    """Return whether a text is the id of a run."""
    from ptviz.runs import Store, StoreError

    with suppress(StoreError):
        return Store().get(text) is not None
    return False


def _print_answer(text: str, classes: list[str], prompted: Any, unprompted: Any, task: str = "") -> None:
    shown = f"{task}: {text}" if task else text
    if not classes:
        print_written(shown, prompted, unprompted)
        return
    print_line(shown)
    order = sorted(range(len(prompted)), key=lambda index: -prompted[index])
    rows = [(classes[i], format_percent(prompted[i]), format_percent(unprompted[i])) for i in order]
    print_table(("class", "with the prompt", "without"), rows)


def _predict_with_ensemble(
    ids: list[str], texts: list[str], file: Path | None, step: int | None, as_json: bool
) -> None:
    """Print the vote on texts, or without texts its accuracy on the test set."""
    from ptviz.analysis.ensemble import count_votes

    ids = [one.strip() for one in ids if one.strip()]
    if len(set(ids)) < len(ids) or len(ids) < 2:
        raise UsageError(f"--ensemble: expected at least two different runs; got {', '.join(ids) or 'none'}")
    if not texts and file is None:
        if step is not None:
            raise UsageError("--step: the test set is scored with each run's best prompt; give texts, or leave it out")
        _print_ensemble_scores(ids, as_json)
        return
    with as_usage_error(OSError):
        if table := find_table(texts, file):
            texts = [text for _, text in read_table_texts(table, needs_task=False)]
        else:
            texts = read_texts(texts, 'ptviz predict --ensemble RUN,RUN "Where is the Nile?"', file)
    with progress_console().status("running the backbone"), quiet_libraries(), as_usage_error(OSError):
        answer = _answer_with_ensemble(ids, texts, step)
    if as_json:
        print_json(answer)
        return
    votes = count_votes(answer["members"])
    for index, text in enumerate(texts):
        print_line(text)
        order = sorted(range(len(answer["classes"])), key=lambda c: -answer["mean"][index][c])
        rows = [
            (
                answer["classes"][c],
                f"{votes[index, c]} of {len(ids)}",
                format_percent(answer["mean"][index][c]),
                format_percent(answer["without"][index][c]),
            )
            for c in order
        ]
        print_table(("class", "votes", "mean probability", "without"), rows)
        print_line(f"vote: {answer['vote'][index]}")


def _answer_with_ensemble(ids: list[str], texts: list[str], step: int | None) -> dict[str, Any]:
    from ptviz.engine.loaded_prompt import load_run_prompt
    from ptviz.engine.model_cache import ModelCache
    from ptviz.experiments.ensemble import answer_with_ensemble
    from ptviz.runs import Store

    model_cache, store = ModelCache(), Store()
    members = [load_run_prompt(store.get(id), model_cache, None, step) for id in ids]
    return {"runs": ids, "texts": texts, **answer_with_ensemble(members, texts)}


def _print_ensemble_scores(ids: list[str], as_json: bool) -> None:
    from ptviz.experiments.ensemble import score_runs
    from ptviz.runs import Store

    with as_usage_error(OSError):
        store = Store()
        found = score_runs([store.get(id) for id in ids])
    scores = {"mean": found.mean, "best": found.best, "vote": found.vote, "mean_probability": found.mean_probability}
    if as_json:
        print_json({"runs": ids, "members": list(found.members), **scores})
        return
    rows = [(id, format_percent(score)) for id, score in zip(ids, found.members, strict=True)]
    rows += [("mean of the runs", format_percent(found.mean)), ("vote", format_percent(found.vote))]
    print_table(("prompt", "test accuracy"), [*rows, ("mean probability", format_percent(found.mean_probability))])


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
