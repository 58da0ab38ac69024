"""Generation of the outputs of text-to-text examples, with a prompt or without one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from ptviz.backbones.generation import GenerationSettings, generate
from ptviz.prompt import Batch, Prompt
from ptviz.training.batches import EncodedExamples

GENERATION_POSITIONS = 4096
"""Input and output positions in one batch."""
MAX_NEW_TOKENS = 512


@torch.no_grad()
def generate_outputs(
    method: Callable[[Batch], Prompt] | None,
    rows: EncodedExamples,
    settings: GenerationSettings | None = None,
    on_text: Callable[[str], None] | None = None,
) -> list[str]:
    """Return what the backbone generates after each example, up to the task's end of a text; greedily by default.

    ``on_text`` gets the text so far whenever a token is chosen; it needs a single example and no beams.
    """
    seen: list[int] = []

    def decode(ids: list[int]) -> str:
        return str(rows.backbone.tokeniser.decode(ids, skip_special_tokens=True)).strip()

    def stream(token: int) -> None:
        seen.append(token)
        if on_text is not None:
            on_text(decode(seen))

    return [decode(ids) for ids in generate_token_ids(method, rows, settings, stream if on_text else None)]


@torch.no_grad()
def generate_token_ids(
    method: Callable[[Batch], Prompt] | None,
    rows: EncodedExamples,
    settings: GenerationSettings | None = None,
    on_token: Callable[[int], None] | None = None,
) -> list[list[int]]:
    """Return the ids of the tokens generated after each example, without the end; see ``generate_outputs``.

    ``on_token`` gets each token as it is chosen; it needs a single example and no beams.
    """
    settings = settings_of_task(rows, settings)
    written: list[list[int]] = [[]] * len(rows)
    first = 0
    for indices, batch in rows.inference_batches(GENERATION_POSITIONS // settings.beams, settings.max_new_tokens):
        batch = replace(batch, targets=None)
        prompt = Prompt() if method is None else method(batch)
        found = generate(rows.backbone, batch, prompt, settings.for_batch(first), on_token)
        first += len(indices)
        for index, ids in zip(indices, found, strict=True):
            written[index] = ids
    return written


def settings_of_task(rows: EncodedExamples, settings: GenerationSettings | None = None) -> GenerationSettings:
    """Return how texts of these examples' task are generated: up to the task's end of a text; greedily by default."""
    settings = settings or GenerationSettings(longest_target(rows))
    return replace(
        settings,
        stop_at_newline=settings.stop_at_newline or rows.ends_with_line,
        stop=rows.end,  # what training teaches; the model's own end may be another token
    )


def longest_target(rows: EncodedExamples) -> int:
    """Return the tokens of the longest target of the training rows and four more: the most that is generated."""
    texts = [text for row in rows.task.train for text in (*row.targets, *row.choices)]
    longest = max(len(ids) for ids in rows.template.encode_targets(texts, rows.backbone.tokeniser, rows.end))
    return min(longest + 4, MAX_NEW_TOKENS)
