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

from ptviz.methods.diagram import MethodDiagram, derive_diagram
from ptviz.methods.glossary import EquationSymbol
from ptviz.methods.hyperparameters import check_hyperparameters
from ptviz.methods.source_prompts import SourcePrompt
from ptviz.prompt import Batch, ForwardFn, Output, Prompt, Spec

Objective = Callable[[Batch, ForwardFn], tuple[Float[Tensor, ""], Prompt, Output]]
"""What a stage minimises: (batch, run) -> (loss, the prompt it used, the backbone's answer)."""


def task_objective(prompt_of: Callable[[Batch], Prompt]) -> Objective:
    """The task loss, plus whatever losses the prompt brings along."""

    def objective(batch: Batch, run: ForwardFn) -> tuple[Float[Tensor, ""], Prompt, Output]:
        prompt = prompt_of(batch)
        output = run(prompt)
        return output.loss + sum(prompt.losses.values()), prompt, output

    return objective


@dataclass(frozen=True)
class StageContext:
    """What a method may ask of its training data between stages or epochs.

    ``gradients(parameters)`` is E|dL/dp|, the absolute gradient per batch, averaged; ``outputs()`` is one pass over
    the stage's data without gradients, hidden states included; ``score()`` is (accuracy, loss in nats) of the method
    as it stands on the target's validation rows. ``sources`` holds the source prompts in the order of
    ``Spec.sources``, for methods with a ``library``; they are handed to the first stage's ``enter`` alone, which
    copies what it needs.
    """

    mean_gradients: Callable[[list[Tensor]], list[Tensor]]
    iterate_outputs: Callable[[], Iterator[tuple[Batch, Output]]]
    validation_score: Callable[[], tuple[float, float]]
    source_prompts: tuple[SourcePrompt, ...] = ()


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
    lr_scales: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    on_start: Callable[[StageContext], None] | None = None
    on_epoch: Callable[[StageContext], None] | None = None
    optimiser: Literal["gradient", "evolution"] = "gradient"
    step_fraction: float = 1.0
    keeps_previous_best: bool = False
    needs_hidden_states: bool = False

    def lr_scale(self, parameter: str) -> float:
        """The learning-rate scale of a named parameter; 0 leaves it alone."""
        if not self.lr_scales:
            return 1.0
        matches = (
            scale for name, scale in self.lr_scales.items() if parameter == name or parameter.startswith(name + ".")
        )
        return next(matches, 0.0)


@dataclass(frozen=True)
class MethodTensor:
    """A tensor worth looking at, with its axes named as in ``ptviz.prompt``: figures match on the names."""

    tensor: Tensor
    axes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.tensor.ndim != len(self.axes):
            raise ValueError(f"expected one axis name for each of {tuple(self.tensor.shape)}; got {self.axes}")


@dataclass(frozen=True)
class ReportedResult:
    """Something the method's paper reports, in our words. ``where`` is its table, figure or section, if known.

    ``read`` says where we read it: in the paper's own text, in its released code, or in someone's summary, whose
    numbers may be miscopied. ``by`` cites another paper, which tried the method again.
    """

    text: str
    where: str = ""
    read: Literal["paper", "code", "summary"] = "paper"
    by: str = ""


@dataclass(frozen=True)
class MethodCard:
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
    suggested_experiment: str = ""
    reported_results: tuple[ReportedResult, ...] = ()
    symbols: tuple[EquationSymbol, ...] = ()


REGISTRY: dict[str, type[PromptMethod]] = {}


class PromptMethod(nn.Module, ABC):
    """A prompt-tuning method. Constructor arguments after ``spec`` are its hyperparameters, named as in the paper.

    No mode flags: a reloaded ``state_dict`` is the finished method.
    """

    card: ClassVar[MethodCard]
    uses_source_tasks: ClassVar[bool] = False
    """Whether it learns from source tasks, the ones of ``Spec.sources``."""
    needs_source_prompts: ClassVar[bool] = False
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
    def tensors(self) -> dict[str, MethodTensor]:
        """The method's tensors under the paper's symbols."""

    def init_from_prompt(self, first: Prompt) -> None:
        """Take a prompt that was trained before as the start; by default there is no place for one.

        Raises:
            ValueError: if this method has none, or the prompt is of another kind or size, with what was expected.
        """
        able = ", ".join(
            name for name, method in REGISTRY.items() if method.init_from_prompt is not PromptMethod.init_from_prompt
        )
        raise ValueError(f"start: {self.card.title} has no free prompt to put one in; choose one of {able}")

    def stages(self) -> tuple[Stage, ...]:
        """The legs of training, in order."""
        return (Stage("tune", task_objective(self)),)

    def diagram(self) -> MethodDiagram:
        """How the parts make up what enters the backbone; told by their axes, unless a method says it better."""
        attributes = dict([*self.named_parameters(), *self.named_buffers()])
        own = {
            symbol: (part.axes, name)
            for symbol, part in self.tensors().items()
            for name, tensor in attributes.items()
            if tensor is part.tensor
        }
        axes = {symbol: axes for symbol, (axes, _) in own.items()}
        return derive_diagram(axes, {symbol: name for symbol, (_, name) in own.items()}, self.slots)

    def trainable_parameters(self) -> int:
        """Scalars that some stage on the target task trains."""
        stages = [stage for stage in self.stages() if stage.tasks != "sources"]
        moving = (p for n, p in self.named_parameters() if any(stage.lr_scale(n) for stage in stages))
        return sum(p.numel() for p in moving)

    def merge(self) -> PromptMethod:
        """An equal method without what only training needed: the same logits from fewer scalars; itself by default."""
        return self

    def stored_parameters(self) -> int:
        """Scalars to keep for inference, after folding what can be folded."""
        return self.trainable_parameters()


@runtime_checkable
class RoutedMethod(Protocol):
    """A method that gives each input weights over its experts or source prompts, and makes a prompt of them.

    Its ``forward`` is ``routed`` under its own weights; under others it tells what another routing would be worth.
    ``mixes`` says whether all weights enter the prompt; elsewhere the largest ones alone.
    """

    soft_routing: bool

    def routing_weights(self, batch: Batch) -> Float[Tensor, "B k"]:
        """The weights of each input, which sum to 1."""

    def prompt_for(self, batch: Batch, routing: Float[Tensor, "B k"]) -> Prompt:
        """The prompt of each row under these weights."""


def method_uses_source_tasks(name: str) -> bool:
    """Whether a method of the registry transfers from source tasks; False for a name it does not know."""
    return name in REGISTRY and REGISTRY[name].uses_source_tasks


def build_method(
    name: str, spec: Spec, hyperparameters: Mapping[str, object] = MappingProxyType({}), seed: int = 0
) -> PromptMethod:
    """A fresh method of the registry. Its random start depends on ``seed`` alone; torch's global state is untouched.

    Raises:
        ValueError: for an unknown method, or a bad hyperparameter (see ``check_hyperparameters``).
    """
    if name not in REGISTRY:
        raise ValueError(f"unknown method {name!r}; expected one of {', '.join(REGISTRY)}")
    checked = check_hyperparameters(REGISTRY[name], hyperparameters)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        # A meta spec yields a method of shapes alone: what `count` needs, for a backbone of any size.
        with torch.device(spec.embedding_table.device if spec.embedding_table.is_meta else "cpu"):
            method = REGISTRY[name](spec, **checked)
    return method.to(spec.embedding_table.device)
