"""Whether a backbone can distinguish the classes of a task: their words and descriptions, as its tokens."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from ptviz.chat_template import read_chat_frame
from ptviz.tasks import Task
from ptviz.tasks.custom.label_words import same_text_error


def check_label_texts(task: Task, tokeniser: PreTrainedTokenizerBase) -> None:
    """Check that the label words of all classes differ as tokens, and the descriptions too.

    Texts that differ as strings may be the same to a model: in case, in accents, or as unknown words. A task that is to
    be asked through a chat template needs one.

    Raises:
        TaskError: naming two classes with the same tokens.
        ChatTemplateError: if the task needs a chat template, and there is none that can be used.
    """
    if task.chat:
        read_chat_frame(tokeniser)
    if not task.classes:
        return
    for kind, texts in (("label words", task.label_words), ("descriptions", task.descriptions)):
        _check_tokens(task.classes, texts, kind, tokeniser)


def _check_tokens(classes: Sequence[str], texts: Sequence[str], kind: str, tokeniser: PreTrainedTokenizerBase) -> None:
    holder: dict[tuple[int, ...], int] = {}
    rows = tokeniser(list(texts), add_special_tokens=False)["input_ids"]
    for index, row in enumerate(rows):
        first = holder.setdefault(tuple(row), index)
        if first != index:
            shown = " ".join(map(str, tokeniser.convert_ids_to_tokens(row)))[:60]
            raise same_text_error(
                classes[first],
                classes[index],
                f"have {kind} ({texts[first][:40]!r}, {texts[index][:40]!r}) that are the same tokens for this backbone"
                f" ({shown})",
            )
