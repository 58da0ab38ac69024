"""Reference lines: what the same data, seeds, steps and metric give when the backbone's own weights are trained.

They are no methods of the survey. "lora" trains low-rank updates by Hugging Face's PEFT at its usual places (Hu et al.
2022, https://arxiv.org/abs/2106.09685), "full" every weight but the word embeddings, which the input's vectors are
looked up in, and the read-out. Both go through the trainer of every method. Learning rates are tuned as those of the
methods are: ``python -m ptviz.experiments.references --tune`` on the tuning seeds, with a grid that grows until its
best lies inside. Every result is saved at once with all its settings, its time and the commit, and never trained again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import torch
from msgspec import Meta

from ptviz import paths
from ptviz.backbones import Backbone, load_backbone
from ptviz.engine.model_cache import load_run_task
from ptviz.experiments.lr_sweep import MOST_RATES, TUNING_SEEDS, next_rate
from ptviz.methods.base import MethodTensor, PromptMethod
from ptviz.methods.card import MethodCard
from ptviz.paths import expand_user
from ptviz.prompt import Batch, Prompt
from ptviz.runs.atomic_io import StoreError, atomic_write, file_digest
from ptviz.runs.config import RunConfig, task_label
from ptviz.runs.environment import source_commit
from ptviz.runs.file_lock import FileLock
from ptviz.training.batches import EncodedExamples
from ptviz.training.config import TrainConfig
from ptviz.training.evaluation import evaluate, subsample_task
from ptviz.training.events import Finished
from ptviz.training.trainer import train
from ptviz.validation import Count, Duration, InvalidData, Name, PathText, Scalar, Sentence, StepCount, decode_json

T = TypeVar("T")

Kind = Literal["lora", "full"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TITLES: Mapping[Kind, str] = {"lora": "LoRA (r = 8)", "full": "full fine-tuning"}
GRID: Mapping[Kind, tuple[float, ...]] = {"lora": (0.0003, 0.001, 0.003), "full": (0.00002, 0.00005, 0.0001)}
"""Learning rates to begin with; the middle one is used where nothing was tuned, and the result says so."""
LORA_RANK = 8
_LOCK_SECONDS = 10.0


_UNUSED_SETTINGS = ("lr", "snapshot_every", "source_steps", "source_seed", "task_temperature", "begun")
"""Training settings that are no part of a reference's key: the rate has its own field, the others have no effect."""


@dataclass(frozen=True)
class ReferenceResult:
    """The result of one reference run, with its settings.

    ``tuned`` says whether the learning rate was chosen on the tuning seeds; ``trained`` counts parameters. ``settings``
    are the training settings that the result depends on, None in a record of an earlier version, which did not keep
    them. ``source`` is ``describe_source`` of the task.
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


class Reference(PromptMethod, register=False):
    """The backbone's own weights, or low-rank updates of them, in the place of a prompt."""

    card = MethodCard(
        name="reference", title="Reference", citation="Hu et al., ICLR 2022", url="https://arxiv.org/abs/2106.09685",
        branch=("direct", "reference", "weights"), equation=r"\theta + \Delta\theta",
        idea="Train the backbone itself.",
    )  # fmt: skip
    slots = 0

    def __init__(self, backbone: Backbone, kind: Kind) -> None:
        """Prepare a backbone that nothing else uses: its weights will change.

        Raises:
            ValueError: for LoRA without PEFT.
        """
        super().__init__()
        self.model = backbone.model
        if kind == "lora":
            try:
                from peft import LoraConfig, inject_adapter_in_model
            except ModuleNotFoundError as error:
                raise ValueError('references: LoRA needs PEFT: pip install "ptviz[references]"') from error
            settings = LoraConfig(r=LORA_RANK, lora_alpha=2 * LORA_RANK, lora_dropout=0.0)
            inject_adapter_in_model(settings, self.model)
        else:
            self.model.requires_grad_(True)
            self.model.get_input_embeddings().requires_grad_(False)
            if (head := self.model.get_output_embeddings()) is not None:
                head.requires_grad_(False)

    def forward(self, batch: Batch) -> Prompt:
        """Return no prompt: what is trained is the backbone."""
        return Prompt()

    def trainable_parameters(self) -> int:
        """Return the number of weights that are trained."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def tensors(self) -> dict[str, MethodTensor]:
        """Return nothing: there is no prompt to draw."""
        return {}


def train_in_steps(kind: Kind, config: RunConfig, tuned: bool = False) -> Generator[None, None, ReferenceResult]:
    """Train a reference on a copy of the backbone of its own, pausing after each event, and return its result.

    Raises:
        ValueError: for an unknown kind, or a config without a learning rate.
    """
    training = config.training
    if kind not in KINDS:
        raise ValueError(f"references: expected {' or '.join(KINDS)}; got {kind!r}")
    lr = training.lr
    if lr is None:
        raise ValueError("references: expected a learning rate; got none")
    task, source = load_run_task(config), describe_source(config)
    with torch.random.fork_rng():
        torch.manual_seed(training.seed)
        frozen = load_backbone(config.backbone, config.device, training.dtype)
        # The read-out stays what it was: label descriptions are not encoded anew by the changing weights.
        frozen.make_readout = cache(frozen.make_readout)  # type: ignore[method-assign]
        bare = EncodedExamples(frozen, task, subsample_task(task, training).test, 0, training.length)
        zero_shot = evaluate(None, bare).score
        method = Reference(frozen, kind)
    # One snapshot at the end: a state holds the whole model.
    for event in train(method, frozen, task, replace(training, snapshot_every=training.steps)):
        if isinstance(event, Finished):
            return ReferenceResult(
                kind, config.backbone, config.task, training.seed, training.steps, training.batch, lr, tuned,
                event.validation, event.test, zero_shot, method.trainable_parameters(), event.seconds,
                task.metric, source_commit(), used_settings(training), source,
            )  # fmt: skip
        yield
    raise AssertionError("a run ends with its result")


def train_reference(kind: Kind, config: RunConfig, tuned: bool = False) -> ReferenceResult:
    """Train a reference as ``train_in_steps`` does, without pauses.

    Raises:
        ValueError: as ``train_in_steps``.
    """
    return _run_to_end(train_in_steps(kind, config, tuned))


def _run_to_end(steps: Generator[None, None, T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: T = end.value
            return found


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
        """Return the result of these settings, or None; without a rate at the best one."""
        key = reference_key(kind, self.with_rate(kind, config)[0])
        return next((one for one in self.results if one.key == key), None)

    def get_in_steps(
        self, kind: Kind, config: RunConfig, on_start: Callable[[str], None] | None = None
    ) -> Generator[None, None, ReferenceResult]:
        """Return the result of a kind, trained and saved if it is missing, pausing between the steps of the training.

        Raises:
            ValueError: for an unknown kind.
            StoreError: if the record cannot be written.
        """
        if (found := self.find(kind, config)) is not None:
            return found
        rated, tuned = self.with_rate(kind, config)
        if on_start is not None:
            seed, rate = rated.training.seed, rated.training.lr
            on_start(f"{TITLES[kind]}, {task_label(rated.task)}, seed {seed}, rate {rate:g}")
        found = yield from train_in_steps(kind, rated, tuned)
        self._add(found)
        return found

    def get(self, kind: Kind, config: RunConfig, on_start: Callable[[str], None] | None = None) -> ReferenceResult:
        """Return the result of a kind as ``get_in_steps`` does, without pauses.

        Raises:
            ValueError: for an unknown kind.
            StoreError: if the record cannot be written.
        """
        return _run_to_end(self.get_in_steps(kind, config, on_start))

    def _add(self, result: ReferenceResult) -> None:
        """Save a result beside those that other processes have saved meanwhile."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path.with_suffix(".lock"))
        if not lock.acquire(_LOCK_SECONDS):
            raise StoreError(f"another process is writing {self.path}; wait until it is done, and repeat the command")
        try:
            self.results = [*self._read(), result]
            lines = ",\n".join(json.dumps(asdict(one)) for one in self.results)
            atomic_write(self.path, f"[\n{lines}\n]\n".encode())
        finally:
            lock.release()


def train_missing(kinds: Iterable[Kind], configs: Sequence[RunConfig]) -> Iterator[None]:
    """Train the references of a comparison that are missing, each saved when it is done, pausing between the steps.

    Raises:
        ValueError: if a task or a backbone cannot be loaded, or a library is missing.
        StoreError: if the record is damaged or cannot be written.
    """
    record = ReferenceRecord()
    for kind in kinds:
        for config in configs:
            yield from record.get_in_steps(kind, config)


def tune(
    record: ReferenceRecord, kind: Kind, configs: Sequence[RunConfig], on_start: Callable[[str], None] | None = None,
    seeds: Sequence[int] = TUNING_SEEDS,
) -> float:  # fmt: skip
    """Run the grid on the tuning seeds, add rates until the best lies inside, and return it.

    ``configs`` are of one backbone, one for each task.
    """
    rates, backbone = sorted(GRID[kind]), configs[0].backbone
    while True:
        for config in configs:
            for seed in seeds:
                for rate in rates:
                    training = replace(config.training, seed=seed, lr=rate)
                    record.get(kind, replace(config, training=training), on_start)
        more = next_rate(record.tuning_means(kind, backbone))
        if more is None or len(rates) >= MOST_RATES:
            return record.best_rate(kind, backbone)[0]
        rates = sorted([*rates, more])


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


def main() -> None:
    """Tune the learning rates from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tune", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND")
    parser.add_argument("--backbone", default="minilm-l6")
    parser.add_argument("--tasks", nargs="+", default=["trec6", "tweets"])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--record", type=Path)
    a = parser.parse_args()
    record = ReferenceRecord(a.record)
    training = TrainConfig(steps=a.steps, batch=a.batch, evaluate_every=max(25, a.steps // 4))
    configs = [RunConfig(a.backbone, name, training=training) for name in a.tasks]
    for kind in a.tune:
        rate = tune(record, kind, configs, lambda line: print(line, flush=True))
        print(f"{TITLES[kind]} on {a.backbone}: {rate:g}", flush=True)


if __name__ == "__main__":
    main()
