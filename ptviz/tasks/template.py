"""Templates: where the prompt, the text and the cue stand, and where the answer is read.

``Template("{cls}{prompt}{text}{sep}")`` lays out one text as token ids with m slots for the prompt. Positions, masks
and token types are then right before any prompt has come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

ReadoutMode = Literal["pooled", "mask", "last", "first"]
"""Where a backbone's answer is read: mean of the real tokens, mask token, last token, or the decoder's first token."""

PATTERNS: dict[ReadoutMode, str] = {
    "pooled": "{cls}{prompt}{text}{sep}",
    "mask": "{cls}{prompt}{text} {cue} {mask}.{sep}",
    # One newline of context suits small decoders better than their BOS token.
    "last": "{prompt}\n{text}\n{cue}",
    "first": "{prompt}{text} {cue}{eos}",
}
SPECIAL_TOKENS = ("mask", "cls", "sep", "bos", "eos")
TEMPLATE_FIELDS = ("prompt", "text", "cue", *SPECIAL_TOKENS)
# BERT's [CLS] does the work of other tokenisers' <s>, and [SEP] that of </s>.
SUBSTITUTE_TOKENS = {"cls": "bos", "bos": "cls", "sep": "eos", "eos": "sep"}


@runtime_checkable
class Tokeniser(Protocol):
    """The part of a transformers tokenizer that a template uses."""

    def __call__(self, text: list[str], *, add_special_tokens: bool = ..., **settings: Any) -> Any:
        """Return a mapping whose ``input_ids`` holds one list of ids a text."""


class EncodedText(NamedTuple):
    """One text as token ids: which positions the prompt fills, and where the answer is read."""

    ids: list[int]
    slots: list[bool]
    readout_mask: list[bool]
    label: int = -1


class _Piece(NamedTuple):
    kind: str  # "literal" or one of FIELDS but cue, which becomes part of a literal
    text: str = ""


@dataclass(frozen=True)
class Template:
    """A layout of prompt, text, cue and special tokens, such as ``{cls}{prompt}{text} {cue} {mask}.{sep}``.

    Raises:
        ValueError: for an unknown field, a field that is missing or comes twice, or a reading that does not exist.
    """

    pattern: str
    readout_mode: ReadoutMode = "pooled"
    cue: str = ""

    @classmethod
    def for_readout(cls, reading: str, cue: str = "") -> Template:
        """Return the usual template of a reading.

        Raises:
            ValueError: unless ``reading`` is one of "pooled", "mask", "last" and "first".
        """
        if reading not in PATTERNS:
            raise ValueError(f"reading: expected one of {', '.join(PATTERNS)}; got {reading!r}")
        return cls(PATTERNS[reading], reading, cue)

    def __post_init__(self) -> None:
        try:
            fields = [field for _, field, _, _ in Formatter().parse(self.pattern) if field is not None]
        except ValueError as error:
            raise ValueError(f"template {self.pattern!r}: {error}; write {{{{ and }}}} for braces") from error
        for field in fields:
            if field not in TEMPLATE_FIELDS:
                known = ", ".join(f"{{{name}}}" for name in TEMPLATE_FIELDS)
                raise ValueError(f"template {self.pattern!r}: unknown field {{{field}}}; expected {known}")
        needed = {"text": (1, 1), "prompt": (0, 1), "mask": (int(self.readout_mode == "mask"), 1)}
        for field, (low, high) in needed.items():
            count = fields.count(field)
            if not low <= count <= high:
                expected = "once" if low == high else "at most once"
                raise ValueError(f"template {self.pattern!r}: expected {{{field}}} {expected}; it comes {count} times")
        if self.readout_mode not in get_args(ReadoutMode):
            raise ValueError(f"reading: expected one of {', '.join(get_args(ReadoutMode))}; got {self.readout_mode!r}")

    def encode(self, text: str, tokeniser: Tokeniser, m: int, length: int) -> EncodedText:
        """Return one text as ids with m slots; see ``encode_all``."""
        return self.encode_all([text], tokeniser, m, length)[0]

    def encode_all(
        self, texts: Sequence[str], tokeniser: Tokeniser, m: int, length: int, labels: Sequence[int] | None = None
    ) -> list[EncodedText]:
        """Return texts as ids with m slots at ``{prompt}``; only the text is cut, to its first ``length`` tokens.

        A slot's id is the tokeniser's padding id (0 if it has none). Read marks: every real token but the slots
        ("pooled"), the mask token ("mask"), the last token ("last"), none ("first": the decoder's start is read).
        Words in a text that look like special tokens, such as "[SEP]", stay ordinary text.

        Raises:
            ValueError: if the template lacks ``{prompt}`` for the m slots, m is negative, ``length`` is below 1, or the
                tokeniser has no mask token for ``{mask}``.
        """
        if m < 0 or length < 1:
            raise ValueError(f"expected m of at least 0 and a length of at least 1; got {m} and {length}")
        if m and not any(piece.kind == "prompt" for piece in self._split_pattern()):
            raise ValueError(f"template {self.pattern!r}: expected {{prompt}} for the {m} prompt tokens")
        if not texts:
            return []
        ids = [row[:length] for row in _tokenise(list(texts), tokeniser)]
        before, after = self._encode_surroundings(tokeniser, m)
        marks = labels if labels is not None else [-1] * len(texts)
        return [self._assemble(before, row, after, label) for row, label in zip(ids, marks, strict=True)]

    def surrounding_ids(self, tokeniser: Tokeniser) -> tuple[list[int], list[int]]:
        """Return the ids before and after the text, slots left out."""
        before, after = self._encode_surroundings(tokeniser, 0)
        return before.ids, after.ids

    def count_extra_tokens(self, tokeniser: Tokeniser) -> int:
        """Return the number of tokens of a row besides slots and text."""
        before, after = self._encode_surroundings(tokeniser, 0)
        return len(before.ids) + len(after.ids)

    def _split_pattern(self) -> list[_Piece]:
        pieces: list[_Piece] = []
        literal = ""
        for text, field, _, _ in Formatter().parse(self.pattern):
            literal += text
            if field == "cue":
                # A cue is tokenised together with the blank before it: byte-pair tokenisers keep blanks in words.
                literal += self.cue
            elif field is not None:
                # Mask tokens bring their own blank where the tokeniser wants one.
                pieces += [_Piece("literal", literal.rstrip() if field == "mask" else literal), _Piece(field)]
                literal = ""
        return [piece for piece in [*pieces, _Piece("literal", literal)] if piece.kind != "literal" or piece.text]

    def _encode_surroundings(self, tokeniser: Tokeniser, m: int) -> tuple[EncodedText, EncodedText]:
        """Return everything before and after the text."""
        sides = (EncodedText([], [], []), EncodedText([], [], []))
        side = sides[0]
        pad = getattr(tokeniser, "pad_token_id", None)
        for kind, text in self._split_pattern():
            if kind == "text":
                side = sides[1]
                continue
            if kind == "prompt":
                ids = [int(pad or 0)] * m
            else:
                ids = _tokenise([text], tokeniser)[0] if kind == "literal" else _special_token_ids(kind, tokeniser)
            side.ids.extend(ids)
            side.slots.extend([kind == "prompt"] * len(ids))
            side.readout_mask.extend(
                [kind == "mask" or (self.readout_mode == "pooled" and kind != "prompt")] * len(ids)
            )
        return sides

    def _assemble(self, before: EncodedText, text: list[int], after: EncodedText, label: int) -> EncodedText:
        ids = [*before.ids, *text, *after.ids]
        slots = [*before.slots, *[False] * len(text), *after.slots]
        read = [*before.readout_mask, *[self.readout_mode == "pooled"] * len(text), *after.readout_mask]
        if self.readout_mode in ("last", "first"):
            read = [False] * len(ids)
        if self.readout_mode == "last" and ids:
            read[-1] = True
        return EncodedText(ids, slots, read, label)


def _tokenise(texts: list[str], tokeniser: Tokeniser) -> list[list[int]]:
    # verbose=False: texts longer than the backbone are cut right after, so no warning is needed.
    found = tokeniser(texts, add_special_tokens=False, split_special_tokens=True, verbose=False)
    return [list(map(int, row)) for row in found["input_ids"]]


def _special_token_ids(kind: str, tokeniser: Tokeniser) -> list[int]:
    for name in (kind, SUBSTITUTE_TOKENS.get(kind, kind)):
        number = getattr(tokeniser, f"{name}_token_id", None)
        if number is not None:
            return [int(number)]
    if kind == "mask":
        raise ValueError("the template wants a {mask}, but this tokeniser has no mask token; use another reading")
    return []
