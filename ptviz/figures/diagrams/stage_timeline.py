"""A method's stages as a timeline: what each trains, on whose rows, for what share of the steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ptviz.figures.diagrams.scene import DARK, Box, Element, Line, Scene, TextLabel
from ptviz.figures.style import GREY, PROMPT

WIDTH, HEIGHT = 1000.0, 108.0
_TASK_COLOURS = {"target": ("#FCE0C8", PROMPT), "sources": ("#E4DCF4", "#8E73C9"), "all": ("#D3E6F3", "#0072B2")}
_TASK_LABELS = {"target": "target task", "sources": "source tasks", "all": "source and target tasks"}


@dataclass(frozen=True)
class StageBar:
    """One stage: its name, whose rows it sees, its steps (0 if unknown), and what it trains in words."""

    name: str
    tasks: str = "target"
    steps: int = 0
    trained_text: str = ""
    optimiser: str = "gradient"


def draw_stage_timeline(legs: Sequence[StageBar]) -> Scene:
    """The stages from left to right, each as long as its share of the steps, never too short for its words."""
    total = sum(leg.steps for leg in legs)
    least = min(190.0, (WIDTH - 20) / max(len(legs), 1))
    spare = (WIDTH - 20) - least * len(legs)
    elements: list[Element] = []
    x = 10.0
    for number, leg in enumerate(legs, start=1):
        width = least + spare * (leg.steps / total if total else 1 / len(legs))
        fill, edge = _TASK_COLOURS.get(leg.tasks, _TASK_COLOURS["target"])
        how = ", without gradients" if leg.optimiser == "evolution" else ""
        trains = _truncate(leg.trained_text + how, width)
        hover = (
            f"Stage {number}, {leg.name}: {leg.trained_text}{how}; rows of the {_TASK_LABELS.get(leg.tasks, leg.tasks)}"
        )
        elements.append(Box(x + width / 2 - 4, 46, width - 8, 66, fill, edge, 1.4, radius=7, hover=hover))
        elements.append(TextLabel(x + 10, 29, f"{number}. {leg.name}", 13, bold=True, colour=DARK, anchor="start"))
        elements.append(TextLabel(x + 10, 47, trains, 11, colour=DARK, anchor="start"))
        steps = f", {leg.steps:,} steps" if leg.steps else ""
        rows = _truncate(_TASK_LABELS.get(leg.tasks, leg.tasks) + steps, width)
        elements.append(TextLabel(x + 10, 64, rows, 11, colour=DARK, anchor="start"))
        x += width
    elements.append(Line(((10, 94), (WIDTH - 14, 94)), colour=GREY))
    elements.append(TextLabel(WIDTH - 12, 103, "time", 10, anchor="end", faint=True))
    if not legs:
        elements.append(TextLabel(WIDTH / 2, 46, "Nothing is trained.", 13))
    said = "; ".join(
        f"{leg.name} on the {_TASK_LABELS.get(leg.tasks, leg.tasks)}, training {leg.trained_text}" for leg in legs
    )
    head = ("stage", "rows of", "steps", "trains", "optimiser")
    listed = (
        (leg.name, _TASK_LABELS.get(leg.tasks, leg.tasks), str(leg.steps or ""), leg.trained_text, leg.optimiser)
        for leg in legs
    )
    alt = f"{len(legs)} stages of training: {said or 'none'}."
    return Scene(WIDTH, HEIGHT, tuple(elements), alt, "Stages", (head, *listed))


def _truncate(words: str, width: float) -> str:
    most = max(8, int((width - 24) / 6))
    return words if len(words) <= most else words[: most - 1] + "…"
