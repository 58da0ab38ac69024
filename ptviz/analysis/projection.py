"""A prompt's way through embedding space on one flat map, fitted once, so that motion on the map means motion.

PCA: the leading directions of the vocabulary and the prompt together, each with half the weight, so that neither
drowns the other. UMAP: McInnes, Healy and Melville 2018, https://arxiv.org/abs/1802.03426, fitted on vocabulary and
last prompt, every step then placed into it. t-SNE: van der Maaten and Hinton, JMLR 9 (2008),
https://www.jmlr.org/papers/v9/vandermaaten08a.html; it cannot place new points, so all steps are fitted together.

UMAP and t-SNE need the extra ``maps`` and take seconds to minutes; they are imported when asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from ptviz.analysis.neighbours import unit

Kind = Literal["PCA", "UMAP", "t-SNE"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, eq=False)
class Map:
    """Places on one map: those of the vocabulary tokens shown, and of m prompt tokens at each step.

    ``explained`` holds the share of the variance along each axis, for PCA only.
    """

    kind: Kind
    background: Float[np.ndarray, "b dims"]
    tokens: Float[np.ndarray, "steps m dims"]
    explained: tuple[float, ...] = ()


def project(
    background: Float[np.ndarray, "b d"],
    tokens: Float[np.ndarray, "steps m d"],
    kind: Kind = "PCA",
    dims: int = 2,
    *,
    normalise: bool = False,
    seed: int = 0,
) -> Map:
    """Lay a prompt's steps and some vocabulary tokens on a map of 2 or 3 axes.

    ``normalise`` scales every vector to length 1 first: direction only, for prompts whose norms dwarf the vocabulary's.

    Raises:
        ValueError: for an unknown kind, or if there is nothing to fit.
        ImportError: saying what to install, for UMAP and t-SNE without the extra ``maps``.
    """
    if kind not in KINDS:
        raise ValueError(f"expected a map of kind {', '.join(KINDS)}; got {kind!r}")
    steps, m, d = tokens.shape
    words = np.asarray(background, dtype=np.float32)
    path = np.asarray(tokens, dtype=np.float32).reshape(steps * m, d)
    if not len(words) and not len(path):
        raise ValueError("expected some vocabulary or prompt tokens to lay on a map; got none")
    if normalise:
        words, path = unit(words), unit(path)
    if kind == "PCA":
        laid, walked, explained = _pca(words, path, dims)
    else:
        fit = {"UMAP": _umap, "t-SNE": _tsne}[kind]
        laid, walked = fit(words, path, path[-m:], dims, seed)
        explained = ()
    return Map(kind, laid, walked.reshape(steps, m, dims), explained)


def _pca(words: np.ndarray, path: np.ndarray, dims: int) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    groups = [rows for rows in (words, path) if len(rows)]
    weights = np.concatenate([np.full(len(rows), 1 / (len(groups) * len(rows))) for rows in groups])
    rows = np.concatenate(groups)
    centre = weights @ rows
    # The covariance, not the rows: d x d is small beside 50,000 tokens.
    deviation = rows - centre
    covariance = (deviation * weights[:, None]).T @ deviation
    values, vectors = np.linalg.eigh(covariance.astype(np.float64))
    basis = vectors[:, ::-1][:, :dims]
    # An eigenvector's sign is arbitrary; fixed, a map does not flip when a step is added.
    basis = basis * np.where(basis[np.abs(basis).argmax(0), np.arange(basis.shape[1])] < 0, -1, 1)
    if basis.shape[1] < dims:
        basis = np.pad(basis, ((0, 0), (0, dims - basis.shape[1])))
    total = float(values.clip(0).sum()) or 1.0
    explained = tuple(float(value) / total for value in values[::-1][:dims].clip(0))
    return (words - centre) @ basis, (path - centre) @ basis, explained


def _umap(words: np.ndarray, path: np.ndarray, last: np.ndarray, dims: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    reducer = _imported("umap").UMAP(n_components=dims, random_state=seed, n_jobs=1, metric="cosine")
    reducer.fit(np.concatenate([words, last]))
    fitted = np.asarray(reducer.embedding_)
    return fitted[: len(words)], np.asarray(reducer.transform(path))


def _tsne(words: np.ndarray, path: np.ndarray, last: np.ndarray, dims: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rows = np.concatenate([words, path])
    perplexity = max(1.0, min(30.0, (len(rows) - 1) / 3))
    reducer = _imported("sklearn.manifold").TSNE(
        n_components=dims, random_state=seed, init="pca", perplexity=perplexity, metric="cosine"
    )
    fitted = np.asarray(reducer.fit_transform(rows))
    return fitted[: len(words)], fitted[len(words) :]


def _imported(module: str) -> Any:
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"this map needs {module.split('.')[0]}, which is not installed: pip install 'ptviz[maps]', or take PCA"
        ) from error
