"""The settings of a run: everything needed to repeat it."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from ptviz.methods import check_target_count, list_methods, method_uses_source_tasks
from ptviz.methods.hyperparameters import STORED_KEY, HyperparameterValue
from ptviz.paths import expand_user
from ptviz.safe_text import safe_list, slug
from ptviz.tasks import TableOptions, default_source_tasks
from ptviz.tasks.custom.containers import is_table_name, table_stem
from ptviz.tasks.custom.table_options import DELIMITER_NAMES, format_words
from ptviz.training.config import PLANNED_STEPS_KEY, TrainConfig
from ptviz.training.default_lr import default_learning_rate
from ptviz.validation import InvalidData, Magnitude, Name, PathText, StageIndex, StepCount, convert_json

if TYPE_CHECKING:
    from ptviz.training.run_estimate import RunEstimate

HyperparameterField = Magnitude | Annotated[int, Meta(ge=-(10**15), le=10**15)] | Name | bool

_MAX_NAME_LENGTH = 120


@dataclass(frozen=True)
class RunConfig:
    """One run: ``method`` trained on ``task`` in front of ``backbone``.

    ``hyperparameters`` are the method's, by name. ``parent`` is (run id, stage, step) of the snapshot that a branch
    starts from. ``text`` and ``label`` name the columns of a user's own table; ``text`` may name several, with commas
    between them. ``device`` None selects one automatically. ``planned`` holds the total steps planned before each
    extension. ``sources`` are the source tasks of a transfer method, None for the defaults of the target's family.
    ``start`` is the id of the saved prompt (``ptviz.runs.saved_prompts``) that the run starts from. ``table`` says how
    a table is read and what task is made of it; it is stored only where it differs from the defaults. ``more_tasks``
    are further target tasks, trained together with ``task`` by a method whose targets share a part; stored only if
    there are any. Their tables have the usual columns.
    """

    backbone: PathText = "minilm-l6"
    task: PathText = "trec6"
    method: Name = "prompt-tuning"
    hyperparameters: Annotated[Mapping[Name, HyperparameterField], Meta(max_length=100)] = field(default_factory=dict)
    training: TrainConfig = field(default_factory=TrainConfig)
    name: Name = ""
    parent: tuple[Name, StageIndex, StepCount] | None = None
    text: Name | None = None
    label: Name | None = None
    device: Name | None = None
    planned: Annotated[tuple[StepCount, ...], Meta(max_length=1000)] = ()
    sources: Annotated[tuple[PathText, ...], Meta(max_length=100)] | None = None
    start: Name | None = None
    table: TableOptions = field(default_factory=TableOptions)
    more_tasks: Annotated[tuple[PathText, ...], Meta(max_length=99)] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """Return the target tasks of the run, in order; nearly always one."""
        return (self.task, *self.more_tasks)

    @property
    def task_names(self) -> str:
        """Return the target tasks as one text."""
        return ", ".join(self.targets)

    @property
    def task_labels(self) -> str:
        """Return the target tasks as one text to show: of a file on this machine its name alone."""
        return ", ".join(map(task_label, self.targets))

    def for_target(self, target: int) -> RunConfig:
        """Return the config of one target task of the run, counted from 0: the config itself if there is one."""
        if not self.more_tasks:
            return self
        sources = self.source_tasks() if method_uses_source_tasks(self.method) else None
        return replace(self, task=self.targets[target], more_tasks=(), sources=sources)

    def source_tasks(self, family: str = "") -> tuple[str, ...]:
        """Return the run's source tasks in order; empty for a method without transfer.

        ``family`` is the target's task family, used only if the task is not built in, and is the only target.
        """
        if not method_uses_source_tasks(self.method):
            return ()
        if self.sources is not None:
            return self.sources
        family, writes = "" if self.more_tasks else family, self.table.target is not None
        return default_source_tasks(self.task, family, others=self.more_tasks, writes=writes)

    def estimate(self) -> RunEstimate:
        """Return the estimated stages, sizes and time of the run, without loading a backbone.

        Raises:
            ValueError: for an unknown method or a bad hyperparameter.
        """
        from ptviz.training.run_estimate import estimate_run  # It builds the method, which needs torch.

        return estimate_run(
            self.method, self.backbone, self.task, self.training, self.hyperparameters,
            self.source_tasks() or None, targets=len(self.targets),
        )  # fmt: skip

    def checked(self) -> RunConfig:
        """Return the config with every hyperparameter present, of the right type and within its bounds.

        Raises:
            ValueError: for an unknown method or hyperparameter, a bad value, an empty backbone or task, or a long name.
        """
        if self.method not in list_methods():
            raise ValueError(f"unknown method {self.method!r}; expected one of {', '.join(list_methods())}")
        for what in ("backbone", "task"):
            if not str(getattr(self, what)).strip():
                raise ValueError(f"{what}: expected a name, a path or a Hub id; got nothing")
        if self.sources is not None and not method_uses_source_tasks(self.method):
            raise ValueError(f"sources: {self.method} does not learn from source tasks; leave them out")
        if self.sources is not None and (not self.sources or len(set(self.sources)) < len(self.sources)):
            raise ValueError(
                f"sources: expected different tasks, at least one; got {', '.join(self.sources) or 'none'}"
            )
        for task in self.targets if self.sources is not None else ():
            if task in (self.sources or ()):
                raise ValueError(f"sources: the target {task} cannot be a source of its own; leave it out")
        self._check_targets()
        if self.start is not None and self.parent is not None:
            raise ValueError("start: a branch starts from its parent's snapshot; leave one of the two out")
        if len(self.name) > _MAX_NAME_LENGTH:
            raise ValueError(f"name: expected at most {_MAX_NAME_LENGTH} characters; got {len(self.name)}")
        return replace(self, hyperparameters=list_methods()[self.method].check_hyperparameters(self.hyperparameters))

    def _check_targets(self) -> None:
        if not self.more_tasks:
            return
        check_target_count(self.method, len(self.targets))
        names = [target_slug(task) for task in self.targets]
        if len(set(names)) < len(names):
            raise ValueError(f"task: expected target tasks of different names; got {self.task_names}")
        if (self.text, self.label, self.table) != (None, None, self.table.for_every_task()):
            raise ValueError("task: several target tasks are read with their usual columns and words; leave out others")
        if self.start is not None:
            raise ValueError("start: a saved prompt starts a run on one target task; got several")

    @property
    def effective_lr(self) -> float:
        """Return the learning rate that a run of this config trains with."""
        return self.training.lr or default_learning_rate(self.method, self.backbone)

    @cached_property
    def training_fingerprint(self) -> str:
        """Return a key that two configs share if they train the same prompt; made once, as pages compare thousands.

        Left out: the run's name, its device, how often it is saved, and source steps without source tasks. Filled in:
        the default learning rate, source tasks and hyperparameters.

        Raises:
            ValueError: if a hyperparameter is out of its bounds.
        """
        plain = self.to_json()
        for name in ("name", "device"):
            del plain[name]
        training = plain["training"]
        del training["snapshot_every"]
        training["lr"] = self.effective_lr
        # Left out at their defaults, so that a fingerprint made before these settings existed still holds.
        for name in ("source_seed", "backbone_dropout"):
            if training[name] == getattr(TrainConfig, name):
                del training[name]
        if not self.more_tasks:
            del training["task_temperature"]
        if self.method in list_methods():
            given = self.hyperparameters
            plain["sources"] = list(self.source_tasks())
            if not plain["sources"]:
                del training["source_steps"]
                training.pop("source_seed", None)
            infos = list_methods()[self.method].hyperparameters
            filled = {name: info.validate(given.get(name, info.default)) for name, info in infos.items()}
            newer = [n for n, info in infos.items() if info.declaration.added_later and filled[n] == info.default]
            plain[STORED_KEY] = {name: value for name, value in {**given, **filled}.items() if name not in newer}
        return json.dumps(plain, sort_keys=True)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that ``from_json`` reads back to an equal config."""
        # Not asdict, which copies deeply: a comparison reads hundreds of configs while a page is rendered.
        parent = list(self.parent) if self.parent else None
        lists = {"parent": parent, "planned": list(self.planned), "sources": self.sources and list(self.sources)}
        own = {
            **{one.name: getattr(self, one.name) for one in fields(self)},
            "hyperparameters": dict(self.hyperparameters),
            "training": self.training.to_json(),
            **lists,
        }
        del own["table"], own["more_tasks"]
        own |= {"table": table} if (table := self.table.to_json()) else {}
        own |= {"more_tasks": list(self.more_tasks)} if self.more_tasks else {}
        return {json_key(name): value for name, value in own.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunConfig:
        """Return the config of a JSON object.

        Raises:
            ValueError: for an unknown field (of a newer version), a wrong type or a value out of its bounds.
        """
        names = [json_key(f.name) for f in fields(cls)]
        if not isinstance(data, Mapping):
            raise InvalidData(f"expected a run's config as a JSON object; got {type(data).__name__}")
        if unknown := sorted(set(data) - set(names)):
            raise InvalidData(f"unknown field {safe_list(unknown)} (a newer ptviz?); expected {', '.join(names)}")
        training = data.get("training", {})
        if not isinstance(training, Mapping):
            raise InvalidData(f"training: expected an object of settings; got {type(training).__name__}")
        # Both check their own values, and refuse unknown settings.
        parts: dict[str, Any] = {
            "training": TrainConfig.from_json(training),
            "table": TableOptions.from_json(data.get("table", {})),
        }
        own = {"hyperparameters" if name == STORED_KEY else name: value for name, value in data.items()}
        return replace(convert_json({**own, "training": {}, "table": {}}, cls), **parts)

    def shell_command(self) -> str:
        """Return the shell command that repeats this run, quoted for pasting."""
        words = ["ptviz", "train", self.method, "--backbone", self.backbone, "--task", ",".join(self.targets)]
        for name, value in self._changed_training().items():
            words += [f"--{name.replace('_', '-')}", _shell_value(value)]
        for name, hyperparameter in self.changed_hyperparameters().items():
            words += ["--set", f"{name}={_shell_value(hyperparameter)}"]
        for name in ("device", "start"):
            if getattr(self, name) is not None:
                words += [f"--{name}", getattr(self, name)]
        words += self.table_flags()
        if self.sources:
            words += ["--sources", ",".join(self.sources)]
        if self.parent:
            words += ["--branch", ":".join(map(str, self.parent))]
        if self.name:
            words += ["--name", self.name]
        return shlex.join(words) + self.extension_comment("  # ")

    def table_flags(self) -> list[str]:
        """Return the options of the shell for columns, and for a table that is not read as usual."""
        flags = [word for name in ("text", "label") if (own := getattr(self, name)) for word in (f"--{name}", own)]
        names = {delimiter: name for name, delimiter in DELIMITER_NAMES.items()}
        for name, value in self.table.to_json().items():
            if name in ("words", "word_list"):
                flags += ["--words", format_words(self.table)]
            elif name == "choices":
                flags += ["--choices", ",".join(self.table.choices)]
            elif isinstance(value, bool):
                flags.append(f"--{'' if value else 'no-'}{name.replace('_', '-')}")
            else:
                flags += [f"--{name.replace('_', '-')}", names.get(value, value) if name == "delimiter" else value]
        return flags

    def extension_comment(self, start: str) -> str:
        """Return a comment that marks an extended run, which differs from one long run."""
        if not self.planned:
            return ""
        totals = ", then ".join(str(total) for total in self.planned)
        return f"{start}made in parts: planned for {totals} steps, extended to {self.training.steps}"

    def _changed_training(self) -> dict[str, Any]:
        """Return the training settings that differ from the defaults; steps and seed in any case."""
        usual, own = TrainConfig().to_json(), self.training.to_json()
        own.pop(PLANNED_STEPS_KEY)  # Only set by extensions; one long run has none.
        # Without effect, and refused by the shell.
        if not method_uses_source_tasks(self.method):
            del own["source_steps"], own["source_seed"]
        if not self.more_tasks:
            del own["task_temperature"]
        return {name: value for name, value in own.items() if name in ("steps", "seed") or value != usual[name]}

    def changed_hyperparameters(self) -> dict[str, HyperparameterValue]:
        """Return the hyperparameters that differ from the defaults; all of them for an unknown method."""
        if self.method not in list_methods():
            return dict(self.hyperparameters)
        usual = list_methods()[self.method].check_hyperparameters({})
        return {name: value for name, value in self.hyperparameters.items() if value != usual.get(name)}


def task_label(task: str) -> str:
    """Return the name of a task as it is shown: of a file on this machine its own name, without its folders."""
    return task if task.startswith("hub:") else task.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def target_slug(task: str) -> str:
    """Return the short form of a task's name in the ids of runs and their targets."""
    return slug(table_stem(task.removeprefix("hub:").replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]), 30)


def json_key(name: str) -> str:
    """Return the key of a field in a run's ``config.json``."""
    return STORED_KEY if name == "hyperparameters" else name


def _shell_value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """Return the config with absolute paths of local files: the worker may run in another folder."""
    sources = None if config.sources is None else tuple(map(_absolute_path, config.sources))
    more = tuple(map(_absolute_path, config.more_tasks))
    task, backbone = _absolute_path(config.task), _absolute_path(config.backbone)
    return replace(config, task=task, backbone=backbone, sources=sources, more_tasks=more)


def _absolute_path(name: str) -> str:
    looks_local = name.startswith((".", "~")) or "/" in name or os.sep in name or is_table_name(name)
    path = expand_user(name)
    return str(path.resolve()) if looks_local and path.exists() else name
