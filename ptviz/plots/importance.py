"""The importance of each prompt token: measured by ablation, and estimated from gradients."""

from __future__ import annotations

import plotly.graph_objects as go

from ptviz.analysis.importance import TokenImportance, compute_importance
from ptviz.figures.importance import describe_importance, draw_importance
from ptviz.plots.alt_text import with_alt
from ptviz.plots.probe_answers import Answer, probe
from ptviz.plots.run_argument import RunOrId, get_run


def plot_importance(
    run: RunOrId, *, stage: int = 0, step: int | None = None, answer: Answer | None = None
) -> go.Figure:
    """Draw how validation loss (nats) and metric change without each prompt token, and XPrompt's first-order score.

    The score is that of Ma et al. (2022), section 3: the mean size of the loss's derivative by a mask on the token; it
    is not defined for keys and values.
    """
    found = _measure(run, stage, step) if answer is None else answer
    result, metric = importance_from_answer(found), get_run(run).metric
    alt = f"{describe_importance(result, metric)} Measured on {found['rows']} texts each."
    return with_alt(draw_importance(result, metric), alt)


def importance_from_answer(answer: Answer) -> TokenImportance:
    """Read the answers about ablation ("losses", "accuracies", "loss", "accuracy") and importance ("scores")."""
    return compute_importance(
        answer["losses"], answer["accuracies"], answer["loss"], answer["accuracy"], answer.get("scores", [])
    )


def _measure(run: RunOrId, stage: int, step: int | None) -> Answer:
    untouched = probe(None, run, "surgery", stage=stage, step=step, what="edits", edits=[])
    tokens = list(range(untouched["m"]))
    ablation = probe(None, run, "surgery", stage=stage, step=step, what="ablation", tokens=tokens)
    if untouched["inside"]:
        return ablation
    scores = probe(None, run, "surgery", stage=stage, step=step, what="importance")["scores"]
    return {**ablation, "scores": scores}
