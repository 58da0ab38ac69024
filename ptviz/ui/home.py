"""The idea in one drawing: trained vectors, a text, a frozen backbone, an answer."""

from __future__ import annotations

import streamlit as st

from ptviz.figures.diagrams.scene import Box, Element, Line, Scene, Text
from ptviz.figures.diagrams.svg import to_svg
from ptviz.figures.style import FROZEN, PROMPT
from ptviz.runs import RunConfig
from ptviz.training import plan

_INPUT = "#B39DDB"  # the survey's lilac


def anatomy(question: str, answer: str, frozen: str, tokens: int) -> str:
    """``tokens`` prompt vectors and a question enter a frozen backbone, which answers: the drawing as SVG.

    ``frozen`` says how large the backbone is. Text takes the page's own colour, so both themes can read it.
    """
    shown = 7
    text = 34.0 + 25 * shown
    drawn = [element for i in range(shown) for element in _vector(30.0 + 25 * i)]
    x = text
    for word in question.split():
        width = 15 + 8.6 * len(word)
        drawn += [
            Box(x + width / 2, 43, width, 32, _INPUT, radius=4),
            Text(x + width / 2, 43, word, 14, colour="#1B2430"),
        ]
        x += width + 5
    box = x + 42
    end = box + 190
    drawn += [
        Text(20, 95, f"{tokens} vectors, trained", 14, anchor="start", faint=True),
        Text(text, 95, "your text", 14, anchor="start", faint=True),
        _arrow(x + 4, box - 6),
        Box(box + 95, 43, 190, 66, FROZEN, radius=9),
        Text(box + 95, 34, "frozen backbone", 14, bold=True, colour="#fff"),
        Text(box + 95, 55, frozen, 14, colour="#fff"),
        _arrow(end + 6, end + 40),
        Text(end + 50, 43, answer, 18, bold=True, anchor="start"),
    ]
    alt = f"{tokens} trained vectors and the question {question} enter a frozen backbone, which answers {answer}"
    return to_svg(Scene(end + 150, 112, tuple(drawn), alt), page=True)


def _vector(x: float) -> list[Element]:
    return [Box(x, 43, 20, 44, PROMPT, radius=4), *(Box(x, y, 6, 6, "#fff", radius=3) for y in (31, 43, 55))]


def _arrow(start: float, end: float) -> Line:
    return Line(((start, 43), (end, 43)), "currentColor", 2)


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
    html=f"\n<div>{anatomy('Who painted the Mona Lisa?', 'human', _FROZEN, int(_FIRST.knobs['m']))}</div>",
    css="\ndiv { color: var(--st-text-color); font-family: var(--st-font); }",
)


def first_run() -> None:
    """What the home page's Start button trains."""
    _HOME(key="anatomy")
