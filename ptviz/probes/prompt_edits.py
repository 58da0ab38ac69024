"""Edits of a trained prompt as data: changes of prompt tokens, applied one after another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ptviz.nearest_tokens import nearest_tokens
from ptviz.prompt import Prompt
from ptviz.runs.run_file_io import StoreError

Distance = Literal["cosine", "L2"]
DISTANCES: tuple[Distance, ...] = ("cosine", "L2")
TokenIndices = tuple[int, ...]
"""Indices of prompt tokens, from 0; empty for all tokens."""


@dataclass(frozen=True)
class EditContext:
    """What edits need besides the prompt: the embedding table (V, d), and access to other prompts."""

    embedding_table: Float[Tensor, "V d"]
    load_other_prompt: Callable[[str, str], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Edit(ABC):
    """One change of a prompt.

    ``supports_key_values`` says whether it applies to keys and values inside the backbone, ``supports_input_dependent``
    whether it applies to a prompt per text; ``unsupported_reason`` says why not.
    """

    kind: ClassVar[str]
    supports_key_values: ClassVar[bool] = True
    supports_input_dependent: ClassVar[bool] = True
    unsupported_reason: ClassVar[str] = ""

    @classmethod
    def is_unsupported(cls, prompt: Prompt) -> bool:
        """Return whether this kind of prompt cannot be edited."""
        return (not cls.supports_key_values and prompt.embeddings is None) or (
            not cls.supports_input_dependent and not prompt.is_static
        )

    @abstractmethod
    def apply(self, prompt: Prompt, context: EditContext) -> Prompt:
        """Return the edited prompt; the given one is not changed."""

    @abstractmethod
    def describe(self) -> str:
        """Return the edit in words."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that ``parse_edit`` reads back to an equal edit."""
        return {"kind": self.kind, **{name: _tuple_to_list(value) for name, value in asdict(self).items()}}


@dataclass(frozen=True)
class Ablate(Edit):
    """Hide tokens; the others keep their positions."""

    kind = "ablate"
    tokens: TokenIndices

    def apply(self, prompt: Prompt, context: EditContext) -> Prompt:
        """Return the prompt with these tokens masked, or without them for keys and values."""
        if prompt.embeddings is None:
            left = [i for i in range(prompt_length(prompt)) if i not in _token_indices(self.tokens, prompt)]
            return replace(prompt, key_values=_key_values_of(prompt)[..., left, :])
        seen = torch.ones(prompt_length(prompt), dtype=torch.bool, device=prompt.embeddings.device)
        seen[_token_indices(self.tokens, prompt)] = False
        return replace(prompt, keep=seen if prompt.keep is None else prompt.keep & seen)

    def describe(self) -> str:
        """Return the edit in words."""
        return f"remove {_describe_tokens(self.tokens)}"


@dataclass(frozen=True)
class Scale(Edit):
    """Multiply vectors by ``factor``; of keys and values only the values, which attention adds to the output."""

    kind = "scale"
    tokens: TokenIndices
    factor: float = 0.5

    def apply(self, prompt: Prompt, context: EditContext) -> Prompt:
        """Return the prompt with scaled vectors."""
        if prompt.embeddings is not None:
            return _replace_vectors(prompt, self.tokens, lambda vectors: vectors * self.factor)
        values = _key_values_of(prompt).clone()
        values[:, 1, ..., _token_indices(self.tokens, prompt), :] *= self.factor
        return replace(prompt, key_values=values)

    def describe(self) -> str:
        """Return the edit in words."""
        return f"multiply {_describe_tokens(self.tokens)} by {self.factor:g}"


@dataclass(frozen=True)
class Swap(Edit):
    """Exchange two tokens."""

    kind = "swap"
    supports_key_values = False
    unsupported_reason = (
        "Keys and values inside the backbone have no order: attention sums over them, so a swap changes nothing."
    )
    first: int
    second: int

    def apply(self, prompt: Prompt, context: EditContext) -> Prompt:
        """Return the prompt with two vectors and their masks exchanged."""
        _token_indices((self.first, self.second), prompt)
        order = list(range(prompt_length(prompt)))
        order[self.first], order[self.second] = order[self.second], order[self.first]
        vectors = input_vectors(prompt)[:, order]
        return replace(prompt, embeddings=vectors, keep=None if prompt.keep is None else prompt.keep[order])

    def describe(self) -> str:
        """Return the edit in words."""
        return f"swap tokens {self.first} and {self.second}"


@dataclass(frozen=True)
class Noise(Edit):
    """Add a random vector to each vector, ``size`` times as long; the same for the same ``seed``."""

    kind = "noise"
    tokens: TokenIndices
    size: float = 0.5
    seed: int = 0

    def apply(self, prompt: Prompt, context: EditContext) -> Prompt:
        """Return the prompt with noise; each key and each value gets its own."""
        inner = prompt.embeddings is None
        vectors = _key_values_of(prompt) if inner else input_vectors(prompt)
        # One draw for the whole prompt: the noise of a token does not depend on which other tokens get noise.
        shape, generator = vectors.shape if inner else vectors.shape[1:], torch.Generator().manual_seed(self.seed)
        drawn = torch.randn(shape, generator=generator)
        noise = F.normalize(drawn, dim=-1).to(vectors) * vectors.norm(dim=-1, keepdim=True) * self.size
        changed, chosen = vectors.clone(), _token_indices(self.tokens, prompt)
        changed[..., chosen, :] += noise[..., chosen, :]
        return replace(prompt, key_values=changed) if inner else replace(prompt, embeddings=changed)

    def describe(self) -> str:
        """Return the edit in words."""
        return f"add noise of {self.size:g} times the norm to {_describe_tokens(self.tokens)}, seed {self.seed}"


@dataclass(frozen=True)
class Snap(Edit):
    """Replace each vector by the nearest word embedding of the backbone."""

    kind = "snap"
    supports_key_values = supports_input_dependent = False
    unsupported_reason = "Keys and values have no nearest words, and neither has a prompt that differs by text."
    tokens: TokenIndices
    distance: Distance = "cosine"

    def apply(self, prompt: Prompt, context: EditContext) -> Prompt:
        """Return the prompt with these tokens replaced by words."""
        table = context.embedding_table
        return _replace_vectors(prompt, self.tokens, lambda own: table[nearest_token_ids(table, own, self.distance)])

    def describe(self) -> str:
        """Return the edit in words."""
        return f"snap {_describe_tokens(self.tokens)} to the nearest word by {self.distance}"


@dataclass(frozen=True)
class Mix(Edit):
    """Interpolate every vector with that of another prompt: (1 - ``share``) of its own plus ``share`` of the other's.

    ``of`` is the kind of the other prompt: the best prompt of a "run", or a saved ("kept") one, with this ``id``.
    """

    kind = "mix"
    supports_input_dependent = False
    unsupported_reason = "A prompt that differs by text cannot be mixed with one that does not."
    of: Literal["run", "kept"]
    id: str
    share: float = 0.5

    def apply(self, prompt: Prompt, context: EditContext) -> Prompt:
        """Return the mixture of two prompts of one kind and shape."""
        other = context.load_other_prompt(self.of, self.id)
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
        """Return the edit in words."""
        return f"mix in {self.share:.0%} of {self.id}"


EDIT_TYPES: dict[str, type[Edit]] = {kind.kind: kind for kind in (Ablate, Scale, Swap, Noise, Snap, Mix)}
"""The edits by name, in the order of the menu."""


def parse_edit(data: Mapping[str, Any]) -> Edit:
    """Parse the result of ``Edit.to_json``.

    Raises:
        StoreError: if it is not an edit.
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


def apply_edits(edits: Sequence[Edit], prompt: Prompt, context: EditContext) -> Prompt:
    """Return the prompt after all edits, applied in order.

    Raises:
        StoreError: if an edit does not support this kind of prompt, or the prompt has no such token.
    """
    for edit in edits:
        if edit.is_unsupported(prompt):
            raise StoreError(f"{edit.kind}: {edit.unsupported_reason}")
        prompt = edit.apply(prompt, context)
    return prompt


def prompt_length(prompt: Prompt) -> int:
    """Return the number of prompt tokens m, of input vectors or else of keys and values.

    Raises:
        StoreError: if the prompt has no token, because the method only shifts word embeddings.
    """
    if prompt.embeddings is not None:
        return prompt.embeddings.shape[1]
    return _key_values_of(prompt).shape[-2]


def nearest_token_ids(
    table: Float[Tensor, "V d"], vectors: Float[Tensor, "... d"], distance: Distance
) -> Int[Tensor, ...]:
    """Return ids (...) of the nearest word of each vector, by largest cosine or smallest L2 distance.

    Raises:
        StoreError: for another distance.
    """
    if distance not in DISTANCES:
        raise StoreError(f"snap: expected one of {', '.join(DISTANCES)}; got {distance!r}")
    own = vectors.detach().float().cpu().reshape(-1, vectors.shape[-1]).numpy()
    found = nearest_tokens(own, table.detach().float().cpu().numpy(), 1, distance).ids[:, 0]
    return torch.from_numpy(found).to(vectors.device).reshape(vectors.shape[:-1])


def _replace_vectors(prompt: Prompt, tokens: TokenIndices, make: Callable[[Tensor], Tensor]) -> Prompt:
    vectors, chosen = input_vectors(prompt).clone(), _token_indices(tokens, prompt)
    vectors[:, chosen] = make(vectors[:, chosen]).to(vectors.dtype)
    return replace(prompt, embeddings=vectors)


def _token_indices(tokens: TokenIndices, prompt: Prompt) -> list[int]:
    m = prompt_length(prompt)
    if wrong := [token for token in tokens if not 0 <= token < m]:
        raise StoreError(f"expected prompt tokens from 0 to {m - 1}; got {', '.join(map(str, wrong))}")
    return list(tokens) or list(range(m))


def input_vectors(prompt: Prompt) -> Float[Tensor, "#B m d"]:
    """Return the input vectors of a prompt, which must have some, as ``apply_edits`` checks."""
    assert prompt.embeddings is not None, "expected input vectors; got keys and values"
    return prompt.embeddings


def _key_values_of(prompt: Prompt) -> Tensor:
    if prompt.key_values is None:
        raise StoreError("this method has no prompt token to edit")
    return prompt.key_values


def _tuple_to_list(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _describe_tokens(tokens: TokenIndices) -> str:
    if not tokens:
        return "every token"
    return f"token{'s' if len(tokens) > 1 else ''} {', '.join(map(str, tokens))}"
