"""``ptviz export | import``: write a trained prompt for other libraries, and import runs and prompts."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.atomic_files import atomic_export, atomic_file
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
from ptviz.engine.load_method import load_method, load_run_backbone

if TYPE_CHECKING:
    from torch import Tensor

    from ptviz.backbones import Backbone
    from ptviz.checkpoints.writers.peft import MultitaskFactors
    from ptviz.methods import PromptMethod
    from ptviz.prompt import Prompt
    from ptviz.runs import Run

FORMATS = (
    "npz", "safetensors", "peft", "prompt-embeds", "bundle", "tensorboard-projector", "tensorboard", "trackio",
)  # fmt: skip
LAYOUT_FILE = "layout.json"
"""File in the folder of an exported adapter: the text layout of the run, and how its answers are read."""
PROJECTOR_WORDS = 2000
"""Frequent words of the vocabulary that are exported to the projector with the prompt tokens."""


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
    backbone = load_run_backbone(run)
    method = load_method(run, backbone)
    if to == "peft":
        return _export_peft(run, backbone, method, path or Path(f"{id}-peft"))
    if to == "prompt-embeds":
        return _export_prompt_embeds(run, backbone, method, text or "", _output_file(path, f"{id}.pt"))
    if to == "tensorboard-projector":
        return _export_projector(backbone, method, path or Path(f"{id}-projector"))
    return _export_arrays(method, to, _output_file(path, f"{id}.{to}"))


def _export_to_tracker(run: Run, to: str, folder: Path, project: str | None) -> dict[str, Any]:
    """Write the curves, settings and scores of a run for an experiment tracker."""
    from ptviz.runs.trackers import EVENT_FILE, TRACKIO_PROJECT, check_extra, write_tensorboard, write_trackio

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

    if backbone is not None:  # The app runs in another folder, so a local path is saved as an absolute one.
        backbone = with_absolute_paths(RunConfig(backbone=backbone)).backbone
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

    return {"files": pack_run(run, path), "path": str(path)}


def _export_peft(run: Run, backbone: Backbone, method: PromptMethod, folder: Path) -> dict[str, Any]:
    from ptviz.checkpoints.formats.peft import CONFIG_FILE
    from ptviz.checkpoints.writers.peft import TrainedBackbone, write_peft
    from ptviz.engine.export_recipe import describe_layout

    trained_on = TrainedBackbone(run.config.backbone, backbone.family, backbone.shape)
    prompt = compute_static_prompt(method, backbone)
    with atomic_export(folder, marker=CONFIG_FILE) as draft:
        config, notes = write_peft(draft, prompt, trained_on, find_factors(method, prompt))
        layout, why_not = describe_layout(run, backbone, method.slots)
        if layout is not None:
            (draft / LAYOUT_FILE).write_text(json.dumps(layout, indent=1) + "\n", encoding="utf-8")
            answer = "how a text is written" if "generate" in layout else "the token of each class"
            notes = [*notes, f"{LAYOUT_FILE} describes the text layout and {answer}"]
        notes += [why_not] if why_not else []
    return {"path": str(folder), "peft_type": config["peft_type"], "notes": notes}


def _export_prompt_embeds(run: Run, backbone: Backbone, method: PromptMethod, text: str, path: Path) -> dict[str, Any]:
    """Write the embeddings of one input with its prompt as a plain tensor, which vLLM takes as ``prompt_embeds``."""
    import torch

    from ptviz.backbones.generation import generation_arguments
    from ptviz.engine.export_recipe import embed_prompted_input, make_text_settings
    from ptviz.engine.model_cache import load_run_task

    config, task = run.config, load_run_task(run.config)
    example, template = task.split_text(text), task.make_template(backbone.readout_mode)
    found = embed_prompted_input(method, backbone, template, example.texts or (example.text,), config.training.length)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as draft:
        torch.save(found.cpu().contiguous().clone(), draft)
    notes = ["vLLM itself was not tried; it needs enable_prompt_embeds=True"]
    if task.kind == "text":
        settings = make_text_settings(task, backbone, config.training.length)
        stops = generation_arguments(backbone, settings).get("eos_token_id", [])
        notes.append(f"SamplingParams(temperature=0, max_tokens={settings.max_new_tokens}, stop_token_ids={stops})")
    return {"path": str(path), "shape": list(found.shape), "dtype": str(found.dtype), "notes": notes}


def compute_static_prompt(method: PromptMethod, backbone: Backbone) -> Prompt:
    """Run the method on two dummy inputs; batch size 1 in the result means that the prompt is static."""
    import torch

    from ptviz.prompt import Batch

    merged = method.merge().eval()
    ids = torch.full((2, merged.slots + 3), backbone.pad_id, device=backbone.device)
    mask = torch.ones_like(ids, dtype=torch.bool)
    slots = torch.zeros_like(mask)
    slots[:, : merged.slots] = True
    read = torch.zeros_like(mask)
    read[:, -1] = True
    none = torch.zeros(2, dtype=torch.long, device=backbone.device)
    with torch.no_grad():
        found: Prompt = merged(Batch(ids, mask, slots, read, none, none, backbone.embed_tokens(ids)))
    return found


def find_factors(method: PromptMethod, prompt: Prompt) -> MultitaskFactors | None:
    """Return the shared prompt, column and row of a method whose product is this prompt, or None."""
    import torch

    from ptviz.checkpoints.writers.peft import MultitaskFactors

    if prompt.embeddings is None or not prompt.is_static or prompt.keep is not None:
        return None
    parts = [(part.axes, part.tensor.detach().float().cpu()) for part in method.tensors().values()]
    columns = [tensor for axes, tensor in parts if axes == ("m",)]
    rows = [tensor for axes, tensor in parts if axes == ("d",)]
    whole = prompt.embeddings[0].detach().float().cpu()
    for shared in (tensor for axes, tensor in parts if axes == ("m", "d")):
        for u, v in itertools.product(columns, rows):
            if shared.shape == whole.shape and torch.allclose(shared * torch.outer(u, v), whole, atol=1e-6):
                return MultitaskFactors(shared.numpy(), u.numpy(), v.numpy())
    return None


def _export_projector(backbone: Backbone, method: PromptMethod, folder: Path) -> dict[str, Any]:
    import numpy as np

    from ptviz.checkpoints.writers.embedding_projector import PROJECTOR_CONFIG, write_embedding_projector
    from ptviz.nearest_tokens import nearest_tokens

    prompt = compute_static_prompt(method, backbone)
    if prompt.embeddings is None or not prompt.is_static:
        raise UsageError("the projector needs a static prompt in the input; this method has none, use --to npz")
    rows = prompt.embeddings[0].detach().float().cpu().numpy()
    table = backbone.embedding_table.detach().float().cpu().numpy()
    common = backbone.make_spec().common_ids.cpu().numpy()[:PROJECTOR_WORDS]

    def word(token: int) -> str:
        return str(backbone.tokeniser.convert_ids_to_tokens(int(token)))

    nearest = common[nearest_tokens(rows, table[common], k=1).ids[:, 0]]
    labels = [(f"P[{i}]", "prompt", word(token)) for i, token in enumerate(nearest)]
    labels += [(word(token), "word", "") for token in common]
    columns = ("label", "kind", "nearest word")
    with atomic_export(folder, marker=PROJECTOR_CONFIG) as draft:
        write_embedding_projector(draft, np.concatenate([rows, table[common]]), labels, columns)
    return {"path": str(folder), "rows": len(labels)}


def _export_arrays(method: PromptMethod, to: str, path: Path) -> dict[str, Any]:
    parts = method.tensors()
    arrays = {name: part.tensor.detach().float().cpu().contiguous() for name, part in parts.items()}
    axes = {name: list(part.axes) for name, part in parts.items()}
    written = _write_arrays(path, to, arrays, axes)
    return {"path": str(written), "parts": {name: list(array.shape) for name, array in arrays.items()}, "axes": axes}


def _write_arrays(path: Path, to: str, arrays: dict[str, Tensor], axes: dict[str, list[str]]) -> Path:
    import numpy as np
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as draft:
        if to == "safetensors":
            own = {name: array.clone() for name, array in arrays.items()}
            save_file(own, draft, metadata={"axes": json.dumps(axes)})
        else:
            with draft.open("wb") as file:  # numpy appends .npz to a file name.
                np.savez(file, allow_pickle=False, **{name: array.numpy() for name, array in arrays.items()})
    return path
