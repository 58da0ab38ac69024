r"""XPrompt's importance score: how much the loss depends on a prunable part, to first order.

.. math:: I = \mathbb{E}_x \left| \frac{\partial L(x)}{\partial \gamma} \right|_{\gamma = 1}

Ma et al., "XPrompt: Exploring the Extreme of Prompt Tuning", EMNLP 2022, section 3.
https://aclanthology.org/2022.emnlp-main.758

The expectation is over batches: the absolute gradients of the batches are averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ptviz.prompt import Batch, Prompt
from ptviz.training.batches import EncodedExamples


def mean_absolute_gradients(losses: Iterable[Tensor], parameters: Sequence[Tensor]) -> list[Tensor]:
    """Return E |dL/dp| over the losses of batches, in the shape of each parameter."""
    totals, count = [torch.zeros_like(p) for p in parameters], 0
    for loss in losses:
        for total, gradient in zip(totals, torch.autograd.grad(loss, parameters), strict=True):
            total += gradient.abs()
        count += 1
    return [total / count for total in totals]


def measure_token_importance(
    rows: EncodedExamples, prompt_of: Callable[[Batch], Prompt], size: int, seed: int, batches: int
) -> Float[Tensor, " m"]:
    """Measure the score of each input prompt token, in nats; gamma scales the vector of one token.

    The mean is over the first ``batches`` training batches of ``size`` examples in the order of ``seed``.

    Raises:
        ValueError: if the prompt has no vectors at the input, where the score is defined.
    """
    first = prompt_of(rows.training_batch(0, size, seed)).embeddings
    if first is None:
        raise ValueError("expected prompt vectors at the input; this prompt has none, and the score needs them")
    gamma = torch.ones(first.shape[1], 1, device=first.device, requires_grad=True)

    def losses() -> Iterator[Tensor]:
        for step in range(batches):
            batch = rows.training_batch(step, size, seed)
            with torch.no_grad():
                prompt = prompt_of(batch)
            assert prompt.embeddings is not None
            masked = replace(prompt, embeddings=gamma * prompt.embeddings)
            yield rows.backbone(batch, masked, rows.readout).loss

    return mean_absolute_gradients(losses(), [gamma])[0].squeeze(1)
