"""Which views a part of a method has: found by the names of its axes, never by the name of a method.

A view is an analysis and a figure of it. It says which axes it reads, written from the last one back: a view of
("m", "d") also fits a part (k, m, d), one slice of the leading axes at a time. "?" stands for any axis.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, TypeVar

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from ptviz.analysis.prompt_similarity import compute_similarity
from ptviz.analysis.prompt_tokens import pairwise_cosines
from ptviz.analysis.spectrum import Spectrum, compute_spectrum
from ptviz.analysis.tensor_comparison import compute_shared_energy
from ptviz.figures import heatmap as cells
from ptviz.figures import spectrum as spectra
from ptviz.figures import tensors
from ptviz.plots.cache import cached_by_signature

T = TypeVar("T")

AXIS_NAMES: Mapping[str, str] = {
    "m": "prompt token",
    "d": "embedding width",
    "k": "expert or source",
    "r": "rank",
    "T": "position",
    "S": "attention site",
    "s": "attention site with a prefix",
    "H": "head",
    "h": "head width",
    "kv": "keys or values",
    "c": "class",
    "V": "vocabulary",
    "e": "piece",
}
"""The axes of ``ptviz.prompt`` in words; an axis that is not here is called by its own name."""


@dataclass(frozen=True, eq=False)
class TensorHistory:
    """One tensor of a method, or a slice of it, at each step of a run: ``values`` all have the ``axes``.

    ``current_index`` is the index in ``steps`` of the selected step. ``cache_key`` names the files that the values come
    from, and what was selected of them; None if the values come from elsewhere.
    """

    name: str
    axes: tuple[str, ...]
    steps: tuple[int, ...]
    values: tuple[Float[np.ndarray, ...], ...]
    current_index: int = -1
    cache_key: Hashable = None

    @property
    def current(self) -> Float[np.ndarray, ...]:
        """Return the values at the selected step."""
        return self.values[self.current_index]

    def select(self, index: Mapping[str, int]) -> TensorHistory:
        """Return the slice at one index of each axis named.

        Raises:
            KeyError: for an axis that the tensor does not have.
        """
        if unknown := set(index) - set(self.axes):
            raise KeyError(f"{self.name} has the axes {self.axes}; got {sorted(unknown)}")
        if not index:
            return self
        indices = tuple(index.get(axis, slice(None)) for axis in self.axes)
        return replace(
            self,
            name=f"{self.name}[{', '.join(f'{axis}={i}' for axis, i in index.items())}]",
            axes=tuple(axis for axis in self.axes if axis not in index),
            values=tuple(value[indices] for value in self.values),
            cache_key=self._derived_key(*index.items()),
        )

    def take(self, axis: str, indices: Sequence[int]) -> TensorHistory:
        """Return the values at some indices of one axis, in the order given; name and axes stay.

        Raises:
            KeyError: for an axis that the tensor does not have.
        """
        if axis not in self.axes:
            raise KeyError(f"{self.name} has the axes {self.axes}; got {axis!r}")
        at, chosen = self.axes.index(axis), np.asarray(indices, dtype=np.intp)
        return replace(
            self,
            values=tuple(value.take(chosen, axis=at) for value in self.values),
            cache_key=self._derived_key(axis, *indices),
        )

    def shorten(self, max_steps: int) -> TensorHistory:
        """Return about ``max_steps`` steps at most, evenly spread, with the first, the last and the selected one."""
        selected = self.current_index % len(self.steps)
        kept = subsample_indices(len(self.steps), selected, max_steps)
        return replace(
            self,
            steps=tuple(self.steps[i] for i in kept),
            values=tuple(self.values[i] for i in kept),
            current_index=kept.index(selected),
            cache_key=self._derived_key("steps", *kept),
        )

    def cached(self, name: Hashable, make: Callable[[], T], *, any_step: bool = False) -> T:
        """Return ``make()``, computed once for these values and this name; always computed without a ``cache_key``.

        ``any_step`` says that the result does not depend on the selected step.
        """
        if self.cache_key is None:
            return make()
        return cached_by_signature((name, self.cache_key, None if any_step else self.current_index), make)

    def _derived_key(self, *selection: Hashable) -> Hashable:
        return None if self.cache_key is None else (self.cache_key, *selection)


def subsample_indices(count: int, selected: int, max_count: int) -> list[int]:
    """Return about ``max_count`` of ``count`` indices at most, evenly spread, with both ends and the selected one."""
    if count <= max_count:
        return list(range(count))
    return sorted({round(i * (count - 1) / (max_count - 1)) for i in range(max_count)} | {selected})


@dataclass(frozen=True)
class TensorView:
    """What can be seen of a part whose last axes match ``axes``.

    ``analyse`` turns a tensor history into what ``draw`` and ``describe`` (the alternative text) take; ``caption`` is
    how to read the figure. Views with ``needs_all_axes`` want all axes of the part; others take slices of the leading
    ones.
    """

    name: str
    title: str
    axes: tuple[str, ...]
    analyse: Callable[[TensorHistory], Any]
    draw: Callable[[Any], go.Figure]
    describe: Callable[[Any], str]
    caption: str
    needs_all_axes: bool = False

    def matches(self, axes: Sequence[str]) -> bool:
        """Whether a part with these axes has this view."""
        if len(axes) < len(self.axes) or (self.needs_all_axes and len(axes) != len(self.axes)):
            return False
        return all(want in ("?", have) for want, have in zip(reversed(self.axes), reversed(axes), strict=False))

    def leading_axes(self, axes: Sequence[str]) -> tuple[str, ...]:
        """The axes of a part of which one place must be chosen."""
        return tuple(axes[: len(axes) - len(self.axes)])


def views_for_axes(axes: Sequence[str]) -> tuple[TensorView, ...]:
    """The views of a part with these axes, in the order in which a page shows them."""
    return tuple(view for view in VIEWS if view.matches(axes))


def axis_name(axis: str) -> str:
    """An axis in words."""
    return AXIS_NAMES.get(axis, axis)


@dataclass(frozen=True, eq=False)
class LabelledMatrix:
    """A matrix with what its axes count."""

    values: Float[np.ndarray, "rows columns"]
    rows: str
    columns: str

    def at_numbers(self, name: str, numbers: Sequence[int], count: int) -> LabelledMatrix:
        """Return the matrix with ``count`` rows or columns where these are called ``name``: its own at ``numbers``.

        The others are empty (NaN), so that each row or column keeps its number in a figure.
        """
        values = self.values
        for axis, own in enumerate((self.rows, self.columns)):
            if own == name:
                shape = [count if at == axis else size for at, size in enumerate(values.shape)]
                wide = np.full(shape, np.nan, np.result_type(values, np.float32))
                np.moveaxis(wide, axis, 0)[list(numbers)] = np.moveaxis(values, axis, 0)
                values = wide
        return replace(self, values=values)


@dataclass(frozen=True, eq=False)
class LabelledVector:
    """A vector with what its axis counts; ``numbers`` are those of its values, 0, 1, 2, ... by default."""

    values: Float[np.ndarray, " n"]
    axis: str
    numbers: tuple[int, ...] = ()


def _values_matrix(track: TensorHistory) -> LabelledMatrix:
    return LabelledMatrix(track.current, axis_name(track.axes[-2]), axis_name(track.axes[-1]))


def _draw_matrix(found: LabelledMatrix, **options: Any) -> go.Figure:
    return cells.draw_heatmap(found.values, found.rows, found.columns, **options)


_draw_cosines = partial(_draw_matrix, limit=1.0, unit="cosine")
_draw_norms = partial(_draw_matrix, signed=False, unit="mean norm")
_draw_ranks = partial(_draw_matrix, signed=False, unit="effective rank")


def _describe_matrix(found: LabelledMatrix) -> str:
    return cells.describe_heatmap(found.values, found.rows, found.columns)


def _row_cosines(track: TensorHistory) -> LabelledMatrix:
    axis = axis_name(track.axes[-2])
    return LabelledMatrix(pairwise_cosines(track.current), axis, axis)


def _vector_values(track: TensorHistory) -> LabelledVector:
    return LabelledVector(track.current, axis_name(track.axes[-1]))


def _row_norms(track: TensorHistory) -> LabelledVector:
    return LabelledVector(np.linalg.norm(track.current, axis=-1), axis_name(track.axes[-2]))


def _draw_vector(found: LabelledVector, unit: str = "value") -> go.Figure:
    return cells.draw_bars(found.values, found.axis, unit, numbers=found.numbers)


def _describe_vector(found: LabelledVector) -> str:
    return cells.describe_bars(found.values, found.axis, found.numbers)


def _first_and_current_spectra(track: TensorHistory) -> list[tuple[str, Spectrum]]:
    shown = {0, track.current_index % len(track.steps)}
    return [(f"step {track.steps[i]}", compute_spectrum(track.values[i])) for i in sorted(shown)]


def _spectra_over_steps(track: TensorHistory) -> tuple[tuple[int, ...], list[Spectrum], int]:
    return track.steps, [compute_spectrum(value) for value in track.values], track.current_index % len(track.steps)


def _expert_similarity(track: TensorHistory) -> LabelledMatrix:
    axis = axis_name(track.axes[0])
    return LabelledMatrix(compute_similarity(list(track.current), "mean").values, axis, axis)


def _head_norms(track: TensorHistory) -> LabelledMatrix:
    """Mean norm of the m vectors of each site and head."""
    return _keys_above_values(np.linalg.norm(track.current, axis=-1).mean(-1), "H")


def _token_norms(track: TensorHistory) -> LabelledMatrix:
    """Mean norm over the heads of each prompt token at each site."""
    return _keys_above_values(np.linalg.norm(track.current, axis=-1).mean(2), "m")


def _head_ranks(track: TensorHistory) -> LabelledMatrix:
    """Effective rank of the m keys, and of the m values, of each site and head; the mean is taken away first."""
    heads = track.current.reshape(-1, *track.current.shape[3:])
    ranks = [compute_spectrum(rows, centred=True).effective_rank for rows in heads]
    return _keys_above_values(np.array(ranks).reshape(track.current.shape[:3]), "H")


def _keys_above_values(found: Float[np.ndarray, "sites 2 n"], columns: str) -> LabelledMatrix:
    sites, _, n = found.shape
    rows = f"site: keys (0-{sites - 1}), values ({sites}-{2 * sites - 1})"
    return LabelledMatrix(found.swapaxes(0, 1).reshape(2 * sites, n), rows, axis_name(columns))


VIEWS: tuple[TensorView, ...] = (
    TensorView(
        "spectrum",
        "Singular values",
        ("?", "?"),
        _first_and_current_spectra,
        spectra.draw_spectra,
        spectra.describe_spectra,
        "How to read it: each line is a step. A line that falls steeply means that few directions hold nearly "
        "everything; the effective rank counts them.",
    ),
    TensorView(
        "rank",
        "Effective rank over the steps",
        ("?", "?"),
        _spectra_over_steps,
        lambda found: spectra.draw_effective_ranks(*found),
        lambda found: spectra.describe_effective_ranks(found[0], found[1]),
        "How to read it: exp(entropy of the squared singular values). A falling line means that "
        "fewer directions hold most of the prompt; near 1, one does: rows that are alike, or a single long row.",
    ),
    TensorView(
        "approximation",
        "Best approximation of lower rank",
        ("?", "d"),
        lambda track: compute_spectrum(track.current),
        spectra.draw_approximation,
        spectra.describe_approximation,
        "How to read it: the share of the matrix (Frobenius norm) that its best approximation of rank r misses. "
        "A quick fall means that two thin factors suffice.",
    ),
    TensorView(
        "cosines",
        "Cosines between rows",
        ("?", "d"),
        _row_cosines,
        _draw_cosines,
        _describe_matrix,
        "How to read it: orange pairs point the same way, blue ones opposite ways, white ones have nothing in common.",
    ),
    TensorView(
        "values",
        "Values",
        ("?", "?"),
        _values_matrix,
        _draw_matrix,
        _describe_matrix,
        "How to read it: every value, orange above zero and blue below it.",
    ),
    TensorView(
        "alike",
        "Experts or sources compared",
        ("k", "m", "d"),
        _expert_similarity,
        _draw_cosines,
        _describe_matrix,
        "How to read it: cosine of the mean tokens of two prompts. All orange means that the experts learned the same.",
        needs_all_axes=True,
    ),
    TensorView(
        "own",
        "Expert specialisation",
        ("k", "m", "d"),
        lambda track: compute_shared_energy(track.current),
        tensors.draw_shared_energy,
        tensors.describe_shared_energy,
        "How to read it: the energy (squared norm) of each prompt's distance from the mean of all, as a share of this "
        "energy and the mean's; the dotted line is that of all together. Near 0, they are copies of one prompt.",
        needs_all_axes=True,
    ),
    TensorView(
        "reach",
        "Shift of each position",
        ("T", "d"),
        _row_norms,
        partial(_draw_vector, unit="length"),
        _describe_vector,
        "How to read it: one bar per position of the text: the norm of the vector that is added to the word there.",
        needs_all_axes=True,
    ),
    TensorView(
        "sites",
        "Norm by site and head",
        ("S", "kv", "H", "m", "h"),
        _head_norms,
        _draw_norms,
        _describe_matrix,
        "How to read it: how large the trained keys (above) and values (below) are at each attention site, "
        "averaged over the prompt tokens.",
        needs_all_axes=True,
    ),
    TensorView(
        "tokens",
        "Norm by site and prompt token",
        ("S", "kv", "H", "m", "h"),
        _token_norms,
        _draw_norms,
        _describe_matrix,
        "How to read it: one column per prompt token, averaged over the heads: keys above, values below. A bright "
        "column is a token that is large at every site; a bright row is a site where all tokens are.",
        needs_all_axes=True,
    ),
    TensorView(
        "directions",
        "Effective rank by site and head",
        ("S", "kv", "H", "m", "h"),
        _head_ranks,
        _draw_ranks,
        _describe_matrix,
        "How to read it: how many directions the prompt's keys (above) and values (below) use in each head, after the "
        "mean was subtracted. In a dark cell the tokens differ along few directions, be it much or little.",
        needs_all_axes=True,
    ),
    TensorView(
        "vector",
        "Values",
        ("?",),
        _vector_values,
        _draw_vector,
        _describe_vector,
        "How to read it: one bar per index, orange above zero and blue below it.",
        needs_all_axes=True,
    ),
)


def list_indices(track: TensorHistory, axes: Sequence[str]) -> list[dict[str, int]]:
    """Return every index of some axes of a tensor, in order."""
    sizes = dict(zip(track.axes, track.current.shape, strict=True))
    return [dict(zip(axes, found, strict=True)) for found in product(*(range(sizes[axis]) for axis in axes))]
