"""A diagram that a notebook shows as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go
import plotly.offline

from ptviz.figures.diagrams import plotly as plotly_backend
from ptviz.figures.diagrams.scene import Scene
from ptviz.figures.diagrams.svg import to_svg


@dataclass(frozen=True)
class Drawing:
    """A diagram: ``scene`` holds its shapes, its alternative text (``scene.alt``) and its table."""

    scene: Scene

    def to_svg(self) -> str:
        """Return the diagram as an SVG document. No browser is needed."""
        return to_svg(self.scene)

    def _repr_svg_(self) -> str:
        return self.to_svg()

    def to_figure(self) -> go.Figure:
        """Return the diagram as a plotly figure, for HTML and JSON."""
        return plotly_backend.to_figure(self.scene)


def plotly_script() -> str:
    """Return the JavaScript of plotly, which HTML pages of figures need."""
    script: str = plotly.offline.get_plotlyjs()
    return script


def write_pngs(drawings: Sequence[Drawing], paths: Sequence[Path]) -> None:
    """Write each drawing to the path at the same position, with kaleido and a Chromium browser.

    Raises:
        OSError: if a file cannot be written.
        Exception: from plotly or kaleido, if kaleido or the browser is missing.
    """
    plotly_backend.write_png([drawing.scene for drawing in drawings], paths)
