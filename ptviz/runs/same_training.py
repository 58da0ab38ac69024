"""The one definition of "the same training": two runs that train the same prompt."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path

from ptviz.methods import list_methods
from ptviz.methods.hyperparameters import STORED_KEY
from ptviz.runs.config import RunConfig
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import FileSignature, StoreError, file_signature
from ptviz.runs.store import RunSummary, Store
from ptviz.training import TrainConfig, default_learning_rate


def training_fingerprint(config: RunConfig) -> str:
    """Return a key that two configs share if they train the same prompt.

    Left out: the run's name, its device, how often it is saved, and source steps without source tasks. Filled in: the
    default learning rate, source tasks and hyperparameters.

    Raises:
        ValueError: if a hyperparameter is out of its bounds.
    """
    plain = config.to_json()
    for name in ("name", "device"):
        del plain[name]
    plain["training"] = {k: v for k, v in plain["training"].items() if k != "snapshot_every"}
    plain["training"]["lr"] = effective_lr(config)
    # Left out at their defaults, so that a fingerprint made before these settings existed still holds.
    for name in ("source_seed", "backbone_dropout"):
        if plain["training"][name] == getattr(TrainConfig, name):
            del plain["training"][name]
    if not config.more_tasks:
        del plain["training"]["task_temperature"]
    if config.method in list_methods():
        given = config.hyperparameters
        plain["sources"] = list(config.source_tasks())
        if not plain["sources"]:
            del plain["training"]["source_steps"]
            plain["training"].pop("source_seed", None)
        infos = list_methods()[config.method].hyperparameters
        filled = {name: info.validate(given.get(name, info.default)) for name, info in infos.items()}
        newer = [n for n, info in infos.items() if info.declaration.added_later and filled[n] == info.default]
        plain[STORED_KEY] = {name: value for name, value in {**given, **filled}.items() if name not in newer}
    return json.dumps(plain, sort_keys=True)


def is_same_training(store: Store, summary: RunSummary, config: RunConfig) -> bool:
    """Return whether a stored run trains the prompt that ``config`` asks for."""
    try:
        same = training_fingerprint(summary.config) == training_fingerprint(config)
    except ValueError:  # A run of another version, whose hyperparameters this one does not know.
        return False
    return same and has_same_lr(store, summary, config)


def has_same_lr(store: Store, summary: RunSummary, config: RunConfig) -> bool:
    """Return whether a stored run of an equal fingerprint used the learning rate of ``config``.

    A run without a learning rate in its config must have used today's default, as its environment records.
    """
    if summary.config.training.lr is not None:
        return True
    folder = store.folder(summary.id)
    recorded = _recorded_lr(folder, file_signature(folder / "environment.json"))
    return recorded is None or recorded == effective_lr(config)


def effective_lr(config: RunConfig) -> float:
    """Return the learning rate that a run of this config trains with."""
    return config.training.lr or default_learning_rate(config.method, config.backbone)


@lru_cache(maxsize=4096)
def _recorded_lr(folder: Path, signature: FileSignature) -> float | None:
    """Return the learning rate that a run recorded, or None; NaN, which equals no other, if the file is damaged.

    It is read again only if the file changed.
    """
    try:
        recorded = Run(folder).environment().get("lr")
    except StoreError:
        return math.nan
    return None if recorded is None else float(recorded)
