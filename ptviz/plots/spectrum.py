"""The singular values of a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from ptviz.analysis.spectrum import compute_spectrum
from ptviz.figures.spectrum import describe_spectra, draw_spectra
from ptviz.plots.alt_text import with_alt
from ptviz.plots.run_argument import PromptOrId
from ptviz.plots.run_tensors import load_tensor_history


def plot_spectrum(
    prompt: PromptOrId,
    *,
    part: str = "",
    stage: int = 0,
    step: int | None = None,
    index: Mapping[str, int] | None = None,
    tokens: Sequence[int] | None = None,
) -> go.Figure:
    """Draw the singular values of a prompt (m, width) without its mean token, at the first and the selected step.

    The options are those of ``plot_norms``. The effective rank is the exponential of the entropy of the squared
    singular values, after Roy and Vetterli (2007).
    """
    history = load_tensor_history(prompt, part, stage=stage, step=step, index=index, tokens=tokens)
    spectra = [
        (f"step {history.steps[i]}", compute_spectrum(history.values[i], centred=True))
        for i in sorted({0, history.current_index % len(history.steps)})
    ]
    return with_alt(draw_spectra(spectra), describe_spectra(spectra))
