"""Class probabilities of a sentence with and without a run's prompt."""

from __future__ import annotations

import plotly.graph_objects as go

from ptviz.figures.class_probabilities import ClassProbabilities, draw_class_probabilities
from ptviz.plots.alt_text import with_alt
from ptviz.plots.probe_answers import Answer
from ptviz.plots.run_argument import RunOrId, get_run

_MAX_DESCRIBED = 12


def plot_class_probabilities(
    run: RunOrId, text: str, *, stage: int = 0, step: int | None = None, answer: Answer | None = None
) -> go.Figure:
    """Draw the probability of each class for one text: the frozen backbone alone, and with the run's prompt.

    Without a ``step``, the prompt is the best one of a run that ended, or the newest one of an active run.
    """
    if answer is None:
        from ptviz.worker.handlers import probe_run  # It loads the backbone.

        snapshot = {"stage": None if step is None else stage, "step": step}
        answer = probe_run(get_run(run), "predict", texts=[text], **snapshot)
    found = probabilities_from_answer(answer)
    return with_alt(draw_class_probabilities(found), _describe(found))


def probabilities_from_answer(answer: Answer) -> ClassProbabilities:
    """Read the first text of the worker's answer to the request "predict"; an empty answer has no class yet."""
    if not answer:
        return ClassProbabilities()
    return ClassProbabilities(tuple(answer["classes"]), tuple(answer["with"][0]), tuple(answer["without"][0]))


def _describe(found: ClassProbabilities) -> str:
    if not found.classes:
        return "Class probabilities: no answer yet."
    rows = zip(found.classes, found.prompted, found.frozen, strict=True)
    each = [f"{name}: {prompted:.0%} with the prompt, {frozen:.0%} alone" for name, prompted, frozen in rows]
    return f"Class probabilities. {'; '.join(each[:_MAX_DESCRIBED])}."
