"""The interface of a method: a prompt, training stages and named tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ptviz.methods.card import MethodCard
from ptviz.methods.diagram import MethodDiagram, derive_diagram
from ptviz.methods.hyperparameters import check_hyperparameters, hyperparameters_of
from ptviz.methods.registry import REGISTRY
from ptviz.methods.source_prompt import SourcePrompt
from ptviz.prompt import Batch, ForwardFn, Output, Prompt, Spec

Objective = Callable[[Batch, ForwardFn], tuple[Float[Tensor, ""], Prompt, Output]]
"""What a stage minimises: (batch, forward function) -> (loss, prompt used, output of the backbone)."""


def task_objective(prompt_of: Callable[[Batch], Prompt]) -> Objective:
    """Return the objective of the task loss plus the prompt's own losses."""

    def objective(batch: Batch, run: ForwardFn) -> tuple[Float[Tensor, ""], Prompt, Output]:
        prompt = prompt_of(batch)
        output = run(prompt)
        return output.loss + sum(prompt.losses.values()), prompt, output

    return objective


@dataclass(frozen=True)
class StageContext:
    """What a method may compute from its training data between stages or epochs.

    ``mean_gradients(parameters)`` is E|dL/dp|, the mean over batches of the absolute gradient; ``iterate_outputs()`` is
    one pass over the stage's data without gradients, hidden states included; ``validation_score()`` is (score by
    the task's metric, loss in nats) of the method in its current state on the target's validation examples; the score
    of a text-to-text task is 0, because writing takes long and several candidates are compared. ``source_prompts``, in
    the order of ``Spec.source_tasks``, are given to the first stage's ``on_start`` only, which copies what it needs.
    ``steps`` is the number of updates that the stage makes.
    """

    mean_gradients: Callable[[list[Tensor]], list[Tensor]]
    iterate_outputs: Callable[[], Iterator[tuple[Batch, Output]]]
    validation_score: Callable[[], tuple[float, float]]
    source_prompts: tuple[SourcePrompt, ...] = ()
    steps: int = 0


@dataclass(frozen=True)
class Stage:
    """One stage of training, as data: shown before it runs, resumed by index after a crash.

    ``lr_scales`` maps a parameter or submodule to its learning-rate scale; empty means everything at scale 1. ``tasks``
    says whose examples it uses: the target's, the sources', or both; ``batch.task_ids`` numbers the sources from 0 in
    the order of ``Spec.source_tasks``, and the target after them. A step over several tasks calls the objective once
    for each task in its batch, and minimises the mean over examples. ``mixture`` draws the examples of a step from the
    tasks: "proportional" to their sizes (SPoT) or "stochastic" (MPT). ``step_fraction`` is the stage's part of the
    run's steps, of the source steps for a stage on the sources only; the fractions of the other stages sum to 1. With
    ``keeps_previous_best`` the stage competes with the one before: the best prompt of both by validation is used.
    ``needs_hidden_states`` says that the objective uses hidden states. With ``as_source`` the learning rate of every
    step is the one that a source prompt has at this step, so that the result can be compared with source prompts.
    ``on_epoch`` is called before every epoch, and every 25 steps in longer ones. With ``few_shot_sources`` a limit of
    examples per class holds for the source tasks too.
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
    as_source: bool = False
    few_shot_sources: bool = False

    def lr_scale(self, parameter: str) -> float:
        """Return the learning-rate scale of a named parameter; 0 if it is not trained."""
        if not self.lr_scales:
            return 1.0
        matches = (scale for name, scale in self.lr_scales.items() if f"{parameter}.".startswith(f"{name}."))
        return next(matches, 0.0)


@dataclass(frozen=True)
class MethodTensor:
    """A tensor of a method with its axes, named as in ``ptviz.prompt``: figures match on the names."""

    tensor: Tensor
    axes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.tensor.ndim != len(self.axes):
            raise ValueError(f"expected one axis name for each of {tuple(self.tensor.shape)}; got {self.axes}")


class PromptMethod(nn.Module, ABC):
    """A prompt-tuning method. Constructor arguments after ``spec`` are its hyperparameters, named as in the paper.

    There are no mode flags: a method with a loaded ``state_dict`` is complete.
    """

    card: ClassVar[MethodCard]
    uses_source_tasks: ClassVar[bool] = False
    """Whether it trains on source tasks, those of ``Spec.source_tasks``."""
    needs_source_prompts: ClassVar[bool] = False
    """Whether it needs a prompt of m tokens for each source task, trained by plain prompt tuning."""
    per_target: ClassVar[tuple[str, ...]] = ()
    """Parameters of which each target task has its own when one run trains several; the targets share all others. They
    are stacked along a first axis then. Empty: the method trains one target at a time."""
    slots: int
    """Input positions of the prompt; 0 for key-value methods."""

    def __init_subclass__(cls, register: bool = True) -> None:
        """Register the class, unless ``register`` is False."""
        if register:
            REGISTRY[cls.card.name] = cls

    @abstractmethod
    def forward(self, batch: Batch) -> Prompt:
        """Return the trained method's prompt for one batch, which is evaluated, saved and drawn."""

    @abstractmethod
    def tensors(self) -> dict[str, MethodTensor]:
        """Return the method's tensors under the paper's symbols."""

    @classmethod
    def state_of_target(cls, state: Mapping[str, Tensor], target: int) -> dict[str, Tensor]:
        """Return the state dict of a method for one of several target tasks, from that of the method for all."""
        return {name: tensor[target] if name in cls.per_target else tensor for name, tensor in state.items()}

    def init_from_prompt(self, first: Prompt) -> None:
        """Initialise from a trained prompt; by default a method does not support it.

        Raises:
            ValueError: if the method does not support it, or the prompt has another kind or size.
        """
        default = PromptMethod.init_from_prompt
        able = ", ".join(name for name, method in REGISTRY.items() if method.init_from_prompt is not default)
        raise ValueError(f"start: {self.card.title} cannot start from a prompt; choose one of {able}")

    def stages(self) -> tuple[Stage, ...]:
        """Return the training stages, in order."""
        return (Stage("tune", task_objective(self)),)

    def diagram(self) -> MethodDiagram:
        """Return how the tensors form what enters the backbone; derived from their axes by default."""
        attributes = {id(tensor): name for name, tensor in [*self.named_parameters(), *self.named_buffers()]}
        own = {symbol: part for symbol, part in self.tensors().items() if id(part.tensor) in attributes}
        names = {symbol: attributes[id(part.tensor)] for symbol, part in own.items()}
        return derive_diagram({symbol: part.axes for symbol, part in own.items()}, names, self.slots)

    def trainable_parameters(self) -> int:
        """Return the number of parameters that a stage on the target task trains."""
        stages = [stage for stage in self.stages() if stage.tasks != "sources"]
        return sum(p.numel() for n, p in self.named_parameters() if any(stage.lr_scale(n) for stage in stages))

    def merge(self) -> PromptMethod:
        """Return an equal method without what only training needs, with fewer parameters; itself by default."""
        return self

    def stored_parameters(self) -> int:
        """Return the number of parameters to store for inference, after merging."""
        return self.trainable_parameters()


@runtime_checkable
class RoutedMethod(Protocol):
    """A method that weights its experts or source prompts for each input, and computes a prompt from them.

    ``forward`` is ``prompt_for`` with ``routing_weights``; other weights show the effect of other routings.
    ``soft_routing`` says whether all weights enter the prompt, or only the largest.
    """

    soft_routing: bool

    def routing_weights(self, batch: Batch) -> Float[Tensor, "B k"]:
        """Return the weights of each input, which sum to 1."""

    def prompt_for(self, batch: Batch, routing: Float[Tensor, "B k"]) -> Prompt:
        """Return the prompt of each row for these weights."""


def copy_per_target(spec: Spec, values: Tensor) -> nn.Parameter:
    """Return a parameter with these values; with one copy for each of several target tasks, along a first axis."""
    return nn.Parameter(values if spec.targets == 1 else values.repeat(spec.targets, *[1] * values.ndim))


def build_method(
    name: str, spec: Spec, hyperparameters: Mapping[str, object] = MappingProxyType({}), seed: int = 0
) -> PromptMethod:
    """Build a method of the registry; its random initialisation depends only on ``seed``.

    Raises:
        ValueError: for an unknown method, or a bad hyperparameter (see ``check_hyperparameters``).
    """
    if name not in REGISTRY:
        raise ValueError(f"unknown method {name!r}; expected one of {', '.join(REGISTRY)}")
    method_class = REGISTRY[name]
    checked = check_hyperparameters(hyperparameters_of(method_class), hyperparameters, method_class.card.title)
    if spec.embedding_table.is_meta:
        # A method without values, enough to count parameters for a backbone of any size. There is nothing to seed,
        # and a form does this for dozens of runs at a time: seeding the generators of all devices takes longer.
        with torch.device("meta"):
            return method_class(spec, **checked)
    with torch.random.fork_rng(), torch.device("cpu"):
        torch.manual_seed(seed)
        method = method_class(spec, **checked)
    return method.to(spec.embedding_table.device)
