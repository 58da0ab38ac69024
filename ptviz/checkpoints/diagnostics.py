"""Measure common problems of a trained prompt: dead rows, outlier norms, collapse, wrong backbone.

The thresholds were set on published prompts. In those of thunlp/Prompt-Transferability, row 0 was overwritten in
training and has an extreme norm (MNLI: 399, the median is 28.9). This row alone reduces MNLI's effective rank from 82
to 7.4 of 100. Therefore both ranks are measured, and collapse is judged without outliers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ptviz.checkpoints.bundle import UNSPLIT_AXES, Array, PromptBundle
from ptviz.prompt import BackboneShape
from ptviz.prompt_statistics import effective_rank, find_outliers, is_collapsed

DEAD_NORM_SHARE = 1e-3
"""A row with a norm below this share of the median norm is dead."""
MAX_ROWS = 1024
"""Largest number of rows for the effective rank; of a longer matrix, as many evenly spaced rows."""


@dataclass(frozen=True)
class BackboneReference:
    """The backbone that a prompt is checked against: its sizes, and the norms of its token embeddings, if known."""

    name: str
    shape: BackboneShape
    norms: Array


@dataclass(frozen=True)
class PromptDiagnostics:
    """Measurements of one matrix of prompt tokens ``(m, d)``, or of keys and values ``(m, S * 2 * H * h)``.

    Rows are counted from 0. ``inner`` marks keys and values, which cannot be compared with a vocabulary.

    ``effective_rank`` is exp(entropy) of the centred rows' squared singular values,
    ``effective_rank_without_outliers`` the same without outlier and dead rows. ``inside`` is the share of rows with
    a norm within the vocabulary's range, if a backbone was given.
    """

    name: str
    tokens: int
    width: int
    norms: tuple[float, ...]
    median: float
    dead: tuple[int, ...]
    outliers: tuple[int, ...]
    duplicate_rows: int
    effective_rank: float
    effective_rank_without_outliers: float
    inside: float | None
    warnings: tuple[str, ...]
    inner: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {**asdict(self), "norms": [round(norm, 4) for norm in self.norms]}


def diagnose(bundle: PromptBundle, reference: BackboneReference | None = None) -> tuple[PromptDiagnostics, ...]:
    """Return the diagnostics of every prompt of a bundle: input prompts, then keys and values."""
    inputs = (_diagnose_matrix(name, matrix, reference) for name, matrix in bundle.input_prompts().items())
    inner = (
        replace(_diagnose_matrix(name, matrix, None), inner=True) for name, matrix in bundle.key_value_prompts().items()
    )
    return (*inputs, *inner)


def _evenly_spread(matrix: Array) -> Array:
    """Return at most ``MAX_ROWS`` evenly spaced rows: a decomposition takes time cubic in their number."""
    return matrix if len(matrix) <= MAX_ROWS else matrix[np.linspace(0, len(matrix) - 1, MAX_ROWS).astype(int)]


def _diagnose_matrix(name: str, matrix: Array, reference: BackboneReference | None) -> PromptDiagnostics:
    norms = np.linalg.norm(matrix.astype(np.float64), axis=1)
    median = float(np.median(norms))
    dead = tuple(int(i) for i in np.flatnonzero(norms <= DEAD_NORM_SHARE * median))
    outliers = tuple(int(row) for row in np.flatnonzero(find_outliers(matrix)))
    rank = effective_rank(_evenly_spread(matrix), centred=True)
    rest = np.delete(matrix, [*outliers, *dead], axis=0)
    rest_rank = effective_rank(_evenly_spread(rest), centred=True) if 1 < len(rest) < len(matrix) else rank
    inside = None
    if reference is not None and reference.shape.width == matrix.shape[1] and len(reference.norms):
        inside = float(((norms >= reference.norms.min()) & (norms <= reference.norms.max())).mean())
    facts = PromptDiagnostics(
        name=name,
        tokens=len(matrix),
        width=matrix.shape[1],
        norms=tuple(map(float, norms)),
        median=median,
        dead=dead,
        outliers=outliers,
        duplicate_rows=len(matrix) - len(np.unique(matrix, axis=0)),
        effective_rank=rank,
        effective_rank_without_outliers=rest_rank,
        inside=inside,
        warnings=(),
    )
    return replace(facts, warnings=tuple(_list_warnings(facts, reference)))


def _list_warnings(facts: PromptDiagnostics, reference: BackboneReference | None) -> list[str]:
    found = []
    if facts.dead:
        found.append(f"{_format_rows(facts.dead)} {_agreeing_verb(facts.dead, 'is', 'are')} dead (norm near 0)")
    if facts.outliers:
        middle = max(facts.median, 1e-60)  # most rows may be all zeros
        worst = max(facts.outliers, key=lambda row: abs(np.log(max(facts.norms[row], 1e-60) / middle)))
        who = f"{_format_rows(facts.outliers)} {_agreeing_verb(facts.outliers, 'is an outlier', 'are outliers')}"
        found.append(
            f"{who}: norm {facts.norms[worst]:.3g} in row {worst} against a median of {facts.median:.3g}. Exclude "
            "such rows when you compare prompts"
        )
    if facts.duplicate_rows:
        found.append(f"{facts.duplicate_rows} of {facts.tokens} rows are exact duplicates")
    most, rank = min(facts.tokens - 1, facts.width), facts.effective_rank_without_outliers
    if rank > 2 * facts.effective_rank:
        found.append(f"these rows reduce its effective rank to {facts.effective_rank:.1f}: {rank:.1f} without them")
    if is_collapsed(rank, most):
        found.append(f"collapsed: the effective rank of its {facts.tokens} tokens is {rank:.1f} of at most {most}")
    if reference is not None:
        found += _vocabulary_warnings(facts, reference)
    return found


def _format_rows(rows: tuple[int, ...]) -> str:
    some = ", ".join(map(str, rows[:8])) + (" …" if len(rows) > 8 else "")
    return f"{'row' if len(rows) == 1 else 'rows'} {some}"


def _agreeing_verb(rows: tuple[int, ...], one: str, many: str) -> str:
    return one if len(rows) == 1 else many


def _vocabulary_warnings(facts: PromptDiagnostics, reference: BackboneReference) -> list[str]:
    if facts.width != reference.shape.width:
        return [
            f"wrong width for {reference.name}: its vectors have {reference.shape.width} numbers, these have "
            f"{facts.width}"
        ]
    if facts.inside is not None and facts.inside < 0.5:
        low, high = float(reference.norms.min()), float(reference.norms.max())
        return [
            f"off the vocabulary: {1 - facts.inside:.0%} of its tokens have norms outside the {low:.3g} to {high:.3g} "
            f"of {reference.name}'s own (median {facts.median:.3g} against {float(np.median(reference.norms)):.3g})"
        ]
    return []


def incompatibilities(bundle: PromptBundle, reference: BackboneReference) -> list[str]:
    """Return why a bundle does not fit a backbone, before a forward pass would fail; empty if it fits."""
    wrong: list[str] = []
    widths = {
        size for v in bundle.tensors.values() for axis, size in zip(v.axes, v.array.shape, strict=True) if axis == "d"
    }
    if others := sorted(widths - {reference.shape.width}):
        found = " and ".join(map(str, others))
        wrong.append(
            f"wrong width for {reference.name}: its vectors have {reference.shape.width} numbers, these have {found}"
        )
    for name, values in bundle.tensors.items():
        sizes = dict(zip(values.axes, values.array.shape, strict=True))
        if values.axes == ("S", "kv", "H", "m", "h"):
            own = (sizes["S"], sizes["H"], sizes["h"])
            theirs = (reference.shape.sites, reference.shape.heads, reference.shape.head_width)
            if own != theirs:
                wrong.append(f"{name} is for (sites, heads, head width) {own}; {reference.name} has {theirs}")
        elif values.axes == UNSPLIT_AXES:
            features = 2 * reference.shape.sites * reference.shape.heads * reference.shape.head_width
            if sizes["features"] != features:
                wrong.append(f"{name} has {sizes['features']:,} numbers a token; {reference.name} needs {features:,}")
    return wrong
