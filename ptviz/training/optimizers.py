"""Optimisers: one update of the parameters from a loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from transformers import get_scheduler
from transformers.optimization import Adafactor

from ptviz.methods.base import PromptMethod, Stage
from ptviz.prompt import Output, Prompt
from ptviz.training.config import TrainConfig

StepObjective = Callable[[], tuple[Tensor, Prompt, Output]]


@runtime_checkable
class Optimizer(Protocol):
    """Computes a loss at the current parameters, then updates them; its state is named tensors."""

    gradient_norm: float

    def compute_loss(self, objective: StepObjective) -> tuple[Tensor, Prompt, Output]:
        """Return the loss at the current parameters; what ``step`` needs is stored."""

    def step(self, step: int) -> None:
        """Make update number ``step``."""

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of update number ``step``, before a stage's scales."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state needed to resume, bit for bit."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore a state."""


def stage_parameters(method: PromptMethod, stage: Stage) -> dict[str, nn.Parameter]:
    """Return the parameters that a stage trains, by name.

    Raises:
        ValueError: if there are none.
    """
    named = {n: p for n, p in method.named_parameters() if stage.lr_scale(n) > 0}
    if not named:
        raise ValueError(
            f"stage {stage.name!r} trains nothing: none of {sorted(stage.lr_scales)} is a parameter of "
            f"{method.card.name}"
        )
    return named


class GradientOptimizer:
    """AdamW, or Adafactor as in the papers (no relative step, no parameter scaling).

    The learning rate of update t is the schedule's value for the whole length: an extended run continues with the
    schedule of a run planned at the new length, without a second warm-up.
    """

    def __init__(self, method: PromptMethod, stage: Stage, config: TrainConfig, lr: float, steps: int) -> None:
        self.named_parameters = stage_parameters(method, stage)
        self.lr, self.clip, self.gradient_norm = lr, config.clip, 0.0
        groups: list[dict[str, Any]] = [
            {"params": [p], "scale": stage.lr_scale(n), "lr": lr * stage.lr_scale(n)}
            for n, p in self.named_parameters.items()
        ]
        self.optimiser: torch.optim.Optimizer
        if config.optimiser == "adamw":
            self.optimiser = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
        else:
            fixed = {"scale_parameter": False, "relative_step": False, "warmup_init": False}
            self.optimiser = Adafactor(groups, weight_decay=config.weight_decay, decay_rate=-0.8, **fixed)
        blank = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        name = "constant_with_warmup" if config.schedule == "constant" else config.schedule
        schedule = get_scheduler(name, blank, round(config.warmup * steps), steps)
        self._schedule_factor = schedule.lr_lambdas[0]

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of update number ``step``, before a stage's scales."""
        return float(self.lr * self._schedule_factor(step))

    def compute_loss(self, objective: StepObjective) -> tuple[Tensor, Prompt, Output]:
        """Return the loss; store its gradient, and its norm before clipping in ``gradient_norm``."""
        self.optimiser.zero_grad(set_to_none=True)
        loss, prompt, output = objective()
        loss.backward()  # type: ignore[no-untyped-call]
        touched = [p for p in self.named_parameters.values() if p.grad is not None]
        self.gradient_norm = float(nn.utils.clip_grad_norm_(touched, self.clip or float("inf")))
        return loss.detach(), prompt, output

    def step(self, step: int) -> None:
        """Update the parameters along the last gradient."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(step) * group["scale"]
        self.optimiser.step()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the optimiser's tensors under ``<parameter>/<key>``."""
        state_tensors: dict[str, Tensor] = {}
        for name, parameter in self.named_parameters.items():
            for key, value in self.optimiser.state.get(parameter, {}).items():
                if value is not None:
                    tensor = value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
                    state_tensors[f"{name}/{key}"] = tensor.detach().cpu().clone()
        return state_tensors

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore the result of ``state_dict()``."""
        for name, parameter in self.named_parameters.items():
            plain: dict[str, Any] = {}
            for path, value in state.items():
                owner, _, key = path.rpartition("/")
                if owner == name:
                    is_number = value.dtype == torch.float64 and value.ndim == 0
                    plain[key] = value.item() if is_number else value.to(parameter.device if value.ndim else "cpu")
            if isinstance(self.optimiser, Adafactor) and "step" in plain:
                plain["step"] = int(plain["step"])
            if plain:
                self.optimiser.state[parameter] = plain
