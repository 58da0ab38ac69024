"""What every method must declare; checked for methods from other packages when they are loaded."""

from __future__ import annotations

import inspect
import re
import sys
from importlib.metadata import EntryPoint

from ptviz.methods.base import PromptMethod, build_method
from ptviz.methods.card import MethodCard
from ptviz.methods.hyperparameters import HyperparameterInfo, hyperparameters_of
from ptviz.methods.registry import REGISTRY
from ptviz.prompt import Spec

# Any sizes do; distinct ones show a mix-up of axes.
_SIZES = Spec.from_sizes(width=32, sites=2, heads=4, head_width=8, length=64, sources=("first", "second"))


def load_method_entry_point(point: EntryPoint) -> type[PromptMethod] | None:
    """Return the method of an entry point of the group ``ptviz.methods``, registered under its name.

    None for a module that is being imported: it imports ptviz itself, and its methods register when they are defined.

    Raises:
        ValueError: if the name is taken, or the declaration is not complete (see ``check_declaration``).
        TypeError: if it is not a ``PromptMethod``, or an argument of its constructor is not a hyperparameter.
    """
    if _is_being_imported(point.module):
        return None
    before = dict(REGISTRY)
    try:
        method = point.load()
        if point.name in before or any(REGISTRY[name] is not cls for name, cls in before.items()):
            raise ValueError("a method of this name is registered already; choose another name")
        if getattr(getattr(method, "card", None), "name", point.name) != point.name:
            raise ValueError(f"expected a method with the name of its entry point; got {method.card.name!r}")
        REGISTRY[point.name] = method
        check_declaration(method)
    except BaseException:
        _restore(before)
        raise
    # A module may define more methods than this entry point names; each needs its own.
    _restore({**before, point.name: method})
    checked: type[PromptMethod] = method
    return checked


def _is_being_imported(module: str) -> bool:
    spec = getattr(sys.modules.get(module), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def _restore(methods: dict[str, type[PromptMethod]]) -> None:
    REGISTRY.clear()
    REGISTRY.update(methods)


def check_declaration(method: object) -> None:
    """Check a registered method's card, its hyperparameters, and its tensors and stages at small sizes.

    Raises:
        ValueError: for the first rule that does not hold, with what was expected.
        TypeError: if it is not a ``PromptMethod``, or an argument of its constructor is not a hyperparameter.
    """
    if not (inspect.isclass(method) and issubclass(method, PromptMethod)):
        raise TypeError(f"expected a subclass of PromptMethod; got {method!r}")
    if inspect.isabstract(method):
        missing = ", ".join(sorted(method.__abstractmethods__))
        raise TypeError(f"expected a method that defines {missing}")
    _check_card(getattr(method, "card", None))
    parameters = list(inspect.signature(method.__init__).parameters)
    if parameters[:2] != ["self", "spec"]:
        raise ValueError(f"expected a constructor whose first argument is `spec`; got {', '.join(parameters[1:])}")
    for info in hyperparameters_of(method).values():
        _check_hyperparameter(info)
    _check_instance(build_method(method.card.name, _SIZES))


def _check_card(card: object) -> None:
    if not isinstance(card, MethodCard):
        raise ValueError(f"expected a MethodCard as the class attribute `card`; got {card!r}")
    rules = {
        "name: expected lower-case words joined by hyphens": re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", card.name),
        "title, citation, equation and idea: expected some text": all(
            text.strip() for text in (card.title, card.citation, card.equation, card.idea)
        ),
        "url: expected one that begins with https://": card.url.startswith("https://"),
        "branch: expected three names, the first of them direct or transfer": (
            len(card.branch) == 3 and all(card.branch) and card.branch[0] in ("direct", "transfer")
        ),
    }
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        raise ValueError(f"card: {'; '.join(broken)}")


def _check_hyperparameter(info: HyperparameterInfo) -> None:
    declared = info.declaration
    if not declared.symbol or not declared.meaning:
        raise ValueError(f"{info.name}: expected a symbol and a meaning")
    if info.value_type not in (int, float, str, bool):
        raise ValueError(f"{info.name}: expected int, float, str, bool or a Literal of texts; got {info.value_type}")
    if info.value_type in (int, float) and (declared.minimum is None or declared.maximum is None):
        raise ValueError(f"{info.name}: expected a minimum and a maximum")
    if info.validate(info.default) != info.default:
        raise ValueError(f"{info.name}: expected a default of type {info.value_type.__name__}; got {info.default!r}")


def _check_instance(method: PromptMethod) -> None:
    if not isinstance(getattr(method, "slots", None), int):
        raise ValueError("expected the constructor to set `slots`, the input positions of the prompt")
    if not method.tensors():
        raise ValueError("tensors(): expected at least one")
    names = [stage.name for stage in method.stages()]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"stages(): expected at least one, with different names; got {names}")
    known = {name for name, _ in [*method.named_parameters(), *method.named_modules()]}
    unknown = {name for stage in method.stages() for name in stage.lr_scales} - known
    if unknown:
        raise ValueError(f"stages(): lr_scales names {', '.join(sorted(unknown))}, which the method does not have")
    if not method.trainable_parameters():
        raise ValueError("expected at least one trainable parameter on the target task")
    method.diagram()
