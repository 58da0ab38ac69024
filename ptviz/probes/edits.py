"""Edits of a trained prompt, as data: what is done to which prompt tokens, applied one after another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ptviz.prompt import Prompt
from ptviz.runs.atomic_io import StoreError

Distance = Literal["cosine", "L2"]
DISTANCES: tuple[Distance, ...] = ("cosine", "L2")
TokenIndices = tuple[int, ...]
"""Prompt tokens by number, from 0; none means all of them."""


@dataclass(frozen=True)
class EditContext:
    """What edits need besides the prompt: the table of words (V, d), and other prompts by where they lie."""

    embedding_table: Float[Tensor, "V d"]
    load_other_prompt: Callable[[str, str], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Edit(ABC):
    """One change of a prompt.

    ``inside`` says whether keys and values inside the backbone can be changed so, and ``apart`` whether the prompts
    of a method that makes one for each text can; ``why`` says why not.
    """

    kind: ClassVar[str]
    supports_key_values: ClassVar[bool] = True
    supports_input_dependent: ClassVar[bool] = True
    unsupported_reason: ClassVar[str] = ""

    @classmethod
    def is_unsupported(cls, prompt: Prompt) -> bool:
        """Whether a prompt of this kind cannot be changed so."""
        return (not cls.supports_key_values and prompt.embeddings is None) or (
            not cls.supports_input_dependent and not prompt.is_static
        )

    @abstractmethod
    def apply(self, prompt: Prompt, around: EditContext) -> Prompt:
        """The changed prompt; the given one stays as it is."""

    @abstractmethod
    def describe(self) -> str:
        """The edit in words."""

    def to_json(self) -> dict[str, Any]:
        """A plain object that ``parse_edit`` makes an equal edit of."""
        return {"kind": self.kind, **{name: _tuple_to_list(value) for name, value in asdict(self).items()}}


@dataclass(frozen=True)
class Ablate(Edit):
    """Take tokens away: nothing can see them any more, and the others stay in their places."""

    kind = "ablate"
    tokens: TokenIndices

    def apply(self, prompt: Prompt, around: EditContext) -> Prompt:
        """The prompt with these tokens hidden, or without them where they are keys and values."""
        if prompt.embeddings is None:
            left = [i for i in range(prompt_length(prompt)) if i not in _token_indices(self.tokens, prompt)]
            return replace(prompt, key_values=_key_values_of(prompt)[..., left, :])
        seen = torch.ones(prompt_length(prompt), dtype=torch.bool, device=prompt.embeddings.device)
        seen[_token_indices(self.tokens, prompt)] = False
        return replace(prompt, keep=seen if prompt.keep is None else prompt.keep & seen)

    def describe(self) -> str:
        """The edit in words."""
        return f"take out {_describe_tokens(self.tokens)}"


@dataclass(frozen=True)
class Scale(Edit):
    """Multiply vectors by ``factor``. Of keys and values the values alone: what a token adds once it is looked at."""

    kind = "scale"
    tokens: TokenIndices
    factor: float = 0.5

    def apply(self, prompt: Prompt, around: EditContext) -> Prompt:
        """The prompt with longer or shorter vectors."""
        if prompt.embeddings is not None:
            return _replace_vectors(prompt, self.tokens, lambda vectors: vectors * self.factor)
        values = _key_values_of(prompt).clone()
        values[:, 1, ..., _token_indices(self.tokens, prompt), :] *= self.factor
        return replace(prompt, key_values=values)

    def describe(self) -> str:
        """The edit in words."""
        return f"multiply {_describe_tokens(self.tokens)} by {self.factor:g}"


@dataclass(frozen=True)
class Swap(Edit):
    """Two tokens change places."""

    kind = "swap"
    supports_key_values = False
    unsupported_reason = (
        "Keys and values inside the backbone have no order: attention sums over them, so a swap changes nothing."
    )
    first: int
    second: int

    def apply(self, prompt: Prompt, around: EditContext) -> Prompt:
        """The prompt with two of its vectors exchanged, each hidden or seen as it was."""
        _token_indices((self.first, self.second), prompt)
        order = list(range(prompt_length(prompt)))
        order[self.first], order[self.second] = order[self.second], order[self.first]
        vectors = _input_vectors(prompt)[:, order]
        return replace(prompt, embeddings=vectors, keep=None if prompt.keep is None else prompt.keep[order])

    def describe(self) -> str:
        """The edit in words."""
        return f"swap tokens {self.first} and {self.second}"


@dataclass(frozen=True)
class Noise(Edit):
    """Add to each vector a random one, ``size`` times as long as itself; the same for the same ``seed``."""

    kind = "noise"
    tokens: TokenIndices
    size: float = 0.5
    seed: int = 0

    def apply(self, prompt: Prompt, around: EditContext) -> Prompt:
        """The prompt with noise; of keys and values, each key and each value gets its own."""
        inner = prompt.embeddings is None
        vectors = _key_values_of(prompt) if inner else _input_vectors(prompt)
        # One draw for the whole prompt: the noise of a token does not depend on which others get some.
        drawn = torch.randn(vectors.shape if inner else vectors.shape[1:], generator=_seeded_generator(self.seed))
        noise = F.normalize(drawn, dim=-1).to(vectors) * vectors.norm(dim=-1, keepdim=True) * self.size
        changed, chosen = vectors.clone(), _token_indices(self.tokens, prompt)
        changed[..., chosen, :] += noise[..., chosen, :]
        return replace(prompt, key_values=changed) if inner else replace(prompt, embeddings=changed)

    def describe(self) -> str:
        """The edit in words."""
        return f"add noise of {self.size:g} of its length to {_describe_tokens(self.tokens)}, seed {self.seed}"


@dataclass(frozen=True)
class Snap(Edit):
    """Put the nearest word of the backbone in the place of each vector."""

    kind = "snap"
    supports_key_values = supports_input_dependent = False
    unsupported_reason = (
        "No word lies in the space of keys and values, and a prompt that differs by text has no words of its own."
    )
    tokens: TokenIndices
    distance: Distance = "cosine"

    def apply(self, prompt: Prompt, around: EditContext) -> Prompt:
        """Return the prompt with these tokens replaced by words."""
        table = around.embedding_table
        return _replace_vectors(
            prompt, self.tokens, lambda vectors: table[nearest_token_ids(table, vectors, self.distance)]
        )

    def describe(self) -> str:
        """The edit in words."""
        return f"snap {_describe_tokens(self.tokens)} to the nearest word by {self.distance}"


@dataclass(frozen=True)
class Mix(Edit):
    """Move every vector towards that of another prompt: (1 - ``share``) times its own plus ``share`` of the other's.

    ``of`` says where the other lies: the best prompt of a "run", or a "kept" prompt, with this ``id``.
    """

    kind = "mix"
    supports_input_dependent = False
    unsupported_reason = "A prompt that differs by text cannot be mixed with one that does not."
    of: Literal["run", "kept"]
    id: str
    share: float = 0.5

    def apply(self, prompt: Prompt, around: EditContext) -> Prompt:
        """The mixture, of what both prompts have."""
        other = around.load_other_prompt(self.of, self.id)
        changed: dict[str, Any] = {}
        for name, own in (("embeddings", prompt.embeddings), ("key_values", prompt.key_values)):
            if own is None and name not in other:
                continue
            theirs = other.get(name)
            expected = None if own is None else tuple(own.shape[1:] if name == "embeddings" else own[:, :, 0].shape)
            if own is None or theirs is None or tuple(theirs.shape) != expected:
                got = "none" if theirs is None else tuple(theirs.shape)
                raise StoreError(f"mix: expected {name} of shape {expected or 'none'} as here; {self.id} has {got}")
            theirs = theirs.to(own)[None] if name == "embeddings" else theirs.to(own)[:, :, None]
            changed[name] = (1 - self.share) * own + self.share * theirs
        return replace(prompt, **changed)

    def describe(self) -> str:
        """The edit in words."""
        return f"mix in {self.share:.0%} of {self.id}"


EDIT_TYPES: dict[str, type[Edit]] = {kind.kind: kind for kind in (Ablate, Scale, Swap, Noise, Snap, Mix)}
"""Every edit by its name, in the order they are offered."""


def parse_edit(data: Mapping[str, Any]) -> Edit:
    """What ``Edit.to_json`` wrote.

    Raises:
        StoreError: if it is no edit.
    """
    kind = EDIT_TYPES.get(str(data.get("kind")))
    if kind is None:
        raise StoreError(f"expected an edit, one of {', '.join(EDIT_TYPES)}; got {data.get('kind')!r}")
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items() if name != "kind"}
    names = [field.name for field in fields(kind)]
    if set(given) - set(names):
        raise StoreError(f"{kind.kind}: expected {', '.join(names)}; got {', '.join(sorted(given))}")
    try:
        return kind(**given)
    except TypeError as error:
        raise StoreError(f"{kind.kind}: {error}") from error


def apply_edits(edits: Sequence[Edit], prompt: Prompt, around: EditContext) -> Prompt:
    """The prompt after every edit, one after another.

    Raises:
        StoreError: if the prompt is of a kind that an edit cannot change, or has no such token.
    """
    for edit in edits:
        if edit.is_unsupported(prompt):
            raise StoreError(f"{edit.kind}: {edit.unsupported_reason}")
        prompt = edit.apply(prompt, around)
    return prompt


def prompt_length(prompt: Prompt) -> int:
    """Prompt tokens m, of vectors at the input before those of keys and values.

    Raises:
        StoreError: if the prompt has no token: it only shifts the words of the text.
    """
    if prompt.embeddings is not None:
        return prompt.embeddings.shape[1]
    return _key_values_of(prompt).shape[-2]


def nearest_token_ids(
    table: Float[Tensor, "V d"], vectors: Float[Tensor, "... d"], distance: Distance
) -> Int[Tensor, ...]:
    """The word nearest to each vector, by the largest cosine or the smallest L2 distance: ids (...).

    Raises:
        StoreError: for another distance.
    """
    if distance not in DISTANCES:
        raise StoreError(f"snap: expected one of {', '.join(DISTANCES)}; got {distance!r}")
    words, own = table.float(), vectors.float()
    if distance == "cosine":
        return (F.normalize(own, dim=-1) @ F.normalize(words, dim=-1).T).argmax(-1)
    return (own @ words.T - words.square().sum(-1) / 2).argmax(-1)


def _replace_vectors(prompt: Prompt, tokens: TokenIndices, make: Callable[[Tensor], Tensor]) -> Prompt:
    vectors, chosen = _input_vectors(prompt).clone(), _token_indices(tokens, prompt)
    vectors[:, chosen] = make(vectors[:, chosen]).to(vectors.dtype)
    return replace(prompt, embeddings=vectors)


def _token_indices(tokens: TokenIndices, prompt: Prompt) -> list[int]:
    m = prompt_length(prompt)
    if wrong := [token for token in tokens if not 0 <= token < m]:
        raise StoreError(f"expected prompt tokens from 0 to {m - 1}; got {', '.join(map(str, wrong))}")
    return list(tokens) or list(range(m))


def _input_vectors(prompt: Prompt) -> Tensor:
    assert prompt.embeddings is not None, "applied() asks first"
    return prompt.embeddings


def _key_values_of(prompt: Prompt) -> Tensor:
    if prompt.key_values is None:
        raise StoreError("this method has no prompt token: nothing to operate on")
    return prompt.key_values


def _seeded_generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _tuple_to_list(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _describe_tokens(tokens: TokenIndices) -> str:
    if not tokens:
        return "every token"
    return f"token{'s' if len(tokens) > 1 else ''} {', '.join(map(str, tokens))}"
