"""What a run on a text-to-text task writes for validation inputs, and how likely the references are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from ptviz.figures.style import format_number
from ptviz.figures.training_curves import draw_perplexity, perplexity
from ptviz.plots.alt_text import with_alt
from ptviz.plots.method_style import method_series_style
from ptviz.plots.probe_answers import Answer, probe
from ptviz.plots.run_argument import RunOrId, get_run
from ptviz.tasks.compute_metrics import normalise_answer


def plot_perplexity(run: RunOrId, *, step: int | None = None) -> go.Figure:
    """Draw the perplexity of the validation targets over the steps of a run on a text-to-text task.

    It is the exponential of the mean negative log-likelihood of a target's tokens, its end included. The curve ends at
    ``step`` of the whole run; None draws all.
    """
    run = get_run(run)
    history = run.history() if step is None else run.history().until(step)
    losses = [evaluation.loss for evaluation in history.evaluations]
    zero_shot = history.baselines.zero_shot_loss if history.baselines else None
    figure = draw_perplexity(history.evaluation_steps, losses, zero_shot, method_series_style(run.config.method))
    said = (
        f"{format_number(perplexity(losses[0]))} at first, {format_number(perplexity(losses[-1]))} now"
        if losses
        else "not measured yet"
    )
    alone = f"; zero-shot {format_number(perplexity(zero_shot))}" if zero_shot is not None else ""
    return with_alt(figure, f"Perplexity of the validation targets: {said}{alone}.")


def sample_steps(run: RunOrId) -> tuple[int, ...]:
    """Return the steps of the whole run at which samples were written, ascending."""
    history = get_run(run).history()
    found = zip(history.evaluation_steps, history.evaluations, strict=True)
    return tuple(step for step, evaluation in found if evaluation.written)


def samples_table(run: RunOrId, *, step: int | None = None) -> list[dict[str, object]]:
    """Return what the run's prompt writes for a few validation inputs: one row per input.

    ``step`` counts the steps of the whole run; None is the newest evaluation. "same" says whether the text with the
    prompt is the reference but for case, punctuation, articles and spaces, as exact match compares answers. A run
    without such texts gives no rows.

    Raises:
        ValueError: if no samples were written at this step.
        StoreError: if the run does not exist or cannot be read.
    """
    run = get_run(run)
    history, steps = run.history(), sample_steps(run)
    if step is not None and step not in steps:
        raise ValueError(f"expected one of the steps {', '.join(map(str, steps)) or '(none)'}; got {step}")
    if not steps or history.baselines is None:
        return []
    chosen = steps[-1] if step is None else step
    written = dict(zip(history.evaluation_steps, history.evaluations, strict=True))[chosen].written
    shown = history.baselines
    return [
        {"input": text, "reference": right, "without prompt": alone, "with prompt": prompted,
         "same": normalise_answer(prompted) == normalise_answer(right)}
        for text, right, alone, prompted in zip(shown.inputs, shown.references, shown.unprompted, written, strict=False)
    ]  # fmt: skip


def edited_texts_table(
    run: RunOrId,
    edits: Sequence[Mapping[str, Any]],
    *,
    stage: int = 0,
    step: int | None = None,
    answer: Answer | None = None,
) -> list[dict[str, object]]:
    """Return what the run's prompt writes for validation inputs before and after edits: one row per input.

    An edit is, as in ``{"kind": "ablate", "tokens": [3]}``: a class of ``ptviz.probes.prompt_edits`` by its kind,
    with its fields. A run that generates no text gives no rows.

    Raises:
        StoreError: if an edit does not fit the prompt.
    """
    edits = [dict(edit) for edit in edits]
    found = probe(answer, run, "surgery", stage=stage, step=step, what="edits", edits=edits)["outputs"]
    if found is None:
        return []
    rows = zip(*(found[name] for name in ("inputs", "references", "before", "now")), strict=True)
    return [
        {"input": text, "reference": right, "before": before, "after": after, "changed": before != after}
        for text, right, before, after in rows
    ]
