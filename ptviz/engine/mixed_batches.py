"""Rows of several prompts in one batch of a frozen backbone: each row has its own prompt, and its own task's answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ptviz.backbones import Backbone
from ptviz.backbones.generation import GenerationSettings, generate
from ptviz.engine.loaded_prompt import LoadedPrompt
from ptviz.methods.base import PromptMethod
from ptviz.prompt import Batch, Prompt
from ptviz.tasks.collate import collate
from ptviz.tasks.template import EncodedText
from ptviz.training.batches import MAX_POSITIONS, EncodedExamples, Scoring, group_by_length
from ptviz.training.evaluation import refuse_empty_texts
from ptviz.training.task_outputs import GENERATION_POSITIONS, longest_target, settings_of_task

_PER_ROW = {"embeddings": 0, "key_values": 2, "delta": 0}
"""The parts of a prompt that may differ from row to row, with their batch axis."""


@dataclass(frozen=True)
class _Row:
    """One example of ``rows``, and the method whose prompt it gets; None for no prompt."""

    method: PromptMethod | None
    rows: EncodedExamples
    index: int

    def encoded(self, choice: int | None = None) -> EncodedText:
        """Return the encoded example, without a target or with that of one choice, of its last if it has fewer."""
        own = self.rows.choices[self.index] if choice is not None else []
        target = own[min(choice, len(own) - 1)] if choice is not None else ()
        return self.rows.examples[self.index]._replace(target=target)


def answer_rows(rows: Sequence[tuple[LoadedPrompt, str]]) -> list[dict[str, Any]]:
    """Return the answer to each text with its own prompt and without one; rows of several prompts share batches.

    Returns:
        One ``{"task": name, "classes": [c names], "with": (c), "without": (c)}`` for each row, class probabilities; of
        a text-to-text task there are no classes, and "with" and "without" are generated texts.

    Raises:
        ValueError: if a text is empty or has not one part for each field, the prompts are not of one shape or one
            backbone, or a task's examples have choices of their own.
    """
    refuse_empty_texts([text for _, text in rows])
    for loaded, _ in rows:
        if loaded.task.kind == "choice":
            raise ValueError(f"each example of {loaded.task.title} has choices of its own, and a text alone has none")
    prompted, bare = (_answer(_encode(rows, with_prompt)) for with_prompt in (True, False))
    return [
        {"task": loaded.task.name, "classes": list(loaded.task.classes), "with": one, "without": other}
        for (loaded, _), one, other in zip(rows, prompted, bare, strict=True)
    ]


def answer_with_each(members: Sequence[LoadedPrompt], texts: Sequence[str]) -> dict[str, Any]:
    """Return the answers of several prompts for one task to the same texts.

    Prompts of one shape share the batches of the backbone.

    Returns:
        ``{"classes": [c names], "members": (R, n, c), "without": (n, c)}``, class probabilities with each prompt and
        without one.

    Raises:
        ValueError: for fewer than two prompts, prompts of several backbones or tasks, a task without classes, or an
            empty text.
    """
    refuse_empty_texts(texts)
    if len(members) < 2:
        raise ValueError(f"expected at least two prompts, whose answers are combined; got {len(members)}")
    task = members[0].task
    if len({id(one.backbone) for one in members}) > 1:
        names = ", ".join(sorted({one.backbone.name for one in members}))
        raise ValueError(f"expected prompts of one backbone, which answers for all; got {names}")
    if any(one.task.classes != task.classes or one.task.name != task.name for one in members):
        raise ValueError(f"expected prompts for one task; got {', '.join(sorted({one.task.name for one in members}))}")
    if not task.classes:
        raise ValueError(f"{task.title} has no classes to vote for: its answers are texts, or choices of the example")
    groups: dict[Any, list[int]] = {}
    for place, one in enumerate(members):
        groups.setdefault(_prompt_shape(one, texts[0]), []).append(place)
    found: list[list[list[float]]] = [[]] * len(members)
    for places in groups.values():
        rows = _encode([(members[place], text) for place in places for text in texts], True)
        flat = _answer(rows)
        for index, place in enumerate(places):
            found[place] = flat[index * len(texts) : (index + 1) * len(texts)]
    without = _answer(_encode([(members[0], text) for text in texts], False))
    return {"classes": list(task.classes), "members": found, "without": without}


@torch.no_grad()
def _prompt_shape(loaded: LoadedPrompt, text: str) -> tuple[Any, ...]:
    """Return what prompts in one batch must share: the shapes of their parts, and what they leave out."""
    [(_, _, prompt)] = _batches(_encode([(loaded, text)], True))
    shapes = [None if (part := getattr(prompt, name)) is None else tuple(part.shape) for name in _PER_ROW]
    marks = [None if mark is None else tuple(mark.tolist()) for mark in (prompt.keep, prompt.sites)]
    return (*shapes, *marks)


def stack_prompts(prompts: Sequence[Prompt], places: Sequence[Sequence[int]]) -> Prompt:
    """Return one prompt for a batch: ``prompts[i]`` is that of the rows ``places[i]``, together all rows.

    Raises:
        ValueError: if the prompts have not the same parts of one shape.
    """
    order = torch.tensor([row for own in places for row in own]).argsort()
    for name, what in {"keep": "tokens pruned", "sites": "layers prompted"}.items():
        marks = [getattr(one, name) for one in prompts]
        if len({None if one is None else tuple(one.tolist()) for one in marks}) > 1:
            raise ValueError(f"expected prompts with the same {what} in one batch; got different ones")
    embeddings, key_values, delta = (
        _stack([getattr(one, name) for one in prompts], places, axis, order) for name, axis in _PER_ROW.items()
    )
    return Prompt(embeddings, key_values, delta, prompts[0].keep, prompts[0].sites)


def _stack(
    tensors: Sequence[Tensor | None], places: Sequence[Sequence[int]], axis: int, order: Tensor
) -> Tensor | None:
    shapes = [None if one is None else (*one.shape[:axis], *one.shape[axis + 1 :]) for one in tensors]
    if len(set(shapes)) > 1:
        raise ValueError(f"expected prompts of one shape in one batch; got {', '.join(sorted({*map(str, shapes)}))}")
    wide = []
    for one, own in zip(tensors, places, strict=True):
        if one is not None:
            wide.append(one.expand(*(len(own) if at == axis else -1 for at in range(one.ndim))))
    return torch.cat(wide, axis).index_select(axis, order.to(wide[0].device)) if wide else None


def _encode(rows: Sequence[tuple[LoadedPrompt, str]], with_prompt: bool) -> list[_Row]:
    """Return the rows encoded for their own tasks, those of one prompt together."""
    found: list[_Row | None] = [None] * len(rows)
    groups: dict[int, list[int]] = {}
    for place, (loaded, _) in enumerate(rows):
        groups.setdefault(id(loaded), []).append(place)
    for places in groups.values():
        loaded = rows[places[0]][0]
        task = loaded.subsampled_task()  # whose targets say where texts end and how long they are
        examples = [task.split_text(rows[place][1]) for place in places]
        slots = loaded.method.slots if with_prompt else 0
        encoded = EncodedExamples(loaded.backbone, task, examples, slots, loaded.config.training.length)
        for index, place in enumerate(places):
            found[place] = _Row(loaded.method if with_prompt else None, encoded, index)
    return [row for row in found if row is not None]


@torch.no_grad()
def _answer(rows: Sequence[_Row]) -> list[Any]:
    backbones = {id(row.rows.backbone): row.rows.backbone for row in rows}
    if len(backbones) > 1:
        names = ", ".join(one.name for one in backbones.values())
        raise ValueError(f"expected prompts of one backbone in one batch; got {names}")
    answers: list[Any] = [None] * len(rows)
    groups: dict[Any, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(_kind(row), []).append(place)
    for (scoring, *_), places in groups.items():
        for place, found in zip(places, _SCORINGS[scoring]([rows[place] for place in places]), strict=True):
            answers[place] = found
    return answers


def _kind(row: _Row) -> tuple[Any, ...]:
    """Return what the rows of one batch must share: how they are scored, and where a generated text ends."""
    own = row.rows
    return (own.scoring,) if own.scoring != "texts" else (own.scoring, settings_of_task(own, GenerationSettings()))


def _batches(
    rows: Sequence[_Row], choice: int | None = None, positions: int = MAX_POSITIONS, extra: int = 0
) -> Iterator[tuple[list[int], Batch, Prompt]]:
    """Yield (places, batch, prompt) over all rows once, those of like length together."""
    encoded, backbone = [row.encoded(choice) for row in rows], rows[0].rows.backbone
    lengths = [len(one.ids) + len(one.target) + extra for one in encoded]
    for places in group_by_length(lengths, positions):
        own = [encoded[place] for place in places]
        batch = collate(own, backbone.pad_id, backbone.embed_tokens, device=backbone.device)
        yield places, batch, _prompt_of([rows[place].method for place in places], batch)


def _prompt_of(methods: Sequence[PromptMethod | None], batch: Batch) -> Prompt:
    """Return the prompt of a batch whose rows are of these methods; each sees its own rows only."""
    groups: dict[int, list[int]] = {}
    for place, method in enumerate(methods):
        groups.setdefault(id(method), []).append(place)
    if None in methods:
        return Prompt()
    prompts = []
    for places in groups.values():
        method = methods[places[0]]
        assert method is not None
        prompts.append(method(batch.take(places)))
    # One prompt for all rows may stay static, which backbones run once.
    return prompts[0] if len(prompts) == 1 else stack_prompts(prompts, list(groups.values()))


def _class_probabilities(rows: Sequence[_Row]) -> list[list[float]]:
    backbone: Backbone = rows[0].rows.backbone
    found: list[list[float]] = [[]] * len(rows)
    for places, batch, prompt in _batches(rows):
        x, mask = backbone.shift_and_mask(batch, prompt)
        states, _ = backbone.compute_answer_states(batch, x, mask, prompt, output_hidden_states=False)
        for state, place in zip(states, places, strict=True):
            found[place] = rows[place].rows.readout.scores(state[None])[0].float().cpu().softmax(-1).tolist()
    return found


def _word_probabilities(rows: Sequence[_Row]) -> list[list[float]]:
    """Score the label words of several tokens by the mean log-likelihood of their tokens."""
    counts = [len(row.rows.choices[row.index]) for row in rows]
    scores = torch.full((len(rows), max(counts)), -torch.inf)
    for choice in range(max(counts)):
        for places, batch, prompt in _batches(rows, choice):
            scores[places, choice] = -rows[0].rows.backbone(batch, prompt, rows[0].rows.readout).nll.float().cpu()
    return [row[:count].softmax(-1).tolist() for row, count in zip(scores, counts, strict=True)]


def _written(rows: Sequence[_Row]) -> list[str]:
    first, written = rows[0].rows, [""] * len(rows)
    most = {id(row.rows): longest_target(row.rows) for row in rows}
    longest = max(most.values())
    settings = settings_of_task(first, GenerationSettings(longest))
    for places, batch, prompt in _batches(rows, positions=GENERATION_POSITIONS, extra=longest):
        for place, ids in zip(places, generate(first.backbone, batch, prompt, settings), strict=True):
            own = ids[: most[id(rows[place].rows)]]
            written[place] = str(first.backbone.tokeniser.decode(own, skip_special_tokens=True)).strip()
    return written


_SCORINGS: dict[Scoring, Callable[[Sequence[_Row]], Sequence[Any]]] = {
    "classes": _class_probabilities,
    "choices": _word_probabilities,
    "texts": _written,
}
