"""``ptviz figures``: the survey's two figures, and every single panel, from the live methods, without a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ptviz.cli.output import JsonOption, UsageError, print_json

if TYPE_CHECKING:
    from ptviz.figures.diagrams.scene import Scene

FORMATS = ("svg", "html", "json", "png")


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command("figures")(figures)


def figures(
    out: Annotated[Path, typer.Option(help="The folder to write into; it is made if it is missing.")],
    format: Annotated[str, typer.Option(help="svg, html, json or png. Only png needs a browser.")] = "svg",
    backbone: Annotated[str, typer.Option(help="Whose sizes to draw: see `ptviz backbones`.")] = "minilm-l6",
    sources: Annotated[int, typer.Option(min=1, max=20, help="Source tasks of the methods that transfer.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Write the survey's figures, drawn from the live methods.

    The taxonomy, the framework comparison, and one panel for each method.
    """
    if format not in FORMATS:
        raise UsageError(f"--format: expected one of {', '.join(FORMATS)}; got {format!r}")
    drawn = draw_scenes(backbone, sources)
    try:
        out.mkdir(parents=True, exist_ok=True)
        paths = [out / f"{name}.{format}" for name in drawn]
        if format == "png":
            _write_pngs(drawn, paths)
        else:
            write = {"svg": _write_svg, "html": _write_html, "json": _write_json}[format]
            for scene, path in zip(drawn.values(), paths, strict=True):
                write(scene, path)
    except OSError as error:
        raise UsageError(
            f"--out: {out} cannot be written ({error.strerror or error}); choose another folder"
        ) from error
    if as_json:
        print_json({"files": [str(path) for path in paths], "alt": {name: scene.alt for name, scene in drawn.items()}})
    else:
        typer.echo("\n".join(map(str, paths)))


def draw_scenes(backbone: str, sources: int) -> dict[str, Scene]:
    """Every drawing by its file's name.

    Raises:
        BadInput: if no backbone of known sizes has that name.
    """
    from ptviz.analysis.taxonomy import build_taxonomy
    from ptviz.figures.diagrams.framework_comparison import draw_framework
    from ptviz.figures.diagrams.method import draw_panel
    from ptviz.figures.diagrams.taxonomy import draw_taxonomy
    from ptviz.methods import REGISTRY
    from ptviz.plots.material import build_all_panels, get_backbone_shape

    try:
        panels = build_all_panels(get_backbone_shape(backbone), sources)
    except ValueError as error:
        raise UsageError(f"--backbone: {error}") from error
    drawn = {
        "taxonomy": draw_taxonomy(build_taxonomy(method.card for method in REGISTRY.values())),
        "framework": draw_framework(panels),
    }
    return drawn | {f"panel-{panel.name}": draw_panel(panel) for panel in panels}


def _write_svg(scene: Scene, path: Path) -> None:
    from ptviz.figures.diagrams.svg import to_svg

    path.write_text(to_svg(scene), encoding="utf-8")


def _write_html(scene: Scene, path: Path) -> None:
    from ptviz.figures.diagrams.plotly import to_figure

    # One copy of the plotting library lies beside all the pages: they open offline.
    to_figure(scene).write_html(path, include_plotlyjs="directory", full_html=True)


def _write_json(scene: Scene, path: Path) -> None:
    from ptviz.figures.diagrams.plotly import to_figure

    path.write_text(json.dumps(json.loads(to_figure(scene).to_json()), indent=1), encoding="utf-8")


def _write_pngs(drawn: dict[str, Scene], paths: list[Path]) -> None:
    from ptviz.figures.diagrams.plotly import write_png

    try:
        write_png(list(drawn.values()), paths)
    except OSError:
        raise
    except Exception as error:
        # kaleido is an extra and needs a browser; plotly tells either absence in a page of text.
        raise UsageError(
            "png pictures need kaleido and a Chromium browser: pip install kaleido, or choose --format svg, "
            f"which needs neither ({type(error).__name__})"
        ) from error
