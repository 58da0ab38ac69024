"""The introduction of the home page: trained vectors and a text enter a frozen backbone, which answers."""

from __future__ import annotations

import streamlit as st

from ptviz import backbones, tasks
from ptviz.figures.diagrams.scene import Box, Element, Line, Scene, TextLabel
from ptviz.figures.diagrams.svg import to_svg
from ptviz.figures.style import FROZEN, PROMPT
from ptviz.runs import RunConfig
from ptviz.training import TrainConfig
from ptviz.ui.components.download import render_missing
from ptviz.ui.navigation import start_run

_INPUT_COLOUR = "#B39DDB"  # the survey's lilac


def draw_introduction(question: str, answer: str, frozen: str, tokens: int) -> str:
    """Return an SVG drawing: ``tokens`` prompt vectors and a question enter a frozen backbone, which answers.

    ``frozen`` is the size of the backbone. Text takes the colour of the page, for both themes.
    """
    shown = 7
    text = 34.0 + 25 * shown
    drawn = [element for i in range(shown) for element in _vector(30.0 + 25 * i)]
    x = text
    for word in question.split():
        width = 15 + 8.6 * len(word)
        drawn += [
            Box(x + width / 2, 43, width, 32, _INPUT_COLOUR, radius=4),
            TextLabel(x + width / 2, 43, word, 14, colour="#1B2430"),
        ]
        x += width + 5
    box = x + 42
    end = box + 190
    drawn += [
        TextLabel(20, 95, f"{tokens} vectors, trained", 14, anchor="start", faint=True),
        TextLabel(text, 95, "your text", 14, anchor="start", faint=True),
        _arrow_svg(x + 4, box - 6),
        Box(box + 95, 43, 190, 66, FROZEN, radius=9),
        TextLabel(box + 95, 34, "frozen backbone", 14, bold=True, colour="#fff"),
        TextLabel(box + 95, 55, frozen, 14, colour="#fff"),
        _arrow_svg(end + 6, end + 40),
        TextLabel(end + 50, 43, answer, 18, bold=True, anchor="start"),
    ]
    alt = f"{tokens} trained vectors and the question {question} enter a frozen backbone, which answers {answer}"
    return to_svg(Scene(end + 150, 112, tuple(drawn), alt), page=True)


def _vector(x: float) -> list[Element]:
    return [Box(x, 43, 20, 44, PROMPT, radius=4), *(Box(x, y, 6, 6, "#fff", radius=3) for y in (31, 43, 55))]


def _arrow_svg(start: float, end: float) -> Line:
    return Line(((start, 43), (end, 43)), "currentColor", 2)


_CONFIG = RunConfig().checked()
_BACKBONE = next(info for info in backbones.list_backbones() if info.name == _CONFIG.backbone)
_BACKBONE_SIZE = f"{_BACKBONE.parameters / 1e6:.1f} million parameters"
_TOKENS = int(_CONFIG.hyperparameters["m"])
INTRODUCTION = (
    "A language model can learn a new task without any change to its own parameters. **Prompt tuning** puts a few "
    "trainable vectors in front of your text, freezes everything else, and trains only those. Press Start training: a "
    f"real sentence encoder of {_BACKBONE_SIZE.removesuffix(' parameters')} frozen parameters will learn what kind of "
    f"answer a question asks for, from {_TOKENS * _BACKBONE.width:,} trainable ones, in about half a minute."
)
"""Text about the Start button, with the sizes of the run that it starts."""

# A component, because st.html removes SVG. A component takes trusted text only, as this is.
_INTRODUCTION_DRAWING = draw_introduction("Who painted the Mona Lisa?", "human", _BACKBONE_SIZE, _TOKENS)
_HOME_COMPONENT = st.components.v2.component(
    "ptviz_anatomy",
    html=f"\n<div>{_INTRODUCTION_DRAWING}</div>",
    css="\ndiv { color: var(--st-text-color); font-family: var(--st-font); }",
)


def render_introduction() -> None:
    """Show the drawing of what the Start button trains."""
    _HOME_COMPONENT(key="anatomy")


# A decoder step takes about a second on two cores, and an evaluation writes an answer for each example: few of both.
WRITING_RUN = RunConfig(
    backbone="smollm2-135m",
    task="inflection",
    hyperparameters={"m": 10},
    training=TrainConfig(steps=60, batch=8, evaluate_every=20, validation_rows=50, test_rows=100),
)
"""The run that the home page offers on a decoder: two minutes on two cores."""


def render_writing_run() -> None:
    """Offer a run on a decoder, which writes its answers; its download first if something of it is missing."""
    with st.container(border=True):
        st.markdown(
            "**Or see a model learn to write.** SmolLM2-135M-Instruct is a decoder of 134.5 million frozen parameters. "
            "In about two minutes it learns to write forms of words (*the plural of mouse: mice*) from "
            f"{10 * 576:,} trainable ones."
        )
        known: list[backbones.BackboneInfo | tasks.TaskInfo] = [*backbones.list_backbones(), *tasks.list_tasks()]
        wanted = (WRITING_RUN.backbone, WRITING_RUN.task)
        missing = [info.install_command for info in known if info.name in wanted and not info.available]
        if missing:
            render_missing(missing[0])
        elif st.button("Train it to write", icon=":material/edit:", key="start-writing"):
            start_run(WRITING_RUN)
