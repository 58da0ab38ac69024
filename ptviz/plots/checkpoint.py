"""A prompt of a checkpoint: its values as a heat map, and the norms of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from ptviz.backbones.listing import named_backbone_shape
from ptviz.checkpoints import BackboneReference, PromptDiagnostics, diagnose
from ptviz.checkpoints.bundle import Array as Matrix
from ptviz.figures.checkpoint import PromptThumbnail, draw_norms_compared, draw_thumbnail, draw_thumbnail_norms
from ptviz.figures.style import format_number
from ptviz.plots.alt_text import with_alt
from ptviz.plots.cache import cached_by_signature
from ptviz.plots.prompt_set import load_checkpoint
from ptviz.runs.embedding_table import Vocabulary, load_vocabulary

MAX_CELLS = 160
"""Rows and columns of the heat map at most; larger prompts are averaged in blocks."""


def plot_checkpoint(
    path: str, *, prompt: str = "", backbone: str = "", answer: PromptThumbnail | None = None
) -> go.Figure:
    """Draw the values of a prompt of a checkpoint as a heat map: prompt tokens down, embedding dimensions across.

    ``path`` is a file or folder; ``prompt`` names one of several prompts, by default the first; ``backbone`` is the
    name of the backbone that it is diagnosed against; ``answer`` is the result of ``load_thumbnail`` if it is known.

    Raises:
        ValueError: if there is no such prompt.
        CheckpointError: if the checkpoint is refused.
    """
    thumbnail = answer or load_thumbnail(path, prompt, backbone)
    return with_alt(draw_thumbnail(thumbnail), f"Values of the prompt as a heat map. {_describe(thumbnail)}")


def plot_checkpoint_norms(
    path: str, *, prompt: str = "", backbone: str = "", answer: PromptThumbnail | None = None
) -> go.Figure:
    """Draw the norm of each token of a prompt of a checkpoint; diamonds are outlier and dead rows.

    With a ``backbone`` whose embedding table is cached, a band spans the norms of its vocabulary. Options as in
    ``plot_checkpoint``.

    Raises:
        ValueError: if there is no such prompt.
        CheckpointError: if the checkpoint is refused.
    """
    thumbnail = answer or load_thumbnail(path, prompt, backbone)
    return with_alt(draw_thumbnail_norms(thumbnail), f"Norm of each prompt token. {_describe(thumbnail)}")


def plot_checkpoints_norms(
    paths: Sequence[str], *, prompts: Sequence[str] = (), answer: Sequence[PromptThumbnail] | None = None
) -> go.Figure:
    """Draw the norm of each token of a prompt of several checkpoints on one logarithmic axis.

    ``prompts`` names one prompt of each, by default the first; ``answer`` are the results of ``load_thumbnail``.

    Raises:
        ValueError: if there is no such prompt, or as many names as paths are not given.
        CheckpointError: if a checkpoint is refused.
    """
    if prompts and len(prompts) != len(paths):
        raise ValueError(f"prompts: expected {len(paths)} names, one for each path; got {len(prompts)}")
    chosen = prompts or [""] * len(paths)
    found = answer or [load_thumbnail(path, prompt) for path, prompt in zip(paths, chosen, strict=True)]
    names = [f"{'AB'[i] if i < 2 else i + 1}: {one.name or 'prompt'}" for i, one in enumerate(found)]
    alt = " ".join(f"{name}: {_describe(one)}" for name, one in zip(names, found, strict=True))
    return with_alt(draw_norms_compared(found, names), f"Norm of each prompt token on one axis. {alt}")


def load_thumbnail(path: str, prompt: str = "", backbone: str = "") -> PromptThumbnail:
    """Return what the figures of a checkpoint draw, an empty thumbnail if it has no prompt of single tokens.

    Raises:
        ValueError: if there is no such prompt.
        CheckpointError: if the checkpoint is refused.
    """
    bundle = load_checkpoint(Path(path))
    reference = make_backbone_reference(backbone, load_vocabulary(backbone)) if backbone else None
    facts = {one.name: one for one in diagnose(bundle, reference)}
    name = prompt or next(iter(facts), "")
    if prompt and prompt not in facts:
        raise ValueError(f"prompt: expected one of {', '.join(map(repr, facts)) or 'none'}; got {prompt!r}")
    return make_thumbnail(facts[name], bundle.token_matrices()[name], reference) if facts else PromptThumbnail("")


def make_backbone_reference(name: str, vocabulary: Vocabulary | None) -> BackboneReference | None:
    """Return the sizes of a named backbone and the norms of its vocabulary; None if the sizes are not known."""
    sizes = named_backbone_shape(name)
    if sizes is None:
        return None
    norms = np.zeros(0, np.float32)
    if vocabulary is not None:
        table = vocabulary.table
        norms = cached_by_signature(
            ("norms", name, table.shape), lambda: np.linalg.norm(table, axis=1).astype(np.float32)
        )
    return BackboneReference(name, sizes, norms[norms > 0])


def make_thumbnail(facts: PromptDiagnostics, matrix: Matrix, reference: BackboneReference | None) -> PromptThumbnail:
    """Return a prompt small enough to draw: block means of at most ``MAX_CELLS`` rows and columns."""
    for axis in (0, 1):
        parts = np.array_split(matrix, min(MAX_CELLS, matrix.shape[axis]), axis=axis)
        matrix = np.stack([part.mean(axis) for part in parts], axis=axis)
    norms = reference.norms if reference is not None and facts.inside is not None else np.zeros(0)
    return PromptThumbnail(
        name=facts.name,
        cells=tuple(tuple(round(float(value), 5) for value in row) for row in matrix),
        colour_limit=float(np.quantile(np.abs(matrix), 0.98)) or 1.0,
        norms=facts.norms,
        outlier_rows=(*facts.dead, *facts.outliers),
        vocabulary_norm_range=(float(norms.min()), float(norms.max())) if norms.size else None,
        width=facts.width,
        column_label="keys and values, site by site" if facts.inner else "embedding dimension",
    )


def _describe(thumbnail: PromptThumbnail) -> str:
    if not thumbnail.norms:
        return "The checkpoint has no prompt of single tokens."
    return (
        f"{len(thumbnail.norms)} tokens of width {thumbnail.width}, median norm "
        f"{format_number(np.median(thumbnail.norms))}, {len(thumbnail.outlier_rows)} stand out."
    )
