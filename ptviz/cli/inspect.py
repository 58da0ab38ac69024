"""``ptviz inspect``: what a trained prompt of any origin is, what is odd about it, and what it is good for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.cli.output import JsonOption, as_usage_error, print_json, print_table, progress_console, quiet_libraries

if TYPE_CHECKING:
    from ptviz.checkpoints import BackboneReference


PATH_HELP = "A file or a folder, a run's id, or hub:USER/NAME of an adapter."


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("inspect")(inspect)


def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help=PATH_HELP)],
    backbone: Annotated[str | None, typer.Option(help="Hold it against this backbone.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Open a trained prompt of any format, safely.

    PEFT folders, .npy, .npz, .safetensors, torch files, OpenPrompt, P-tuning v2, DePT, KoboldAI, mkultra, textual
    inversion, runs and bundles of ptviz. Nothing in it is executed.
    """
    from ptviz.checkpoints import CheckpointError, diagnose, open_checkpoint
    from ptviz.checkpoints.diagnostics import incompatibilities

    with progress_console().status("reading"), quiet_libraries(), as_usage_error(OSError, CheckpointError):
        bundle = open_checkpoint(resolve_checkpoint(path))
        ground = _backbone_reference(backbone) if backbone else None
        facts = diagnose(bundle, ground)
        unfit = incompatibilities(bundle, ground) if ground else []
    if as_json:
        answer: dict[str, Any] = {"path": str(path), **bundle.to_json(), "facts": [fact.to_json() for fact in facts]}
        print_json({**answer, "fits": None if ground is None else not unfit, "unfit": unfit})
        return
    typer.echo(f"{bundle.name}: {bundle.kind} ({bundle.format})")
    print_table(("tensor", "shape"), [(name, values.shape_text) for name, values in bundle.tensors.items()])
    print_table(("it says", "value"), [*bundle.metadata.items()])
    print_table(
        ("prompt", "norm (median)", "effective rank"),
        [(f.name, f"{f.median:.3g}", f"{f.effective_rank:.1f} of {min(f.tokens - 1, f.width)}") for f in facts],
    )
    if ground is not None and not unfit:
        typer.echo(f"fits {ground.name}")
    for warning in [*bundle.warnings, *unfit, *(f"{f.name}: {text}" for f in facts for text in f.warnings)]:
        typer.echo(f"note: {warning}")
    print_table(
        ("use", "", "why"), [(use.action, "yes" if use.possible else "no", use.reason) for use in bundle.capabilities]
    )


def resolve_checkpoint(path: Path) -> Path:
    """A path, the folder of the run that goes by this name, or that of an adapter fetched from the hub.

    Raises:
        CheckpointError: if it is a hub id that cannot be fetched.
        OSError: if what was fetched cannot be written.
    """
    from ptviz.checkpoints import hub
    from ptviz.runs import Store, StoreError

    if path.as_posix().startswith(hub.HUB_PREFIX):
        return hub.fetch_adapter(path.as_posix())
    if path.exists() or len(path.parts) != 1:
        return path
    try:
        return Store().get(str(path)).path
    except StoreError:
        return path


def _backbone_reference(name: str) -> BackboneReference:
    from ptviz.backbones import load_backbone
    from ptviz.checkpoints import BackboneReference

    found = load_backbone(name)
    norms = found.embedding_table.float().norm(dim=1).cpu().numpy()
    return BackboneReference(name, found.width, found.sites, found.heads, found.head_width, norms[norms > 0])
