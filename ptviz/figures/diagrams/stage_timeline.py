"""A method's training stages as a timeline: what each trains, on which tasks, for how many steps."""

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
    """One stage: its name, the tasks of its examples, its steps (0 if unknown), and what it trains."""

    name: str
    tasks: str = "target"
    steps: int = 0
    trained_text: str = ""
    optimiser: str = "gradient"


def draw_stage_timeline(stages: Sequence[StageBar]) -> Scene:
    """Draw the stages from left to right, with widths by their share of the steps, but wide enough for their labels."""
    total = sum(stage.steps for stage in stages)
    least = min(190.0, (WIDTH - 20) / max(len(stages), 1))
    spare = (WIDTH - 20) - least * len(stages)
    elements: list[Element] = []
    x = 10.0
    tasks = [_TASK_LABELS.get(stage.tasks, stage.tasks) for stage in stages]
    for number, (stage, label) in enumerate(zip(stages, tasks, strict=True), start=1):
        width = least + spare * (stage.steps / total if total else 1 / len(stages))
        fill, edge = _TASK_COLOURS.get(stage.tasks, _TASK_COLOURS["target"])
        how = ", without gradients" if stage.optimiser == "evolution" else ""
        steps = f", {stage.steps:,} steps" if stage.steps else ""
        hover = f"Stage {number}, {stage.name}: {stage.trained_text}{how}; examples of the {label}"
        elements.append(Box(x + width / 2 - 4, 46, width - 8, 66, fill, edge, 1.4, radius=7, hover=hover))
        elements.append(TextLabel(x + 10, 29, f"{number}. {stage.name}", 13, bold=True, colour=DARK, anchor="start"))
        for y, words in ((47, stage.trained_text + how), (64, label + steps)):
            elements.append(TextLabel(x + 10, y, _truncate(words, width), 11, colour=DARK, anchor="start"))
        x += width
    elements.append(Line(((10, 94), (WIDTH - 14, 94)), colour=GREY))
    elements.append(TextLabel(WIDTH - 12, 103, "time", 10, anchor="end", faint=True))
    if not stages:
        elements.append(TextLabel(WIDTH / 2, 46, "Nothing is trained.", 13))
    pairs = list(zip(stages, tasks, strict=True))
    described = "; ".join(f"{stage.name} on the {label}, training {stage.trained_text}" for stage, label in pairs)
    head = ("stage", "examples of", "steps", "trains", "optimiser")
    rows = ((one.name, label, str(one.steps or ""), one.trained_text, one.optimiser) for one, label in pairs)
    alt = f"{len(stages)} stages of training: {described or 'none'}."
    return Scene(WIDTH, HEIGHT, tuple(elements), alt, "Stages", (head, *rows))


def _truncate(words: str, width: float) -> str:
    most = max(8, int((width - 24) / 6))
    return words if len(words) <= most else words[: most - 1] + "…"
