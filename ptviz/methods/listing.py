"""What lists, forms and checks know of the methods without their classes, which need torch.

``declarations.json`` holds the cards and hyperparameters that the classes of the survey's methods declare;
``python -m ptviz.methods.listing`` writes it again. Methods of other packages are asked themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import entry_points
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec

from ptviz.methods.card import MethodCard
from ptviz.methods.hyperparameters import (
    HyperparameterInfo,
    HyperparameterValue,
    check_hyperparameters,
    hyperparameters_of,
)
from ptviz.methods.registry import REGISTRY

if TYPE_CHECKING:
    from ptviz.methods.base import PromptMethod

NO_ROUTING = "this method has no routing: every input gets the same prompt; choose a run of one with experts (smop)"
"""The error of a measurement of routing if ``MethodInfo.is_routed`` is False."""
_FILE = "declarations.json"
_VALUE_TYPES = {kind.__name__: kind for kind in (int, float, str, bool)}


@dataclass(frozen=True)
class MethodInfo:
    """A method as shown in lists and forms: its card, hyperparameters by name, and the names of its stages.

    ``module`` is the name of the module with its code. ``uses_source_tasks``, ``needs_source_prompts`` and
    ``per_target`` are those of its class; ``is_routed`` says that it weights experts or source prompts for each input.
    """

    card: MethodCard
    hyperparameters: Mapping[str, HyperparameterInfo]
    stages: tuple[str, ...]
    module: str
    uses_source_tasks: bool
    needs_source_prompts: bool
    per_target: tuple[str, ...]
    is_routed: bool

    def check_hyperparameters(self, values: Mapping[str, Any]) -> dict[str, HyperparameterValue]:
        """Return all hyperparameters in their types: the given values, and defaults for the rest.

        Raises:
            ValueError: for an unknown hyperparameter, or a value of the wrong type or out of bounds.
        """
        return check_hyperparameters(self.hyperparameters, values, self.card.title)


def list_methods() -> Mapping[str, MethodInfo]:
    """Return the methods by name: those of the survey in its order, then those of other packages.

    A process that has loaded the classes asks them: it never trains with a declaration that is not up to date.
    """
    classes = _load_classes() if _has_other_packages() else REGISTRY
    return _describe_methods(*classes.items())


@lru_cache(maxsize=8)  # A form asks for the methods thousands of times.
def _describe_methods(*classes: tuple[str, type[PromptMethod]]) -> Mapping[str, MethodInfo]:
    ours, found = _declared_methods(), dict(classes)
    if ours.keys() <= found.keys():
        return {name: describe_method(method) for name, method in found.items()}
    # None is loaded, or the first of them are just being loaded.
    return {**ours, **{name: describe_method(one) for name, one in found.items() if name not in ours}}


def method_uses_source_tasks(name: str) -> bool:
    """Return whether a method uses source tasks; False for an unknown name."""
    found = list_methods().get(name)
    return found is not None and found.uses_source_tasks


def check_target_count(name: str, count: int) -> None:
    """Check that a method can be trained on this many target tasks at once; an unknown method is not judged.

    Raises:
        ValueError: naming the methods that can.
    """
    known = list_methods()
    if count == 1 or name not in known or known[name].per_target:
        return
    able = ", ".join(other for other, method in known.items() if method.per_target)
    raise ValueError(f"task: {name} trains one target task at a time; got {count}: choose one of {able}, or one task")


@cache
def describe_method(method: type[PromptMethod]) -> MethodInfo:
    """Return what the class of a method declares."""
    from ptviz.methods.base import RoutedMethod, build_method
    from ptviz.prompt import Spec

    # Stages belong to a built method: sizes without weights are enough, and transfer methods need source tasks.
    built = build_method(method.card.name, Spec.from_sizes(8, 2, 2, 4, 8, ("source-1", "source-2")))
    return MethodInfo(
        card=method.card,
        hyperparameters=hyperparameters_of(method),
        stages=tuple(stage.name for stage in built.stages()),
        module=method.__module__,
        uses_source_tasks=method.uses_source_tasks,
        needs_source_prompts=method.needs_source_prompts,
        per_target=method.per_target,
        is_routed=isinstance(built, RoutedMethod),
    )


@cache
def _has_other_packages() -> bool:
    return bool(entry_points(group="ptviz.methods"))


def _load_classes() -> dict[str, type[PromptMethod]]:
    from ptviz.methods import survey_methods

    return survey_methods.REGISTRY


@cache
def _declared_methods() -> Mapping[str, MethodInfo]:
    data = (files("ptviz.methods") / _FILE).read_bytes()
    return msgspec.json.decode(data, type=dict[str, MethodInfo], dec_hook=lambda _, name: _VALUE_TYPES[name])


def encode_declarations() -> bytes:
    """Return the content of ``declarations.json`` as the survey's methods declare it now."""
    ours = {name: describe_method(one) for name, one in _load_classes().items() if one.__module__.startswith("ptviz.")}
    data = msgspec.json.encode(ours, enc_hook=lambda kind: kind.__name__)
    return msgspec.json.format(data, indent=1) + b"\n"


if __name__ == "__main__":
    (files("ptviz.methods") / _FILE).write_bytes(encode_declarations())  # type: ignore[attr-defined]
