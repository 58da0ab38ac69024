"""Derivative-free updates: one generation of CMA-ES a step, from the ``cma`` package.

Hansen, "The CMA Evolution Strategy: A Tutorial", 2016, https://arxiv.org/abs/1604.00772; used for prompts by Sun et
al., "Black-Box Tuning", ICML 2022, https://arxiv.org/abs/2201.03514, whose start (mean as given, sigma 1) and
population of 20 are the defaults here.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ptviz.methods.base import PromptMethod, Stage
from ptviz.prompt import Output, Prompt
from ptviz.training.config import TrainConfig
from ptviz.training.optimizers import StepObjective, stage_parameters

POPULATION_SIZE = 20
INITIAL_SIGMA = 1.0
_LOSSES_KEY = "told"
"""Key of the reported losses in a stored state."""


class CMAESOptimizer:
    """CMA-ES over all parameters of a stage as one vector; the learning rate is not used.

    ``compute_loss`` samples a generation and scores it on the batch; ``step`` reports the scores and moves the
    parameters to the new mean. ``gradient_norm`` is the standard deviation of the generation's losses,
    ``learning_rate`` the step size sigma. The state is the table of all losses: replaying it restores the search.
    """

    def __init__(self, method: PromptMethod, stage: Stage, config: TrainConfig, lr: float, steps: int) -> None:
        self.parameters = list(stage_parameters(method, stage).values())
        self.gradient_norm = 0.0
        self._seed = config.seed
        self._start_search(nn.utils.parameters_to_vector(self.parameters).detach().cpu().double())

    def _start_search(self, start: Tensor) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The package warns that it cannot plot.
            import cma  # Imported here: it is slow to import, and only one method needs it.

        self._start = start
        self._random = np.random.default_rng(self._seed)
        options: dict[str, Any] = {
            "popsize": POPULATION_SIZE, "verbose": -9, "seed": math.nan, "randn": self._standard_normal,
            "maxiter": math.inf, "tolfun": 0, "tolx": 0, "tolfunhist": 0, "tolstagnation": math.inf,
            "tolflatfitness": math.inf,
        }  # fmt: skip
        self._search = cma.CMAEvolutionStrategy(start.numpy(), INITIAL_SIGMA, options)
        self._reported_losses: list[list[float]] = []
        self._candidates: list[Any] = []
        self._losses: list[float] = []

    def _standard_normal(self, *shape: int) -> Any:
        return self._random.standard_normal(shape)

    def learning_rate(self, step: int) -> float:
        """Return the current step size of the search."""
        return float(self._search.sigma)

    @torch.no_grad()
    def compute_loss(self, objective: StepObjective) -> tuple[Tensor, Prompt, Output]:
        """Return the loss at the mean of the search; store the losses of a new generation on the same examples."""
        self._candidates, self._losses = self._search.ask(), []
        for candidate in self._candidates:
            self._set_parameters(candidate)
            self._losses.append(float(objective()[0]))
        self.gradient_norm = float(np.std(self._losses))
        self._set_parameters(self._search.mean)
        return objective()

    def step(self, step: int) -> None:
        """Report the generation's losses to the search, and move to its new mean."""
        self._report_losses(self._candidates, self._losses)
        self._set_parameters(self._search.mean)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the initial mean, (parameters,), and the reported losses, (generations, population)."""
        return {
            "start": self._start,
            _LOSSES_KEY: torch.tensor(self._reported_losses, dtype=torch.float64).reshape(-1, POPULATION_SIZE),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore the result of ``state_dict()``."""
        self._start_search(state["start"])
        for losses in state[_LOSSES_KEY].tolist():
            self._report_losses(self._search.ask(), losses)
        self._set_parameters(self._search.mean)

    def _report_losses(self, candidates: list[Any], losses: list[float]) -> None:
        # A loss that is not finite would corrupt the covariance; it counts as the worst.
        self._search.tell(candidates, [loss if math.isfinite(loss) else 1e9 for loss in losses])
        self._reported_losses.append(losses)

    @torch.no_grad()
    def _set_parameters(self, values: Any) -> None:
        vector = torch.from_numpy(np.asarray(values, dtype=np.float64))
        first = self.parameters[0]
        nn.utils.vector_to_parameters(vector.to(first.device, first.dtype), self.parameters)
