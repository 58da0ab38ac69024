"""Which tokens of a vocabulary are common words, and which token represents a label."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ptviz.backbones.errors import BackboneError


def find_common_tokens(tokeniser: PreTrainedTokenizerBase, rows: int, limit: int = 5000) -> Int[Tensor, " n"]:
    """Return the ids of the first ``limit`` common word pieces; vocabularies are ordered by frequency or merges.

    Special, unused, byte and single-character tokens are left out: their embeddings are barely trained. Lester et al.
    2021 sample from the 5,000 most common tokens (section 3.2).
    """
    special = set(tokeniser.all_special_ids)
    ids = []
    for index, token in enumerate(tokeniser.convert_ids_to_tokens(list(range(min(rows, len(tokeniser)))))):
        word = (token or "").strip("#Ġ▁ ")
        if index not in special and len(word) > 1 and word.isascii() and word.isalpha():
            ids.append(index)
            if len(ids) == limit:
                break
    return torch.tensor(ids or [i for i in range(rows) if i not in special])


def assign_label_tokens(tokeniser: PreTrainedTokenizerBase, words: tuple[str, ...], lead: str = " ") -> list[int]:
    """Return one distinct token per label word: its first token if free, else a later one or one of a variant.

    ``lead`` is what a word begins with where it is read: a blank after a text, nothing at the start of an answer.

    Raises:
        BackboneError: if two words would share a token, naming them.
    """
    taken: dict[int, str] = {}
    for word in sorted(words, key=words.index):
        spellings = (f"{lead}{word}", f" {word}", word, f" {word.capitalize()}", word.capitalize(), f" {word.upper()}")
        candidates = [list(tokeniser(s, add_special_tokens=False)["input_ids"]) for s in dict.fromkeys(spellings)]
        unknown = tokeniser.unk_token_id
        blank = list(tokeniser(" ", add_special_tokens=False)["input_ids"])
        firsts = [ids[0] for ids in candidates if ids]
        rest = [i for ids in candidates for i in ids[1:]]
        free = [i for i in firsts + rest if i != unknown and i not in blank and i not in taken]
        if not free:
            clash = taken.get(candidates[0][0] if candidates[0] else -1, "nothing")
            raise BackboneError(
                f"the label word {word!r} has no token of its own in this vocabulary (it clashes with {clash!r}); "
                "give the labels words that begin differently"
            )
        taken[free[0]] = word
    return list(taken)
