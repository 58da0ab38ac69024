"""Panels on the rows of any prompt, whatever space they lie in: lengths, cosines among each other, singular values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ptviz.analysis.geometry import PromptGeometry, pairwise_cosines
from ptviz.analysis.spectrum import compute_spectrum
from ptviz.figures import spectrum as spectra
from ptviz.figures.heatmap import describe_heatmap, draw_heatmap
from ptviz.figures.linked_selection import dim_cells, make_pickable
from ptviz.figures.nearest_words import describe_norms, draw_norms
from ptviz.plots.views import TensorHistory
from ptviz.runs import Run
from ptviz.ui import scripts
from ptviz.ui.components.figure_panel import figure_panel
from ptviz.ui.components.linked_selection import update_highlight

NORMS_CAPTION = (
    "How to read it: length of each prompt token; the blue bands hold the middle 50 % and 90 % of all words. "
    "A token far above them is unlike any word the backbone was trained on."
)
DISTANCES_CAPTION = (
    "How to read it: how far each prompt token is from the nearest word. The blue bands say how far words are from "
    "their nearest other word; above them, the token has left the cloud of words."
)
_LENGTHS_CAPTION = (
    "How to read it: length of each prompt token's vector in this head. Keys that are long are looked at sharply, "
    "values that are long add much once they are looked at."
)
_COSINES_CAPTION = (
    "How to read it: orange pairs of tokens point the same way. A block of orange is spare capacity: several tokens "
    "that say one thing."
)
_SPECTRUM_CAPTION = (
    "How to read it: a line that falls steeply means that the prompt uses few directions. The effective rank counts "
    "them, after the mean token was taken away."
)


def norm_panel(
    run: Run,
    track: TensorHistory,
    info: PromptGeometry,
    what: str,
    numbers: Sequence[int],
    picked: frozenset[int],
    title: str = "",
) -> None:
    """``what`` is "norms" or "distances" of the track's tokens, called by their ``numbers``."""
    read = (
        _LENGTHS_CAPTION if info.vocabulary_stats is None else NORMS_CAPTION if what == "norms" else DISTANCES_CAPTION
    )
    chosen = f"numbers={list(numbers)}" + (f", picked={sorted(picked)}" if picked else "")
    lines = ["from ptviz.analysis.geometry import compute_geometry", "found = compute_geometry(track.now)"]
    if info.vocabulary_stats is not None:
        lines = [*scripts.VOCABULARY_CODE, "from ptviz.analysis.geometry import compute_vocabulary_stats, compute_geometry",
                 "found = compute_geometry(track.now, words.table, compute_vocabulary_stats(words.table))"]  # fmt: skip
    python = scripts.tensor_script(
        run, track, "nearest_words", f"draw_thumbnail_norms(found, {what!r}, {chosen})", what, *lines, rows=numbers
    )  # fmt: skip
    figure_panel(draw_norms(info, what, numbers=numbers, picked=picked), describe_norms(info, what, numbers=numbers),
    read,
          key=what, name=f"{run.id}-{what}", title=title, on_pick=update_highlight, python=python)  # fmt: skip


def cosine_panel(run: Run, track: TensorHistory, numbers: Sequence[int], picked: frozenset[int], title: str) -> None:
    """Cosines between the tokens of a whole track; those that are not among ``numbers`` leave a gap."""
    values, m = pairwise_cosines(track.current), len(track.current)
    out = [number for number in range(m) if number not in numbers]
    values[out] = values[:, out] = np.nan
    token = "prompt token"
    figure = draw_heatmap(values, token, token, limit=1.0, unit="cosine")
    lines = ["from ptviz.analysis.geometry import pairwise_cosines", "values = pairwise_cosines(track.now)"]
    if out:
        lines += ["import numpy as np", f"values[{out}] = values[:, {out}] = np.nan"]
    python = scripts.tensor_script(
        run, track, "heatmap", f'draw_heatmap(values, "{token}", "{token}", limit=1.0, unit="cosine")', "cosines", *lines,
        after=scripts.dim_cells_code(picked, picked),
    )  # fmt: skip
    figure_panel(dim_cells(make_pickable(figure, range(m)), picked, picked), describe_heatmap(values, token, token),
    _COSINES_CAPTION,
          key="cosines", name=f"{run.id}-cosines", title=title, on_pick=update_highlight, python=python)  # fmt: skip


def spectrum_panel(run: Run, track: TensorHistory, numbers: Sequence[int]) -> None:
    """Singular values of the track's tokens at the first step and at the one looked at."""
    pair = [
        (f"step {track.steps[i]}", compute_spectrum(track.values[i], centred=True))
        for i in sorted({0, track.current_index})
    ]
    python = scripts.tensor_script(
        run, track, "spectrum",
        'draw_spectra([(f"step {track.steps[i]}", compute_spectrum(track.values[i], centred=True))'
        " for i in sorted({0, track.at})])",
        "spectrum", "from ptviz.analysis.spectrum import compute_spectrum", rows=numbers,
    )  # fmt: skip
    figure_panel(spectra.draw_spectra(pair), spectra.describe_spectra(pair), _SPECTRUM_CAPTION, key="spectrum",
          name=f"{run.id}-spectrum", title="Singular values", python=python)  # fmt: skip
