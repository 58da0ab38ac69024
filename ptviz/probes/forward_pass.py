"""Measure the forward pass of one text at every snapshot of a run, for the moving drawing of it.

``python -m ptviz.probes.forward_pass RUN_FOLDER [--text TEXT]`` writes the result to the run's folder.
"""

from __future__ import annotations

import argparse
import base64
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

import ptviz
from ptviz.engine.loaded_prompt import LoadedPrompt, load_run_prompt
from ptviz.engine.model_cache import ModelCache
from ptviz.engine.predictions import answer_texts
from ptviz.runs.embedding_table import readable_token
from ptviz.runs.forward_pass import FORWARD_PASS_FILE, ForwardPass, ForwardStep, write_forward_pass
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import StoreError

DEFAULT_TEXT = "When was Beethoven born?"


@torch.no_grad()
def measure_forward_pass(run: Run, text: str = DEFAULT_TEXT) -> ForwardPass:
    """Return the attention and the class probabilities of one text at every snapshot of a run.

    Raises:
        StoreError: if the run has no snapshot, its task has no classes, or its prompt does not stand at the input of
            one stack of layers.
        ValueError: if the text has not one part for each field of the task.
    """
    models, steps = ModelCache(), []
    for info in run.snapshots():
        loaded = load_run_prompt(run, models, info.stage, info.step)
        if loaded.task.kind != "classification" or loaded.backbone.family == "encoder-decoder":
            raise StoreError(f"expected a run on classes with an encoder or a decoder; {run.id} is none")
        answer = answer_texts(loaded, models.backend, [text])
        attention, norms = _measure_layers(loaded, text)
        encoded = base64.b64encode(attention.tobytes()).decode()
        steps.append(ForwardStep(info.stage, info.step, tuple(answer["with"][0]), norms, encoded))
    if not steps:
        raise StoreError(f"run {run.id} has no snapshot: train it first")
    batch = loaded.encode(loaded.task, [loaded.task.split_text(text)]).make_batch([0])
    names = loaded.backbone.tokeniser.convert_ids_to_tokens(batch.input_ids[0].tolist())
    slots = batch.slots[0].nonzero()[:, 0].tolist()
    return ForwardPass(
        text=text,
        tokens=tuple("" if place in slots else readable_token(name) for place, name in enumerate(names)),
        prompt=tuple(slots),
        readout=tuple(batch.readout_mask[0].nonzero()[:, 0].tolist()),
        layers=len(attention),
        classes=tuple(answer["classes"]),
        alone=tuple(answer["without"][0]),
        steps=tuple(steps),
        versions={"ptviz": ptviz.__version__, **{name: version(name) for name in ("torch", "transformers")}},
    )


def _measure_layers(loaded: LoadedPrompt, text: str) -> tuple[UInt8[np.ndarray, "layers T T"], tuple[float, ...]]:
    """Return the attention of every layer averaged over its heads, in steps of 1/255, and the norms of the prompt."""
    rows = loaded.encode(loaded.task, [loaded.task.split_text(text)])
    batch = rows.make_batch([0])
    prompt = loaded.method(batch)
    if prompt.embeddings is None or prompt.past:
        raise StoreError("expected a method whose prompt stands at the input; its keys and values have no position")
    found: dict[int, Float[Tensor, "T T"]] = {}

    def on_attention(site: int, weights: Float[Tensor, "N H T T"]) -> None:
        found[site] = weights[0].float().mean(0).cpu()

    loaded.backbone(batch, prompt, rows.readout, on_attention=on_attention)
    stacked = torch.stack([found[site] for site in sorted(found)])
    norms = prompt.embeddings[0].float().norm(dim=-1)
    return (stacked * 255).round().to(torch.uint8).numpy(), tuple(round(norm, 4) for norm in norms.tolist())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the forward pass of a text at every snapshot of a run, and write it to the run's folder."""
    parser = argparse.ArgumentParser(prog="python -m ptviz.probes.forward_pass", description=main.__doc__)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("--text", default=DEFAULT_TEXT)
    options = parser.parse_args(arguments)
    measured = measure_forward_pass(Run(options.run), options.text)
    write_forward_pass(options.run, measured)
    print(f"{options.run / FORWARD_PASS_FILE}: {len(measured.steps)} steps of {len(measured.tokens)} tokens")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
