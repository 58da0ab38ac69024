"""Which views a part of a method has: found by the names of its axes, never by the name of a method.

A view is an analysis and a figure of it. It says which axes it reads, written from the last one back: a view of
("m", "d") also fits a part (k, m, d), one slice of the leading axes at a time. "?" stands for any axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from ptviz.analysis.geometry import cosines
from ptviz.analysis.similarity import similarity
from ptviz.analysis.spectrum import Spectrum, spectrum
from ptviz.analysis.tensor_comparison import shared
from ptviz.figures import heatmap as cells
from ptviz.figures import spectrum as spectra
from ptviz.figures import tensors

AXES: Mapping[str, str] = {
    "m": "prompt token",
    "d": "embedding width",
    "k": "expert or source",
    "r": "rank",
    "T": "position",
    "S": "attention site",
    "H": "head",
    "h": "head width",
    "kv": "keys or values",
    "c": "class",
    "V": "vocabulary",
    "e": "piece",
}
"""The axes of ``ptviz.prompt`` in words; an axis that is not here is called by its own name."""


@dataclass(frozen=True, eq=False)
class Track:
    """One part of a method, or a slice of it, at each step of a run: ``values`` all have the ``axes``.

    ``at`` is the place in ``steps`` that is looked at.
    """

    name: str
    axes: tuple[str, ...]
    steps: tuple[int, ...]
    values: tuple[Float[np.ndarray, ...], ...]
    at: int = -1

    @property
    def now(self) -> Float[np.ndarray, ...]:
        """The values at the step looked at."""
        return self.values[self.at]

    def slice(self, place: Mapping[str, int]) -> Track:
        """The part at one place of some of its axes.

        Raises:
            KeyError: for an axis that the part does not have.
        """
        if unknown := set(place) - set(self.axes):
            raise KeyError(f"{self.name} has the axes {self.axes}; got {sorted(unknown)}")
        index = tuple(place.get(axis, slice(None)) for axis in self.axes)
        left = tuple(axis for axis in self.axes if axis not in place)
        named = ", ".join(f"{axis}={i}" for axis, i in place.items())
        name = f"{self.name}[{named}]" if named else self.name
        return Track(name, left, self.steps, tuple(value[index] for value in self.values), self.at)

    def take(self, axis: str, places: Sequence[int]) -> Track:
        """The part at some places of one axis alone, in the order given; its name and axes stay.

        Raises:
            KeyError: for an axis that the part does not have.
        """
        if axis not in self.axes:
            raise KeyError(f"{self.name} has the axes {self.axes}; got {axis!r}")
        at, chosen = self.axes.index(axis), np.asarray(places, dtype=np.intp)
        return replace(self, values=tuple(value.take(chosen, axis=at) for value in self.values))


@dataclass(frozen=True)
class View:
    """What can be seen of a part whose last axes match ``axes``.

    ``analyse`` makes of a track what ``draw`` and ``tell`` (the alternative text) take; ``read`` is the sentence that
    says how to read the figure. ``whole`` views want all axes of the part; others take slices of the leading ones.
    """

    name: str
    title: str
    axes: tuple[str, ...]
    analyse: Callable[[Track], Any]
    draw: Callable[[Any], go.Figure]
    tell: Callable[[Any], str]
    read: str
    whole: bool = False

    def fits(self, axes: Sequence[str]) -> bool:
        """Whether a part with these axes has this view."""
        if len(axes) < len(self.axes) or (self.whole and len(axes) != len(self.axes)):
            return False
        return all(want in ("?", have) for want, have in zip(reversed(self.axes), reversed(axes), strict=False))

    def leading(self, axes: Sequence[str]) -> tuple[str, ...]:
        """The axes of a part of which one place must be chosen."""
        return tuple(axes[: len(axes) - len(self.axes)])


def views_of(axes: Sequence[str]) -> tuple[View, ...]:
    """The views of a part with these axes, in the order in which a page shows them."""
    return tuple(view for view in VIEWS if view.fits(axes))


def called(axis: str) -> str:
    """An axis in words."""
    return AXES.get(axis, axis)


@dataclass(frozen=True, eq=False)
class Cells:
    """A matrix with what its axes count."""

    values: Float[np.ndarray, "rows columns"]
    rows: str
    columns: str


def _values(track: Track) -> Cells:
    return Cells(track.now, called(track.axes[-2]), called(track.axes[-1]))


def _draw_values(found: Cells) -> go.Figure:
    return cells.draw_matrix(found.values, found.rows, found.columns)


def _tell(found: Cells) -> str:
    return cells.tell_matrix(found.values, found.rows, found.columns)


def _cosines(track: Track) -> Cells:
    axis = called(track.axes[-2])
    return Cells(cosines(track.now), axis, axis)


def _draw_cosines(found: Cells) -> go.Figure:
    return cells.draw_matrix(found.values, found.rows, found.columns, limit=1.0, unit="cosine")


def _bars(track: Track) -> tuple[Float[np.ndarray, " n"], str]:
    return track.now, called(track.axes[-1])


def _lengths(track: Track) -> tuple[Float[np.ndarray, " n"], str]:
    return np.linalg.norm(track.now, axis=-1), called(track.axes[-2])


def _two_spectra(track: Track) -> list[tuple[str, Spectrum]]:
    shown = {0, track.at % len(track.steps)}
    return [(f"step {track.steps[i]}", spectrum(track.values[i])) for i in sorted(shown)]


def _spectra(track: Track) -> tuple[tuple[int, ...], list[Spectrum], int]:
    return track.steps, [spectrum(value) for value in track.values], track.at % len(track.steps)


def _experts(track: Track) -> Cells:
    axis = called(track.axes[0])
    return Cells(similarity(list(track.now), "mean").values, axis, axis)


def _norms(track: Track) -> Cells:
    """Mean norm of the m vectors of each site and head, keys beside values."""
    norms = np.linalg.norm(track.now, axis=-1).mean(-1)
    sites, _, heads = norms.shape
    both = norms.swapaxes(0, 1).reshape(2 * sites, heads)
    return Cells(both, _keys_values(sites), called("H"))


def _token_norms(track: Track) -> Cells:
    """Mean norm over the heads of each prompt token at each site, keys above values."""
    norms = np.linalg.norm(track.now, axis=-1).mean(2)
    sites, _, m = norms.shape
    return Cells(norms.swapaxes(0, 1).reshape(2 * sites, m), _keys_values(sites), called("m"))


def _head_ranks(track: Track) -> Cells:
    """Effective rank of the m keys, and of the m values, of each site and head; the mean is taken away first."""
    sites, _, heads = track.now.shape[:3]
    ranks = [spectrum(rows, centred=True).effective_rank for rows in track.now.reshape(-1, *track.now.shape[3:])]
    both = np.array(ranks).reshape(sites, 2, heads).swapaxes(0, 1).reshape(2 * sites, heads)
    return Cells(both, _keys_values(sites), called("H"))


def _keys_values(sites: int) -> str:
    return f"site: keys (0-{sites - 1}), values ({sites}-{2 * sites - 1})"


def _draw_head_ranks(found: Cells) -> go.Figure:
    return cells.draw_matrix(found.values, found.rows, found.columns, signed=False, unit="effective rank")


def _draw_norms(found: Cells) -> go.Figure:
    return cells.draw_matrix(found.values, found.rows, found.columns, signed=False, unit="mean norm")


VIEWS: tuple[View, ...] = (
    View(
        "spectrum",
        "Singular values",
        ("?", "?"),
        _two_spectra,
        spectra.draw_spectra,
        spectra.tell_spectra,
        "How to read it: each line is a step. A line that falls steeply means that few directions hold nearly "
        "everything; the effective rank counts them.",
    ),
    View(
        "rank",
        "Effective rank over the steps",
        ("?", "?"),
        _spectra,
        lambda found: spectra.draw_ranks(*found),
        lambda found: spectra.tell_ranks(found[0], found[1]),
        "How to read it: exp(entropy of the squared singular values). A falling line means that rows grow alike; "
        "near 1, all rows say the same.",
    ),
    View(
        "approximation",
        "Best approximation of lower rank",
        ("?", "d"),
        lambda track: spectrum(track.now),
        spectra.draw_approximation,
        spectra.tell_approximation,
        "How to read it: the share of the matrix (Frobenius norm) that its best approximation of rank r misses. "
        "A quick fall says that two thin factors would do.",
    ),
    View(
        "cosines",
        "Cosines between rows",
        ("?", "d"),
        _cosines,
        _draw_cosines,
        _tell,
        "How to read it: orange pairs point the same way, blue ones opposite ways, white ones have nothing in common.",
    ),
    View(
        "values",
        "Values",
        ("?", "?"),
        _values,
        _draw_values,
        _tell,
        "How to read it: the numbers themselves, orange above zero and blue below it.",
    ),
    View(
        "alike",
        "Experts or sources compared",
        ("k", "m", "d"),
        _experts,
        _draw_cosines,
        _tell,
        "How to read it: cosine of the mean tokens of two prompts. All orange means that the experts learned the same.",
        whole=True,
    ),
    View(
        "own",
        "What each has for itself",
        ("k", "m", "d"),
        lambda track: shared(track.now),
        tensors.draw_shared,
        tensors.tell_shared,
        "How to read it: the share of each prompt's energy (squared norm) that lies in its distance from the mean of "
        "all; the dotted line is that of all together. Near 0, they are copies of one prompt.",
        whole=True,
    ),
    View(
        "reach",
        "Shift of each position",
        ("T", "d"),
        _lengths,
        lambda found: cells.draw_bars(found[0], found[1], "length"),
        lambda found: cells.tell_bars(found[0], found[1]),
        "How to read it: one bar a position of the text: how long the vector is that is added to the word there.",
        whole=True,
    ),
    View(
        "sites",
        "Norm by site and head",
        ("S", "kv", "H", "m", "h"),
        _norms,
        _draw_norms,
        _tell,
        "How to read it: how large the trained keys (above) and values (below) are at each attention site, "
        "averaged over the prompt tokens.",
        whole=True,
    ),
    View(
        "tokens",
        "Norm by site and prompt token",
        ("S", "kv", "H", "m", "h"),
        _token_norms,
        _draw_norms,
        _tell,
        "How to read it: one column a prompt token, averaged over the heads: keys above, values below. A bright column "
        "is a token that is large at every site; a bright row is a site where all tokens are.",
        whole=True,
    ),
    View(
        "directions",
        "Effective rank by site and head",
        ("S", "kv", "H", "m", "h"),
        _head_ranks,
        _draw_head_ranks,
        _tell,
        "How to read it: how many directions the prompt's keys (above) and values (below) use in each head, after the "
        "mean was taken away. A dark cell is a head in which the tokens say nearly the same.",
        whole=True,
    ),
    View(
        "vector",
        "Values",
        ("?",),
        _bars,
        lambda found: cells.draw_bars(found[0], found[1]),
        lambda found: cells.tell_bars(found[0], found[1]),
        "How to read it: one bar a place, orange above zero and blue below it.",
        whole=True,
    ),
)


def places(track: Track, axes: Sequence[str]) -> list[dict[str, int]]:
    """Every place of some axes of a part, in order: what a page offers to choose from."""
    sizes = dict(zip(track.axes, track.now.shape, strict=True))
    return [dict(zip(axes, found, strict=True)) for found in product(*(range(sizes[axis]) for axis in axes))]
