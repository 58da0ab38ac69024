"""What a tokenizer's chat template puts around a user's message and an assistant's answer.

The template is rendered once for each tokenizer, with a mark in place of the message, so that prompt slots and texts
can take the place of the mark. It is an untrusted program: see ``ptviz.chat_renderer`` for the limits on its work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ptviz.safe_text import safe_text

_MESSAGE, _ANSWER = "qJxUserMessagexJq", "qJxAnswerxJq"
_MAX_TEMPLATE = 200_000
"""Characters of a template."""
_MAX_FRAME = 20_000
"""Characters around a message: a run's texts are a few thousand at most."""
_WALL_SECONDS = 60.0


class ChatTemplateError(ValueError):
    """A chat template that is missing or cannot be used."""


class ChatFrame(NamedTuple):
    """The text before a user's message, between it and the answer, and after the answer.

    ``lead`` is the blank, or nothing, that an answer begins with.
    """

    before: str
    after: str
    lead: str
    end: str


class ChatTurn(NamedTuple):
    """The text between a message and its answer in an earlier turn, and between that answer and the next message."""

    middle: str
    between: str


def read_chat_turn(tokeniser: Any) -> ChatTurn:
    """Return what a tokenizer's chat template puts around the answer of an earlier turn.

    Raises:
        ChatTemplateError: if there is no template, it fails, or it does not write two messages and the answer between
            them.
    """
    return _read_turn(*_template_of(tokeniser))


def read_chat_frame(tokeniser: Any) -> ChatFrame:
    """Return what a tokenizer's chat template puts around a message.

    Raises:
        ChatTemplateError: if there is no template, it fails, takes too long or too much memory, or leaves the message
            out.
    """
    return _read_frame(*_template_of(tokeniser))


def _template_of(tokeniser: Any) -> tuple[str, str]:
    """Return the template, and the special tokens that it knows as JSON."""
    if not getattr(tokeniser, "chat_template", None):
        name = safe_text(getattr(tokeniser, "name_or_path", "") or "of this backbone")
        raise ChatTemplateError(
            f"the tokenizer {name} has no chat template; train without chat, or choose an instruct model"
        )
    template = str(tokeniser.get_chat_template())
    tokens = {name: str(token) for name, token in tokeniser.special_tokens_map.items() if isinstance(token, str)}
    return template, json.dumps(tokens, sort_keys=True)


@lru_cache(maxsize=16)
def _read_turn(template: str, tokens: str) -> ChatTurn:
    frame = _read_frame(template, tokens)
    user, assistant = {"role": "user", "content": _MESSAGE}, {"role": "assistant", "content": _ANSWER}
    (text,) = _render(template, json.loads(tokens), [[user, assistant, user]])
    first, _, rest = text.partition(_MESSAGE)
    middle, answer, rest = rest.partition(_ANSWER)
    between, message, _ = rest.partition(_MESSAGE)
    if first != frame.before or not answer or not message or len(middle) + len(between) > _MAX_FRAME:
        raise ChatTemplateError("the chat template does not write two messages and the answer between them as they are")
    return ChatTurn(middle.removesuffix(frame.lead), between)


@lru_cache(maxsize=16)
def _read_frame(template: str, tokens: str) -> ChatFrame:
    if len(template) > _MAX_TEMPLATE:
        raise ChatTemplateError(
            f"expected a chat template of at most {_MAX_TEMPLATE:,} characters; got {len(template):,}"
        )
    user, assistant = {"role": "user", "content": _MESSAGE}, {"role": "assistant", "content": _ANSWER}
    asked, answered = _render(template, json.loads(tokens), [[user], [user, assistant]])
    before, mark, after = asked.partition(_MESSAGE)
    if not mark or _MESSAGE in after:
        raise ChatTemplateError("the chat template does not write the user's message once, as it is")
    lead, end = "", ""
    if answered.startswith(asked) and _ANSWER in answered:
        opened, _, end = answered[len(asked) :].partition(_ANSWER)
        # What else it writes ahead of every answer, as an empty thought, is not for the prompt to learn.
        after, lead = after + opened.rstrip(" "), " " if opened.endswith(" ") else ""
    if len(before) + len(after) > _MAX_FRAME:
        raise ChatTemplateError(f"the chat template writes over {_MAX_FRAME:,} characters around a message")
    return ChatFrame(before, after, lead, end)


def _render(template: str, tokens: dict[str, str], conversations: list[list[dict[str, str]]]) -> list[str]:
    request = json.dumps({"template": template, "special_tokens": tokens, "conversations": conversations})
    inherited = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    own = {name: os.environ[name] for name in inherited if name in os.environ}
    source = str(Path(__file__).resolve().parents[1])
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "ptviz.chat_renderer"],
            input=request,
            capture_output=True,
            text=True,
            timeout=_WALL_SECONDS,
            env={**own, "PYTHONPATH": source, "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ChatTemplateError(f"the chat template took over {_WALL_SECONDS:g} s and was stopped") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        reason = safe_text(said[-1], 200) if said and done.returncode > 0 else "it took too long or too much memory"
        raise ChatTemplateError(f"the chat template cannot be rendered: {reason}")
    texts: list[str] = json.loads(done.stdout)
    return texts
