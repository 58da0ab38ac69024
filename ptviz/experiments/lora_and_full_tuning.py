"""Reference lines: what the same data, seeds, steps and metric give when the backbone's own weights are trained.

They are no methods of the survey. "lora" trains low-rank updates by Hugging Face's PEFT at its usual places (Hu et al.
2022, https://arxiv.org/abs/2106.09685), "full" every weight but the word embeddings, which the input's vectors are
looked up in, and the read-out. Both go through the trainer of every method. Learning rates are tuned as those of the
methods are: ``python -m ptviz.experiments.lora_and_full_tuning --tune`` on the tuning seeds, with a grid that grows
until its best lies inside. Every result is saved at once with all its settings, its time and the commit, and never
trained again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch

from ptviz.backbones import Backbone, load_backbone
from ptviz.engine.model_cache import load_run_task
from ptviz.experiments.rate_grid import MOST_RATES, TUNING_SEEDS, next_rate
from ptviz.experiments.reference_record import (
    GRID,
    KINDS,
    TITLES,
    Kind,
    ReferenceRecord,
    ReferenceResult,
    describe_source,
    used_settings,
)
from ptviz.methods.base import MethodTensor, PromptMethod
from ptviz.methods.card import MethodCard
from ptviz.prompt import Batch, Prompt
from ptviz.runs.backbone_files import backbone_digest
from ptviz.runs.config import RunConfig, task_label
from ptviz.runs.environment import source_commit
from ptviz.training.batches import EncodedExamples
from ptviz.training.config import TrainConfig
from ptviz.training.evaluation import evaluate, subsample_task
from ptviz.training.events import Finished
from ptviz.training.trainer import train

T = TypeVar("T")
LORA_RANK = 8


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
    task, source, files = load_run_task(config), describe_source(config), backbone_digest(config.backbone)
    with torch.random.fork_rng():
        torch.manual_seed(training.seed)
        frozen = load_backbone(config.backbone, config.device, training.dtype)
        # The read-out stays what it was: label descriptions are not encoded again by the changing weights.
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
                task.metric, source_commit(), used_settings(training), source, files,
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


def get_in_steps(
    record: ReferenceRecord, kind: Kind, config: RunConfig, on_start: Callable[[str], None] | None = None
) -> Generator[None, None, ReferenceResult]:
    """Return the result of a kind, trained and saved if it is missing, pausing between the steps of the training.

    Raises:
        ValueError: for an unknown kind.
        StoreError: if the record cannot be written.
    """
    if (found := record.find(kind, config)) is not None:
        return found
    rated, tuned = record.with_rate(kind, config)
    if on_start is not None:
        seed, rate = rated.training.seed, rated.training.lr
        on_start(f"{TITLES[kind]}, {task_label(rated.task)}, seed {seed}, rate {rate:g}")
    found = yield from train_in_steps(kind, rated, tuned)
    record.add(found)
    return found


def get_reference(
    record: ReferenceRecord, kind: Kind, config: RunConfig, on_start: Callable[[str], None] | None = None
) -> ReferenceResult:
    """Return the result of a kind as ``get_in_steps`` does, without pauses.

    Raises:
        ValueError: for an unknown kind.
        StoreError: if the record cannot be written.
    """
    return _run_to_end(get_in_steps(record, kind, config, on_start))


def train_missing(kinds: Iterable[Kind], configs: Sequence[RunConfig]) -> Iterator[None]:
    """Train the references of a comparison that are missing, each saved when it is done, pausing between the steps.

    Raises:
        ValueError: if a task or a backbone cannot be loaded, or a library is missing.
        StoreError: if the record is damaged or cannot be written.
    """
    record = ReferenceRecord()
    for kind in kinds:
        for config in configs:
            yield from get_in_steps(record, kind, config)


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
                    get_reference(record, kind, replace(config, training=training), on_start)
        more = next_rate(record.tuning_means(kind, backbone))
        if more is None or len(rates) >= MOST_RATES:
            return record.best_rate(kind, backbone)[0]
        rates = sorted([*rates, more])


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
