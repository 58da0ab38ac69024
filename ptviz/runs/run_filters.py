"""The settings and results of runs by name: what lists of runs are filtered by, and what differs between runs."""

from __future__ import annotations

import operator
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ptviz.methods import list_methods
from ptviz.runs.config import RunConfig
from ptviz.runs.store import RunSummary
from ptviz.training.config import PLANNED_STEPS_KEY

SettingValue = str | int | float | bool | None
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge, "<=": operator.le, "!=": operator.ne, "=": operator.eq, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
_CONDITION = re.compile(r"(?P<name>[A-Za-z][\w-]*)(?P<operator>>=|<=|!=|=|>|<)(?P<value>.*)", re.DOTALL)
STATE_NAMES = {"queued": "waiting", "running": "training"}
"""What the app calls a state where its name on disk differs."""
_LISTED = ("tag",)
"""Names that stand for several values of a run; one of them has to fit."""


@dataclass(frozen=True)
class Condition:
    """A condition on one setting or result of a run, such as ``lr >= 0.1``."""

    name: str
    operator: str
    value: str

    def fits(self, values: Mapping[str, SettingValue], tags: Sequence[str]) -> bool:
        """Return whether a run with these values meets the condition; an unknown value meets "!=" only.

        Floats are compared at the digits of ``format_setting``, so that a value as it is shown equals itself.
        """
        if self.name in _LISTED:
            known = self.value.casefold() in (tag.casefold() for tag in tags)
            return known != (self.operator == "!=")
        found = values.get(self.name)
        if found is None:
            return self.operator == "!="
        number = _to_number(self.value)
        if isinstance(found, bool) or not isinstance(found, int | float) or number is None:
            return _OPERATORS[self.operator](str(found).casefold(), self.value.casefold())
        if isinstance(found, float):
            found, number = float(format_setting(found)), float(format_setting(number))
        return _OPERATORS[self.operator](found, number)

    def to_text(self) -> str:
        """Return the condition as ``parse_filter`` reads it back."""
        return f"{self.name}{self.operator}{shlex.quote(self.value)}"


def format_setting(value: SettingValue) -> str:
    """Return a setting or result as text; floats have six significant digits."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _to_number(text: str) -> float | None:
    """Return a number, with "%" as hundredths; None if it is none."""
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None


def training_settings(config: RunConfig) -> dict[str, SettingValue]:
    """Return the settings that a reader varies, by name: method, task, backbone, training and hyperparameters."""
    parts: dict[str, SettingValue] = {"method": config.method, "task": config.task_names, "backbone": config.backbone}
    parts |= {name: value for name, value in config.training.to_json().items() if name != PLANNED_STEPS_KEY}
    parts |= config.hyperparameters
    return parts


def config_settings(config: RunConfig) -> dict[str, SettingValue]:
    """Return the settings of a run by name: what is trained on what, training settings, and hyperparameters."""
    plain, parts = config.to_json(), training_settings(config)
    for name in ("text", "label", "device", "start"):
        parts[name] = plain[name]
    parts["sources"] = ", ".join(config.sources) if config.sources else None
    parts["parent"] = config.parent[0] if config.parent else None
    return parts


def summary_values(summary: RunSummary) -> dict[str, SettingValue]:
    """Return the settings of a run as ``config_settings``, and its name, id, state, results and size.

    ``lr`` is the learning rate that it used, also where its config leaves it to the default.
    """
    status = summary.status
    found = config_settings(summary.config) | {
        "name": summary.name, "id": summary.id, "state": status.state, "metric": summary.metric.name,
        "validation": status.accuracy, "zero_shot": status.zero_shot, "test": status.test,
        "seconds": status.seconds or None, "parameters": summary.trained, "pinned": summary.annotations.pinned,
        "notes": summary.annotations.notes or None,
    }  # fmt: skip
    return found | ({"lr": summary.lr} if summary.lr is not None else {})


def parse_filter(text: str, names: Iterable[str]) -> tuple[list[str], list[Condition]]:
    """Split a filter into plain words, in lower case, and conditions such as ``m=20``, ``lr>0.1`` or ``tag=paper``.

    Words with blanks or quotes are quoted as in a shell, ``name="second try"``; a backslash is a character as others.

    Raises:
        ValueError: for an open quote, or a condition on a name that is none of ``names``.
    """
    known = {*names, *_LISTED}
    try:
        lexer = shlex.shlex(text, posix=True)
        lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""
        parts = list(lexer)
    except ValueError:
        raise ValueError(f"filter: expected a closing quote; got {text[:80]!r}") from None
    words, conditions = [], []
    for part in parts:
        match = _CONDITION.fullmatch(part)
        if match is None:
            words.append(part.lower())
        elif match["name"] not in known:
            raise ValueError(
                f"filter: no run has a setting {match['name'][:40]!r}; known are {', '.join(sorted(known))}"
            )
        else:
            conditions.append(Condition(match["name"], match["operator"], match["value"]))
    return words, conditions


def differing_settings(configs: Sequence[RunConfig]) -> dict[str, tuple[SettingValue, ...]]:
    """Return the settings that differ between runs, with the value of each run; None where a run has no such one."""
    every = [config_settings(config) for config in configs]
    names = dict.fromkeys(name for settings in every for name in settings)
    found = {name: tuple(settings.get(name) for settings in every) for name in names}
    return {name: values for name, values in found.items() if len({(type(v), v) for v in values}) > 1}


def filter_summaries(summaries: Sequence[RunSummary], text: str) -> list[RunSummary]:
    """Return the runs that have every word of a filter and meet its conditions; see ``parse_filter``.

    Words are looked for in name, id, method, backbone, task, state, tags and notes.

    Raises:
        ValueError: for an open quote, or a condition on something that no run has.
    """
    values = {summary.id: summary_values(summary) for summary in summaries}
    words, conditions = parse_filter(text, {name for own in values.values() for name in own})
    return [
        summary
        for summary in summaries
        if all(word in _searchable_text(summary) for word in words)
        and all(condition.fits(values[summary.id], summary.annotations.tags) for condition in conditions)
    ]


def _searchable_text(summary: RunSummary) -> str:
    config, own = summary.config, summary.annotations
    title = list_methods()[config.method].card.title if config.method in list_methods() else ""
    state = summary.status.state
    places = f"{summary.name} {summary.id} {config.method} {title} {config.backbone} {config.task_names} {state}"
    return f"{places} {STATE_NAMES.get(state, '')} {' '.join(own.tags)} {own.notes}".lower()
