"""Training settings: plain data, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

OPTIMISERS = ("adamw", "adafactor")
SCHEDULES = ("linear", "constant", "cosine")
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run.

    ``steps`` counts updates and ``batch`` examples; ``lr`` None is the recorded default of method and backbone;
    ``warmup`` is a share of the steps; ``clip`` the largest gradient norm (0: none); ``evaluate_every`` and
    ``snapshot_every`` count updates (the best prompt so far has a snapshot in any case); ``patience`` is the number of
    evaluations without a better validation accuracy before stopping (0: never); ``shots`` counts training examples per
    class (0: all ``train_rows``); rows are upper limits. ``source_steps`` are the updates of each source prompt, and of
    a stage on source tasks; ``begun`` is the number of steps planned before the run was extended (0: it was not).

    Raises:
        ValueError: naming the field, what was expected and what came.
    """

    steps: int = 200
    batch: int = 16
    lr: float | None = None
    optimiser: str = "adamw"
    schedule: str = "linear"
    warmup: float = 0.06
    weight_decay: float = 1e-5
    clip: float = 1.0
    seed: int = 0
    evaluate_every: int = 25
    snapshot_every: int = 10
    patience: int = 0
    shots: int = 0
    train_rows: int = 2000
    validation_rows: int = 200
    test_rows: int = 500
    length: int = 64
    dtype: str = "float32"
    source_steps: int = 200
    begun: int = 0

    def __post_init__(self) -> None:
        bounds = {
            "steps": (1, 1_000_000), "batch": (1, 4096), "warmup": (0, 1), "weight_decay": (0, 1), "clip": (0, 1e6),
            "seed": (0, 2**31 - 1), "evaluate_every": (1, 1_000_000), "snapshot_every": (1, 1_000_000),
            "patience": (0, 1_000_000), "shots": (0, 100_000), "train_rows": (2, 10_000_000),
            "validation_rows": (2, 1_000_000), "test_rows": (2, 1_000_000), "length": (4, 8192),
            "source_steps": (1, 1_000_000), "begun": (0, 1_000_000),
        }  # fmt: skip
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            whole = name in ("warmup", "weight_decay", "clip") or isinstance(value, int)
            if isinstance(value, bool) or not isinstance(value, int | float) or not whole or not low <= value <= high:
                raise ValueError(f"{name}: expected a number from {low:g} to {high:g}; got {value!r}")
        numeric = isinstance(self.lr, int | float) and not isinstance(self.lr, bool)
        if self.lr is not None and not (numeric and 0 < self.lr <= 100):
            raise ValueError(f"lr: expected a number above 0 and at most 100; got {self.lr!r}")
        for name, choices in {"optimiser": OPTIMISERS, "schedule": SCHEDULES, "dtype": DTYPES}.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: expected one of {', '.join(choices)}; got {getattr(self, name)!r}")

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that ``from_json`` reads back to an equal config."""
        return {**vars(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrainConfig:
        """Return the config of a JSON object; unknown fields are refused.

        Raises:
            ValueError: for an unknown field or a bad value.
        """
        unknown = sorted(set(data) - {f.name for f in fields(cls)})
        if unknown:
            known = ", ".join(field.name for field in fields(cls))
            raise ValueError(f"unknown training setting {', '.join(unknown)}; expected {known}")
        return cls(**data)
