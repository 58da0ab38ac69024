"""The settings of a run: everything needed to repeat it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ptviz.methods import REGISTRY
from ptviz.methods.base import method_uses_source_tasks
from ptviz.methods.hyperparameters import STORED_KEY, HyperparameterValue, check_hyperparameters
from ptviz.tasks import TableOptions, default_source_tasks
from ptviz.tasks.custom.containers import is_table_name
from ptviz.tasks.custom.options import DELIMITER_NAMES, format_words
from ptviz.training.config import TrainConfig

_MAX_NAME_LENGTH = 120


@dataclass(frozen=True)
class RunConfig:
    """One run: ``method`` trained on ``task`` in front of ``backbone``.

    ``hyperparameters`` are the method's, by name. ``parent`` is (run id, stage, step) of the snapshot that a branch
    starts from. ``text`` and ``label`` name the columns of a user's own table. ``device`` None selects one
    automatically. ``planned`` holds the total steps planned before each extension. ``sources`` are the source tasks of
    a transfer method, None for the defaults of the target's family. ``start`` is the id of the saved prompt
    (``ptviz.runs.saved_prompts``) that the run starts from. ``table`` says how a table is read; it is stored only
    where it differs from the defaults.
    """

    backbone: str = "minilm-l6"
    task: str = "trec6"
    method: str = "prompt-tuning"
    hyperparameters: Mapping[str, HyperparameterValue] = field(default_factory=dict)
    training: TrainConfig = field(default_factory=TrainConfig)
    name: str = ""
    parent: tuple[str, int, int] | None = None
    text: str | None = None
    label: str | None = None
    device: str | None = None
    planned: tuple[int, ...] = ()
    sources: tuple[str, ...] | None = None
    start: str | None = None
    table: TableOptions = field(default_factory=TableOptions)

    def source_tasks(self, family: str = "") -> tuple[str, ...]:
        """Return the run's source tasks in order; empty for a method without transfer.

        ``family`` is the target's task family, used only if the task is not built in.
        """
        if not method_uses_source_tasks(self.method):
            return ()
        return default_source_tasks(self.task, family) if self.sources is None else self.sources

    def checked(self) -> RunConfig:
        """Return the config with every hyperparameter present, of the right type and within its bounds.

        Raises:
            ValueError: for an unknown method or hyperparameter, a bad value, an empty backbone or task, or a long name.
        """
        if self.method not in REGISTRY:
            raise ValueError(f"unknown method {self.method!r}; expected one of {', '.join(REGISTRY)}")
        for what in ("backbone", "task"):
            if not str(getattr(self, what)).strip():
                raise ValueError(f"{what}: expected a name, a path or a hub id; got nothing")
        if self.sources is not None and not method_uses_source_tasks(self.method):
            raise ValueError(f"sources: {self.method} does not learn from source tasks; leave them out")
        if self.sources is not None and (not self.sources or len(set(self.sources)) < len(self.sources)):
            raise ValueError(
                f"sources: expected different tasks, at least one; got {', '.join(self.sources) or 'none'}"
            )
        if self.sources is not None and self.task in self.sources:
            raise ValueError(f"sources: the target {self.task} cannot be a source of its own; leave it out")
        if self.start is not None and self.parent is not None:
            raise ValueError("start: a branch starts from its parent's snapshot; leave one of the two out")
        if len(self.name) > _MAX_NAME_LENGTH:
            raise ValueError(f"name: expected at most {_MAX_NAME_LENGTH} characters; got {len(self.name)}")
        return replace(self, hyperparameters=check_hyperparameters(REGISTRY[self.method], self.hyperparameters))

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that ``from_json`` reads back to an equal config."""
        # Not asdict, which copies deeply: a comparison reads hundreds of configs while a page is rendered.
        parent = list(self.parent) if self.parent else None
        lists = {"parent": parent, "planned": list(self.planned), "sources": self.sources and list(self.sources)}
        own = {
            **vars(self),
            "hyperparameters": dict(self.hyperparameters),
            "training": self.training.to_json(),
            **lists,
        }
        del own["table"]
        own |= {"table": table} if (table := self.table.to_json()) else {}
        return {json_key(name): value for name, value in own.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunConfig:
        """Return the config of a JSON object.

        Raises:
            ValueError: for an unknown field (of a newer version) or a bad value.
        """
        names = [json_key(f.name) for f in fields(cls)]
        if not isinstance(data, Mapping):
            raise ValueError(f"expected a run's config as a JSON object; got {type(data).__name__}")
        unknown = sorted(set(data) - set(names))
        if unknown:
            raise ValueError(f"unknown field {', '.join(unknown)} (a newer ptviz?); expected {', '.join(names)}")
        texts = ("backbone", "task", "method", "name", *(("start",) if data.get("start") is not None else ()))
        if wrong := [n for n in texts if not isinstance(data.get(n, ""), str)]:
            raise ValueError(f"{wrong[0]}: expected a text; got {data[wrong[0]]!r}")
        hyperparameters, training, parent = data.get(STORED_KEY, {}), data.get("training", {}), data.get("parent")
        if not isinstance(hyperparameters, Mapping) or not isinstance(training, Mapping):
            raise ValueError(f"{STORED_KEY} and training: expected objects of names and values")
        if parent is not None:
            if not isinstance(parent, list | tuple) or len(parent) != 3:
                raise ValueError(f"parent: expected [run id, stage, step]; got {parent!r}")
            parent = (str(parent[0]), int(parent[1]), int(parent[2]))
        planned = tuple(int(total) for total in data.get("planned", ()))
        sources = data.get("sources")
        if sources is not None and not isinstance(sources, list | tuple):
            raise ValueError(f"sources: expected a list of task names; got {sources!r}")
        plain = {name: value for name, value in data.items() if name != STORED_KEY}
        own: dict[str, Any] = {"training": TrainConfig.from_json(training), "parent": parent, "planned": planned}
        own["table"] = TableOptions.from_json(data.get("table", {}))
        sources = None if sources is None else tuple(map(str, sources))
        return cls(**{**plain, **own, "hyperparameters": dict(hyperparameters), "sources": sources})

    def shell_command(self) -> str:
        """Return the shell command that repeats this run, quoted for pasting."""
        words = ["ptviz", "train", self.method, "--backbone", self.backbone, "--task", self.task]
        for name, value in self._changed_training().items():
            words += [f"--{name.replace('_', '-')}", _shell_value(value)]
        for name, knob in self.changed_hyperparameters().items():
            words += ["--set", f"{name}={_shell_value(knob)}"]
        for name in ("text", "label", "device", "start"):
            if getattr(self, name) is not None:
                words += [f"--{name}", getattr(self, name)]
        words += _table_flags(self.table)
        if self.sources:
            words += ["--sources", ",".join(self.sources)]
        if self.parent:
            words += ["--branch", ":".join(map(str, self.parent))]
        if self.name:
            words += ["--name", self.name]
        return shlex.join(words) + self.extension_comment("  # ")

    def extension_comment(self, start: str) -> str:
        """Return a comment that marks an extended run, which differs from one long run."""
        if not self.planned:
            return ""
        totals = ", then ".join(str(total) for total in self.planned)
        return f"{start}made in parts: planned for {totals} steps, extended to {self.training.steps}"

    def _changed_training(self) -> dict[str, Any]:
        """Return the training settings that differ from the defaults; steps and seed in any case."""
        usual, own = TrainConfig().to_json(), self.training.to_json()
        own.pop("begun")  # Only set by extensions; one long run has none.
        return {name: value for name, value in own.items() if name in ("steps", "seed") or value != usual[name]}

    def changed_hyperparameters(self) -> dict[str, HyperparameterValue]:
        """Return the hyperparameters that differ from the defaults; all of them for an unknown method."""
        if self.method not in REGISTRY:
            return dict(self.hyperparameters)
        usual = check_hyperparameters(REGISTRY[self.method], {})
        return {name: value for name, value in self.hyperparameters.items() if value != usual.get(name)}


def json_key(name: str) -> str:
    """Return the key of a field in a run's ``config.json``."""
    return STORED_KEY if name == "hyperparameters" else name


def _table_flags(table: TableOptions) -> list[str]:
    """Return the options of ``ptviz train`` for a table that is not read as usual."""
    flags: list[str] = []
    names = {delimiter: name for name, delimiter in DELIMITER_NAMES.items()}
    for name, value in table.to_json().items():
        if name == "words":
            flags += ["--words", format_words(table.words)]
        elif isinstance(value, bool):
            flags.append(f"--{'' if value else 'no-'}{name.replace('_', '-')}")
        else:
            flags += [f"--{name}", names.get(value, value)]
    return flags


def _shell_value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """Return the config with absolute paths of local files: the worker may run in another folder."""
    sources = None if config.sources is None else tuple(map(_absolute_path, config.sources))
    return replace(config, task=_absolute_path(config.task), backbone=_absolute_path(config.backbone), sources=sources)


def _absolute_path(name: str) -> str:
    looks_local = name.startswith((".", "~")) or "/" in name or os.sep in name or is_table_name(name)
    path = Path(name).expanduser()
    return str(path.resolve()) if looks_local and path.exists() else name
