"""Panels on the tokens of any prompt: norms, cosines with each other, singular values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ptviz.plots import plot_cosines, plot_norms, plot_spectrum
from ptviz.plots.run_argument import PromptOrId
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.linked_selection import update_highlight

NORMS_CAPTION = (
    "How to read it: the norm of each prompt token; the blue bands hold the middle 50% and 90% of all words. "
    "A token far above them is unlike any word the backbone was trained on."
)
DISTANCES_CAPTION = (
    "How to read it: how far each prompt token is from the nearest word. The blue bands show how far words are from "
    "their nearest other word; a token above them is outside the vocabulary cloud."
)
HEAD_NORMS_CAPTION = (
    "How to read it: the norm of each prompt token's vector in this head. Keys of large norm get sharp attention, "
    "values of large norm add much once they are attended to."
)
_COSINES_CAPTION = (
    "How to read it: orange pairs of tokens point the same way. A block of orange is spare capacity: several tokens "
    "with one direction."
)
_SPECTRUM_CAPTION = (
    "How to read it: a line that falls steeply means that the prompt uses few directions. The effective rank counts "
    "them, after the mean token was subtracted."
)


@dataclass(frozen=True)
class PromptView:
    """The prompt that several panels show: arguments of its plots, the tokens shown, and those highlighted.

    ``selection`` says which snapshot, tensor and index of its leading axes are meant; ``file_stem`` begins file names.
    """

    prompt: PromptOrId
    file_stem: str
    tokens: list[int]
    m: int
    highlight: frozenset[int] = frozenset()
    selection: dict[str, Any] = field(default_factory=dict)

    @property
    def unlinked_options(self) -> dict[str, Any]:
        """Return the options of a plot without highlights."""
        return {**self.selection, "tokens": None if len(self.tokens) == self.m else self.tokens}

    @property
    def options(self) -> dict[str, Any]:
        """Return the options of a plot."""
        return {**self.unlinked_options, "highlight": sorted(self.highlight)}


def render_norms(view: PromptView, what: str, caption: str, title: str = "") -> None:
    """Show the "norms" or "distances" of the prompt's tokens."""
    render_plot(
        plot_norms,
        view.prompt,
        what,
        **view.options,
        key=what,
        caption=caption,
        filename=f"{view.file_stem}-{what}",
        title=title,
        on_pick=update_highlight,
    )


def render_cosines(view: PromptView, title: str) -> None:
    """Show the cosines between the prompt's tokens."""
    render_plot(
        plot_cosines,
        view.prompt,
        **view.options,
        key="cosines",
        caption=_COSINES_CAPTION,
        filename=f"{view.file_stem}-cosines",
        title=title,
        on_pick=update_highlight,
    )


def render_spectrum(view: PromptView) -> None:
    """Show the singular values of the prompt at the first and the selected step."""
    render_plot(
        plot_spectrum,
        view.prompt,
        **view.unlinked_options,
        key="spectrum",
        caption=_SPECTRUM_CAPTION,
        filename=f"{view.file_stem}-spectrum",
        title="Singular values",
    )
