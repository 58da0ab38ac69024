"""Check a user's own table, and the wish to chat, against the tokenizer of a backbone before a run on it is created."""

from __future__ import annotations

from functools import lru_cache

from ptviz.paths import expand_user
from ptviz.runs.config import RunConfig
from ptviz.tasks import TableOptions


def check_table_labels(config: RunConfig) -> None:
    """Check that the backbone can distinguish the labels of the run's table, or write; the weights are not read.

    Labels of other tasks, and backbones whose tokenizer is not on this machine yet, are checked when the run starts.

    Raises:
        TaskError: if the table cannot be used, naming the row, or if two labels are the same tokens, naming both.
        BackboneError: if the table has target texts or choices, and the backbone is an encoder.
        ChatTemplateError: if the run is to chat, and the tokenizer has no chat template that can be used.
    """
    if config.table.chat:
        _check_chat(config.backbone)
    path = expand_user(config.task)
    if path.is_file():
        _check(config.backbone, config.task, config.text, config.label, config.table, path.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _check_chat(backbone: str) -> None:
    from ptviz.backbones import load_tokeniser
    from ptviz.chat_template import read_chat_frame

    tokeniser = load_tokeniser(backbone)
    if tokeniser is not None:
        read_chat_frame(tokeniser)


@lru_cache(maxsize=64)  # A comparison has many runs on one table. What fails is checked again.
def _check(backbone: str, task: str, text: str | None, label: str | None, table: TableOptions, modified: int) -> None:
    from ptviz.backbones import BackboneError, load_tokeniser, read_readout_mode
    from ptviz.backbones.base import CANNOT_GENERATE
    from ptviz.engine.model_cache import load_run_task
    from ptviz.training.distinct_labels import check_label_texts

    found = load_run_task(RunConfig(backbone, task, text=text, label=label, table=table))
    if found.kind != "classification" and read_readout_mode(backbone) in ("pooled", "mask"):
        raise BackboneError(f"{backbone} is {CANNOT_GENERATE}")
    tokeniser = load_tokeniser(backbone)
    if tokeniser is not None:
        check_label_texts(found, tokeniser)
