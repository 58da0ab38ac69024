"""``ptviz inspect``: show format, shapes, warnings and possible uses of a soft-prompt checkpoint."""

from __future__ import annotations

import contextlib
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
from ptviz.paths import expand_user

if TYPE_CHECKING:
    from ptviz.checkpoints import BackboneReference, PromptBundle


PATH_HELP = "A file or folder, a run id, or hub:USER/NAME of an adapter."


def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help=PATH_HELP)],
    backbone: Annotated[str | None, typer.Option(help="Check compatibility with this backbone.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Inspect a soft-prompt checkpoint of any format, safely.

    Reads PEFT folders, .npy, .npz, .safetensors, torch files, OpenPrompt, P-Tuning v2, DePT, KoboldAI, mkultra, textual
    inversion, and runs and bundles of ptviz. No code in the file is executed.
    """
    from ptviz.checkpoints import CheckpointError, diagnose, open_checkpoint
    from ptviz.checkpoints.diagnostics import incompatibilities, list_warnings

    with (
        progress_console().status("reading the checkpoint"),
        quiet_libraries(),
        as_usage_error(OSError, CheckpointError),
    ):
        bundle = open_checkpoint(resolve_checkpoint(path))
        reference = _backbone_reference(backbone) if backbone else None
        diagnostics = diagnose(bundle, reference)
        problems = incompatibilities(bundle, reference) if reference else []
        warnings = list_warnings(bundle, diagnostics, reference)
    if as_json:
        answer: dict[str, Any] = {
            "path": str(path),
            **bundle.to_json(),
            "warnings": warnings,
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
    print_warnings_and_uses(bundle, warnings)


def print_warnings_and_uses(bundle: PromptBundle, warnings: list[str]) -> None:
    """Print what to know about a checkpoint, and what it can and cannot be used for."""
    for warning in warnings:
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
    path = expand_user(path)
    with contextlib.suppress(StoreError, OSError):  # a name that the system refuses is explained when it is opened
        if len(path.parts) == 1 and not path.exists():
            return Store().get(str(path)).path
    return path


def _backbone_reference(name: str) -> BackboneReference:
    from ptviz.backbones import BackboneError, load_backbone
    from ptviz.runs.embedding_table import save_vocabulary
    from ptviz.runs.import_prompt import find_backbone_reference

    found = find_backbone_reference(name)
    if found is None or not len(found.norms):
        try:
            save_vocabulary(load_backbone(name))
        except BackboneError:
            if found is None:
                raise
            return found  # its config shows whether a prompt fits, even where its weights cannot be loaded
        found = find_backbone_reference(name)
        assert found is not None
    return found
