"""Training as an iterator of events: ``close()`` stops it, a ``for`` loop records it, ``islice`` tests it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from ptviz.backbones import Backbone
from ptviz.methods.base import PromptMethod, Stage, build, learns_from_sources
from ptviz.methods.source_prompts import SourcePrompt
from ptviz.prompt import Batch, Output, Prompt
from ptviz.tasks import Task, default_sources, load_task
from ptviz.training.batches import Rows, readout_of
from ptviz.training.cma_es import EvolutionStepper
from ptviz.training.config import TrainConfig
from ptviz.training.default_lr import default_rate
from ptviz.training.evaluation import baselines_of, clone, evaluate, limited
from ptviz.training.events import Baselines, Evaluated, Event, Finished, Snapshot, SourceReady, StageStarted, Stepped
from ptviz.training.mixture import Mixture, Part
from ptviz.training.optimizers import GradientStepper, Stepper
from ptviz.training.source_prompts import distinct, source_config, source_method, source_prompt
from ptviz.training.stage_context import probe
from ptviz.training.stage_steps import stage_steps

STEPPERS: dict[str, Callable[[PromptMethod, Stage, TrainConfig, float, int], Stepper]] = {
    "gradient": GradientStepper,
    "evolution": EvolutionStepper,
}
"""Ways to make an update, by the word a Stage uses."""


class TrainingError(RuntimeError):
    """Training cannot go on: why, and what to do."""


@dataclass(frozen=True)
class Resume:
    """Where to go on: the three fields of a Snapshot."""

    method: Mapping[str, Tensor]
    resume: Mapping[str, Tensor]
    progress: Mapping[str, Any]


@dataclass
class Progress:
    """The plain numbers of a run under way."""

    stage: int = 0
    step: int = 0
    best_accuracy: float = -1.0
    best_loss: float = math.inf
    best_step: int = 0
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
    knobs: Mapping[str, Any] | None = None,
    resume: Resume | None = None,
    baselines: Baselines | None = None,
    sources: Sequence[Task] | None = None,
    library: Mapping[str, SourcePrompt] | None = None,
    **settings: Any,
) -> Iterator[Event]:
    """Train a prompt on a frozen backbone, telling what happens as it happens.

    ``method`` is a registry name (built with ``knobs`` and the config's seed) or a method to go on with. ``settings``
    are fields of ``TrainConfig``, for callers without one. The first event after the stage's start is the first step;
    baselines follow (``baselines`` given: told, not measured again). The same seed gives the same numbers, bit for
    bit, on the same machine: the randomness of step t depends on (seed, stage, t) alone, so a resumed run repeats it.

    Yields:
        StageStarted, Stepped, Baselines, Evaluated and Snapshot as they come; Finished last.

    Raises:
        ValueError: for a bad setting or knob, before anything runs.
        TrainingError: if the loss is no longer a number.
    """
    config = TrainConfig.from_json(settings) if config is None else config
    transfers = method.transfers if isinstance(method, PromptMethod) else learns_from_sources(method)
    if sources and not transfers:
        raise ValueError(f"{method} does not learn from source tasks; got {len(sources)}: leave them out")
    if sources is None:
        sources = [load_task(name) for name in default_sources(task.name, task.family)] if transfers else []
    distinct(sources)
    if isinstance(method, str):
        spec = backbone.spec(config.length, tuple(task.words)).with_sources(tuple(source.name for source in sources))
        method = build(method, spec, knobs or {}, config.seed)
    rate = config.lr or default_rate(method.card.name, backbone.name)
    training = _Training(
        method, backbone, limited(task, config), config, rate, resume, baselines, tuple(sources), dict(library or {})
    )
    return training.events()


@contextmanager
def randomness(seed: int, stage: int, step: int, device: torch.device) -> Iterator[None]:
    """Random numbers of one step: a function of (seed, stage, step), with torch's global state untouched."""
    with torch.random.fork_rng(devices=[device.index or 0] if device.type == "cuda" else []):
        torch.manual_seed(((seed * 1_000_003 + stage) * 1_000_003 + step) % 2**63)  # torch takes 64 bits
        yield


@dataclass
class _Training:
    method: PromptMethod
    backbone: Backbone
    task: Task
    config: TrainConfig
    lr: float
    resumed: Resume | None
    baselines: Baselines | None
    sources: tuple[Task, ...] = ()
    library: dict[str, SourcePrompt] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        self.best: dict[str, Tensor] = {}
        self.validation = self.rows("validation", self.method.slots)
        if self.resumed is not None:
            self.method.load_state_dict(dict(self.resumed.method))
            self.progress = Progress(**self.resumed.progress)
            self.best = {n.removeprefix("best/"): t for n, t in self.resumed.resume.items() if n.startswith("best/")}
        self.began = time.perf_counter() - self.progress.seconds

    def rows(self, split: str, slots: int) -> Rows:
        chosen = getattr(self.task, split)
        return Rows(self.backbone, self.task, chosen, slots, self.config.length, readout_of(self.backbone, self.task))

    def mixture(self, stage: Stage) -> Mixture:
        """The rows that a stage sees: each source's in its place, the target's after them."""
        tasks: list[tuple[int, Task]] = []
        if stage.tasks != "target":
            # Few shots of the target are what transfer is for; the sources have all their rows.
            rich = source_config(self.config)
            tasks += [(index, limited(task, rich)) for index, task in enumerate(self.sources)]
        if stage.tasks != "sources":
            tasks.append((len(self.sources), self.task))
        if not tasks:
            raise ValueError(f"stage {stage.name!r} of {self.method.card.title} needs source tasks; there are none")
        backbone, slots, length = self.backbone, self.method.slots, self.config.length
        return Mixture(
            [Rows(backbone, t, t.train, slots, length, readout_of(backbone, t), index) for index, t in tasks],
            stage.mixture,
        )

    def gather(self) -> Iterator[SourceReady]:
        """Train the source prompts that the library lacks."""
        config = source_config(self.config)
        for task in self.sources:
            if task.name in self.library:
                continue
            made = learn_source(self.backbone, task, self.method.slots, config)
            self.library[task.name] = made
            yield SourceReady(task.name, "", made.accuracy, False)

    def elapsed(self) -> float:
        self.progress.seconds = time.perf_counter() - self.began
        return self.progress.seconds

    def events(self) -> Iterator[Event]:
        stages = self.method.stages()
        steps = stage_steps(stages, self.config)
        if self.method.library and self.resumed is None:
            yield from self.gather()
        for index in range(self.progress.stage, len(stages)):
            self.progress.stage = index
            yield from self.stage(index, stages[index], steps[index])
            self.resumed = None
        yield self.finish("no better validation accuracy for a while" if self.out_of_patience() else "all steps done")

    def stage(self, index: int, stage: Stage, steps: int) -> Iterator[Event]:
        config, progress = self.config, self.progress
        yield StageStarted(index, stage.name, steps)
        if self.resumed is None:
            progress.step, progress.stale = 0, 0
            if not stage.rivals:
                # Each stage finds its own best: what counts is the prompt the last one leaves.
                progress.best_accuracy, progress.best_loss = -1.0, math.inf
        rows = self.mixture(stage)
        library = self.library if index == 0 else {}
        prompts = [library[task.name] for task in self.sources if task.name in library]
        look = probe(self.method, stage, rows, config, self.validation, prompts)
        if self.resumed is None and stage.enter is not None:
            with randomness(config.seed, index, 0, self.backbone.device):
                stage.enter(look)
        stepper = STEPPERS[stage.optimiser](self.method, stage, config, self.lr, steps)
        told = self.go_on(stepper)
        per_epoch = max(1, -(-len(rows) // config.batch))
        while progress.step < steps:
            # A snapshot is taken after its step's hook: a run that goes on from there has had it.
            if stage.epoch is not None and progress.step % per_epoch == 0 and progress.step != told:
                with randomness(config.seed, index, progress.step, self.backbone.device):
                    stage.epoch(look)
            yield self.step(index, stage, stepper, rows)
            if self.baselines is None or progress.made == 0:
                self.baselines = self.baselines or baselines_of(self.backbone, self.task, config)
                yield self.baselines
            if progress.step != told:
                yield from self.looks(index, stage, stepper)
            if self.out_of_patience():
                break
            stepper.update(progress.step)
            progress.step += 1
            progress.made += 1
        if progress.step == steps and progress.step != told and stage.tasks != "sources":
            yield self.evaluated(index)
        yield self.snapshot(index, stepper)

    def go_on(self, stepper: Stepper) -> int:
        """Give the optimiser its state back; the step that was told already, -1 for a stage from its start."""
        if self.resumed is None:
            return -1
        stepper.load(
            {n.removeprefix("optimiser/"): t for n, t in self.resumed.resume.items() if n.startswith("optimiser/")}
        )
        return self.progress.step

    def step(self, index: int, stage: Stage, stepper: Stepper, rows: Mixture) -> Stepped:
        began, progress = time.perf_counter(), self.progress
        self.method.train()
        parts = rows.parts(progress.step, self.config.batch, self.config.seed)
        batch = parts[0][1]

        def objective() -> tuple[Tensor, Prompt, Output]:
            return over(parts, stage)

        with randomness(self.config.seed, index, progress.step, self.backbone.device):
            loss, prompt, _ = stepper.measure(objective)
        value = float(loss)
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss became {value} at step {progress.step} with learning rate {stepper.rate(progress.step):g}; "
                "try a tenth of that rate, or clip gradients at 1"
            )
        progress.stepping += time.perf_counter() - began
        rate = stepper.rate(progress.step)
        return Stepped(index, progress.step, value, rate, stepper.norm, self.elapsed(), load(batch, prompt))

    def looks(self, index: int, stage: Stage, stepper: Stepper) -> Iterator[Event]:
        better = False
        if stage.tasks != "sources" and self.progress.step % self.config.evaluate_every == 0:
            seen = self.evaluated(index)
            better = seen.best
            yield seen
        # The best prompt is what a finished run answers with: whoever looks at its steps finds that one among them.
        if better or self.progress.step % self.config.snapshot_every == 0:
            yield self.snapshot(index, stepper)

    def evaluated(self, index: int) -> Evaluated:
        scores, progress = evaluate(self.method, self.validation), self.progress
        better = (scores.accuracy, -scores.loss) > (progress.best_accuracy, -progress.best_loss)
        if better:
            progress.best_accuracy, progress.best_loss, progress.best_step = scores.accuracy, scores.loss, progress.step
            self.best = clone(self.method.state_dict())
        progress.stale = 0 if better else progress.stale + 1
        return Evaluated(index, progress.step, scores.loss, scores.accuracy, better, self.elapsed())

    def out_of_patience(self) -> bool:
        return 0 < self.config.patience <= self.progress.stale

    def snapshot(self, index: int, stepper: Stepper) -> Snapshot:
        self.elapsed()
        optimiser = {f"optimiser/{name}": tensor for name, tensor in stepper.state().items()}
        best = {f"best/{name}": tensor for name, tensor in self.best.items()}
        return Snapshot(
            index, self.progress.step, clone(self.method.state_dict()), {**optimiser, **best}, asdict(self.progress)
        )

    def finish(self, reason: str) -> Finished:
        progress = self.progress
        if self.best:
            self.method.load_state_dict(self.best)
        scores = evaluate(self.method, self.rows("test", self.method.slots))
        bare = evaluate(None, self.rows("test", 0))
        seconds = self.elapsed()
        return Finished(
            progress.best_accuracy, scores.accuracy, scores.loss, self.task.majority("test"), bare.accuracy,
            progress.best_step, progress.made, seconds, progress.made / max(progress.stepping, 1e-9), reason,
        )  # fmt: skip


def learn_source(backbone: Backbone, task: Task, m: int, config: TrainConfig) -> SourcePrompt:
    """Train a source prompt of m tokens; ``config`` is that of the source prompts, see ``source_config``."""
    method = source_method(backbone, task, m, config)
    last, best, accuracy = dict(method.state_dict()), {}, 0.0
    for event in train(method, backbone, task, config):
        if isinstance(event, Snapshot):
            last = dict(event.method)
        if isinstance(event, Finished):
            best, accuracy = clone(method.state_dict()), event.validation
    return source_prompt(task.name, best, last, accuracy)


def over(parts: Sequence[Part], stage: Stage) -> tuple[Tensor, Prompt, Output]:
    """A stage's objective over the batches of one step: the mean over rows; prompt and answer of the first batch."""
    total = sum(len(batch) for _, batch in parts)
    loss, first = torch.zeros(()), None
    for rows, batch in parts:
        part, prompt, output = stage.objective(batch, rows.run(batch, stage.hidden))
        loss = loss.to(part.device) + part * (len(batch) / total)
        first = first or (prompt, output)
    if first is None:
        raise ValueError("expected at least one batch")
    return loss, *first


def load(batch: Batch, prompt: Prompt) -> tuple[float, ...]:
    """The share of the batch that each expert or source got most of; empty for unrouted prompts."""
    if prompt.routing is None:
        return ()
    counts = torch.bincount(prompt.routing.detach().argmax(-1), minlength=prompt.routing.shape[1])
    shares: Sequence[float] = (counts / len(batch)).tolist()
    return tuple(shares)
