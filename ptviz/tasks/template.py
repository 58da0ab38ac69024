"""Templates: where the prompt, the texts and the cue stand, and where the answer is read.

``Template("{cls}{prompt}{text}{sep}")`` lays out one input as token ids with m slots for the prompt. Positions, masks
and token types are then right before any prompt has come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

from ptviz.chat_template import read_chat_frame, read_chat_turn

ReadoutMode = Literal["pooled", "mask", "last", "first"]
"""Where a backbone's answer is read: mean of the real tokens, mask token, last token, or the decoder's first token."""

Place = Literal["prefix", "infix"]
"""Where soft tokens stand: before the texts, or between the texts and the answer, as the infix of Li and Liang 2021,
section 7.3 (https://aclanthology.org/2021.acl-long.353), which has trained activations at every layer there."""

FRAMES: dict[ReadoutMode, tuple[str, str]] = {
    "pooled": ("{cls}", "{sep}"),
    "mask": ("{cls}", " {cue} {mask}.{sep}"),
    "last": ("", "\n{cue}"),
    "first": ("", " {cue}{eos}"),
}
"""What a reading needs before and after the input."""
# One newline of context suits small decoders better than a BOS token that their tokeniser does not write by itself.
_JOINTS: dict[ReadoutMode, tuple[str, str]] = {
    "pooled": ("", "{sep}"),
    "mask": ("", "{sep}"),
    "last": ("\n", "\n"),
    "first": ("", "\n"),
}
"""What stands between the prompt and the first text, and between two texts, unless a template says otherwise."""
SPECIAL_TOKENS = ("mask", "cls", "sep", "bos", "eos")
RESERVED_NAMES = ("prompt", "cue", *SPECIAL_TOKENS)
# BERT's [CLS] does the work of other tokenisers' <s>, and [SEP] that of </s>.
SUBSTITUTE_TOKENS = {"cls": "bos", "bos": "cls", "sep": "eos", "eos": "sep"}


@runtime_checkable
class Tokeniser(Protocol):
    """The part of a transformers tokenizer that a template uses."""

    def __call__(self, text: list[str], *, add_special_tokens: bool = ..., **settings: Any) -> Any:
        """Return a mapping whose ``input_ids`` holds one list of ids a text."""


class EncodedText(NamedTuple):
    """One input as token ids: which positions the prompt fills, where the answer is read, and what is to be written."""

    ids: list[int]
    slots: list[bool]
    readout_mask: list[bool]
    label: int = -1
    target: tuple[int, ...] = ()


class _Piece(NamedTuple):
    kind: str  # "literal", "prompt", a special token, or a field; a cue becomes part of a literal
    text: str = ""  # of a literal; of a prompt's piece, the number of its tokens


@dataclass(frozen=True)
class Template:
    """A layout of prompt, texts, cue and special tokens, such as ``{cls}{prompt}{premise} {sep} {hypothesis}{sep}``.

    ``fields`` names the texts. ``{prompt:3}`` is a piece of three prompt tokens, of which there may be several (Liu et
    al., "GPT Understands, Too", section 3.1, https://arxiv.org/abs/2103.10385); one piece may lack a number and takes
    the rest. ``cut_first`` is the field that loses tokens first when an input is too long; empty: the longest. With
    ``chat`` the whole layout is a user's message in the tokeniser's chat template, and the assistant's answer is read.

    Raises:
        ValueError: for an unknown field, a field that is missing or comes twice, a bad piece, or a reading that does
            not exist or cannot be a chat's.
    """

    pattern: str
    readout_mode: ReadoutMode = "pooled"
    cue: str = ""
    fields: tuple[str, ...] = ("text",)
    cut_first: str = ""
    chat: bool = False

    @classmethod
    def for_readout(
        cls,
        reading: str,
        cue: str = "",
        fields: tuple[str, ...] = ("text",),
        pattern: str = "",
        cut_first: str = "",
        chat: bool = False,
        place: Place = "prefix",
    ) -> Template:
        """Return the template of a reading, with ``pattern`` for the input, or prompt and texts in order.

        What the reading needs is put around the input, unless the pattern has it: ``{cls}`` and ``{sep}``, a mask
        token, the cue. An "infix" moves the prompt behind the last text.

        Raises:
            ValueError: unless ``reading`` is one of "pooled", "mask", "last" and "first", or for a bad ``pattern``,
                such as one with several pieces of the prompt, where an infix is asked for.
        """
        if reading not in FRAMES:
            raise ValueError(f"reading: expected one of {', '.join(FRAMES)}; got {reading!r}")
        before, after = FRAMES[reading]
        if not pattern:
            ahead, between = _JOINTS[reading]
            pattern = "{prompt}" + ahead + between.join(f"{{{name}}}" for name in fields)
        elif reading != "mask":
            pattern = pattern.replace("{mask}", "")
        if place == "infix":
            pattern = _move_behind_texts(pattern, fields)
        if "{cls}" in pattern:
            before = ""
        if "{mask}" in pattern or (reading != "mask" and "{cue}" in pattern):
            # The pattern says where the answer comes: only closing tokens follow.
            after = "" if reading == "last" else "{eos}" if reading == "first" else "{sep}"
        elif "{cue}" in pattern:
            after = after.replace(" {cue}", "")
        if pattern.endswith(("{sep}", "{eos}")) and after in ("{sep}", "{eos}"):
            after = ""
        return cls(before + pattern + after, reading, cue, fields, cut_first, chat)

    def __post_init__(self) -> None:
        try:
            parsed = [part for part in Formatter().parse(self.pattern) if part[1] is not None]
        except ValueError as error:
            raise ValueError(f"template {self.pattern!r}: {error}; write {{{{ and }}}} for braces") from error
        self._check_fields([field or "" for _, field, _, _ in parsed])
        for _, field, spec, conversion in parsed:
            if conversion or (spec and field != "prompt"):
                piece = f"{{{field}{'!' + conversion if conversion else ''}{':' + spec if spec else ''}}}"
                raise ValueError(
                    f"template {self.pattern!r}: expected {{{field}}}; got {piece}: only {{prompt:3}} takes a number, "
                    "and the maximum length of a run cuts its texts"
                )
        self._check_prompt_pieces([spec or "" for _, field, spec, _ in parsed if field == "prompt"])
        if self.readout_mode not in get_args(ReadoutMode):
            raise ValueError(f"reading: expected one of {', '.join(get_args(ReadoutMode))}; got {self.readout_mode!r}")
        if self.chat and self.readout_mode != "last":
            raise ValueError("chat: expected a decoder; only instruct decoders have a chat template")
        if self.cut_first and self.cut_first not in self.fields:
            raise ValueError(f"cut first: expected one of {', '.join(self.fields)}; got {self.cut_first!r}")

    def _check_fields(self, found: list[str]) -> None:
        for name in self.fields:
            if name in RESERVED_NAMES or not name.isidentifier():
                reserved = ", ".join(RESERVED_NAMES)
                raise ValueError(f"field {name!r}: expected letters, digits and underscores, and none of {reserved}")
        known = (*self.fields, *RESERVED_NAMES)
        for field in found:
            if field not in known:
                listed = ", ".join(f"{{{name}}}" for name in known)
                raise ValueError(f"template {self.pattern!r}: unknown field {{{field}}}; expected {listed}")
        needed = {name: (1, 1) for name in self.fields} | {"mask": (int(self.readout_mode == "mask"), 1)}
        for field, (low, high) in needed.items():
            count = found.count(field)
            if not low <= count <= high:
                expected = "once" if low == high else "at most once"
                advice = "leave one out" if count else "put it where it belongs"
                raise ValueError(
                    f"template {self.pattern!r}: expected {{{field}}} {expected}; it comes {count} times: {advice}"
                )

    def _check_prompt_pieces(self, sizes: list[str]) -> None:
        if (count := sizes.count("")) > 1:
            raise ValueError(
                f"template {self.pattern!r}: expected {{prompt}} at most once; it comes {count} times: "
                "give the others a number, as in {prompt:3}"
            )
        for size in sizes:
            if size and not (size.isascii() and size.isdigit() and int(size)):
                raise ValueError(
                    f"template {self.pattern!r}: expected a number of tokens, as in {{prompt:3}}; got {{prompt:{size}}}"
                )

    def encode(self, text: str | Sequence[str], tokeniser: Tokeniser, m: int, length: int) -> EncodedText:
        """Return one input as ids with m slots; see ``encode_all``."""
        return self.encode_all([text], tokeniser, m, length)[0]

    def encode_all(
        self,
        texts: Sequence[str | Sequence[str]],
        tokeniser: Tokeniser,
        m: int,
        length: int,
        labels: Sequence[int] | None = None,
    ) -> list[EncodedText]:
        """Return inputs as ids with m slots at ``{prompt}``; an input is a text, or one text for each field.

        Only the texts are cut, to ``length`` tokens together, at their ends: first the field ``cut_first``, else the
        longest. A slot's id is the tokeniser's padding id (0 if it has none). Read marks: every real token but the
        slots ("pooled"), the mask token ("mask"), the last token ("last"), none ("first": the decoder's start is read).
        Words in a text that look like special tokens, such as "[SEP]", stay ordinary text.

        Raises:
            ValueError: if the template lacks ``{prompt}`` for the m slots, its pieces have another number of tokens, m
                is negative, ``length`` is below 1, or the tokeniser has no mask token for ``{mask}``.
        """
        if m < 0 or length < 1:
            raise ValueError(f"expected m of at least 0 and a length of at least 1; got {m} and {length}")
        if not texts:
            return []
        segments = self.encode_segments(tokeniser, m)
        marks = labels if labels is not None else [-1] * len(texts)
        inputs = [(text,) if isinstance(text, str) else tuple(text) for text in texts]
        columns = [tokenise([row[index] for row in inputs], tokeniser) for index in range(len(self.fields))]
        return [
            self._assemble(segments, self.cut_texts([column[row] for column in columns], length), mark)
            for row, mark in enumerate(marks)
        ]

    def surrounding_ids(self, tokeniser: Tokeniser) -> tuple[list[int], list[int]]:
        """Return the ids before the first text and after the last one, slots left out."""
        segments = self.encode_segments(tokeniser, 0)
        places = [index for index, one in enumerate(segments) if isinstance(one, str)]
        before, after = segments[: places[0]], segments[places[-1] + 1 :]
        return tuple([i for one in part for i in one.ids] for part in (before, after))  # type: ignore[return-value,union-attr]

    def count_extra_tokens(self, tokeniser: Tokeniser) -> int:
        """Return the number of tokens of a row besides slots and texts."""
        return sum(len(one.ids) for one in self.encode_segments(tokeniser, 0) if isinstance(one, EncodedText))

    def encode_targets(self, targets: Sequence[str], tokeniser: Tokeniser, end: int) -> list[tuple[int, ...]]:
        """Return what a decoder is to write after each input, as ids, with the ``end`` token.

        After a cue or a text a target begins with a blank, as words do for byte-pair tokenisers.
        """
        literal = self._split_pattern()[-1]
        joined = self.readout_mode == "last" and not literal.text[-1:].isspace()
        lead = self.label_lead(tokeniser) if self.chat else " " if joined else ""
        texts = [lead + target.strip() for target in targets]
        return [(*ids, end) for ids in tokenise(texts, tokeniser)]

    def encode_turns(
        self, rows: Sequence[EncodedText], answers: Sequence[tuple[int, ...]], tokeniser: Tokeniser
    ) -> tuple[int, list[int]]:
        """Return earlier turns of a chat as ids, and the place in a row without slots where they belong.

        ``rows`` are their messages as ``encode_all`` gives them, and ``answers`` end with an end token, which the
        chat template's own marks replace.
        """
        frame, turn = read_chat_frame(tokeniser), read_chat_turn(tokeniser)
        before, after, middle, between = (
            _parse_special(text, tokeniser) for text in (frame.before, frame.after, turn.middle, turn.between)
        )
        ids: list[int] = []
        for row, answer in zip(rows, answers, strict=True):
            ids += [*row.ids[len(before) : len(row.ids) - len(after)], *middle, *answer[:-1], *between]
        return len(before), ids

    def label_lead(self, tokeniser: Tokeniser) -> str:
        """Return what a label word is read with: a blank, or in a chat what the answer begins with."""
        return read_chat_frame(tokeniser).lead if self.chat else " "

    def _split_pattern(self) -> list[_Piece]:
        pieces: list[_Piece] = []
        literal = ""
        for text, field, spec, _ in Formatter().parse(self.pattern):
            literal += text
            if field == "cue":
                # A cue is tokenised together with the blank before it: byte-pair tokenisers keep blanks in words.
                literal += self.cue
            elif field is not None:
                # Mask tokens bring their own blank where the tokeniser needs one.
                pieces.append(_Piece("literal", literal.rstrip() if field == "mask" else literal))
                pieces.append(_Piece(field, spec or ""))
                literal = ""
        return [piece for piece in [*pieces, _Piece("literal", literal)] if piece.kind != "literal" or piece.text]

    def encode_segments(self, tokeniser: Tokeniser, m: int) -> list[EncodedText | str]:
        """Return what stands around the texts, in order, and the name of a field where its text comes."""
        pieces = self._split_pattern()
        sizes = [int(text) for kind, text in pieces if kind == "prompt" and text]
        rest, open_piece = m - sum(sizes), any(kind == "prompt" and not text for kind, text in pieces)
        if m and (rest < 0 or (rest and not open_piece)):
            found = f"pieces of {sum(sizes)} tokens" if sizes else "none"
            advice = "make the pieces smaller" if rest < 0 else "add {prompt}, which takes the rest"
            raise ValueError(
                f"template {self.pattern!r}: expected {{prompt}} for the {m} prompt tokens; it has {found}: {advice}"
            )
        pad = getattr(tokeniser, "pad_token_id", None)
        segments: list[EncodedText | str] = []
        if self.chat:
            segments.append(_unread(_parse_special(read_chat_frame(tokeniser).before, tokeniser)))
        elif self.readout_mode == "last" and not any(kind in ("bos", "cls") for kind, _ in pieces):
            segments.append(_unread(_leading_bos(tokeniser)))
        for kind, text in pieces:
            if kind in self.fields:
                segments.append(kind)
                continue
            if kind == "prompt":
                ids = [int(pad or 0)] * ((int(text) if text else rest) if m else 0)
            else:
                ids = tokenise([text], tokeniser)[0] if kind == "literal" else _special_token_ids(kind, tokeniser)
            read = kind == "mask" or (self.readout_mode == "pooled" and kind != "prompt")
            segments.append(EncodedText(ids, [kind == "prompt"] * len(ids), [read] * len(ids)))
        if self.chat:
            segments.append(_unread(_parse_special(read_chat_frame(tokeniser).after, tokeniser)))
        return segments

    def cut_texts(self, fields: list[list[int]], length: int) -> dict[str, list[int]]:
        """Return the ids of each field by its name, cut at their ends to ``length`` together."""
        lengths = [len(ids) for ids in fields]
        excess = sum(lengths) - length
        if excess > 0 and self.cut_first:
            index = self.fields.index(self.cut_first)
            lengths[index] -= min(excess, lengths[index])
        while (excess := sum(lengths) - length) > 0:
            # The longest is cut to the next longest, then all of them together; of equals the last one first.
            longest = max(lengths)
            index = max(i for i, size in enumerate(lengths) if size == longest)
            others = [size for i, size in enumerate(lengths) if i != index]
            lengths[index] -= min(excess, max(1, longest - max(others, default=0)))
        return {name: ids[:size] for name, ids, size in zip(self.fields, fields, lengths, strict=True)}

    def _assemble(self, segments: list[EncodedText | str], texts: dict[str, list[int]], label: int) -> EncodedText:
        ids: list[int] = []
        slots: list[bool] = []
        read: list[bool] = []
        for one in segments:
            if isinstance(one, str):
                own = texts[one]
                part = EncodedText(own, [False] * len(own), [self.readout_mode == "pooled"] * len(own))
            else:
                part = one
            ids += part.ids
            slots += part.slots
            read += part.readout_mask
        if self.readout_mode in ("last", "first"):
            read = [False] * len(ids)
        if self.readout_mode == "last" and ids:
            read[-1] = True
        return EncodedText(ids, slots, read, label)


def _move_behind_texts(pattern: str, fields: Sequence[str]) -> str:
    if pattern.count("{prompt}") != 1 or "{prompt:" in pattern:
        raise ValueError(f"place: expected a template with one {{prompt}} for an infix; got {pattern!r}")
    moved = pattern.replace("{prompt}", "").lstrip("\n")
    end = max(moved.find(f"{{{name}}}") + len(name) + 2 for name in fields)
    return f"{moved[:end]}{{prompt}}{moved[end:]}"


def end_token(tokeniser: Tokeniser, reading: str, targets: Iterable[str], chat: bool = False) -> tuple[int, bool]:
    """Return the id that ends a generated text, and whether it is the line's end.

    A decoder's texts end with their line, as in the texts that it was trained on, unless a target has several lines or
    the tokeniser no single token for it; all others with the end-of-sequence token. An answer in a ``chat`` ends with
    the special token that its template writes after it, if it does.

    Raises:
        ValueError: if the tokeniser has neither.
    """
    if chat and (special := _chat_end(tokeniser)) is not None:
        return special, False
    if chat:
        reading = ""
    newline = tokenise(["\n"], tokeniser)[0] if reading == "last" else []
    if len(newline) == 1 and not any("\n" in target.strip() for target in targets):
        return newline[0], True
    if not (found := _special_token_ids("eos", tokeniser)):
        raise ValueError("expected a tokenizer with an end-of-sequence token, which ends a generated text")
    return found[0], False


def tokenise(texts: list[str], tokeniser: Tokeniser) -> list[list[int]]:
    """Return the ids of texts without special tokens; what looks like one in a text stays ordinary text."""
    # verbose=False: texts longer than the backbone are cut right after, so no warning is needed.
    found = tokeniser(texts, add_special_tokens=False, split_special_tokens=True, verbose=False)
    return [list(map(int, row)) for row in found["input_ids"]]


def _chat_end(tokeniser: Tokeniser) -> int | None:
    ids = _parse_special(read_chat_frame(tokeniser).end, tokeniser)
    known = {*getattr(tokeniser, "all_special_ids", ()), *getattr(tokeniser, "added_tokens_decoder", ())}
    return ids[0] if ids and ids[0] in known else None


def _parse_special(text: str, tokeniser: Tokeniser) -> list[int]:
    """Return the ids of a chat template's own text, whose special tokens are meant as such."""
    return [int(one) for one in tokeniser([text], add_special_tokens=False)["input_ids"][0]]


def _unread(ids: list[int]) -> EncodedText:
    return EncodedText(ids, [False] * len(ids), [False] * len(ids))


def _leading_bos(tokeniser: Tokeniser) -> list[int]:
    """Return the BOS token that a tokeniser puts before every text, on which its decoder depends; none for most."""
    bos = getattr(tokeniser, "bos_token_id", None)
    if bos is None:
        return []
    written = tokeniser(["a"], add_special_tokens=True)["input_ids"][0]
    return [int(bos)] if int(written[0]) == bos else []


def _special_token_ids(kind: str, tokeniser: Tokeniser) -> list[int]:
    for name in (kind, SUBSTITUTE_TOKENS.get(kind, kind)):
        number = getattr(tokeniser, f"{name}_token_id", None)
        if number is not None:
            return [int(number)]
    if kind == "mask":
        raise ValueError("the template has a {mask}, but this tokenizer has no mask token; use another readout")
    return []
