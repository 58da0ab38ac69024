"""``ptviz inspect``: what a trained prompt of any origin is, what is odd about it, and what it is good for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.cli.output import Json, bad_input, emit, progress_console, quietly, table

if TYPE_CHECKING:
    from ptviz.checkpoints import Ground


PLACES = "A file or a folder, a run's id, or hub:USER/NAME of an adapter."


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command("inspect")(inspect)


def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help=PLACES)],
    backbone: Annotated[str | None, typer.Option(help="Hold it against this backbone.")] = None,
    as_json: Json = False,
) -> None:
    """Open a trained prompt of any format, safely.

    PEFT folders, .npy, .npz, .safetensors, torch files, OpenPrompt, P-tuning v2, DePT, KoboldAI, mkultra, textual
    inversion, runs and bundles of ptviz. Nothing in it is executed.
    """
    from ptviz.checkpoints import CheckpointError, examine, open_checkpoint
    from ptviz.checkpoints.diagnostics import fit

    with progress_console().status("reading"), quietly(), bad_input(OSError, CheckpointError):
        bundle = open_checkpoint(place_of(path))
        ground = _ground(backbone) if backbone else None
        facts = examine(bundle, ground)
        unfit = fit(bundle, ground) if ground else []
    if as_json:
        answer: dict[str, Any] = {"path": str(path), **bundle.to_json(), "facts": [fact.to_json() for fact in facts]}
        emit({**answer, "fits": None if ground is None else not unfit, "unfit": unfit})
        return
    typer.echo(f"{bundle.name}: {bundle.kind} ({bundle.format})")
    table(("tensor", "shape"), [(name, values.sizes) for name, values in bundle.tensors.items()])
    table(("it says", "value"), [*bundle.source.items()])
    table(
        ("prompt", "norm (median)", "effective rank"),
        [(f.name, f"{f.median:.3g}", f"{f.rank:.1f} of {min(f.tokens - 1, f.width)}") for f in facts],
    )
    if ground is not None and not unfit:
        typer.echo(f"fits {ground.name}")
    for warning in [*bundle.warnings, *unfit, *(f"{f.name}: {text}" for f in facts for text in f.warnings)]:
        typer.echo(f"note: {warning}")
    table(("use", "", "why"), [(use.what, "yes" if use.possible else "no", use.why) for use in bundle.uses])


def place_of(path: Path) -> Path:
    """A path, the folder of the run that goes by this name, or that of an adapter fetched from the hub.

    Raises:
        CheckpointError: if it is a hub id that cannot be fetched.
        OSError: if what was fetched cannot be written.
    """
    from ptviz.checkpoints import hub
    from ptviz.runs import Store, StoreError

    if path.as_posix().startswith(hub.START):
        return hub.fetch(path.as_posix())
    if path.exists() or len(path.parts) != 1:
        return path
    try:
        return Store().get(str(path)).path
    except StoreError:
        return path


def _ground(name: str) -> Ground:
    from ptviz.backbones import load_backbone
    from ptviz.checkpoints import Ground

    found = load_backbone(name)
    norms = found.table.float().norm(dim=1).cpu().numpy()
    return Ground(name, found.width, found.sites, found.heads, found.head_width, norms[norms > 0])
