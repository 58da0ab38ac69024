"""One example of an own table as the backbone reads it: prompt, fields, what is fixed, what is cut, and the answer."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import streamlit as st

from ptviz.backbones import list_backbones
from ptviz.paths import expand_user
from ptviz.tasks import TableOptions
from ptviz.tasks.custom.assemble import DEFAULT_CUE, Columns, Row
from ptviz.tasks.custom.table_preview import read_first_rows
from ptviz.tasks.layout_preview import DecodingTokeniser, LayoutPiece, WordTokeniser, preview_layout
from ptviz.tasks.template import ReadoutMode, Template, end_token, tokenise
from ptviz.ui.backend import run_in_thread
from ptviz.ui.components.errors import error_box
from ptviz.ui.heavy_libraries import load_libraries
from ptviz.ui.train.task_editor import TaskSelection

_EXAMPLES = 20
_SHOWN_SLOTS, _SHOWN_CHARACTERS = 24, 1500
_WAIT_SECONDS = 0.3
_TOKENISER_LOCK = Lock()
"""A tokenizer of transformers holds settings of the call that it answers: one call at a time."""
_FAMILY_MODES: dict[str, ReadoutMode] = {"encoder": "pooled", "decoder": "last", "encoder-decoder": "first"}
_ANSWER_NOTES: dict[ReadoutMode, str] = {
    "pooled": "The mean of the tokens is compared with the names of the classes.",
    "mask": "The answer is read at the mask token.",
    "last": "The answer comes next.",
    "first": "The answer is what the decoder writes first.",
}
_STYLE = """<style>
.ptviz-example { line-height: 2; overflow-wrap: anywhere; white-space: pre-wrap; }
.ptviz-example span { border-radius: 4px; padding: .1rem .3rem; margin-right: .15rem; }
.ptviz-prompt { background: #E69F00; color: #1B2430; font-size: .75rem; }
.ptviz-field { background: rgba(150, 120, 210, .25); border: 1px solid #B39DDB; }
.ptviz-field small { font-weight: 600; opacity: .75; }
.ptviz-fixed { background: rgba(128, 128, 128, .2); font-family: monospace; font-size: .85rem; }
.ptviz-answer { border: 2px solid #009E73; font-weight: 600; }
</style>"""


class TextReader(NamedTuple):
    """The tokenizer of a backbone, and where its answer is read; None where it is not on this machine."""

    tokeniser: DecodingTokeniser | None
    readout_mode: ReadoutMode | None


def render_example_preview(task: TaskSelection, backbone: str, slots: Sequence[int], length: int) -> bool:
    """Show an example of an own table with a prompt of ``slots[0]`` tokens; return whether all of ``slots`` fit it.

    A problem is shown in its place. Any other task fits, and nothing is shown.
    """
    if task.columns is None:
        return True
    request = _request_reader(backbone)
    if not request.done():
        st.fragment(_await_reader, run_every=_WAIT_SECONDS)(request, count())
    reader = request.result() if request.done() else TextReader(None, None)
    mode = reader.readout_mode or _usual_mode(backbone, task.columns.kind != "classification")
    if task.columns.kind != "classification" and mode in ("pooled", "mask"):
        lacks = "scores no choices token by token" if task.columns.choices else "generates no text"
        error_box(f"{backbone} is an encoder, which {lacks}: choose a decoder or an encoder-decoder")
        return False
    table = task.table
    try:
        template = Template.for_readout(
            mode, DEFAULT_CUE, task.columns.fields, table.template, table.cut_first, place=table.place
        )
        if table.chat and reader.tokeniser is not None:
            template = replace(template, chat=True)
        with _TOKENISER_LOCK:
            for m in slots:
                template.encode_segments(reader.tokeniser or WordTokeniser(), m)
    except ValueError as error:
        error_box(str(error))
        return False
    path = expand_user(task.name)
    if rows := _read_rows(str(path), task.columns, _reading_of(table), path.stat().st_mtime_ns):
        st.fragment(_render_example)(task, rows, template, reader.tokeniser, slots[0], length)
    if reader.tokeniser is None:
        st.caption("Counted in words, not in the tokens of the backbone, whose tokenizer is not on this machine yet.")
    return True


def _reading_of(table: TableOptions) -> TableOptions:
    """Return how a table is read, without the task that is made of it: another template reads nothing again."""
    return TableOptions(table.delimiter, table.quoting, table.encoding, table.header, table.skip_bad_rows)


def _usual_mode(backbone: str, writes: bool) -> ReadoutMode:
    """Return how a backbone that is not on this machine is read, as far as its family is known."""
    family = next((info.family for info in list_backbones() if info.name == backbone), None)
    return _FAMILY_MODES.get(family or "", "last" if writes else "pooled")


def _await_reader(request: Future[TextReader], calls: Iterator[int]) -> None:
    """Draw the page again once the tokenizer is read."""
    # Not in the first call, which is part of the page's own run: that would end before the browser gets what it set.
    if next(calls) and request.done():
        st.rerun()


@st.cache_data(max_entries=16, show_spinner=False)
def _read_rows(path: str, columns: Columns, reading: TableOptions, stamp: int) -> Sequence[Row]:
    """Return the first rows of a table. ``stamp`` changes when the file does."""
    return read_first_rows(Path(path), columns, reading, _EXAMPLES)


@st.cache_resource(max_entries=2, ttl=600, show_spinner=False)
def _request_reader(backbone: str) -> Future[TextReader]:
    """Load a tokenizer in a thread: that takes a second or two, for which the page must not wait."""
    return run_in_thread(lambda: _load_reader(backbone))


def _load_reader(backbone: str) -> TextReader:
    load_libraries()
    from ptviz.backbones import load_tokeniser, read_readout_mode

    return TextReader(load_tokeniser(backbone), read_readout_mode(backbone))


def _render_example(
    task: TaskSelection,
    rows: Sequence[Row],
    template: Template,
    tokeniser: DecodingTokeniser | None,
    m: int,
    length: int,
) -> None:
    title, choice = st.columns([3, 1], vertical_alignment="bottom")
    title.markdown("**An example, as the backbone reads it**")
    number = choice.number_input("example", 1, len(rows), 1, key="example", help="rows at the beginning of the table")
    row, reader = rows[int(number) - 1], tokeniser or WordTokeniser()
    with _TOKENISER_LOCK:
        pieces = preview_layout(template, row.texts, reader, m, length)
        answer, note = _describe_answer(task, row, template, reader)
    unit = "words" if tokeniser is None else "tokens"
    st.html(example_html(pieces, answer))
    st.caption(f"{describe_layout(pieces, length, unit)} {_ANSWER_NOTES[template.readout_mode]}{note}")


def _describe_answer(task: TaskSelection, row: Row, template: Template, reader: DecodingTokeniser) -> tuple[str, str]:
    """Return the answer of an example, and what a reader may not expect about it."""
    reads_tokens = template.readout_mode in ("last", "first")
    if isinstance(row.answer, tuple):
        end, _ = end_token(reader, template.readout_mode, row.answer, template.chat)
        (ids,) = template.encode_targets(row.answer[:1], reader, end)
        more = f", the first of {len(row.answer)} references" if len(row.answer) > 1 else ""
        return row.answer[0], f" It has {len(ids)} tokens with its end{more}."
    if row.choices:
        return " | ".join(filter(None, row.choices)), " Each choice is scored by the mean log-likelihood of its tokens."
    word, description = task.words.get(row.answer, (row.answer, row.answer))
    if template.readout_mode == "pooled":
        return description, ""
    count = len(tokenise([f"{template.label_lead(reader)}{word}"], reader)[0])
    if count < 2:
        return word, ""
    if task.table.word_list and reads_tokens:
        return word, f" It is scored by the mean log-likelihood of its {count} tokens."
    return word, f" One of its {count} tokens stands for it."


def example_html(pieces: Iterable[LayoutPiece], answer: str) -> str:
    """Return an example as HTML in which every text is only text, with a chip for each prompt token."""
    parts, slots = [], 0
    for piece in pieces:
        if piece.kind == "prompt":
            parts.append(_prompt_chips(slots, piece.tokens))
            slots += piece.tokens
        elif piece.kind == "field":
            cut = f" <del>{_shorten(piece.cut)}</del>" if piece.cut_tokens else ""
            text = f"<small>{html.escape(piece.name)}</small> {_shorten(piece.text)}{cut}"
            parts.append(f"<span class='ptviz-field'>{text}</span>")
        else:
            # A line's end must be seen: it is a token that the backbone reads.
            parts.append(f"<span class='ptviz-fixed'>{_shorten(piece.text.replace(chr(10), '↵'))}</span>")
    parts.append(f"→ <span class='ptviz-answer'>{_shorten(answer)}</span>")
    return f"{_STYLE}<div class='ptviz-example'>{' '.join(parts)}</div>"


def _prompt_chips(first: int, count: int) -> str:
    numbers = [*range(first + 1, first + count + 1)]
    if count > _SHOWN_SLOTS:
        numbers = [*numbers[: _SHOWN_SLOTS - 2], 0, numbers[-1]]
    return "".join(f"<span class='ptviz-prompt'>{f'P{one}' if one else '…'}</span>" for one in numbers)


def _shorten(text: str) -> str:
    half = _SHOWN_CHARACTERS // 2
    return html.escape(text if len(text) <= 2 * half else f"{text[:half]} … {text[-half:]}")


def describe_layout(pieces: Sequence[LayoutPiece], length: int, unit: str) -> str:
    """Return the number of tokens of an example, what they are, and what is cut."""
    prompt, texts, fixed = (
        sum(piece.tokens for piece in pieces if piece.kind == kind) for kind in ("prompt", "field", "fixed")
    )
    lost = ", ".join(f"{piece.cut_tokens} of {piece.name}" for piece in pieces if piece.cut_tokens)
    cut = f" Cut off: {lost}." if lost else ""
    return (
        f"{prompt + texts + fixed} {unit}: {prompt} of the prompt, {texts} of texts (at most {length}), "
        f"{fixed} around them.{cut}"
    )
