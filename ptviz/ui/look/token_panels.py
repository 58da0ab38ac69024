"""Panels on the rows of any prompt, whatever space they lie in: lengths, cosines among each other, singular values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ptviz.analysis.geometry import Geometry, cosines
from ptviz.analysis.spectrum import spectrum
from ptviz.figures import spectrum as spectra
from ptviz.figures.heatmap import draw_matrix, tell_matrix
from ptviz.figures.linked_selection import dim, pickable
from ptviz.figures.nearest_words import draw_norms, tell_norms
from ptviz.plots.views import Track
from ptviz.runs import Run
from ptviz.ui import scripts
from ptviz.ui.components.figure_panel import panel
from ptviz.ui.components.linked_selection import pick

READ_NORMS = (
    "How to read it: length of each prompt token; the blue bands hold the middle 50 % and 90 % of all words. "
    "A token far above them is unlike any word the backbone was trained on."
)
READ_DISTANCES = (
    "How to read it: how far each prompt token is from the nearest word. The blue bands say how far words are from "
    "their nearest other word; above them, the token has left the cloud of words."
)
_READ_LENGTHS = (
    "How to read it: length of each prompt token's vector in this head. Keys that are long are looked at sharply, "
    "values that are long add much once they are looked at."
)
_READ_COSINES = (
    "How to read it: orange pairs of tokens point the same way. A block of orange is spare capacity: several tokens "
    "that say one thing."
)
_READ_SPECTRUM = (
    "How to read it: a line that falls steeply means that the prompt uses few directions. The effective rank counts "
    "them, after the mean token was taken away."
)


def norm_panel(
    run: Run, track: Track, info: Geometry, what: str, numbers: Sequence[int], picked: frozenset[int], title: str = ""
) -> None:
    """``what`` is "norms" or "distances" of the track's tokens, called by their ``numbers``."""
    read = _READ_LENGTHS if info.cloud is None else READ_NORMS if what == "norms" else READ_DISTANCES
    chosen = f"numbers={list(numbers)}" + (f", picked={sorted(picked)}" if picked else "")
    lines = ["from ptviz.analysis.geometry import geometry", "found = geometry(track.now)"]
    if info.cloud is not None:
        lines = [*scripts.WORDS, "from ptviz.analysis.geometry import cloud, geometry",
                 "found = geometry(track.now, words.table, cloud(words.table))"]  # fmt: skip
    python = scripts.part(
        run, track, "words", f"draw_norms(found, {what!r}, {chosen})", what, *lines, rows=numbers
    )  # fmt: skip
    panel(draw_norms(info, what, numbers=numbers, picked=picked), tell_norms(info, what, numbers=numbers), read,
          key=what, name=f"{run.id}-{what}", title=title, on_pick=pick, python=python)  # fmt: skip


def cosine_panel(run: Run, track: Track, numbers: Sequence[int], picked: frozenset[int], title: str) -> None:
    """Cosines between the tokens of a whole track; those that are not among ``numbers`` leave a gap."""
    values, m = cosines(track.now), len(track.now)
    out = [number for number in range(m) if number not in numbers]
    values[out] = values[:, out] = np.nan
    token = "prompt token"
    figure = draw_matrix(values, token, token, limit=1.0, unit="cosine")
    lines = ["from ptviz.analysis.geometry import cosines", "values = cosines(track.now)"]
    if out:
        lines += ["import numpy as np", f"values[{out}] = values[:, {out}] = np.nan"]
    python = scripts.part(
        run, track, "matrix", f'draw_matrix(values, "{token}", "{token}", limit=1.0, unit="cosine")', "cosines", *lines,
        after=scripts.dimmed(picked, picked),
    )  # fmt: skip
    panel(dim(pickable(figure, range(m)), picked, picked), tell_matrix(values, token, token), _READ_COSINES,
          key="cosines", name=f"{run.id}-cosines", title=title, on_pick=pick, python=python)  # fmt: skip


def spectrum_panel(run: Run, track: Track, numbers: Sequence[int]) -> None:
    """Singular values of the track's tokens at the first step and at the one looked at."""
    pair = [(f"step {track.steps[i]}", spectrum(track.values[i], centred=True)) for i in sorted({0, track.at})]
    python = scripts.part(
        run, track, "spectrum",
        'draw_spectra([(f"step {track.steps[i]}", spectrum(track.values[i], centred=True))'
        " for i in sorted({0, track.at})])",
        "spectrum", "from ptviz.analysis.spectrum import spectrum", rows=numbers,
    )  # fmt: skip
    panel(spectra.draw_spectra(pair), spectra.tell_spectra(pair), _READ_SPECTRUM, key="spectrum",
          name=f"{run.id}-spectrum", title="Singular values", python=python)  # fmt: skip
