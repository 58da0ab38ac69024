"""Results of references, LoRA and full fine-tuning, in one file: read without torch.

``ptviz.experiments.lora_and_full_tuning`` trains them.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta

from ptviz import paths
from ptviz.experiments.rate_grid import MOST_RATES, TUNING_SEEDS, next_rate
from ptviz.paths import expand_user
from ptviz.runs.backbone_files import backbone_digest
from ptviz.runs.config import RunConfig
from ptviz.runs.file_lock import write_lock
from ptviz.runs.run_file_io import StoreError, atomic_write, file_digest
from ptviz.training.config import PLANNED_STEPS_KEY, TrainConfig
from ptviz.validation import Count, Duration, InvalidData, Name, PathText, Scalar, Sentence, StepCount, decode_json

Kind = Literal["lora", "full"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TITLES: Mapping[Kind, str] = {"lora": "LoRA (r = 8)", "full": "full fine-tuning"}
GRID: Mapping[Kind, tuple[float, ...]] = {"lora": (0.0003, 0.001, 0.003), "full": (0.00002, 0.00005, 0.0001)}
"""Learning rates to begin with; the middle one is used where nothing was tuned, and the result says so."""


_UNUSED_SETTINGS = ("lr", "snapshot_every", "source_steps", "source_seed", "task_temperature", PLANNED_STEPS_KEY)
"""Training settings that are no part of a reference's key: the rate has its own field, the others have no effect."""


@dataclass(frozen=True)
class ReferenceResult:
    """The result of one reference run, with its settings.

    ``tuned`` says whether the learning rate was chosen on the tuning seeds; ``trained`` counts parameters. ``settings``
    are the training settings that the result depends on, None in a record of an earlier version, which did not keep
    them. ``source`` is ``describe_source`` of the task, ``backbone_files`` the ``backbone_digest``, empty in a
    record of an earlier version.
    """

    kind: Kind
    backbone: Name
    task: PathText
    seed: Count
    steps: StepCount
    batch: Annotated[int, Meta(ge=1)]
    lr: Annotated[float, Meta(gt=0)]
    tuned: bool
    validation: float
    test: float
    zero_shot: float
    trained: Count
    seconds: Duration
    metric: Name
    commit: str | None
    settings: Annotated[Mapping[Name, Scalar], Meta(max_length=100)] | None = None
    source: Sentence = ""
    backbone_files: Name = ""

    @property
    def key(self) -> str | None:
        """Return what makes two results the same; None if it is not known."""
        return None if self.settings is None else _key(self, self.settings)

    @property
    def example_key(self) -> str:
        """Return the key without the learning rate: results that may be compared to choose it."""
        own = self.settings or {"seed": self.seed, "steps": self.steps, "batch": self.batch}
        return json.dumps([self.task, self.source, self.settings is None, dict(own)], sort_keys=True)


def reference_key(kind: Kind, config: RunConfig) -> str:
    """Return the key under which the result of a config is kept; its learning rate must be set.

    It holds the kind, the backbone, the task with the content of its file, and every training setting that has an
    effect, such as the maximum length and the numbers of examples.
    """
    plain = ReferenceResult(
        kind, config.backbone, config.task, config.training.seed, config.training.steps, config.training.batch,
        config.training.lr or 0, False, 0, 0, 0, 0, 0, "", None, source=describe_source(config),
    )  # fmt: skip
    return _key(plain, used_settings(config.training))


def _key(result: ReferenceResult, settings: Mapping[str, Any]) -> str:
    # A setting that is newer than the record had its default when the record was made.
    filled = {**used_settings(TrainConfig()), **settings}
    return json.dumps([result.kind, result.backbone, result.task, result.lr, result.source, filled], sort_keys=True)


def used_settings(training: TrainConfig) -> dict[str, Any]:
    """Return the training settings that the result of a reference depends on, without the learning rate."""
    return {name: value for name, value in training.to_json().items() if name not in _UNUSED_SETTINGS}


def describe_source(config: RunConfig) -> str:
    """Return what a task is made of besides its name: the content of its file, its columns and how they are read."""
    own = {"text": config.text, "label": config.label, "table": config.table.to_json()}
    own["file"] = file_digest(expand_user(config.task))
    known = {name: value for name, value in own.items() if value}
    return json.dumps(known, sort_keys=True) if known else ""


class ReferenceRecord:
    """Results of references in one file, by settings; only missing ones are trained."""

    def __init__(self, path: Path | None = None) -> None:
        """Read the record.

        Raises:
            StoreError: if the file is damaged.
        """
        self.path = path if path is not None else paths.data_dir() / "references.json"
        self.results = self._read()

    def _read(self) -> list[ReferenceResult]:
        if not self.path.exists():
            return []
        try:
            return decode_json(self.path.read_bytes(), list[ReferenceResult])
        except InvalidData as error:
            raise StoreError(f"{self.path} is damaged ({error}); restore a copy, or delete it") from error

    def best_rate(self, kind: Kind, backbone: str) -> tuple[float, bool]:
        """Return the learning rate of a kind on a backbone, and whether it was tuned: the best inside its grid."""
        means = self.tuning_means(kind, backbone)
        tried = {
            one.lr for one in self.results if (one.kind, one.backbone) == (kind, backbone) and one.seed in TUNING_SEEDS
        }
        if means and set(means) == tried and (next_rate(means) is None or len(means) >= MOST_RATES):
            return max(means, key=lambda rate: means[rate]), True
        return GRID[kind][1], False

    def estimate_seconds(self, kind: Kind, config: RunConfig) -> float | None:
        """Return the seconds that a training probably takes: those of the recorded ones, by their steps and examples.

        None before any of this kind was trained on this backbone.
        """
        training = config.training
        known = [one for one in self.results if (one.kind, one.backbone) == (kind, config.backbone)]
        if not known:
            return None
        same = [one for one in known if (one.task, one.batch) == (config.task, training.batch)]
        rates = [one.seconds / (one.steps * one.batch) for one in same or known]
        return statistics.median(rates) * training.steps * training.batch

    def tuning_means(self, kind: Kind, backbone: str) -> dict[float, float]:
        """Return the mean validation score of each rate that ran on everything the others ran, on the tuning seeds."""
        groups: dict[float, dict[str, float]] = {}
        for one in self.results:
            if (one.kind, one.backbone) == (kind, backbone) and one.seed in TUNING_SEEDS:
                groups.setdefault(one.lr, {})[one.example_key] = one.validation
        wanted = {key for own in groups.values() for key in own}
        return {rate: statistics.mean(own.values()) for rate, own in groups.items() if set(own) == wanted}

    def with_rate(self, kind: Kind, config: RunConfig) -> tuple[RunConfig, bool]:
        """Return the config with a learning rate, its own or else the best one, and whether that was tuned."""
        if config.training.lr is not None:
            return config, False
        rate, tuned = self.best_rate(kind, config.backbone)
        return replace(config, training=replace(config.training, lr=rate)), tuned

    def find(self, kind: Kind, config: RunConfig) -> ReferenceResult | None:
        """Return the result of these settings on the backbone as it is now, or None; without a rate at the best one."""
        key, files = reference_key(kind, self.with_rate(kind, config)[0]), ("", backbone_digest(config.backbone))
        return next((one for one in self.results if one.key == key and one.backbone_files in files), None)

    def add(self, result: ReferenceResult) -> None:
        """Save a result beside those that other processes have saved since.

        Raises:
            StoreError: if the record is damaged or cannot be written.
        """
        with write_lock(self.path):
            self.results = [*self._read(), result]
            lines = ",\n".join(json.dumps(asdict(one)) for one in self.results)
            atomic_write(self.path, f"[\n{lines}\n]\n".encode())


def summarise(results: Iterable[ReferenceResult]) -> list[dict[str, Any]]:
    """Return one row for each kind: mean, standard deviation and count of the seeds, parameters, rate and time."""
    groups: dict[Kind, list[ReferenceResult]] = {}
    for one in results:
        groups.setdefault(one.kind, []).append(one)
    return [
        {
            "reference": kind,
            "mean": statistics.mean(one.test for one in own),
            "sd": statistics.stdev(one.test for one in own) if len(own) > 1 else None,
            "trained": own[0].trained,
            "lr": own[0].lr,
            "tuned": all(one.tuned for one in own),
            "seconds": statistics.mean(one.seconds for one in own),
            "seeds": [one.seed for one in own],
        }
        for kind, own in groups.items()
    ]


def parse_kinds(text: str) -> tuple[Kind, ...]:
    """Return the kinds named in a list with commas.

    Raises:
        ValueError: for an unknown kind, or none.
    """
    names = [one.strip() for one in text.split(",") if one.strip()]
    found = tuple(kind for kind in KINDS if kind in names)
    if not names or len(found) < len(set(names)):
        raise ValueError(f"references: expected {' or '.join(KINDS)}, with commas between them; got {text!r}")
    return found
