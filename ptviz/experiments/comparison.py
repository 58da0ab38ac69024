"""Comparison of methods: the configs of several methods and seeds on one backbone and task, and its command."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ptviz.methods import list_methods
from ptviz.methods.hyperparameters import HyperparameterInfo
from ptviz.runs.config import RunConfig, with_absolute_paths


def parse_methods(methods: str) -> tuple[str, ...]:
    """Return the registry names of a comma-separated list; ``all`` is every method, in the survey's order.

    Raises:
        ValueError: if a method is unknown, naming it.
    """
    if methods.strip() == "all":
        return tuple(list_methods())
    names = [name.strip() for name in methods.split(",") if name.strip()]
    unknown = [name for name in names if name not in list_methods()]
    if unknown or not names:
        got = ", ".join(unknown) or "nothing"
        raise ValueError(f"methods: expected `all`, or some of {', '.join(list_methods())}; got {got}")
    return tuple(dict.fromkeys(names))


def make_configs(
    methods: Sequence[str], seeds: Iterable[int], base: RunConfig, hyperparameters: Mapping[str, Any] | None = None
) -> tuple[RunConfig, ...]:
    """Return the configs of a comparison, ordered by seed and then by method.

    ``base`` sets backbone, task and training; each method gets those ``hyperparameters`` that it has.

    Raises:
        ValueError: for an unknown method, a bad hyperparameter, or one that none of the methods has.
    """
    hyperparameters = hyperparameters or {}
    known = {name for method in methods for name in _hyperparameters(method)}
    if unknown := [name for name in hyperparameters if name not in known]:
        raise ValueError(f"unknown hyperparameter {', '.join(unknown)}: none of these methods has it")
    configs = []
    for seed in seeds:
        for method in methods:
            own = {name: value for name, value in hyperparameters.items() if name in _hyperparameters(method)}
            training = replace(base.training, seed=seed)
            config = replace(base, method=method, hyperparameters=own, training=training)
            configs.append(with_absolute_paths(config).checked())
    return tuple(configs)


def comparison_command(configs: Sequence[RunConfig]) -> str:
    """Return the shell command that makes the comparison of ``make_configs``, quoted for pasting."""
    methods = dict.fromkeys(config.method for config in configs)
    base, seeds = configs[0], {config.training.seed for config in configs}
    names = "all" if set(methods) == set(list_methods()) else ",".join(methods)
    words = ["ptviz", "compare", "--methods", names, "--seeds", str(len(seeds))]
    words += ["--backbone", base.backbone, "--task", base.task, "--steps", str(base.training.steps)]
    changed = {name: value for config in configs for name, value in config.changed_hyperparameters().items()}
    for name, value in changed.items():
        words += ["--set", f"{name}={value}"]
    return shlex.join([*words, *base.table_flags()])


def _hyperparameters(method: str) -> Mapping[str, HyperparameterInfo]:
    if method not in list_methods():
        raise ValueError(f"unknown method {method!r}; expected one of {', '.join(list_methods())}")
    return list_methods()[method].hyperparameters
