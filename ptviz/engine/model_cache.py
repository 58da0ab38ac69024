"""Cache of models and tasks in memory, so that a second run starts at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cachetools import LRUCache

from ptviz.paths import expand_user
from ptviz.runs.backbone_files import backbone_signature
from ptviz.runs.config import RunConfig
from ptviz.training.config import TrainConfig
from ptviz.training.several_targets import mean_event

if TYPE_CHECKING:
    from torch import Tensor

    from ptviz.backbones import Backbone
    from ptviz.methods.base import PromptMethod
    from ptviz.tasks import Task
    from ptviz.training import Baselines, Event, ResumePoint

T = TypeVar("T")


class _TrainFunction(Protocol):
    def __call__(
        self,
        method: PromptMethod,
        backbone: Backbone,
        task: Task,
        config: TrainConfig,
        *,
        resume: ResumePoint | None,
        baselines: Baselines | None,
        **transfer: Any,
    ) -> Iterable[Event]: ...


class _PredictFunction(Protocol):
    def __call__(
        self, method: PromptMethod | None, backbone: Backbone, task: Task, texts: list[str], length: int
    ) -> Tensor: ...


@dataclass(frozen=True)
class Backend:
    """The functions that train and evaluate a run; tests may replace them."""

    load_backbone: Callable[[str, str | None, str], Backbone]
    load_task: Callable[[RunConfig], Task]
    build_method: Callable[[RunConfig, Backbone, Task], PromptMethod]
    train: _TrainFunction
    predict: _PredictFunction

    @classmethod
    def default(cls) -> Backend:
        """Return the library's own functions."""
        from ptviz.backbones import load_backbone
        from ptviz.training import predict, train

        return cls(load_backbone, load_run_task, build_run_method, train, predict)


def load_run_task(config: RunConfig) -> Task:
    """Return the task that a run trains on.

    Raises:
        TaskError: if it cannot be had.
    """
    from ptviz.tasks import load_task

    return load_task(config.task, text=config.text, label=config.label, options=config.table)


def build_run_method(config: RunConfig, backbone: Backbone, task: Task) -> PromptMethod:
    """Build the untrained method of a run for a backbone and its first task.

    Raises:
        ValueError: for a bad hyperparameter, or an infix of a method that has no soft tokens in the input.
    """
    from ptviz.methods import build_method
    from ptviz.training.batches import labels_as_read

    sources = config.source_tasks(task.family)
    words = labels_as_read(task, backbone)
    spec = backbone.make_spec(config.training.length, words, sources, len(config.targets))
    method = build_method(config.method, spec, config.hyperparameters, config.training.seed)
    if task.place != "prefix" and not method.slots:
        raise ValueError(
            f"place: {method.card.title} has keys and values and no soft tokens in the input: leave the infix out"
        )
    return method


def get_or_create(cache: LRUCache[Hashable, T], key: Hashable, make: Callable[[], T]) -> T:
    """Return the value under a key, made and cached first if there is none."""
    if key not in cache:
        # Free memory first: three large backbones may not fit at once.
        if cache.currsize >= cache.maxsize:
            cache.popitem()
        cache[key] = make()
    return cache[key]


class ModelCache:
    """Backbones, tasks, baselines and answers without a prompt, loaded or measured once."""

    def __init__(self, engine: Backend | None = None) -> None:
        self.backend = engine or Backend.default()
        self._backbones: LRUCache[Hashable, Backbone] = LRUCache(2)
        self._tasks: LRUCache[Hashable, Task] = LRUCache(6)
        self._fingerprints: LRUCache[Hashable, str] = LRUCache(6)
        self._baselines: LRUCache[Hashable, Baselines] = LRUCache(256)
        self._zero_shot: LRUCache[Hashable, list[Any]] = LRUCache(16)

    def backbone(self, config: RunConfig) -> Backbone:
        """Return the run's backbone on its device; one in a local folder that changed is loaded again."""
        asked = config.backbone, config.device, config.training.dtype
        key = *asked, backbone_signature(config.backbone)
        return get_or_create(self._backbones, key, lambda: self.backend.load_backbone(*asked))

    def task(self, config: RunConfig) -> Task:
        """Return the run's task, the first of several; a file that changed is read again."""
        return get_or_create(self._tasks, _task_key(config), partial(self.backend.load_task, config))

    def target_tasks(self, config: RunConfig) -> list[Task]:
        """Return the target tasks of a run, in order."""
        return [self.task(config.for_target(index)) for index in range(len(config.targets))]

    def source_tasks(self, config: RunConfig) -> list[Task]:
        """Return the source tasks of a run, in order."""
        names = config.source_tasks(self.task(config).family)
        plain = replace(config, more_tasks=(), text=None, label=None, table=config.table.for_every_task())
        return [self.task(replace(plain, task=name)) for name in names]

    def baselines(self, config: RunConfig) -> Baselines | None:
        """Return the cached baselines on the run's validation examples, or None."""
        keys = [self._baselines_key(config.for_target(index)) for index in range(len(config.targets))]
        found = [known for key in keys if (known := self._baselines.get(key)) is not None]
        return mean_event(found) if len(found) == len(keys) else None

    def save_baselines(self, config: RunConfig, baselines: Baselines) -> None:
        """Cache baselines for runs on the same examples."""
        for index, own in enumerate(baselines.tasks or (baselines,)):
            self._baselines[self._baselines_key(config.for_target(index))] = own

    def _baselines_key(self, config: RunConfig) -> Hashable:
        t = config.training
        return self._examples_key(config), t.train_rows, t.validation_rows, t.shots, t.seed

    def zero_shot_answers(self, config: RunConfig) -> list[Any] | None:
        """Return the cached answers without a prompt to the test examples of a run on one task, or None."""
        return self._zero_shot.get(self._answers_key(config))

    def save_zero_shot_answers(self, config: RunConfig, answers: list[Any]) -> None:
        """Cache the answers without a prompt for runs on the same test examples."""
        self._zero_shot[self._answers_key(config)] = answers

    def _answers_key(self, config: RunConfig) -> Hashable:
        t = config.training
        # A generated text may be as long as the longest target of the training examples, which these settings choose.
        drawn = (t.train_rows, t.shots, t.seed) if self.task(config).kind == "text" else ()
        return self._examples_key(config), t.test_rows, drawn

    def _examples_key(self, config: RunConfig) -> Hashable:
        content = get_or_create(self._fingerprints, _task_key(config), self.task(config).fingerprint)
        backbone = config.backbone, backbone_signature(config.backbone)
        return *backbone, config.device, config.training.dtype, content, config.training.length

    def clear(self) -> None:
        """Free all models and tasks."""
        for cache in (self._backbones, self._tasks, self._fingerprints):
            cache.clear()


def _task_key(config: RunConfig) -> Hashable:
    path = expand_user(config.task)
    try:
        stat = path.stat()
        changed = stat.st_mtime_ns, stat.st_size
    except OSError:
        changed = 0, 0
    return config.task, config.text, config.label, config.table, changed
