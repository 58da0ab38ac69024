"""Source prompts: prompts of source tasks trained by plain prompt tuning, for transfer methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ptviz.training.config import TrainConfig

if TYPE_CHECKING:
    from torch import Tensor

    from ptviz.backbones import Backbone
    from ptviz.methods.base import PromptMethod
    from ptviz.methods.source_prompt import SourcePrompt
    from ptviz.tasks import Task

SOURCE_METHOD = "prompt-tuning"
"""Method that trains source prompts, as in SPoT, ATTEMPT and MPT."""


def source_hyperparameters(m: int) -> dict[str, int]:
    """Return the hyperparameters of a source prompt of m tokens."""
    return {"m": m}


def make_source_config(config: TrainConfig) -> TrainConfig:
    """Return the training config of a run's source prompts.

    ``source_steps`` updates on all examples, at the default learning rate and with ``source_seed``, which is 0 for all
    runs by default, so that runs of all seeds share their source prompts.
    """
    names = (
        "batch",
        "train_rows",
        "validation_rows",
        "test_rows",
        "length",
        "dtype",
        "source_steps",
        "backbone_dropout",
    )
    return TrainConfig(
        steps=config.source_steps, seed=config.source_seed, **{name: getattr(config, name) for name in names}
    )


def check_unique_names(sources: Sequence[Task]) -> None:
    """Check that all source tasks have different names, which identify their prompts.

    Raises:
        ValueError: naming the name they share.
    """
    names = [task.name for task in sources]
    if twins := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"sources: expected tasks of different names; got {twins[0]!r} {names.count(twins[0])} times. A table is "
            "named after its file: rename one"
        )


def make_source_prompt(
    task: str, best: Mapping[str, Tensor], path: Mapping[int, Mapping[str, Tensor]], accuracy: float, run: str = ""
) -> SourcePrompt:
    """Return a source prompt from states of plain prompt tuning: the best by validation, and those on the way."""
    from ptviz.methods.source_prompt import SourcePrompt

    prompts = {step: state["P"].detach().clone() for step, state in path.items()}
    return SourcePrompt(task, best["P"].detach().clone(), prompts[max(prompts)], accuracy, run, prompts)


def build_source_method(backbone: Backbone, task: Task, m: int, config: TrainConfig) -> PromptMethod:
    """Return the untrained prompt of a source task."""
    from ptviz.methods import build_method
    from ptviz.training.batches import labels_as_read

    spec = backbone.make_spec(config.length, labels_as_read(task, backbone))
    return build_method(SOURCE_METHOD, spec, source_hyperparameters(m), config.seed)
