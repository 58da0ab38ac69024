"""Training settings: plain data, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ptviz.safe_text import safe_list, safe_text

OPTIMISERS = ("adamw", "adafactor")
SCHEDULES = ("linear", "constant", "cosine")
MAX_STEPS = 1_000_000
PLANNED_STEPS_KEY = "begun"
"""What ``planned_steps`` is called on disk, and in the fingerprints of runs."""
DTYPES = ("float32", "bfloat16", "auto")


def _setting(default: Any, help: str, low: float = 0, high: float = 1_000_000, choices: Sequence[str] = ()) -> Any:
    """Return a field with its limits, and its help on the command line; without help it is no option there."""
    return field(default=default, metadata={"help": help, "low": low, "high": high, "choices": choices})


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run; numbers of examples are upper limits.

    ``lr`` None takes the recorded default of method and backbone. ``planned_steps`` is the number of steps that a run
    was planned for before it was extended (0: it was not).

    Raises:
        ValueError: naming the field, what was expected and what came.
    """

    steps: int = _setting(200, "Training steps on the target task, in all stages together.", 1, MAX_STEPS)
    batch: int = _setting(16, "Batch size: examples per step.", 1, 4096)
    lr: float | None = _setting(None, "Learning rate. Default: the recorded best.")
    optimiser: str = _setting("adamw", "adamw or adafactor.", choices=OPTIMISERS)
    schedule: str = _setting("linear", "linear, constant or cosine.", choices=SCHEDULES)
    warmup: float = _setting(0.06, "Warm-up as a share of the steps.", 0, 1)
    weight_decay: float = _setting(1e-5, "Weight decay.", 0, 1)
    clip: float = _setting(1.0, "Gradient clipping: the largest norm; 0: none.")
    seed: int = _setting(0, "The same seed gives the same result.", 0, 2**31 - 1)
    evaluate_every: int = _setting(25, "Steps between two evaluations.", 1)
    snapshot_every: int = _setting(10, "Steps between two snapshots; the best prompt is always saved.", 1)
    patience: int = _setting(0, "Stop after this many evaluations without improvement; 0: never.")
    shots: int = _setting(0, "Training examples per class; 0: as many as --train-rows allows.", 0, 100_000)
    train_rows: int = _setting(2000, "Most training examples.", 2, 10_000_000)
    validation_rows: int = _setting(200, "Most validation examples.", 2)
    test_rows: int = _setting(500, "Most test examples.", 2)
    length: int = _setting(64, "Maximum length in tokens; longer texts are cut.", 4, 8192)
    dtype: str = _setting("float32", "Frozen weights: float32, bfloat16, or auto, the faster here.", choices=DTYPES)
    source_steps: int = _setting(200, "Steps of each source prompt, and of source stages.", 1)
    source_seed: int = _setting(0, "Seed of the source prompts. By default all seeds share them.", 0, 2**31 - 1)
    task_temperature: float = _setting(
        1.0, "Several target tasks are drawn by their sizes to the power of 1 / this; 1: in proportion.", 0.1, 1000
    )
    backbone_dropout: str = _setting(
        "off", "Dropout inside the frozen backbone while training: off, or on as in some papers.", choices=("off", "on")
    )
    planned_steps: int = _setting(0, "")

    def __post_init__(self) -> None:
        for one in fields(self):
            value, low, high = getattr(self, one.name), one.metadata["low"], one.metadata["high"]
            number = isinstance(value, int | float if "float" in str(one.type) else int) and not isinstance(value, bool)
            if choices := one.metadata["choices"]:
                if value not in choices:
                    raise ValueError(f"{one.name}: expected one of {', '.join(choices)}; got {safe_text(value)}")
            elif one.name == "lr":
                if value is not None and not (number and 0 < value <= 100):
                    raise ValueError(f"lr: expected a number above 0 and at most 100; got {safe_text(value)}")
            elif not number or not low <= value <= high:
                raise ValueError(f"{one.name}: expected a number from {low:g} to {high:g}; got {safe_text(value)}")

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that ``from_json`` reads back to an equal config."""
        own = dict(vars(self))
        own[PLANNED_STEPS_KEY] = own.pop("planned_steps")
        return own

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrainConfig:
        """Return the config of a JSON object; unknown fields are refused.

        Raises:
            ValueError: for an unknown field or a bad value.
        """
        names = {PLANNED_STEPS_KEY if one.name == "planned_steps" else one.name: one.name for one in fields(cls)}
        if unknown := sorted(set(data) - set(names)):
            raise ValueError(f"unknown training setting {safe_list(unknown)}; expected {', '.join(names)}")
        return cls(**{names[key]: value for key, value in data.items()})
