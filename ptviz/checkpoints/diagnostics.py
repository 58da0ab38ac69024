"""What an experienced eye looks for in a trained prompt, measured: dead rows, runaway norms, collapse, fit.

Thresholds are ours, set on prompts that other people published: in those of thunlp/Prompt-Transferability row 0 was
overwritten in training and its norm ran away (MNLI: 399 against a median of 28.9). That one row is why MNLI's effective
rank is 7.4 of 100: without it the rank is 82. So both are measured, and collapse is judged without outlying rows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ptviz.checkpoints.bundle import UNSPLIT_AXES, Array, PromptBundle
from ptviz.prompt_statistics import effective_rank, find_outliers, is_collapsed

DEAD_NORM_SHARE = 1e-3
"""A row whose norm is below this share of the median norm carries nothing."""
MAX_ROWS = 1024
"""Rows of which the effective rank is computed; of a longer matrix, as many evenly spread ones."""


@dataclass(frozen=True)
class BackboneReference:
    """The backbone a prompt is held against: its sizes, and the norms of its vocabulary's vectors, if known."""

    name: str
    width: int
    sites: int
    heads: int
    head_width: int
    norms: Array


@dataclass(frozen=True)
class PromptDiagnostics:
    """Measurements of one matrix of prompt tokens ``(m, d)``, or of keys and values ``(m, S * 2 * H * h)``.

    Rows are counted from 0; ``inner`` marks keys and values, which no vocabulary can be held against.

    ``rank`` is the effective rank exp(entropy) of the centred rows' squared singular values; ``ranked`` the same
    without outlying rows. ``inside`` is the share of rows whose norm lies within the vocabulary's, if a backbone was
    given.
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
        """Plain data."""
        return {**asdict(self), "norms": [round(norm, 4) for norm in self.norms]}


def diagnose(bundle: PromptBundle, ground: BackboneReference | None = None) -> tuple[PromptDiagnostics, ...]:
    """The facts of every prompt of a bundle: those at the input, then keys and values."""
    inputs = (_diagnose_matrix(name, matrix, ground) for name, matrix in bundle.input_prompts().items())
    inner = (
        replace(_diagnose_matrix(name, matrix, None), inner=True) for name, matrix in bundle.key_value_prompts().items()
    )
    return (*inputs, *inner)


def _evenly_spread(matrix: Array) -> Array:
    """At most ``MAX_ROWS`` rows, evenly spread: the time of a decomposition grows with the cube of their number."""
    return matrix if len(matrix) <= MAX_ROWS else matrix[np.linspace(0, len(matrix) - 1, MAX_ROWS).astype(int)]


def _diagnose_matrix(name: str, matrix: Array, ground: BackboneReference | None) -> PromptDiagnostics:
    norms = np.linalg.norm(matrix.astype(np.float64), axis=1)
    median = float(np.median(norms))
    dead = tuple(int(i) for i in np.flatnonzero(norms <= DEAD_NORM_SHARE * median))
    outliers = tuple(int(row) for row in np.flatnonzero(find_outliers(matrix)))
    rank = effective_rank(_evenly_spread(matrix), centred=True)
    rest = np.delete(matrix, [*outliers, *dead], axis=0)
    ranked = effective_rank(_evenly_spread(rest), centred=True) if len(rest) > 1 and len(rest) < len(matrix) else rank
    twins = len(matrix) - len(np.unique(matrix, axis=0))
    inside = None
    if ground is not None and ground.width == matrix.shape[1] and len(ground.norms):
        inside = float(((norms >= ground.norms.min()) & (norms <= ground.norms.max())).mean())
    facts = PromptDiagnostics(
        name,
        len(matrix),
        matrix.shape[1],
        tuple(map(float, norms)),
        median,
        dead,
        outliers,
        twins,
        rank,
        ranked,
        inside,
        (),
    )
    return replace(facts, warnings=tuple(_list_warnings(facts, ground)))


def _list_warnings(facts: PromptDiagnostics, ground: BackboneReference | None) -> list[str]:
    found = []
    if facts.dead:
        found.append(
            f"{_format_rows(facts.dead)} {_agreeing_verb(facts.dead, 'carries', 'carry')} nothing (norm near 0)"
        )
    if facts.outliers:
        middle = max(facts.median, 1e-60)  # most rows may be all zeros
        worst = max(facts.outliers, key=lambda row: abs(np.log(max(facts.norms[row], 1e-60) / middle)))
        who = f"{_format_rows(facts.outliers)} {_agreeing_verb(facts.outliers, 'stands', 'stand')} out"
        found.append(
            f"{who}: norm {facts.norms[worst]:.3g} in row {worst} against a median of {facts.median:.3g}. Leave such "
            "rows out when you compare prompts"
        )
    if facts.duplicate_rows:
        found.append(f"{facts.duplicate_rows} of {facts.tokens} rows repeat another row exactly")
    most = min(facts.tokens - 1, facts.width)
    if facts.effective_rank_without_outliers > 2 * facts.effective_rank:
        found.append(
            f"its effective rank of {facts.effective_rank:.1f} is the doing of those rows alone: {facts.effective_rank_without_outliers:.1f} without them"
        )
    if is_collapsed(facts.effective_rank_without_outliers, most):
        found.append(
            f"collapsed: its {facts.tokens} tokens spread over {facts.effective_rank_without_outliers:.1f} directions only, of {most} there "
            "could be"
        )
    if ground is not None:
        found += _vocabulary_warnings(facts, ground)
    return found


def _format_rows(rows: tuple[int, ...]) -> str:
    some = ", ".join(map(str, rows[:8])) + (" …" if len(rows) > 8 else "")
    return f"{'row' if len(rows) == 1 else 'rows'} {some}"


def _agreeing_verb(rows: tuple[int, ...], one: str, many: str) -> str:
    return one if len(rows) == 1 else many


def _vocabulary_warnings(facts: PromptDiagnostics, ground: BackboneReference) -> list[str]:
    if facts.width != ground.width:
        return [f"wrong width for {ground.name}: its vectors have {ground.width} numbers, these have {facts.width}"]
    if facts.inside is not None and facts.inside < 0.5:
        low, high = float(ground.norms.min()), float(ground.norms.max())
        return [
            f"off the vocabulary: {1 - facts.inside:.0%} of its tokens have norms outside the {low:.3g} to {high:.3g} "
            f"of {ground.name}'s own (median {facts.median:.3g} against {float(np.median(ground.norms)):.3g})"
        ]
    return []


def incompatibilities(bundle: PromptBundle, ground: BackboneReference) -> list[str]:
    """Why a bundle cannot enter a backbone, said before a forward pass would; empty if it can."""
    wrong: list[str] = []
    widths = {
        size for v in bundle.tensors.values() for axis, size in zip(v.axes, v.array.shape, strict=True) if axis == "d"
    }
    if others := sorted(widths - {ground.width}):
        told = " and ".join(map(str, others))
        wrong.append(f"wrong width for {ground.name}: its vectors have {ground.width} numbers, these have {told}")
    for name, values in bundle.tensors.items():
        sizes = dict(zip(values.axes, values.array.shape, strict=True))
        if values.axes == ("S", "kv", "H", "m", "h"):
            own = (sizes["S"], sizes["H"], sizes["h"])
            theirs = (ground.sites, ground.heads, ground.head_width)
            if own != theirs:
                wrong.append(f"{name} is for (sites, heads, head width) {own}; {ground.name} has {theirs}")
        elif values.axes == UNSPLIT_AXES:
            features = 2 * ground.sites * ground.heads * ground.head_width
            if sizes["features"] != features:
                wrong.append(f"{name} has {sizes['features']:,} numbers a token; {ground.name} needs {features:,}")
    return wrong
