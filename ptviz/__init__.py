"""Prompt tuning, trained live on a real frozen backbone.

The library in one line: ``from ptviz import TrainConfig, load_backbone, load_task, predict, train``. These names are
looked up when first used, so that ``import ptviz`` (and ``ptviz --help``) need not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptviz.backbones import load_backbone
    from ptviz.engine.train_job import train_and_save
    from ptviz.tasks import load_task
    from ptviz.training import TrainConfig, predict, train

__version__ = "0.1.0"
__all__ = ["TrainConfig", "__version__", "load_backbone", "load_task", "predict", "train", "train_and_save"]

_HOMES = {
    "TrainConfig": "ptviz.training",
    "load_backbone": "ptviz.backbones",
    "load_task": "ptviz.tasks",
    "predict": "ptviz.training",
    "train": "ptviz.training",
    "train_and_save": "ptviz.engine.train_job",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ptviz' has no attribute {name!r}; it offers {', '.join(_HOMES)}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
