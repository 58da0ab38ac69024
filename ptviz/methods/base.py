"""The interface every method of the survey fills in: one prompt, some stages, named parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ptviz.methods.diagram import Anatomy, derived
from ptviz.methods.glossary import Term
from ptviz.methods.hyperparameters import check_knobs
from ptviz.methods.source_prompts import SourcePrompt
from ptviz.prompt import Batch, Output, Prompt, Run, Spec

Objective = Callable[[Batch, Run], tuple[Float[Tensor, ""], Prompt, Output]]
"""What a stage minimises: (batch, run) -> (loss, the prompt it used, the backbone's answer)."""


def fit(prompt_of: Callable[[Batch], Prompt]) -> Objective:
    """The task loss, plus whatever losses the prompt brings along."""

    def objective(batch: Batch, run: Run) -> tuple[Float[Tensor, ""], Prompt, Output]:
        prompt = prompt_of(batch)
        output = run(prompt)
        return output.loss + sum(prompt.losses.values()), prompt, output

    return objective


@dataclass(frozen=True)
class Probe:
    """What a method may ask of its training data between stages or epochs.

    ``gradients(parameters)`` is E|dL/dp|, the absolute gradient per batch, averaged; ``outputs()`` is one pass over
    the stage's data without gradients, hidden states included; ``score()`` is (accuracy, loss in nats) of the method
    as it stands on the target's validation rows. ``sources`` holds the source prompts in the order of
    ``Spec.sources``, for methods with a ``library``; they are handed to the first stage's ``enter`` alone, which
    copies what it needs.
    """

    gradients: Callable[[list[Tensor]], list[Tensor]]
    outputs: Callable[[], Iterator[tuple[Batch, Output]]]
    score: Callable[[], tuple[float, float]]
    sources: tuple[SourcePrompt, ...] = ()


@dataclass(frozen=True)
class Stage:
    """One leg of training, as data: shown before it runs, resumed by index after a crash.

    ``trains`` maps a parameter or submodule to its learning-rate scale; empty means everything at scale 1. ``tasks``
    says whose rows it sees: the target's, the sources', or both; ``batch.tasks`` numbers the sources from 0 in the
    order of ``Spec.sources``, and the target after them. A step over several tasks calls the objective once for each
    that its batch holds, and minimises the mean over rows. ``mixture`` draws the rows of a step from the tasks:
    "proportional" to their sizes (SPoT) or "stochastic" (MPT). ``share`` is the stage's part of the run's steps, of
    the source steps for a stage on the sources alone; the shares of the other stages sum to 1. A stage that
    ``rivals`` the one before competes with it: the best prompt of both by validation is kept. ``hidden`` says that
    the objective reads hidden states.
    """

    name: str
    objective: Objective
    tasks: Literal["target", "sources", "all"] = "target"
    mixture: Literal["proportional", "stochastic"] = "proportional"
    trains: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    enter: Callable[[Probe], None] | None = None
    epoch: Callable[[Probe], None] | None = None
    optimiser: Literal["gradient", "evolution"] = "gradient"
    share: float = 1.0
    rivals: bool = False
    hidden: bool = False

    def rate(self, parameter: str) -> float:
        """The learning-rate scale of a named parameter; 0 leaves it alone."""
        if not self.trains:
            return 1.0
        matches = (
            scale for name, scale in self.trains.items() if parameter == name or parameter.startswith(name + ".")
        )
        return next(matches, 0.0)


@dataclass(frozen=True)
class Part:
    """A tensor worth looking at, with its axes named as in ``ptviz.prompt``: figures match on the names."""

    tensor: Tensor
    axes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.tensor.ndim != len(self.axes):
            raise ValueError(f"expected one axis name for each of {tuple(self.tensor.shape)}; got {self.axes}")


@dataclass(frozen=True)
class Claim:
    """Something the method's paper reports, in our words. ``where`` is its table, figure or section, if known.

    ``read`` says where we read it: in the paper's own text, in its released code, or in someone's summary, whose
    numbers may be miscopied. ``by`` cites another paper, which tried the method again.
    """

    text: str
    where: str = ""
    read: Literal["paper", "code", "summary"] = "paper"
    by: str = ""


@dataclass(frozen=True)
class Card:
    """A method's identity: where it stands in the survey, what was found, and where our code differs from the paper.

    ``idea`` is one sentence, ``lesson`` a paragraph for who hears of it for the first time, ``tries`` one thing to try.
    """

    name: str
    title: str
    citation: str
    url: str
    branch: tuple[str, str, str]
    equation: str
    idea: str
    differs: str = ""
    lesson: str = ""
    tries: str = ""
    claims: tuple[Claim, ...] = ()
    terms: tuple[Term, ...] = ()


REGISTRY: dict[str, type[PromptMethod]] = {}


class PromptMethod(nn.Module, ABC):
    """A prompt-tuning method. Constructor arguments after ``spec`` are its hyperparameters, named as in the paper.

    No mode flags: a reloaded ``state_dict`` is the finished method.
    """

    card: ClassVar[Card]
    transfers: ClassVar[bool] = False
    """Whether it learns from source tasks, the ones of ``Spec.sources``."""
    library: ClassVar[bool] = False
    """Whether it wants a prompt of m tokens for each source task, trained by plain prompt tuning."""
    slots: int
    """Input positions the prompt needs; 0 for key-value methods."""

    def __init_subclass__(cls, register: bool = True) -> None:
        """Enter the registry, unless ``register`` is False."""
        if register:
            REGISTRY[cls.card.name] = cls

    @abstractmethod
    def forward(self, batch: Batch) -> Prompt:
        """The trained method's prompt for one batch: what is evaluated, saved and drawn."""

    @abstractmethod
    def parts(self) -> dict[str, Part]:
        """The method's tensors under the paper's symbols."""

    def begin_with(self, first: Prompt) -> None:
        """Take a prompt that was trained before as the start; by default there is no place for one.

        Raises:
            ValueError: if this method has none, or the prompt is of another kind or size, with what was expected.
        """
        able = ", ".join(name for name, method in REGISTRY.items() if method.begin_with is not PromptMethod.begin_with)
        raise ValueError(f"start: {self.card.title} has no free prompt to put one in; choose one of {able}")

    def stages(self) -> tuple[Stage, ...]:
        """The legs of training, in order."""
        return (Stage("tune", fit(self)),)

    def anatomy(self) -> Anatomy:
        """How the parts make up what enters the backbone; told by their axes, unless a method says it better."""
        attributes = dict([*self.named_parameters(), *self.named_buffers()])
        own = {
            symbol: (part.axes, name)
            for symbol, part in self.parts().items()
            for name, tensor in attributes.items()
            if tensor is part.tensor
        }
        axes = {symbol: axes for symbol, (axes, _) in own.items()}
        return derived(axes, {symbol: name for symbol, (_, name) in own.items()}, self.slots)

    def trained(self) -> int:
        """Scalars that some stage on the target task trains."""
        stages = [stage for stage in self.stages() if stage.tasks != "sources"]
        moving = (p for n, p in self.named_parameters() if any(stage.rate(n) for stage in stages))
        return sum(p.numel() for p in moving)

    def fold(self) -> PromptMethod:
        """An equal method without what only training needed: the same logits from fewer scalars; itself by default."""
        return self

    def stored(self) -> int:
        """Scalars to keep for inference, after folding what can be folded."""
        return self.trained()


@runtime_checkable
class Routes(Protocol):
    """A method that gives each input weights over its experts or source prompts, and makes a prompt of them.

    Its ``forward`` is ``routed`` under its own weights; under others it tells what another routing would be worth.
    ``mixes`` says whether all weights enter the prompt; elsewhere the largest ones alone.
    """

    mixes: bool

    def route(self, batch: Batch) -> Float[Tensor, "B k"]:
        """The weights of each input, which sum to 1."""

    def routed(self, batch: Batch, routing: Float[Tensor, "B k"]) -> Prompt:
        """The prompt of each row under these weights."""


def learns_from_sources(name: str) -> bool:
    """Whether a method of the registry transfers from source tasks; False for a name it does not know."""
    return name in REGISTRY and REGISTRY[name].transfers


def build(name: str, spec: Spec, knobs: Mapping[str, object] = MappingProxyType({}), seed: int = 0) -> PromptMethod:
    """A fresh method of the registry. Its random start depends on ``seed`` alone; torch's global state is untouched.

    Raises:
        ValueError: for an unknown method, or a bad knob (see ``check_knobs``).
    """
    if name not in REGISTRY:
        raise ValueError(f"unknown method {name!r}; expected one of {', '.join(REGISTRY)}")
    checked = check_knobs(REGISTRY[name], knobs)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        # A meta spec yields a method of shapes alone: what `count` needs, for a backbone of any size.
        with torch.device(spec.table.device if spec.table.is_meta else "cpu"):
            method = REGISTRY[name](spec, **checked)
    return method.to(spec.table.device)
