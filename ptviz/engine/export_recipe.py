"""What a script needs to use a run's prompt without ptviz: how an input is laid out, and how the answer is read."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ptviz.backbones import Backbone, BackboneError
from ptviz.backbones.generation import GenerationSettings, generation_arguments
from ptviz.backbones.label_tokens import assign_label_tokens
from ptviz.engine.model_cache import load_run_task
from ptviz.methods.base import PromptMethod
from ptviz.runs.run import Run
from ptviz.tasks import Task
from ptviz.tasks.collate import collate
from ptviz.tasks.template import EncodedText, Template
from ptviz.training.batches import EncodedExamples, scores_whole_words
from ptviz.training.config import TrainConfig
from ptviz.training.evaluation import subsample_task
from ptviz.training.task_outputs import settings_of_task


def describe_layout(run: Run, backbone: Backbone, slots: int) -> tuple[dict[str, Any] | None, str]:
    """Return how a script builds the input and reads the answer as this run did, or None and why there is no such way.

    ``before`` and ``after`` are the token ids around a text of at most ``length`` tokens. ``answers`` maps each class
    to the token whose score it takes; for target texts, ``generate`` holds the settings of transformers' generation.
    PEFT puts a prompt of ``slots`` tokens first, so a run whose layout has anything before it has no such description,
    and neither has an encoder, where PEFT's places differ, nor a task that is no longer available.
    """
    if backbone.family == "encoder":
        return None, ""
    try:
        task = load_run_task(run.config)
    except (OSError, ValueError):  # The adapter is complete without it.
        return None, ""
    template = task.make_template(backbone.readout_mode)
    if len(task.fields) > 1:
        return None, f"the task has {len(task.fields)} texts an input, so there is no description of its layout"
    if slots and not _is_prompt_first(template, backbone, slots):
        return None, (
            "the run has tokens before its prompt, such as a chat template's or BOS, and PEFT puts the prompt first: "
            "what PEFT scores or writes will differ"
        )
    if task.classes and scores_whole_words(task, backbone):
        return (
            None,
            "the run scores all tokens of its label words, and a script that reads one token for each would not",
        )
    before, after = template.surrounding_ids(backbone.tokeniser)
    lead = template.label_lead(backbone.tokeniser)
    answers = dict(zip(task.classes, assign_label_tokens(backbone.tokeniser, task.label_words, lead), strict=True))
    length = run.config.training.length
    layout: dict[str, Any] = {"before": before, "after": after, "length": length, "answers": answers}
    if task.kind == "text":
        layout["generate"] = generation_arguments(backbone, make_text_settings(task, backbone, run.config.training))
    return layout, ""


def _is_prompt_first(template: Template, backbone: Backbone, slots: int) -> bool:
    segments = template.encode_segments(backbone.tokeniser, slots)
    first = next(one for one in segments if isinstance(one, str) or one.ids)
    return isinstance(first, EncodedText) and first.slots == [True] * slots


def make_text_settings(task: Task, backbone: Backbone, config: TrainConfig) -> GenerationSettings:
    """Return how texts are written by a run with this config: greedily, to its end of a text or its longest target."""
    task = subsample_task(task, config)
    return settings_of_task(EncodedExamples(backbone, task, task.train[:1], 0, config.length))


@torch.no_grad()
def embed_prompted_input(
    method: PromptMethod, backbone: Backbone, template: Template, text: tuple[str, ...], length: int
) -> Float[Tensor, "n d"]:
    """Return the embeddings (tokens, width) of one input with its prompt, as they enter a decoder.

    Raises:
        BackboneError: if the backbone is no decoder, or scales embeddings itself, or the method is not only vectors in
            the input.
    """
    if backbone.family != "decoder":
        raise BackboneError(f"expected a decoder; {backbone.name} is an {backbone.family}")
    if getattr(backbone.model.get_input_embeddings(), "embed_scale", 1.0) != 1.0:
        raise BackboneError(
            f"{backbone.name} multiplies its embeddings by a constant, and another library may do so once more"
        )
    merged = method.merge().eval()
    rows = template.encode_all([text], backbone.tokeniser, merged.slots, length, [0])
    batch = collate(rows, backbone.pad_id, backbone.embed_tokens, device=backbone.device)
    prompt = merged(batch)
    if prompt.key_values is not None:
        raise BackboneError(
            "this method puts keys and values into every layer, which are no embeddings of an input; use --to peft"
        )
    x, mask = backbone.shift_and_mask(batch, prompt)
    return backbone.fill_slots(batch, x, prompt)[0, mask[0]]
