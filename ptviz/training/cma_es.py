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
from ptviz.training.optimizers import Measure, moving

POPULATION = 20
SIGMA = 1.0


class EvolutionStepper:
    """CMA-ES over all parameters of a stage, as one vector; the learning rate plays no part.

    ``measure`` asks for a generation and scores it on the batch at hand; ``update`` tells the scores and moves the
    parameters to the new mean. ``norm`` is the spread of the generation's losses, ``rate`` the step size sigma.
    The state is the table of all losses told so far: replaying it rebuilds the search bit for bit.
    """

    def __init__(self, method: PromptMethod, stage: Stage, config: TrainConfig, lr: float, steps: int) -> None:
        self.parameters = list(moving(method, stage).values())
        self.norm = 0.0
        self._seed = config.seed
        self._begin(nn.utils.parameters_to_vector(self.parameters).detach().cpu().double())

    def _begin(self, start: Tensor) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It warns that it cannot plot.
            import cma  # Slow to import, and only one method needs it.

        self._start = start
        self._random = np.random.default_rng(self._seed)
        options: dict[str, Any] = {
            "popsize": POPULATION, "verbose": -9, "seed": math.nan, "randn": self._normal, "maxiter": math.inf,
            "tolfun": 0, "tolx": 0, "tolfunhist": 0, "tolstagnation": math.inf, "tolflatfitness": math.inf,
        }  # fmt: skip
        self._search = cma.CMAEvolutionStrategy(start.numpy(), SIGMA, options)
        self._told: list[list[float]] = []
        self._asked: list[Any] = []
        self._losses: list[float] = []

    def _normal(self, *shape: int) -> Any:
        return self._random.standard_normal(shape)

    def rate(self, step: int) -> float:
        """The present step size of the search."""
        return float(self._search.sigma)

    @torch.no_grad()
    def measure(self, objective: Measure) -> tuple[Tensor, Prompt, Output]:
        """The loss at the mean of the search; the losses of a new generation on the same rows are kept."""
        self._asked, self._losses = self._search.ask(), []
        for candidate in self._asked:
            self._put(candidate)
            self._losses.append(float(objective()[0]))
        self.norm = float(np.std(self._losses))
        self._put(self._search.mean)
        return objective()

    def update(self, step: int) -> None:
        """Tell the search what its generation scored, and move to its new mean."""
        self._tell(self._asked, self._losses)
        self._put(self._search.mean)

    def state(self) -> dict[str, Tensor]:
        """Where the search started, (parameters,), and the losses told, (generations, population)."""
        return {"start": self._start, "told": torch.tensor(self._told, dtype=torch.float64).reshape(-1, POPULATION)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from ``state()``."""
        self._begin(state["start"])
        for losses in state["told"].tolist():
            self._tell(self._search.ask(), losses)
        self._put(self._search.mean)

    def _tell(self, asked: list[Any], losses: list[float]) -> None:
        # A loss that is no number would poison the covariance; the worst of all is what it means.
        self._search.tell(asked, [loss if math.isfinite(loss) else 1e9 for loss in losses])
        self._told.append(losses)

    @torch.no_grad()
    def _put(self, values: Any) -> None:
        vector = torch.from_numpy(np.asarray(values, dtype=np.float64))
        first = self.parameters[0]
        nn.utils.vector_to_parameters(vector.to(first.device, first.dtype), self.parameters)
