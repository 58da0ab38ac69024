"""Training as an iterator of events, which can be recorded, limited and closed like any iterator."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ptviz.backbones import Backbone
from ptviz.methods import method_uses_source_tasks
from ptviz.methods.base import PromptMethod, Stage
from ptviz.methods.source_prompt import SourcePrompt
from ptviz.methods.survey_methods import build_method
from ptviz.prompt import Output, Prompt
from ptviz.tasks import SplitName, Task, default_source_tasks, load_task
from ptviz.training.baselines import SHOWN_EXAMPLES, majority_score, measure_baselines, shown_texts
from ptviz.training.batches import EncodedExamples, expand_references, labels_as_read
from ptviz.training.cma_es import CMAESOptimizer
from ptviz.training.config import TrainConfig
from ptviz.training.default_lr import default_learning_rate
from ptviz.training.distinct_labels import check_label_texts
from ptviz.training.errors import TrainingError
from ptviz.training.evaluation import clone_state, evaluate, subsample_task
from ptviz.training.events import (
    Baselines,
    Evaluated,
    Event,
    Finished,
    Snapshot,
    SourcePromptReady,
    StageStarted,
    StepCompleted,
)
from ptviz.training.merged_prompt import merge_large_prompt
from ptviz.training.mixture import TaskBatch, TaskMixture
from ptviz.training.optimizers import GradientOptimizer, Optimizer
from ptviz.training.several_targets import check_targets, mark_best, mean_event
from ptviz.training.source_prompts import (
    SOURCE_METHOD,
    build_source_method,
    check_unique_names,
    make_source_config,
    make_source_prompt,
)
from ptviz.training.stage_context import make_stage_context
from ptviz.training.stage_steps import count_stage_steps

OPTIMIZER_CLASSES: dict[str, Callable[[PromptMethod, Stage, TrainConfig, float, int], Optimizer]] = {
    "gradient": GradientOptimizer,
    "evolution": CMAESOptimizer,
}
"""Optimisers by the name in ``Stage.optimiser``."""
HOOK_STEPS = 25
"""Most steps between two calls of a stage's ``on_epoch``: a short run may never see the end of its first epoch."""


@dataclass(frozen=True)
class ResumePoint:
    """The state to resume from: three fields of a Snapshot event."""

    method: Mapping[str, Tensor]
    resume: Mapping[str, Tensor]
    progress: Mapping[str, Any]


@dataclass
class TrainingProgress:
    """The counters of a run during training."""

    stage: int = 0
    step: int = 0
    best_accuracy: float = -1.0
    best_loss: float = math.inf
    best_stage: int = 0
    best_step: int = 0
    top_accuracy: float = -1.0
    stale: int = 0
    seconds: float = 0.0
    stepping: float = 0.0
    made: int = 0


def train(
    method: str | PromptMethod,
    backbone: Backbone,
    task: Task,
    config: TrainConfig | None = None,
    *,
    hyperparameters: Mapping[str, Any] | None = None,
    resume: ResumePoint | None = None,
    baselines: Baselines | None = None,
    sources: Sequence[Task] | None = None,
    source_prompts: Mapping[str, SourcePrompt] | None = None,
    more_tasks: Sequence[Task] = (),
    **settings: Any,
) -> Iterator[Event]:
    """Train a prompt on a frozen backbone and yield events as they happen.

    ``method`` is a registry name (built with ``hyperparameters`` and the config's seed) or a method to train further.
    ``settings`` are fields of ``TrainConfig``, for callers without one. ``more_tasks`` are further target tasks, for a
    method whose targets can share a part; scores are then means over the targets (see ``several_targets``).

    The first event after the stage's start is the first step; baselines follow, unless ``baselines`` gives them. One
    seed gives the same result, bit for bit, on one machine: the randomness of step t depends only on (seed, stage, t),
    so a resumed run repeats it.

    Yields:
        StageStarted, StepCompleted, Baselines, Evaluated and Snapshot as they come; Finished last.

    Raises:
        ValueError: for a bad setting or hyperparameter, labels that are the same tokens, or several target tasks for a
            method that trains one, before anything runs.
        TrainingError: if the loss is no longer a number.
    """
    config = TrainConfig.from_json(settings) if config is None else config
    transfers = method.uses_source_tasks if isinstance(method, PromptMethod) else method_uses_source_tasks(method)
    if sources and not transfers:
        raise ValueError(f"{method} does not learn from source tasks; got {len(sources)}: leave them out")
    if sources is None:
        sources = _default_sources(task, more_tasks) if transfers else []
    targets = (task, *more_tasks)
    check_unique_names(sources)
    check_targets(method if isinstance(method, str) else method.card.name, targets, sources)
    for one in (*targets, *sources):
        check_label_texts(one, backbone.tokeniser)
    if isinstance(method, str):
        names = tuple(source.name for source in sources)
        spec = backbone.make_spec(config.length, labels_as_read(task, backbone), names, len(targets))
        method = build_method(method, spec, hyperparameters or {}, config.seed)
    lr = config.lr or default_learning_rate(method.card.name, backbone.name)
    own, prompts = tuple(subsample_task(one, config) for one in targets), dict(source_prompts or {})
    return _TrainingLoop(method, backbone, own, config, lr, resume, baselines, tuple(sources), prompts).run()


def _default_sources(task: Task, others: Sequence[Task]) -> list[Task]:
    names = [other.name for other in others]
    found = default_source_tasks(task.name, task.family, others=names, writes=task.kind == "text")
    return [load_task(name) for name in found]


@contextmanager
def step_rng(seed: int, stage: int, step: int, device: torch.device) -> Iterator[None]:
    """Seed the random numbers of one step from (seed, stage, step); torch's global state is restored."""
    with torch.random.fork_rng(devices=[device.index or 0] if device.type == "cuda" else []):
        torch.manual_seed(((seed * 1_000_003 + stage) * 1_000_003 + step) % 2**63)  # torch accepts 64 bits
        yield


@dataclass
class _TrainingLoop:
    method: PromptMethod
    backbone: Backbone
    targets: tuple[Task, ...]
    config: TrainConfig
    lr: float
    resume_point: ResumePoint | None
    baselines: Baselines | None
    sources: tuple[Task, ...] = ()
    source_prompts: dict[str, SourcePrompt] = field(default_factory=dict)
    progress: TrainingProgress = field(default_factory=TrainingProgress)

    def __post_init__(self) -> None:
        self.best_state: dict[str, Tensor] = {}
        self.validation_examples = self.encode_split("validation", self.method.slots)
        if self.resume_point is not None:
            self.method.load_state_dict(dict(self.resume_point.method))
            progress = self.resume_point.progress
            # Earlier versions did not say which stage the best prompt is of.
            self.progress = TrainingProgress(**{"best_stage": progress.get("stage", 0), **progress})
            self.best_state = {
                n.removeprefix("best/"): t for n, t in self.resume_point.resume.items() if n.startswith("best/")
            }
        self.start_time = time.perf_counter() - self.progress.seconds

    def encode_split(self, split: SplitName, slots: int) -> list[EncodedExamples]:
        return [
            EncodedExamples(self.backbone, task, task.examples(split), slots, self.config.length, index)
            for index, task in enumerate(self.targets, len(self.sources))
        ]

    def encode_training_rows(self, task: Task, index: int) -> EncodedExamples:
        rows = expand_references(task.train)
        return EncodedExamples(self.backbone, task, rows, self.method.slots, self.config.length, index)

    def make_mixture(self, stage: Stage) -> TaskMixture:
        """Return the examples of a stage: those of each source task in order, then the targets'."""
        tasks: list[tuple[int, Task]] = []
        if stage.tasks != "target":
            # A limit of examples per class applies to the target only, unless the method learns from few of each.
            source_config = make_source_config(self.config)
            if stage.few_shot_sources:
                source_config = replace(source_config, shots=self.config.shots)
            tasks += [(index, subsample_task(task, source_config)) for index, task in enumerate(self.sources)]
        if stage.tasks != "sources":
            tasks += enumerate(self.targets, len(self.sources))
        if not tasks:
            raise ValueError(f"stage {stage.name!r} of {self.method.card.title} needs source tasks; there are none")
        encoded = [self.encode_training_rows(task, index) for index, task in tasks]
        return TaskMixture(encoded, stage.mixture, self.config.task_temperature if stage.tasks == "target" else 1.0)

    def train_source_prompts(self) -> Iterator[SourcePromptReady]:
        """Train the missing source prompts."""
        config = make_source_config(self.config)
        for task in self.sources:
            if task.name in self.source_prompts:
                continue
            prompt = train_source_prompt(self.backbone, task, self.method.slots, config)
            self.source_prompts[task.name] = prompt
            yield SourcePromptReady(task.name, "", prompt.accuracy, False)

    def update_elapsed(self) -> float:
        self.progress.seconds = time.perf_counter() - self.start_time
        return self.progress.seconds

    def run(self) -> Iterator[Event]:
        stages = self.method.stages()
        steps = count_stage_steps(stages, self.config)
        if self.method.needs_source_prompts and self.resume_point is None:
            yield from self.train_source_prompts()
        for index in range(self.progress.stage, len(stages)):
            self.progress.stage = index
            yield from self.run_stage(index, stages[index], steps[index])
            self.resume_point = None
        yield self.finish("no better validation score for a while" if self.should_stop_early() else "all steps done")

    def run_stage(self, index: int, stage: Stage, steps: int) -> Iterator[Event]:
        config, progress = self.config, self.progress
        yield StageStarted(index, stage.name, steps)
        if self.resume_point is None:
            progress.step, progress.stale = 0, 0
            if not stage.keeps_previous_best:
                # Each stage has its own best prompt; the last stage's is the result.
                progress.best_accuracy, progress.best_loss, progress.top_accuracy = -1.0, math.inf, -1.0
        rows = self.make_mixture(stage)
        found = self.source_prompts if index == 0 else {}
        prompts = [found[task.name] for task in self.sources if task.name in found]
        context = make_stage_context(self.method, stage, rows, config, self.validation_examples, prompts, steps)
        if self.resume_point is None and stage.on_start is not None:
            with step_rng(config.seed, index, 0, self.backbone.device):
                stage.on_start(context)
        optimizer = self.make_optimizer(stage, steps)
        reported_step = self.restore_optimizer(optimizer)
        every = min(max(1, -(-len(rows) // config.batch)), HOOK_STEPS)
        while progress.step < steps:
            # A snapshot is taken after the hook of its step, so a run resumed there does not repeat the hook.
            if stage.on_epoch is not None and progress.step % every == 0 and progress.step != reported_step:
                with step_rng(config.seed, index, progress.step, self.backbone.device):
                    stage.on_epoch(context)
            yield self.run_step(index, stage, optimizer, rows)
            if self.baselines is None or progress.made == 0:
                self.baselines = self.baselines or mean_event(
                    [measure_baselines(self.backbone, task, config) for task in self.targets]
                )
                yield self.baselines
            if progress.step != reported_step:
                yield from self.evaluate_and_snapshot(index, stage, optimizer)
            if self.should_stop_early():
                break
            optimizer.step(progress.step)
            progress.step += 1
            progress.made += 1
        if progress.step == steps and progress.step != reported_step and stage.tasks != "sources":
            yield self.run_evaluation(index)
        yield self.make_snapshot(index, optimizer)

    def make_optimizer(self, stage: Stage, steps: int) -> Optimizer:
        config, lr = self.config, self.lr
        if stage.as_source:
            config, steps = make_source_config(config), config.source_steps
            lr = default_learning_rate(SOURCE_METHOD, self.backbone.name)
        return OPTIMIZER_CLASSES[stage.optimiser](self.method, stage, config, lr, steps)

    def restore_optimizer(self, optimizer: Optimizer) -> int:
        """Restore the optimiser's state; return the step already reported, -1 for a new stage."""
        if self.resume_point is None:
            return -1
        state = {n: t for n, t in self.resume_point.resume.items() if n.startswith("optimiser/")}
        optimizer.load_state_dict({name.removeprefix("optimiser/"): tensor for name, tensor in state.items()})
        return self.progress.step

    def run_step(self, index: int, stage: Stage, optimizer: Optimizer, rows: TaskMixture) -> StepCompleted:
        began, progress = time.perf_counter(), self.progress
        self.method.train()
        parts = rows.step_batches(progress.step, self.config.batch, self.config.seed)

        def objective() -> tuple[Tensor, Prompt, Output]:
            return mean_objective(parts, stage)

        dropout = self.backbone.dropout(self.config.backbone_dropout == "on")
        with step_rng(self.config.seed, index, progress.step, self.backbone.device), dropout:
            loss, prompt, _ = optimizer.compute_loss(objective)
        value = float(loss)
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss became {value} at step {progress.step} with learning rate "
                f"{optimizer.learning_rate(progress.step):g}; try a tenth of it, or clip gradients at 1"
            )
        progress.stepping += time.perf_counter() - began
        lr, norm, load = optimizer.learning_rate(progress.step), optimizer.gradient_norm, routing_load(prompt)
        return StepCompleted(index, progress.step, value, lr, norm, self.update_elapsed(), load)

    def evaluate_and_snapshot(self, index: int, stage: Stage, optimizer: Optimizer) -> Iterator[Event]:
        better = False
        if stage.tasks != "sources" and self.progress.step % self.config.evaluate_every == 0:
            evaluated = self.run_evaluation(index)
            better = evaluated.best
            yield evaluated
        # A finished run predicts with its best prompt, which is therefore always among the snapshots.
        if better or self.progress.step % self.config.snapshot_every == 0:
            yield self.make_snapshot(index, optimizer)

    def run_evaluation(self, index: int) -> Evaluated:
        found, progress = [evaluate(self.method, rows) for rows in self.validation_examples], self.progress
        step, seconds = progress.step, self.update_elapsed()
        shown = [shown_texts(one.written[:SHOWN_EXAMPLES]) for one in found]
        evaluated = mean_event([
            Evaluated(index, step, one.loss, one.score, False, seconds, written)
            for one, written in zip(found, shown, strict=True)
        ])  # fmt: skip
        margin = math.hypot(*(one.margin for one in found)) / len(found)
        if not self.is_better(evaluated, margin):
            progress.stale += 1
            return evaluated
        progress.best_accuracy, progress.best_loss = evaluated.accuracy, evaluated.loss
        progress.best_stage, progress.best_step = index, step
        progress.stale, self.best_state = 0, clone_state(self.method.state_dict())
        return mark_best(evaluated)

    def is_better(self, evaluated: Evaluated, margin: float) -> bool:
        """Return whether this is the best prompt so far: the one of the lowest loss within ``margin`` of the top score.

        Without a margin that is the one of the highest score, and of equal ones that of the lower loss. NaN is no best.
        """
        progress = self.progress
        progress.top_accuracy = max(progress.top_accuracy, progress.best_accuracy, evaluated.accuracy)
        lowest = progress.top_accuracy - margin
        lower_loss = evaluated.loss < progress.best_loss or progress.best_accuracy < lowest
        return evaluated.accuracy >= lowest and lower_loss

    def should_stop_early(self) -> bool:
        return 0 < self.config.patience <= self.progress.stale

    def make_snapshot(self, index: int, optimizer: Optimizer) -> Snapshot:
        self.update_elapsed()
        optimiser = {f"optimiser/{name}": tensor for name, tensor in optimizer.state_dict().items()}
        best = {f"best/{name}": tensor for name, tensor in self.best_state.items()}
        state = clone_state(self.method.state_dict())
        rest = {**optimiser, **best}, asdict(self.progress), merge_large_prompt(self.method)
        return Snapshot(index, self.progress.step, state, *rest)

    def finish(self, reason: str) -> Finished:
        progress = self.progress
        if self.best_state:
            self.method.load_state_dict(self.best_state)
        scores = [evaluate(self.method, rows) for rows in self.encode_split("test", self.method.slots)]
        bare = [evaluate(None, rows) for rows in self.encode_split("test", 0)]
        seconds = self.update_elapsed()
        speed = progress.made / max(progress.stepping, 1e-9)
        validation = [progress.best_accuracy]
        if len(self.targets) > 1:  # The run's best score is their mean.
            validation = [evaluate(self.method, rows).score for rows in self.validation_examples]
        return mean_event([
            Finished(
                best, own.score, own.loss, majority_score(task, "test"), without.score, progress.best_step,
                progress.made, seconds, speed, reason, progress.best_stage,
            )
            for task, best, own, without in zip(self.targets, validation, scores, bare, strict=True)
        ])  # fmt: skip


def train_source_prompt(backbone: Backbone, task: Task, m: int, config: TrainConfig) -> SourcePrompt:
    """Train a source prompt of m tokens; ``config`` is that of the source prompts, see ``make_source_config``."""
    method = build_source_method(backbone, task, m, config)
    path: dict[int, Mapping[str, Tensor]] = {}
    best, accuracy = {}, 0.0
    for event in train(method, backbone, task, config):
        if isinstance(event, Snapshot):
            path[event.step] = clone_state(event.method)
        if isinstance(event, Finished):
            best, accuracy = clone_state(method.state_dict()), event.validation
    return make_source_prompt(task.name, best, path, accuracy)


def mean_objective(parts: Sequence[TaskBatch], stage: Stage) -> tuple[Tensor, Prompt, Output]:
    """Return a stage's mean objective over the batches of one step, with the first batch's prompt and output.

    A batch whose output has no examples does not count. Of several batches with routing, the prompt holds the routing
    of all their rows, and nothing else.
    """
    if not parts:
        raise ValueError("expected at least one batch")
    found = [stage.objective(batch, rows.make_forward_fn(batch, stage.needs_hidden_states)) for rows, batch in parts]
    total = max(1, sum(len(output.nll) for _, _, output in found))
    loss = torch.zeros((), device=found[0][0].device)
    for part, _, output in found:
        loss = loss + part * (len(output.nll) / total)
    _, prompt, output = found[0]
    routings = [other.routing.detach() for _, other, _ in found if other.routing is not None]
    return loss, Prompt(routing=torch.cat(routings)) if len(routings) > 1 else prompt, output


def routing_load(prompt: Prompt) -> tuple[float, ...]:
    """Return the share of the rows with each expert or source as the top choice; empty for unrouted prompts."""
    if prompt.routing is None:
        return ()
    counts = torch.bincount(prompt.routing.detach().argmax(-1), minlength=prompt.routing.shape[1])
    shares: Sequence[float] = (counts / len(prompt.routing)).tolist()
    return tuple(shares)
