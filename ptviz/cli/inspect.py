"""``ptviz inspect``: show format, shapes, warnings and possible uses of a soft-prompt checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.cli.output import (
    JsonOption,
    as_usage_error,
    print_json,
    print_line,
    print_table,
    progress_console,
    quiet_libraries,
)

if TYPE_CHECKING:
    from ptviz.checkpoints import BackboneReference


PATH_HELP = "A file or folder, a run id, or hub:USER/NAME of an adapter."


def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help=PATH_HELP)],
    backbone: Annotated[str | None, typer.Option(help="Check compatibility with this backbone.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Inspect a soft-prompt checkpoint of any format, safely.

    Reads PEFT folders, .npy, .npz, .safetensors, torch files, OpenPrompt, P-tuning v2, DePT, KoboldAI, mkultra, textual
    inversion, and runs and bundles of ptviz. No code in the file is executed.
    """
    from ptviz.checkpoints import CheckpointError, diagnose, open_checkpoint
    from ptviz.checkpoints.diagnostics import incompatibilities

    with (
        progress_console().status("reading the checkpoint"),
        quiet_libraries(),
        as_usage_error(OSError, CheckpointError),
    ):
        bundle = open_checkpoint(resolve_checkpoint(path))
        reference = _backbone_reference(backbone) if backbone else None
        diagnostics = diagnose(bundle, reference)
        problems = incompatibilities(bundle, reference) if reference else []
    if as_json:
        answer: dict[str, Any] = {
            "path": str(path),
            **bundle.to_json(),
            "facts": [one.to_json() for one in diagnostics],
        }
        print_json({**answer, "fits": None if reference is None else not problems, "unfit": problems})
        return
    print_line(f"{bundle.name}: {bundle.kind} ({bundle.format})")
    print_table(("tensor", "shape"), [(name, values.shape_text) for name, values in bundle.tensors.items()])
    print_table(("metadata", "value"), [*bundle.metadata.items()])
    print_table(
        ("prompt", "norm (median)", "effective rank"),
        [(d.name, f"{d.median:.3g}", f"{d.effective_rank:.1f} of {min(d.tokens - 1, d.width)}") for d in diagnostics],
    )
    if reference is not None and not problems:
        print_line(f"compatible with {reference.name}")
    for warning in [*bundle.warnings, *problems, *(f"{d.name}: {text}" for d in diagnostics for text in d.warnings)]:
        print_line(f"note: {warning}")
    print_table(
        ("use", "possible", "reason"),
        [(use.action, "yes" if use.possible else "no", use.reason) for use in bundle.capabilities],
    )


def resolve_checkpoint(path: Path) -> Path:
    """Return the local path of a checkpoint: a path as it is, a run's folder, or the local copy of a Hub adapter.

    Raises:
        CheckpointError: if a Hub adapter cannot be downloaded.
        OSError: if the download cannot be written.
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
    return BackboneReference(name, found.shape, norms[norms > 0])
