"""How shapes are checked while the tests run: every annotation like ``Float[Tensor, "B T d"]`` is an assertion."""

from __future__ import annotations

from beartype import BeartypeConf, beartype

CHECKED = ("ptviz.prompt", "ptviz.methods", "ptviz.backbones", "ptviz.training", "ptviz.analysis")
"""Where tensors are passed around."""

# An int is welcome where a float is expected, as everywhere in Python (PEP 484).
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
