"""Measure common problems of a trained prompt: dead rows, outlier norms, collapse, wrong backbone.

The thresholds were set on published prompts. In those of thunlp/Prompt-Transferability, row 0 was overwritten in
training and has an extreme norm (MNLI: 399, the median is 28.9). This row alone reduces MNLI's effective rank from 82
to 7.4 of 100. Therefore both ranks are measured, and collapse is judged without outliers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ptviz.checkpoints.bundle import UNSPLIT_AXES, Array, Measurements, NamedAxesArray, PromptBundle
from ptviz.checkpoints.measurements import dead_rows, measure_prompts, outlier_rows, row_norms
from ptviz.prompt_statistics import is_collapsed

if TYPE_CHECKING:
    from ptviz.backbone_shape import BackboneShape


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
    matrices, inputs = bundle.token_matrices(), bundle.input_prompts()
    measured = bundle.measurements or measure_prompts(matrices)
    return tuple(
        _diagnose_matrix(name, matrix, measured[name], reference if name in inputs else None, name not in inputs)
        for name, matrix in matrices.items()
    )


def _diagnose_matrix(
    name: str, matrix: Array, measured: Measurements, reference: BackboneReference | None, inner: bool
) -> PromptDiagnostics:
    norms = row_norms(matrix)
    inside = None
    if reference is not None and reference.shape.width == matrix.shape[1] and len(reference.norms):
        inside = float(((norms >= reference.norms.min()) & (norms <= reference.norms.max())).mean())
    facts = PromptDiagnostics(
        name=name,
        tokens=len(matrix),
        width=matrix.shape[1],
        norms=tuple(map(float, norms)),
        median=float(np.median(norms)),
        dead=tuple(map(int, dead_rows(norms))),
        outliers=tuple(map(int, outlier_rows(norms))),
        duplicate_rows=measured.duplicate_rows,
        effective_rank=measured.effective_rank,
        effective_rank_without_outliers=measured.effective_rank_without_outliers,
        inside=inside,
        warnings=(),
        inner=inner,
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
    if facts.inside is None or facts.inside >= 0.5:
        return []
    low, high = float(reference.norms.min()), float(reference.norms.max())
    return [
        f"off the vocabulary: {1 - facts.inside:.0%} of its tokens have norms outside the {low:.3g} to {high:.3g} "
        f"of {reference.name}'s own (median {facts.median:.3g} against {float(np.median(reference.norms)):.3g})"
    ]


def list_warnings(
    bundle: PromptBundle, facts: tuple[PromptDiagnostics, ...], reference: BackboneReference | None = None
) -> list[str]:
    """Return everything there is to warn of: what does not fit, the file, then each of its prompts."""
    unfit = [] if reference is None else incompatibilities(bundle, reference)
    split = [] if reference is None or unfit else _split_notes(bundle, reference)
    names = len(facts) > 1
    return [*unfit, *split, *bundle.warnings, *(f"{f.name}: {t}" if names else t for f in facts for t in f.warnings)]


def _split_notes(bundle: PromptBundle, reference: BackboneReference) -> list[str]:
    theirs = (reference.shape.heads, reference.shape.head_width)
    return [
        f"{name}: its config gives {own[1]} key/value heads of width {own[2]}; {reference.name} has {theirs[0]} of "
        f"width {theirs[1]}, and it is split as for {reference.name}"
        for name, values in bundle.tensors.items()
        if values.axes == ("S", "kv", "H", "m", "h") and (own := _key_value_sizes(values))[1:] != theirs
    ]


def _key_value_sizes(values: NamedAxesArray) -> tuple[int, int, int]:
    sites, _, heads, _, width = values.array.shape
    return sites, heads, width


def incompatibilities(bundle: PromptBundle, reference: BackboneReference) -> list[str]:
    """Return why a bundle does not fit a backbone, before a forward pass would fail; empty if it fits."""
    wrong: list[str] = []
    widths = {
        size for v in bundle.tensors.values() for axis, size in zip(v.axes, v.array.shape, strict=True) if axis == "d"
    }
    if others := sorted(widths - {reference.shape.width}):
        found = " and ".join(map(str, others))
        wrong.append(
            f"wrong width for {reference.name}: its vectors have {reference.shape.width} dimensions, these have {found}"
        )
    for name, values in bundle.tensors.items():
        sizes = dict(zip(values.axes, values.array.shape, strict=True))
        if values.axes == ("S", "kv", "H", "m", "h"):
            own = _key_value_sizes(values)
            theirs = (reference.shape.sites, reference.shape.heads, reference.shape.head_width)
            alike = not bundle.names_its_heads and own[0] == theirs[0] and own[1] * own[2] == theirs[1] * theirs[2]
            if own != theirs and not alike:
                wrong.append(f"{name} is for (sites, heads, head width) {own}; {reference.name} has {theirs}")
        elif values.axes == UNSPLIT_AXES:
            features = 2 * reference.shape.sites * reference.shape.heads * reference.shape.head_width
            if sizes["features"] != features:
                wrong.append(f"{name} has {sizes['features']:,} numbers a token; {reference.name} needs {features:,}")
    return wrong
