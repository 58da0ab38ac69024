"""The idea in one drawing: trained vectors, a text, a frozen backbone, an answer."""

from __future__ import annotations

import html

import streamlit as st

from ptviz.figures.style import FROZEN, PROMPT
from ptviz.runs import RunConfig
from ptviz.training import plan

_INPUT = "#B39DDB"  # the survey's lilac


def anatomy(question: str, answer: str, frozen: str, tokens: int) -> str:
    """``tokens`` prompt vectors and a question enter a frozen backbone, which answers: the drawing as SVG.

    ``frozen`` says how large the backbone is. Text takes the page's own colour, so both themes can read it.
    """
    shown = 7
    words = question.split()
    prompt = "".join(_cell(20 + 25 * i, 21, PROMPT) for i in range(shown))
    text, x = "", 34.0 + 25 * shown
    for word in words:
        width = 15 + 8.6 * len(word)
        text += _word(x, width, word)
        x += width + 5
    box = x + 42
    end = box + 190
    alt = f"{tokens} trained vectors and the question {question} enter a frozen backbone, which answers {answer}"
    return (
        f'<svg role="img" aria-label="{html.escape(alt)}" viewBox="0 0 {end + 150:.0f} 112" '
        'style="width:100%;max-width:880px;height:auto;font-family:var(--st-font);color:var(--st-text-color)" '
        'fill="currentColor" font-size="14">'
        f"{prompt}{text}"
        f'<text x="20" y="100" opacity=".75">{tokens} vectors, trained</text>'
        f'<text x="{34 + 25 * shown}" y="100" opacity=".75">your text</text>'
        f"{_arrow(x + 4, box - 6)}"
        f'<rect x="{box:.0f}" y="10" width="190" height="66" rx="9" fill="{FROZEN}"/>'
        f'<text x="{box + 95:.0f}" y="39" fill="#fff" text-anchor="middle" font-weight="600">frozen backbone</text>'
        f'<text x="{box + 95:.0f}" y="60" fill="#fff" text-anchor="middle">{html.escape(frozen)}</text>'
        f"{_arrow(end + 6, end + 40)}"
        f'<text x="{end + 50:.0f}" y="49" font-weight="600" font-size="18">{html.escape(answer)}</text>'
        "</svg>"
    )


def _cell(x: float, y: float, colour: str) -> str:
    dots = "".join(f'<circle cx="{x + 10}" cy="{y + 10 + 12 * i}" r="3" fill="#fff" opacity=".9"/>' for i in range(3))
    return f'<rect x="{x}" y="{y}" width="20" height="44" rx="4" fill="{colour}"/>{dots}'


def _word(x: float, width: float, word: str) -> str:
    box = f'<rect x="{x:.1f}" y="27" width="{width:.1f}" height="32" rx="4" fill="{_INPUT}"/>'
    return f'{box}<text x="{x + width / 2:.1f}" y="48" fill="#1B2430" text-anchor="middle">{html.escape(word)}</text>'


def _arrow(start: float, end: float) -> str:
    line = f'<path d="M{start:.0f} 43H{end - 7:.0f}" stroke="currentColor" stroke-width="2"/>'
    return f'{line}<path d="M{end:.0f} 43l-9 -5v10z"/>'


_FIRST = RunConfig().checked()
_PLAN = plan(_FIRST.method, _FIRST.backbone, _FIRST.task, _FIRST.training, _FIRST.knobs)
_FROZEN = f"{(_PLAN.frozen or 0) / 1e6:.1f} million numbers"
INTRODUCTION = (
    "A language model can learn a new task without changing a single one of its own numbers. **Prompt tuning** puts a "
    "few free vectors in front of your text, freezes everything else, and trains only those. Press Start: a real "
    f"sentence encoder of {_FROZEN.removesuffix(' numbers')} frozen numbers will learn to tell what kind of answer a "
    f"question asks for, from {_PLAN.trained:,} trained ones, in about half a minute, before your eyes."
)
"""What the home page says about its Start button; the sizes are those of the run it starts."""

# A component, because st.html leaves drawings out. Components take trusted text only: all of this one is ours.
_HOME = st.components.v2.component(
    "ptviz_anatomy",
    html="\n" + anatomy("Who painted the Mona Lisa?", "human", _FROZEN, int(_FIRST.knobs["m"])) + "\n<i></i>",
)


def first_run() -> None:
    """What the home page's Start button trains."""
    _HOME(key="anatomy")
