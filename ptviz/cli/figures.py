"""``ptviz figures``: write the survey's figures and the diagram of each method, without a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ptviz.atomic_files import atomic_directory, write_file
from ptviz.cli.output import JsonOption, UsageError, print_json, print_line

if TYPE_CHECKING:
    from ptviz.plots.drawing import Drawing

FORMATS = ("svg", "html", "json", "png")
_PLOTLY_FILE = "plotly.min.js"


def figures(
    out: Annotated[Path, typer.Option(help="The folder to write to; created if missing.")],
    format: Annotated[str, typer.Option(help="svg, html, json or png. Only png needs a browser.")] = "svg",
    backbone: Annotated[
        str, typer.Option(help="The backbone whose sizes are drawn: see `ptviz backbones`.")
    ] = "minilm-l6",
    sources: Annotated[int, typer.Option(min=1, max=20, help="Source tasks of transfer methods.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Write the survey's figures, drawn from the methods' code.

    These are the taxonomy, the framework comparison, and one diagram for each method.
    """
    if format not in FORMATS:
        raise UsageError(f"--format: expected one of {', '.join(FORMATS)}; got {format!r}")
    drawings = draw_figures(backbone, sources)
    try:
        out.mkdir(parents=True, exist_ok=True)
        paths = [out / f"{name}.{format}" for name in drawings]
        if format == "png":
            _write_pngs(drawings, paths)
        else:
            if format == "html":  # One copy of the plotting library next to all pages: they open offline.
                _write_plotly(out / _PLOTLY_FILE)
            write = {"svg": _write_svg, "html": _write_html, "json": _write_json}[format]
            for drawing, path in zip(drawings.values(), paths, strict=True):
                write(drawing, path)
    except OSError as error:
        raise UsageError(
            f"--out: {out} cannot be written ({error.strerror or error}); choose another folder"
        ) from error
    if as_json:
        alt_texts = {name: drawing.scene.alt for name, drawing in drawings.items()}
        print_json({"files": [str(path) for path in paths], "alt": alt_texts})
    else:
        print_line("\n".join(map(str, paths)))


def draw_figures(backbone: str, source_tasks: int) -> dict[str, Drawing]:
    """Return every drawing by the name of its file.

    Raises:
        UsageError: if no backbone of known sizes has that name.
    """
    from ptviz.methods import list_methods
    from ptviz.plots import plot_backbone, plot_framework, plot_method, plot_taxonomy

    try:
        return {
            "taxonomy": plot_taxonomy(),
            "framework": plot_framework(backbone=backbone, source_tasks=source_tasks),
            "panel-original": plot_backbone(backbone),
            **{
                f"panel-{name}": plot_method(name, backbone=backbone, source_tasks=source_tasks)
                for name in list_methods()
            },
        }
    except ValueError as error:
        raise UsageError(f"--backbone: {error}") from error


def _write_svg(drawing: Drawing, path: Path) -> None:
    write_file(path, drawing.to_svg().encode(), durable=False)


def _write_plotly(path: Path) -> None:
    from ptviz.plots.drawing import plotly_script

    write_file(path, plotly_script().encode(), durable=False)


def _write_html(drawing: Drawing, path: Path) -> None:
    page = drawing.to_figure().to_html(include_plotlyjs=_PLOTLY_FILE, full_html=True)
    write_file(path, page.encode(), durable=False)


def _write_json(drawing: Drawing, path: Path) -> None:
    text = json.dumps(json.loads(drawing.to_figure().to_json()), indent=1)
    write_file(path, text.encode(), durable=False)


def _write_pngs(drawings: dict[str, Drawing], paths: list[Path]) -> None:
    from ptviz.plots.drawing import write_pngs

    try:
        with atomic_directory(paths[0].parent) as draft:
            pictures = [draft / path.name for path in paths]
            write_pngs(list(drawings.values()), pictures)
            for picture, path in zip(pictures, paths, strict=True):
                picture.replace(path)
    except OSError:
        raise
    except Exception as error:
        # kaleido is an extra and needs a browser; plotly reports either absence in a page of text.
        raise UsageError(
            "png pictures need kaleido and a Chromium browser: pip install kaleido (or ptviz[png]), or choose "
            f"--format svg, which needs neither ({type(error).__name__})"
        ) from error
