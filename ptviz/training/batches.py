"""A task's examples tokenised for one backbone and prompt length, and batches of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Literal

import torch

from ptviz.backbones import Backbone, Readout
from ptviz.prompt import Batch, ForwardFn
from ptviz.tasks import Example, Task
from ptviz.tasks.collate import collate, schedule_batches
from ptviz.tasks.template import EncodedText, end_token

MAX_POSITIONS = 1024
"""Positions in one batch without gradients: enough to fill the cores while the activations fit in their caches (6,144
took 1.4 times as long on two cores)."""


Scoring = Literal["classes", "choices", "texts"]
"""How answers are compared: one score for each class, the likelihood of each choice's tokens, or generated texts."""


class EncodedExamples:
    """Encoded examples with ``m`` prompt slots each, and the read-out of their task.

    Of a text-to-text example the first reference is the target; of a multiple-choice one the right choice, and of a
    class with a label word of several tokens that word, if they are scored whole (``scores_whole_words``).

    Raises:
        BackboneError: if texts are to be written or scored by an encoder, which writes none.
    """

    def __init__(
        self,
        backbone: Backbone,
        task: Task,
        examples: Sequence[Example],
        m: int,
        length: int,
        index: int = 0,
    ) -> None:
        self.backbone, self.task, self.task_index, self.sources = backbone, task, index, tuple(examples)
        self.template = task.make_template(backbone.readout_mode)
        labels = [example.label for example in examples]
        texts = [example.texts or example.text for example in examples]
        self.examples = self.template.encode_all(texts, backbone.tokeniser, m, length, labels)
        self.scoring = _choose_scoring(task, backbone)
        if self.scoring == "classes":
            self.readout: Readout = make_label_readout(task, backbone)
            self.choices: list[list[tuple[int, ...]]] = []
        else:
            self.readout = backbone.make_vocabulary_readout()
            self.examples = self._with_targets()
        self.lengths = [len(row.ids) + len(row.target) for row in self.examples]
        self.labels = torch.tensor(labels)

    def _with_targets(self) -> list[EncodedText]:
        task, tokeniser = self.task, self.backbone.tokeniser
        words = task.label_words if task.classes else ()
        wanted = [words or example.choices or example.targets[:1] or ("",) for example in self.sources]
        self.end, self.ends_with_line = task_end(task, self.backbone)
        flat = iter(self.template.encode_targets([one for row in wanted for one in row], tokeniser, self.end))
        self.choices = [[next(flat) for _ in row] for row in wanted]
        chosen = [example.label if words or example.choices else 0 for example in self.sources]
        return [
            row._replace(target=targets[index])
            for row, targets, index in zip(self.examples, self.choices, chosen, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.examples)

    def make_batch(self, indices: Sequence[int], choice: int | None = None) -> Batch:
        """Return the batch of these examples, padded to the longest.

        ``choice`` replaces the target of each example by one of its choices, by its last one if it has fewer.
        """
        chosen = [self.examples[i] for i in indices]
        if choice is not None:
            chosen = [row._replace(target=self.choices[i][min(choice, len(self.choices[i]) - 1)])
                      for i, row in zip(indices, chosen, strict=True)]  # fmt: skip
        return collate(chosen, self.backbone.pad_id, self.backbone.embed_tokens, self.task_index, self.backbone.device)

    def in_context(self, shown: Sequence[Example], length: int) -> EncodedExamples:
        """Return the examples with other examples and their answers before each; they must have no prompt slots.

        The answer of a class is its label word, which ends as a generated text does. In a chat the examples are its
        earlier turns. An encoder-decoder reads all of them as one input: the marks of a beginning and an end stay
        around the whole.

        Raises:
            ChatTemplateError: if a chat template cannot write earlier turns.
        """
        ahead = EncodedExamples(self.backbone, self.task, shown, 0, length)
        answers = [row.target for row in ahead.examples]
        if self.task.classes and self.scoring == "classes":
            end, _ = task_end(self.task, self.backbone)
            words = [self.task.label_words[example.label] for example in shown]
            answers = self.template.encode_targets(words, self.backbone.tokeniser, end)
        ids = [one for row, answer in zip(ahead.examples, answers, strict=True) for one in (*row.ids, *answer)]
        lead = 0
        if self.task.chat:
            lead, ids = self.template.encode_turns(ahead.examples, answers, self.backbone.tokeniser)
        elif self.backbone.family == "encoder-decoder":
            tokeniser = self.backbone.tokeniser
            marks = {getattr(tokeniser, f"{name}_token_id", None) for name in ("bos", "eos", "cls", "sep")}
            ids = [one for one in ids if one not in marks]
            lead = int(bool(self.examples) and self.examples[0].ids[0] in marks)
        off = [False] * len(ids)
        found = copy(self)
        found.examples = [
            row._replace(
                ids=row.ids[:lead] + ids + row.ids[lead:],
                slots=row.slots[:lead] + off + row.slots[lead:],
                readout_mask=row.readout_mask[:lead] + off + row.readout_mask[lead:],
            )
            for row in self.examples
        ]
        found.lengths = [length + len(ids) for length in self.lengths]
        return found

    def training_batch(self, step: int, size: int, seed: int) -> Batch:
        """Return the batch of update ``step``, a function of (examples, size, seed, step) only."""
        per_epoch = max(1, -(-len(self) // size))
        epoch, index = divmod(step, per_epoch)
        batches = self._batch_schedule(size, seed, epoch)
        return self.make_batch(batches[index % len(batches)])

    def make_forward_fn(self, batch: Batch, hidden: bool = False) -> ForwardFn:
        """Return the backbone's forward pass over one batch of these examples, for objectives."""
        return lambda prompt: self.backbone(batch, prompt, self.readout, hidden=hidden)

    def _batch_schedule(self, size: int, seed: int, epoch: int) -> list[list[int]]:
        key = (size, seed, epoch)
        if getattr(self, "_cached_schedule", (None, []))[0] != key:
            self._cached_schedule = (key, schedule_batches(self.lengths, size, seed, epoch))
        return self._cached_schedule[1]

    def inference_batches(self, positions: int = MAX_POSITIONS, extra: int = 0) -> Iterator[tuple[list[int], Batch]]:
        """Yield (indices, batch) over all examples once, in large batches of similar length.

        A batch has at most ``positions``, with ``extra`` for each row, if it has more than one row.
        """
        for indices in group_by_length([length + extra for length in self.lengths], positions):
            yield indices, self.make_batch(indices)


def group_by_length(lengths: Sequence[int], positions: int) -> Iterator[list[int]]:
    """Yield the indices of all lengths once, those of like length together.

    A group has at most ``positions`` when it is padded to its longest, if it has more than one index.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and lengths[order[end]] * (end + 1 - start) <= positions:
            end += 1
        yield order[start:end]
        start = end


def labels_as_read(task: Task, backbone: Backbone) -> tuple[str, ...]:
    """Return the label words with what they begin with where they are read out: a blank after a text."""
    return tuple(f"{_label_lead(task, backbone)}{word}" for word in task.label_words)


def _label_lead(task: Task, backbone: Backbone) -> str:
    return task.make_template(backbone.readout_mode).label_lead(backbone.tokeniser)


def make_label_readout(task: Task, backbone: Backbone) -> Readout:
    """Return the read-out of a task's label words, or descriptions, with what words begin with where they are read."""
    lead = _label_lead(task, backbone)
    spelling = {} if lead == " " else {"lead": lead}
    return backbone.make_readout(task.label_words, task.descriptions, **spelling)


def _choose_scoring(task: Task, backbone: Backbone) -> Scoring:
    if task.kind != "classification":
        return "texts" if task.kind == "text" else "choices"
    return "choices" if backbone.family != "encoder" and scores_whole_words(task, backbone) else "classes"


def scores_whole_words(task: Task, backbone: Backbone) -> bool:
    """Return whether a decoder scores all tokens of a task's label words: one token each would not do."""
    long = task.whole_words and any(len(backbone.tokenise(f" {word}")) > 1 for word in task.label_words)
    return long or (task.distinct_words and _begin_alike(labels_as_read(task, backbone), backbone))


def _begin_alike(words: Sequence[str], backbone: Backbone) -> bool:
    """Return whether two words have the same first token, blanks aside; "very good" and "very bad" have."""
    blank = backbone.tokenise(" ")
    rows = [[one for one in backbone.tokenise(word) if one not in blank] for word in words]
    return len({row[0] for row in rows if row}) < len(rows)


def task_end(task: Task, backbone: Backbone) -> tuple[int, bool]:
    """Return the id that ends a generated text of this task, and whether it is the line's end; see ``end_token``."""
    texts = (text for row in task.train for text in (*row.targets, *row.choices))
    return end_token(backbone.tokeniser, backbone.readout_mode, texts, task.chat)


def expand_references(examples: Sequence[Example]) -> tuple[Example, ...]:
    """Return one example for each reference: all of them are trained on."""
    return (
        tuple(example._replace(targets=(target,)) for example in examples for target in example.targets)
        if any(len(example.targets) > 1 for example in examples)
        else tuple(examples)
    )
