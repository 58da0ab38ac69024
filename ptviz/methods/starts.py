"""Where a soft prompt starts: the four initialisations that the papers compare.

Source: Lester et al. 2021, section 3.2, https://aclanthology.org/2021.emnlp-main.243 (uniform, sampled vocabulary,
class labels); the text start is the DePT release's, https://github.com/ZhengxiangShi/DePT.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ptviz.prompt import Spec


def start(spec: Spec, m: int, init: str, text: str = "") -> Float[Tensor, "m d"]:
    """A soft prompt's first value.

    ``uniform`` draws from [-0.5, 0.5] as in the paper; ``vocabulary`` copies sampled words; ``labels`` puts each
    label's mean embedding in one slot and words in the rest; ``text`` repeats a text's tokens until m are filled.

    Raises:
        ValueError: if ``labels`` is asked for a task without label words, or ``text`` without a text.
    """
    if init == "uniform":
        return torch.rand(m, spec.width, device=spec.table.device) - 0.5
    if init == "labels":
        if not spec.labels:
            raise ValueError("init 'labels' needs a task with label words; choose vocabulary, uniform or text")
        rows = torch.stack([spec.text(label).mean(0) for label in spec.labels])[:m]
        return torch.cat([rows, spec.words(m - len(rows))]) if len(rows) < m else rows
    if init == "text":
        if not text.strip():
            raise ValueError("init 'text' needs some words in the knob `text`; got none")
        rows = spec.text(text)
        return rows.repeat(-(-m // len(rows)), 1)[:m]
    return spec.words(m)
