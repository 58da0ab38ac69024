"""Measurements of a prompt's structure: its rank, the importance of its pieces, its shift of word embeddings.

First-order scores: Ma et al., "XPrompt", EMNLP 2022, section 3, https://aclanthology.org/2022.emnlp-main.758
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ptviz.engine.loaded_prompt import LoadedPrompt
from ptviz.engine.model_cache import ModelCache
from ptviz.probes.routing_counterfactuals import rows_per_setting, score_batch
from ptviz.prompt import Prompt
from ptviz.runs.embedding_table import readable_token
from ptviz.runs.run_file_io import StoreError

RANKS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Measured ranks; those below the full rank, and the full rank itself."""
PIECES_PER_TOKEN = 16
"""Pieces into which each token's vector is cut for its saliency, as in XPrompt."""
_SALIENCY_BATCHES, _SALIENCY_BATCH_SIZE = 8, 8
_MAX_SHIFT_EXAMPLES, _TOP_SHIFTED_WORDS = 100, 24


def measure_low_rank(loaded: LoadedPrompt, model_cache: ModelCache) -> dict[str, Any]:
    """Measure loss and accuracy of the prompt's best approximation of each rank on validation examples.

    Keys and values are approximated separately for each site, with the heads concatenated; an input-dependent prompt
    separately for each input.

    Returns:
        ``{"ranks": [n], "loss": [n] nats, "accuracy": [n], "errors": [n], "rows": int}``; ``errors`` are relative
        Frobenius norms of the approximation error, averaged over inputs and sites; the last rank is full.

    Raises:
        StoreError: if the method has no prompt token.
    """
    task = loaded.subsampled_task()
    first = _require_prompt_tokens(loaded.method(loaded.encode(task, task.validation[:1]).make_batch([0])))
    full = min(_prompt_matrices(first).shape[-2:])
    tried = [*(rank for rank in RANKS if rank < full), full]
    rows = task.validation[: rows_per_setting(len(tried))]
    data = loaded.encode(task, rows)
    totals = torch.zeros(3, len(tried))
    for indices, batch in data.inference_batches():
        prompt: Prompt = loaded.method(batch)
        matrices = _prompt_matrices(prompt).float()
        left, values, right = torch.linalg.svd(matrices, full_matrices=False)
        for index, rank in enumerate(tried):
            nearest = (left[..., :rank] * values[..., None, :rank]) @ right[..., :rank, :]
            errors = (matrices - nearest).norm(dim=(-2, -1)) / matrices.norm(dim=(-2, -1)).clamp(min=1e-12)
            changed = prompt if rank == full else _replace_matrices(prompt, nearest)
            nll, hits = score_batch(data, indices, batch, changed)
            totals[:, index] += torch.stack([nll.sum(), hits.sum(), errors.mean().cpu() * len(batch)])
    loss, accuracy, error = (totals / len(rows)).tolist()
    return {"ranks": tried, "loss": loss, "accuracy": accuracy, "errors": error, "rows": len(rows)}


def measure_saliency(loaded: LoadedPrompt, model_cache: ModelCache) -> dict[str, Any]:
    r"""Measure first-order scores of each prompt token and its pieces on validation examples.

    .. math:: I_i = \mathbb{E} |\langle p_i, \partial L / \partial p_i \rangle|

    and the same for pieces q of p; the absolute value is taken per batch. Pieces of keys and values are the sites.

    Returns:
        ``{"tokens": [m], "pieces": (m, e), "signed": [m], "pruned": (m, e), "rows": int}``; ``signed`` is the mean
        without the absolute value: above 0, masking the token would lower the loss (first order). Pieces that are all
        zeros are ``pruned``.

    Raises:
        StoreError: if the method has no prompt token.
    """
    task = loaded.subsampled_task()
    rows = task.validation[: _SALIENCY_BATCHES * _SALIENCY_BATCH_SIZE]
    data = loaded.encode(task, rows)
    found, signed, seen, used = [], [], 0, torch.zeros(0)
    for start in range(0, len(rows), _SALIENCY_BATCH_SIZE):
        batch = data.make_batch(range(start, min(start + _SALIENCY_BATCH_SIZE, len(rows))))
        prompt = _require_prompt_tokens(loaded.method(batch))
        inner = prompt.embeddings is None
        leaf = (prompt.key_values if prompt.embeddings is None else prompt.embeddings).detach().requires_grad_(True)  # type: ignore[union-attr]
        with torch.enable_grad():
            changed = replace(prompt, key_values=leaf) if inner else replace(prompt, embeddings=leaf)
            (gradient,) = torch.autograd.grad(data.backbone(batch, changed, data.readout).loss, [leaf])
        # A shared prompt has one gradient; the gradients of one prompt per row are summed.
        pieces = _sum_pieces(leaf.detach() * gradient, inner)
        found.append(pieces.abs())
        signed.append(pieces.sum(1))
        used = _sum_pieces(leaf.detach().abs(), inner)
        seen += len(batch)
    whole = torch.stack(signed)
    return {
        "tokens": whole.abs().mean(0).tolist(),
        "pieces": torch.stack(found).mean(0).tolist(),
        "signed": whole.mean(0).tolist(),
        "pruned": (used == 0).tolist(),
        "rows": seen,
    }


def measure_embedding_shift(loaded: LoadedPrompt, model_cache: ModelCache, text: str = "") -> dict[str, Any]:
    """Measure how far a method shifts each word of a text, and which words it shifts most on average.

    Returns:
        ``{"text", "tokens": [n], "moved": [n], "nearest": [n], "most": [names], "by": [means], "counts": [texts],
        "rows": int}``; ``moved`` is the length of the shift relative to the word's own vector, ``nearest`` the word
        nearest to the shifted vector by cosine, ``most`` the words of the validation texts with the largest mean shift.

    Raises:
        StoreError: if the method does not shift word embeddings.
        ValueError: if the text has not one part for each field of the task.
    """
    task = loaded.subsampled_task()
    rows = [*([task.split_text(text)] if text else []), *task.validation[:_MAX_SHIFT_EXAMPLES]]
    data = loaded.encode(task, rows)
    names = loaded.backbone.tokeniser.convert_ids_to_tokens
    # Embedding tables are often padded beyond the last token.
    named = loaded.backbone.embedding_table[: len(loaded.backbone.tokeniser)]
    table = torch.nn.functional.normalize(named.float(), dim=-1)
    by_word: dict[int, list[float]] = defaultdict(list)
    own: dict[str, Any] = {}
    for indices, batch in data.inference_batches():
        delta = loaded.method(batch).delta
        if delta is None:
            raise StoreError("this method does not shift word embeddings")
        words = batch.embeddings.float()
        moved = delta.norm(dim=-1) / words.norm(dim=-1).clamp(min=1e-12)
        for row, index in enumerate(indices):
            real = batch.text_mask[row]
            ids, shares = batch.input_ids[row][real].tolist(), moved[row][real].tolist()
            if index == 0:
                after = torch.nn.functional.normalize((words[row] + delta[row])[real], dim=-1)
                nearest = (after @ table.T).argmax(-1).tolist()
                own = {
                    "tokens": [readable_token(token) for token in names(ids)],
                    "moved": shares,
                    "nearest": [readable_token(token) for token in names(nearest)],
                }
            if index or not text:
                for id, share in zip(ids, shares, strict=True):
                    by_word[id].append(share)
    often = {id: shares for id, shares in by_word.items() if len(shares) > 1} or by_word
    ranked = sorted(often, key=lambda id: -sum(often[id]) / len(often[id]))[:_TOP_SHIFTED_WORDS]
    return {
        "text": rows[0].text,
        **own,
        "most": [readable_token(token) for token in names(ranked)],
        "by": [sum(often[id]) / len(often[id]) for id in ranked],
        "counts": [len(often[id]) for id in ranked],
        "rows": len(rows) - bool(text),
    }


def _require_prompt_tokens(prompt: Prompt) -> Prompt:
    if prompt.embeddings is None and prompt.key_values is None:
        raise StoreError("this method has no prompt token to measure")
    return prompt


def _prompt_matrices(prompt: Prompt) -> Float[Tensor, "... m n"]:
    """Return the prompt as matrices with one row per token: (B, m, d), or (S, 2, B, m, H h)."""
    if prompt.embeddings is not None:
        return prompt.embeddings
    assert prompt.key_values is not None
    return prompt.key_values.transpose(-3, -2).flatten(-2)


def _replace_matrices(prompt: Prompt, matrices: Float[Tensor, "... m n"]) -> Prompt:
    """Return the prompt with other values, shaped as by ``_prompt_matrices``."""
    if prompt.embeddings is not None:
        return replace(prompt, embeddings=matrices)
    assert prompt.key_values is not None
    heads, _, width = prompt.key_values.shape[-3:]
    split = matrices.reshape(*matrices.shape[:-1], heads, width)
    return replace(prompt, key_values=split.transpose(-3, -2))


def _sum_pieces(values: Tensor, inner: bool) -> Float[Tensor, "m e"]:
    """Return sums over each token's pieces: the sites of keys and values (S, 2, B, H, m, h), or parts of (B, m, d)."""
    if inner:
        return values.sum((1, 2, 3, 5)).T
    summed = values.sum(0)
    e = min(PIECES_PER_TOKEN, summed.shape[1])
    piece = torch.arange(summed.shape[1], device=summed.device) * e // summed.shape[1]
    return summed.new_zeros(len(summed), e).index_add(1, piece, summed)
