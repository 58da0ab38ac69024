"""Initialisation of soft prompts: the methods that the papers compare.

Source: Lester et al. 2021, section 3.2, https://aclanthology.org/2021.emnlp-main.243 (uniform, sampled vocabulary,
class labels); initialisation from a text is the DePT release's, https://github.com/ZhengxiangShi/DePT.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ptviz.prompt import Prompt, Spec


def init_prompt(spec: Spec, m: int, init: str, text: str = "") -> Float[Tensor, "m d"]:
    """Return the initial value of a soft prompt.

    ``uniform`` draws from [-0.5, 0.5] as in the paper, ``normal`` from N(0, 1) as an ``nn.Embedding`` does in PEFT and
    in SMoP's released code; ``vocabulary`` copies sampled words; ``labels`` puts each label's mean embedding in one
    slot and words in the rest; ``text`` repeats a text's tokens until m are filled.

    Raises:
        ValueError: for ``labels`` without label words, or ``text`` without a text.
    """
    if init == "uniform":
        return torch.rand(m, spec.width, device=spec.embedding_table.device) - 0.5
    if init == "normal":
        return torch.randn(m, spec.width, device=spec.embedding_table.device)
    if init == "labels":
        if not spec.label_words:
            raise ValueError("init 'labels' needs a task with label words; choose vocabulary, uniform or text")
        rows = torch.stack([spec.embed_text(label).mean(0) for label in spec.label_words])[:m]
        return torch.cat([rows, spec.sample_embeddings(m - len(rows))]) if len(rows) < m else rows
    if init == "text":
        if not text.strip():
            raise ValueError("init 'text' needs some words in the hyperparameter `text`; got none")
        rows = spec.embed_text(text)
        return rows.repeat(-(-m // len(rows)), 1)[:m]
    return spec.sample_embeddings(m)


def token_ids_for(spec: Spec, m: int, init: str, text: str = "") -> list[int]:
    """Return m token ids: sampled ``vocabulary``, or the ``labels`` or a ``text`` repeated until m are filled.

    Raises:
        ValueError: for ``labels`` without label words, or ``text`` without a text.
    """
    if init == "vocabulary":
        pool = len(spec.common_ids)
        drawn = torch.randperm(pool)[:m] if m <= pool else torch.randint(pool, (m,))
        return [int(i) for i in spec.common_ids[drawn.to(spec.common_ids.device)]]
    words = spec.label_words if init == "labels" else (text,)
    if not "".join(words).strip():
        what = "a task with label words" if init == "labels" else "some words in the hyperparameter `text`"
        raise ValueError(f"init {init!r} needs {what}; got none")
    ids = [id for word in words for id in spec.tokenise(word)]
    return (ids * -(-m // len(ids)))[:m]


def key_values_of_words(spec: Spec, m: int, init: str, text: str = "") -> Float[Tensor, "S 2 H m h"]:
    """Return the frozen backbone's own keys and values of m real tokens (see ``token_ids_for``) at every site.

    Source: Li and Liang 2021, section 7.4 (initialisation from activations of real words),
    https://aclanthology.org/2021.acl-long.353

    Raises:
        ValueError: for ``labels`` without label words, or ``text`` without a text.
    """
    if spec.embedding_table.is_meta:
        return torch.empty(spec.sites, 2, spec.heads, m, spec.head_width)
    ids = token_ids_for(spec, m, init, text)
    if spec.key_values_of_tokens is None:
        raise ValueError(f"init {init!r} needs a backbone with weights; choose random")
    return spec.key_values_of_tokens(ids).float().cpu()


def prompt_embeddings_of(first: Prompt, m: int, width: int) -> Float[Tensor, "m d"]:
    """Return the vectors of a trained prompt, which must be m of this width.

    Raises:
        ValueError: if the prompt has none, or others.
    """
    if first.embeddings is None:
        raise ValueError("start: expected vectors at the input; this prompt has keys and values inside the backbone")
    found = tuple(first.embeddings.shape[1:])
    if found[1] != width:
        raise ValueError(f"start: expected vectors of this backbone's width, {width}; this prompt's have {found[1]}")
    if found[0] != m:
        raise ValueError(f"start: expected {m} prompt tokens; this prompt has {found[0]}. Set m to {found[0]}")
    return first.embeddings[0]


def key_values_of(first: Prompt, shape: tuple[int, ...]) -> Float[Tensor, "S 2 H m h"]:
    """Return the keys and values of a trained prompt, which must have this shape (S, 2, H, m, h).

    Raises:
        ValueError: if the prompt has none, or others.
    """
    if first.key_values is None:
        raise ValueError("start: expected keys and values inside the backbone; this prompt has vectors at the input")
    found = first.key_values[:, :, 0]
    (sites, _, heads, m, width), (s, _, H, n, h) = shape, tuple(found.shape)
    if (s, H, h) != (sites, heads, width):
        raise ValueError(
            f"start: expected keys and values for this backbone's {sites} attention sites with {heads} heads of width "
            f"{width}; this prompt's are for {s} with {H} of {h}"
        )
    if n != m:
        raise ValueError(f"start: expected {m} prompt tokens; this prompt has {n}. Set m to {n}")
    return found


def svd_factors(matrix: Float[Tensor, "m d"], r: int) -> tuple[Float[Tensor, "m r"], Float[Tensor, "r d"]]:
    """Return A and B, whose product is the best approximation of rank r: U_r S_r^(1/2) and S_r^(1/2) V_r^T.

    Directions without a singular value (r above the matrix's rank) get 0 in A and a random row of typical length in B:
    the product is the same, and training can use them, which it could not if both were 0.
    Source: Li, Su and Collier 2025 (PT-MoE), section 3, https://arxiv.org/abs/2505.09519
    """
    U, S, V = torch.linalg.svd(matrix, full_matrices=False)
    short = max(0, r - len(S))
    root = torch.cat([S.where(S / S.amax() > 1e-5, 0.0).sqrt()[:r], S.new_zeros(short)])
    U = torch.cat([U[:, :r], U.new_zeros(len(U), short)], 1)
    V = torch.cat([V[:r], V.new_zeros(short, V.shape[1])])
    spare = torch.randn(V.shape, device=V.device) * (S.mean().sqrt() / V.shape[1] ** 0.5)
    return U * root, torch.where((root > 0)[:, None], root[:, None] * V, spare)
