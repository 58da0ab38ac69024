"""One example as a backbone reads it, piece by piece: what is prompt, text or fixed, and what is cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

from ptviz.tasks.template import EncodedText, Template, Tokeniser, tokenise


class DecodingTokeniser(Tokeniser, Protocol):
    """A tokeniser that also turns ids into text."""

    def decode(self, token_ids: list[int], **settings: Any) -> Any:
        """Return the text of ids."""


class LayoutPiece(NamedTuple):
    """A piece of an input: slots of the prompt, a field's text, or what the template puts around them.

    ``text`` is what the tokeniser makes of it, empty for the prompt; ``tokens`` counts its tokens. ``cut`` is the end
    of a field that is left out, of ``cut_tokens`` tokens.
    """

    kind: Literal["prompt", "field", "fixed"]
    text: str
    tokens: int
    name: str = ""
    cut: str = ""
    cut_tokens: int = 0


def preview_layout(
    template: Template, texts: Sequence[str], tokeniser: DecodingTokeniser, m: int, length: int
) -> list[LayoutPiece]:
    """Return the pieces of one input with m slots in order, cut as ``Template.encode`` cuts it.

    Raises:
        ValueError: as ``Template.encode_all`` does.
    """
    whole = tokenise(list(texts), tokeniser)
    kept = template.cut_texts(whole, length)
    by_name = dict(zip(template.fields, whole, strict=True))
    pieces = []
    for part in template.encode_segments(tokeniser, m):
        if isinstance(part, EncodedText):
            prompt = any(part.slots)
            text = "" if prompt else _decode(part.ids, tokeniser)
            pieces.append(LayoutPiece("prompt" if prompt else "fixed", text, len(part.ids)))
        else:
            ids, rest = kept[part], by_name[part][len(kept[part]) :]
            pieces.append(
                LayoutPiece("field", _decode(ids, tokeniser), len(ids), part, _decode(rest, tokeniser), len(rest))
            )
    return [piece for piece in pieces if piece.tokens or piece.kind == "field"]


def _decode(ids: list[int], tokeniser: DecodingTokeniser) -> str:
    return str(tokeniser.decode(ids)) if ids else ""


class WordTokeniser:
    """Split texts at blanks: stands in for the tokeniser of a backbone that is not at hand."""

    mask_token_id, cls_token_id, sep_token_id, eos_token_id = 0, 1, 2, 3
    bos_token_id = pad_token_id = None

    def __init__(self) -> None:
        self._words = ["[MASK]", "[CLS]", "[SEP]", "[END]"]

    def __call__(self, text: list[str], *, add_special_tokens: bool = False, **settings: Any) -> dict[str, Any]:
        """Return ``{"input_ids": ...}``, one id for each word of each text."""
        return {"input_ids": [[self._id_of(word) for word in one.split()] for one in text]}

    def _id_of(self, word: str) -> int:
        self._words.append(word)
        return len(self._words) - 1

    def decode(self, token_ids: list[int], **settings: Any) -> str:
        """Return the words of ids with a blank between them."""
        return " ".join(self._words[one] for one in token_ids)
