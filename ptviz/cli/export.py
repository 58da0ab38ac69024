"""``ptviz export | import``: write a trained prompt for other libraries, and import runs and prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.atomic_files import atomic_export
from ptviz.cli.inspect import PATH_HELP, print_warnings_and_uses, resolve_checkpoint
from ptviz.cli.output import (
    JsonOption,
    UsageError,
    as_usage_error,
    print_json,
    print_line,
    progress_console,
    quiet_libraries,
)
from ptviz.cli.runs import RunId

if TYPE_CHECKING:
    from ptviz.runs import Run

FORMATS = (
    "npz", "safetensors", "peft", "prompt-embeds", "bundle", "tensorboard-projector", "tensorboard", "trackio",
)  # fmt: skip


def export(
    id: RunId,
    to: Annotated[str, typer.Option("--to", help=", ".join(FORMATS[:-1]) + f" or {FORMATS[-1]}.")] = "npz",
    path: Annotated[
        Path | None, typer.Argument(metavar="PATH", help="A file or folder. Default: named after the run.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="The input of prompt-embeds.")] = None,
    project: Annotated[str | None, typer.Option(help="The project of trackio. Default: ptviz.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Export the best prompt of a run.

    npz and safetensors contain its arrays under the paper's symbols; peft is a folder for Hugging Face's PEFT;
    prompt-embeds is a .pt file with the embeddings of an input behind the prompt, for vLLM; bundle is a zip of the
    whole run for `ptviz import`; tensorboard-projector is a folder of TSV files; tensorboard is a folder with the
    curves, settings and scores as an event file; trackio adds them to its database on this machine. The last two need
    the extra of their name: pip install 'ptviz[tensorboard]'.
    """
    from ptviz.checkpoints import CheckpointError
    from ptviz.runs import Store

    _check_options(to, path, text, project)
    with progress_console().status(f"reading {id}"), quiet_libraries(), as_usage_error(OSError, CheckpointError):
        answer = _write_export(Store().get(id), to, path, text, project)
    if as_json:
        print_json({"run": id, **answer})
        return
    for name, shape in answer.get("parts", {}).items():
        sizes = (f"{axis}={size}" for axis, size in zip(answer["axes"][name], shape, strict=True))
        print_line(f"{name:<6} {' x '.join(sizes)}")
    for note in answer.get("notes", ()):
        print_line(f"note: {note}")
    print_line(f"added to trackio's project {answer['project']}" if to == "trackio" else f"written to {answer['path']}")


def _check_options(to: str, path: Path | None, text: str | None, project: str | None) -> None:
    if to not in FORMATS:
        raise UsageError(f"--to: expected one of {', '.join(FORMATS)}; got {to!r}")
    if (to == "prompt-embeds") != bool(text and text.strip()):
        raise UsageError("--text is the input that prompt-embeds embeds; give both, or neither")
    if to != "trackio" and project is not None:
        raise UsageError("--project is for --to trackio")
    if to == "trackio" and path is not None:
        raise UsageError(f"trackio keeps its database where TRACKIO_DIR says: leave {path} out")


def _write_export(run: Run, to: str, path: Path | None, text: str | None, project: str | None) -> dict[str, Any]:
    """Write a run in one of ``FORMATS``; return what was written, as plain data."""
    id = run.id
    if to == "bundle":
        return _export_bundle(run, _output_file(path, f"{id}.zip"))
    if to in ("tensorboard", "trackio"):
        return _export_to_tracker(run, to, path or Path(f"{id}-tensorboard"), project)
    from ptviz.engine.load_method import load_run_backbone, load_run_method
    from ptviz.engine.prompt_export import export_arrays, export_peft, export_projector, export_prompt_embeds

    backbone = load_run_backbone(run)
    method = load_run_method(run, backbone)
    if to == "peft":
        return export_peft(run, backbone, method, path or Path(f"{id}-peft"))
    if to == "prompt-embeds":
        return export_prompt_embeds(run, backbone, method, text or "", _output_file(path, f"{id}.pt"))
    if to == "tensorboard-projector":
        return export_projector(backbone, method, path or Path(f"{id}-projector"))
    return export_arrays(method, "npz" if to == "npz" else "safetensors", _output_file(path, f"{id}.{to}"))


def _export_to_tracker(run: Run, to: str, folder: Path, project: str | None) -> dict[str, Any]:
    """Write the curves, settings and scores of a run for an experiment tracker."""
    from ptviz.runs.tracker_export import EVENT_FILE, TRACKIO_PROJECT, check_extra, write_tensorboard, write_trackio

    if to == "trackio":
        name = project or TRACKIO_PROJECT
        return {
            "project": name,
            "steps": write_trackio(run, name),
            "notes": [f"trackio show --project {name} opens it"],
        }
    check_extra("tensorboard")
    with atomic_export(folder, marker=EVENT_FILE) as draft:
        scalars = write_tensorboard(run, draft)
    return {"path": str(folder), "scalars": scalars, "notes": [f"tensorboard --logdir {folder} opens it"]}


def import_(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help=f"A bundle of `ptviz export RUN --to bundle`. {PATH_HELP}")
    ],
    backbone: Annotated[
        str | None, typer.Option(help="The backbone of the prompt. Default: the one in the file.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="The task of the prompt. Default: the one in the file.")] = None,
    prompt: Annotated[str | None, typer.Option(help="The prompt to import from a file with several.")] = None,
    title: Annotated[str, typer.Option(help="Title of the saved prompt.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Import a bundled run, or save the prompt of a checkpoint.

    Reads every format that `ptviz inspect` reads, as safely. `ptviz train --start ID` starts a run from a saved prompt.
    """
    from ptviz.checkpoints import CheckpointError, diagnose, open_checkpoint
    from ptviz.checkpoints.diagnostics import list_warnings
    from ptviz.checkpoints.formats.ptviz import BUNDLE_FORMAT
    from ptviz.runs import RunConfig, Store
    from ptviz.runs.archive import unpack_run
    from ptviz.runs.config import with_absolute_paths
    from ptviz.runs.import_prompt import find_backbone_reference, import_checkpoint_prompt

    # The app runs in another folder, so a local path is saved as an absolute one.
    if backbone is not None:
        backbone = with_absolute_paths(RunConfig(backbone=backbone)).backbone
    if task is not None:
        task = with_absolute_paths(RunConfig(task=task)).task
    with progress_console().status("reading"), as_usage_error(OSError, CheckpointError):
        local = resolve_checkpoint(path)
        bundle = open_checkpoint(local)
        if bundle.format == BUNDLE_FORMAT:
            if prompt is not None or title:
                raise UsageError("--prompt and --title are for a single prompt; this is the bundle of a whole run")
            run = unpack_run(Store(), local, backbone, task)
            answer: dict[str, Any] = {"run": run.id, "folder": str(run.path)}
            line = f"{run.id}: imported; show it with `ptviz show {run.id}` or in the app"
        else:
            saved = import_checkpoint_prompt(
                Store(), local, bundle, prompt, title=title, backbone=backbone or "", task=task
            )
            reference = find_backbone_reference(backbone or "")
            warnings = list_warnings(bundle, diagnose(bundle, reference), reference)
            if backbone and reference is None:
                warnings.insert(0, f"not checked whether it fits {backbone}: that model was never loaded here")
            answer = {"prompt": saved.id, "m": saved.m, "shapes": dict(saved.shapes)}
            answer |= {"warnings": warnings, "uses": bundle.to_json()["uses"]}
            line = f"{saved.id}: saved, {saved.m} prompt tokens; start a run with `ptviz train --start {saved.id}`"
    if as_json:
        print_json(answer)
    else:
        print_line(line)
        if "warnings" in answer:
            print_warnings_and_uses(bundle, answer["warnings"])


def _output_file(path: Path | None, name: str) -> Path:
    if path is None:
        return Path(name)
    if path.is_dir() or str(path).endswith(("/", "\\")):
        return path / name
    return path


def _export_bundle(run: Run, path: Path) -> dict[str, Any]:
    from ptviz.runs.archive import pack_run
    from ptviz.runs.target_run import TARGET_MARK

    whole, mark, _ = run.id.partition(TARGET_MARK)
    if mark:
        raise UsageError(f"{run.id} is one task of run {whole}, and a bundle holds a whole run: export {whole}")
    return {"files": pack_run(run, path), "path": str(path)}
