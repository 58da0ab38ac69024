"""Projections of a prompt's steps and of vocabulary tokens to 2 or 3 dimensions, one fit for all steps.

PCA: principal components of the vocabulary and the prompt together, each with half the weight.
UMAP: McInnes, Healy and Melville 2018, https://arxiv.org/abs/1802.03426, fitted on vocabulary and last prompt, into
which every step is transformed. t-SNE: van der Maaten and Hinton, JMLR 9 (2008),
https://www.jmlr.org/papers/v9/vandermaaten08a.html; it cannot transform new points, so all steps are fitted together.

UMAP and t-SNE take seconds to minutes, and seconds to import: they are imported when used.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Float

from ptviz.analysis.finite_values import check_finite
from ptviz.nearest_tokens import normalise_rows

ProjectionMethod = Literal["PCA", "UMAP", "t-SNE"]
PROJECTION_METHODS: tuple[ProjectionMethod, ...] = get_args(ProjectionMethod)
ProgressCallback: TypeAlias = Callable[[str, float], None]
MIN_VECTORS = 4
"""Vectors below which UMAP and t-SNE have no neighbourhoods to keep."""
_TSNE_ITERATIONS = 1000
_TQDM_FORMAT = "{n}/{total} "
_PROGRESS = re.compile(r"(?:Iteration )?(\d+)(?:/(\d+)|(?=: error))")
"""tqdm's count as UMAP writes it, and scikit-learn's ``Iteration 50: error = ...``."""


@dataclass(frozen=True, eq=False)
class Projection:
    """Coordinates in one projection: of b vocabulary tokens, and of m prompt tokens at each step.

    ``explained_variance`` is the share of the variance along each axis, for PCA only.
    """

    kind: ProjectionMethod
    background: Float[np.ndarray, "b dims"]
    tokens: Float[np.ndarray, "steps m dims"]
    explained_variance: tuple[float, ...] = ()


def project(
    background: Float[np.ndarray, "b d"],
    tokens: Float[np.ndarray, "steps m d"],
    kind: ProjectionMethod = "PCA",
    dims: int = 2,
    *,
    normalise: bool = False,
    seed: int = 0,
) -> Projection:
    """Project a prompt's steps and some vocabulary tokens to 2 or 3 dimensions: ``project_together`` of one prompt."""
    return project_together(background, [tokens], kind, dims, normalise=normalise, seed=seed)[0]


def project_together(
    background: Float[np.ndarray, "b d"],
    prompts: Sequence[Float[np.ndarray, "_ _ d"]],
    kind: ProjectionMethod = "PCA",
    dims: int = 2,
    *,
    normalise: bool = False,
    seed: int = 0,
    fitted: int | None = None,
    on_progress: ProgressCallback | None = None,
) -> tuple[Projection, ...]:
    """Project the steps (steps, m, d) of several prompts and some vocabulary tokens together; one result per prompt.

    ``normalise`` scales every vector to length 1 first: for prompts whose norms are far above the vocabulary's.
    PCA is fitted on the first ``fitted`` vocabulary tokens (all by default), the others are only projected.
    ``on_progress`` gets the current stage and the share of it (0 to 1) that is done; an exception it raises propagates.

    Raises:
        ValueError: for an unknown kind, if there is nothing to fit or too little for UMAP and t-SNE, or if a prompt
            token has a value that is not finite.
        ImportError: if umap-learn or scikit-learn is not installed.
    """
    if kind not in PROJECTION_METHODS:
        raise ValueError(f"expected a projection of kind {', '.join(PROJECTION_METHODS)}; got {kind!r}")
    words = np.asarray(background, dtype=np.float32)
    paths = [np.asarray(tokens, dtype=np.float32).reshape(-1, tokens.shape[-1]) for tokens in prompts]
    if not len(words) and not any(len(path) for path in paths):
        raise ValueError("expected some vocabulary or prompt tokens to project; got none")
    for number, tokens in enumerate(prompts, start=1):
        check_finite(np.asarray(tokens), f" of prompt {number}" if number > 1 else "")
    count = len(words) + sum(map(len, paths))
    if kind != "PCA" and count < MIN_VECTORS:
        raise ValueError(f"expected at least {MIN_VECTORS} vectors for {kind}; got {count}: choose PCA")
    if normalise:
        words, paths = normalise_rows(words), [normalise_rows(path) for path in paths]
    path = np.concatenate([words[:0], *paths])
    explained: tuple[float, ...] = ()
    if kind == "PCA":
        projected_words, projected_path, explained = _pca(words, path, dims, len(words) if fitted is None else fitted)
    elif kind == "UMAP":
        last = np.concatenate([words[:0], *(rows[-t.shape[1] :] for rows, t in zip(paths, prompts, strict=True))])
        projected_words, projected_path = _umap(words, path, last, dims, seed, on_progress or _ignore_progress)
    else:
        projected_words, projected_path = _tsne(words, path, dims, seed, on_progress or _ignore_progress)
    ends = np.cumsum([len(rows) for rows in paths])[:-1]
    parts = np.split(projected_path, ends) if paths else []
    return tuple(
        Projection(
            kind=kind,
            background=projected_words,
            tokens=part.reshape(*tokens.shape[:2], dims),
            explained_variance=explained,
        )
        for part, tokens in zip(parts, prompts, strict=True)
    )


def _pca(
    words: np.ndarray, path: np.ndarray, dims: int, fitted: int
) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    groups = [rows for rows in (words[:fitted], path) if len(rows)]
    weights = np.concatenate([np.full(len(rows), 1 / (len(groups) * len(rows))) for rows in groups])
    rows = np.concatenate(groups)
    centre = weights @ rows
    # The covariance, not the rows: d x d is small compared with 50,000 tokens.
    deviation = rows - centre
    covariance = (deviation * weights[:, None]).T @ deviation
    values, vectors = np.linalg.eigh(covariance.astype(np.float64))
    basis = vectors[:, ::-1][:, :dims]
    # An eigenvector's sign is arbitrary; fixed, the figure does not flip when a step is added.
    basis = basis * np.where(basis[np.abs(basis).argmax(0), np.arange(basis.shape[1])] < 0, -1, 1)
    if basis.shape[1] < dims:
        basis = np.pad(basis, ((0, 0), (0, dims - basis.shape[1])))
    total = float(values.clip(0).sum()) or 1.0
    explained = tuple(float(value) / total for value in values[::-1][:dims].clip(0))
    return (words - centre) @ basis, (path - centre) @ basis, explained


def _umap(
    words: np.ndarray, path: np.ndarray, last: np.ndarray, dims: int, seed: int, on_progress: ProgressCallback
) -> tuple[np.ndarray, np.ndarray]:
    on_progress("loading UMAP", 0.0)
    umap = _import_optional("umap")
    stream = _ProgressStream(lambda share: on_progress("fitting", share))
    bar = {"file": stream, "disable": False, "bar_format": _TQDM_FORMAT}
    on_progress("looking for neighbours", 0.0)
    reducer = umap.UMAP(n_components=dims, random_state=seed, n_jobs=1, metric="cosine", tqdm_kwds=bar)
    reducer.fit(np.concatenate([words, last]))
    fitted = np.asarray(reducer.embedding_)
    reducer.tqdm_kwds = {**bar, "file": _ProgressStream(lambda share: on_progress("placing the steps", share))}
    on_progress("placing the steps", 0.0)
    return fitted[: len(words)], np.asarray(reducer.transform(path))


def _tsne(
    words: np.ndarray, path: np.ndarray, dims: int, seed: int, on_progress: ProgressCallback
) -> tuple[np.ndarray, np.ndarray]:
    on_progress("loading t-SNE", 0.0)
    manifold = _import_optional("sklearn.manifold")
    rows = np.concatenate([words, path])
    perplexity = max(1.0, min(30.0, (len(rows) - 1) / 3))
    on_progress("looking for neighbours", 0.0)
    # scikit-learn reports progress on standard output only.
    with redirect_stdout(_ProgressStream(lambda share: on_progress("fitting", share))):
        fitted = manifold.TSNE(
            n_components=dims, random_state=seed, init="pca", perplexity=perplexity, metric="cosine", verbose=2,
            max_iter=_TSNE_ITERATIONS,
        ).fit_transform(rows)  # fmt: skip
    return np.asarray(fitted)[: len(words)], np.asarray(fitted)[len(words) :]


class _ProgressStream(io.TextIOBase):
    """A stream that parses the progress a library prints, and passes on the share that is done."""

    def __init__(self, on_progress: Callable[[float], None]) -> None:
        self.on_progress = on_progress

    def write(self, text: str, /) -> int:
        for done, of in _PROGRESS.findall(text):
            self.on_progress(min(int(done) / (int(of) if of else _TSNE_ITERATIONS), 1.0))
        return len(text)


def _ignore_progress(what: str, share: float) -> None:
    """Do nothing: the default of ``on_progress``."""


def _import_optional(module: str) -> Any:
    from importlib import import_module

    package = {"umap": "umap-learn", "sklearn": "scikit-learn"}[module.split(".")[0]]
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"this projection needs {package}, which is not installed: pip install {package}, or choose PCA"
        ) from error
