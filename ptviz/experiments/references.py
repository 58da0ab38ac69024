"""Reference lines: what the same data, seeds, steps and metric give when the backbone's own weights are trained.

They are no methods of the survey. "lora" trains low-rank updates by Hugging Face's PEFT at its usual places (Hu et al.
2022, https://arxiv.org/abs/2106.09685), "full" every weight but the word embeddings, which the input's vectors are
looked up in, and the read-out. Both go through the trainer of every method. Learning rates are tuned as those of the
methods are: ``python -m ptviz.experiments.references --tune`` on the tuning seeds, with a grid that grows until its
best lies inside. Every result is saved at once with its settings, its time and the commit, and never trained again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import torch
from msgspec import Meta

from ptviz import paths
from ptviz.backbones import Backbone, load_backbone
from ptviz.experiments.lr_sweep import MOST_RATES, TUNING_SEEDS, next_rate
from ptviz.methods.base import MethodTensor, PromptMethod
from ptviz.methods.card import MethodCard
from ptviz.prompt import Batch, Prompt
from ptviz.runs.atomic_io import StoreError, atomic_write
from ptviz.runs.environment import source_commit
from ptviz.tasks import Task, load_task
from ptviz.training.batches import EncodedExamples
from ptviz.training.config import TrainConfig
from ptviz.training.evaluation import evaluate, subsample_task
from ptviz.training.events import Finished
from ptviz.training.trainer import train
from ptviz.validation import Count, Duration, InvalidData, Name, PathText, StepCount, decode_json

Kind = Literal["lora", "full"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TITLES: Mapping[Kind, str] = {"lora": "LoRA (r = 8)", "full": "full fine-tuning"}
GRID: Mapping[Kind, tuple[float, ...]] = {"lora": (0.0003, 0.001, 0.003), "full": (0.00002, 0.00005, 0.0001)}
"""Learning rates to begin with; the middle one is used where nothing was tuned, and the result says so."""
LORA_RANK = 8


@dataclass(frozen=True)
class ReferenceResult:
    """The result of one reference run, with its settings.

    ``tuned`` says whether the learning rate was chosen on the tuning seeds; ``trained`` counts parameters.
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

    @property
    def key(self) -> tuple[str, str, str, int, int, int, float]:
        """Return the settings that make two runs the same."""
        return self.kind, self.backbone, self.task, self.seed, self.steps, self.batch, self.lr


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


def train_reference(
    kind: Kind, backbone: str, task: Task, config: TrainConfig, tuned: bool = False, device: str | None = None
) -> ReferenceResult:
    """Train a reference on a copy of the backbone of its own, and return its result.

    Raises:
        ValueError: for an unknown kind, or a config without a learning rate.
    """
    if kind not in KINDS:
        raise ValueError(f"references: expected {' or '.join(KINDS)}; got {kind!r}")
    lr = config.lr
    if lr is None:
        raise ValueError("references: expected a learning rate; got none")
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        frozen = load_backbone(backbone, device, config.dtype)
        # The read-out stays what it was: label descriptions are not encoded anew by the changing weights.
        frozen.make_readout = cache(frozen.make_readout)  # type: ignore[method-assign]
        bare = EncodedExamples(frozen, task, subsample_task(task, config).test, 0, config.length)
        zero_shot = evaluate(None, bare).score
        method = Reference(frozen, kind)
    # One snapshot at the end: a state holds the whole model.
    config = replace(config, snapshot_every=config.steps)
    for event in train(method, frozen, task, config):
        if isinstance(event, Finished):
            return ReferenceResult(
                kind, backbone, task.name, config.seed, config.steps, config.batch, lr, tuned, event.validation,
                event.test, zero_shot, method.trainable_parameters(), event.seconds, task.metric, source_commit(),
            )  # fmt: skip
    raise AssertionError("a run ends with its result")


class ReferenceRecord:
    """Results of references in one file, by settings; only missing ones are trained."""

    def __init__(self, path: Path | None = None) -> None:
        """Read the record.

        Raises:
            StoreError: if the file is damaged.
        """
        self.path = path if path is not None else paths.data_dir() / "references.json"
        self.results: list[ReferenceResult] = []
        if self.path.exists():
            try:
                self.results = decode_json(self.path.read_bytes(), list[ReferenceResult])
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
        groups: dict[float, dict[tuple[str, int, int], float]] = {}
        for one in self.results:
            if (one.kind, one.backbone) == (kind, backbone) and one.seed in TUNING_SEEDS:
                groups.setdefault(one.lr, {})[one.task, one.seed, one.steps] = one.validation
        wanted = {key for own in groups.values() for key in own}
        return {rate: statistics.mean(own.values()) for rate, own in groups.items() if set(own) == wanted}

    def find(self, kind: Kind, backbone: str, task: str, config: TrainConfig) -> ReferenceResult | None:
        """Return the result of these settings, or None."""
        key = (kind, backbone, task, config.seed, config.steps, config.batch, config.lr)
        return next((one for one in self.results if one.key == key), None)

    def get(
        self, kind: Kind, backbone: str, task: Task, config: TrainConfig, on_start: Callable[[str], None] | None = None
    ) -> ReferenceResult:
        """Return the result of a kind, trained and saved if it is missing; without a rate at its best one.

        Raises:
            ValueError: for an unknown kind.
            StoreError: if the record cannot be written.
        """
        tuned = False
        if config.lr is None:
            rate, tuned = self.best_rate(kind, backbone)
            config = replace(config, lr=rate)
        if (found := self.find(kind, backbone, task.name, config)) is not None:
            return found
        if on_start is not None:
            on_start(f"{TITLES[kind]}, {task.name}, seed {config.seed}, rate {config.lr:g}")
        found = train_reference(kind, backbone, task, config, tuned)
        self.results.append(found)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = ",\n".join(json.dumps(asdict(one)) for one in self.results)
        atomic_write(self.path, f"[\n{lines}\n]\n".encode())
        return found


def tune(
    record: ReferenceRecord, kind: Kind, backbone: str, tasks: Sequence[Task], config: TrainConfig,
    on_start: Callable[[str], None] | None = None, seeds: Sequence[int] = TUNING_SEEDS,
) -> float:  # fmt: skip
    """Run the grid on the tuning seeds, add rates until the best lies inside, and return it."""
    rates = sorted(GRID[kind])
    while True:
        for task in tasks:
            for seed in seeds:
                for rate in rates:
                    record.get(kind, backbone, task, replace(config, seed=seed, lr=rate), on_start)
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
    record, tasks = ReferenceRecord(a.record), [load_task(name) for name in a.tasks]
    config = TrainConfig(steps=a.steps, batch=a.batch, evaluate_every=max(25, a.steps // 4))
    for kind in a.tune:
        rate = tune(record, kind, a.backbone, tasks, config, lambda line: print(line, flush=True))
        print(f"{TITLES[kind]} on {a.backbone}: {rate:g}", flush=True)


if __name__ == "__main__":
    main()
