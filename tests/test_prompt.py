"""The shape checks of the suite are really on (see tests/shapes.py; PTVIZ_SHAPES=0 turns them off)."""

from __future__ import annotations

import os

import pytest
import torch
from jaxtyping import TypeCheckError

from ptviz.methods import build_method
from ptviz.prompt import Prompt, Spec

pytestmark = pytest.mark.skipif(os.environ.get("PTVIZ_SHAPES") == "0", reason="on again without PTVIZ_SHAPES=0")


def test_a_wrong_number_of_axes_is_caught() -> None:
    Prompt(embeddings=torch.zeros(1, 3, 8))
    with pytest.raises(TypeCheckError, match="embeddings"):
        Prompt(embeddings=torch.zeros(3, 8))


def test_axes_of_one_name_must_agree() -> None:
    spec = Spec.from_sizes(8, 2, 2, 4, 8)
    assert build_method("dept", spec).shift().shape == (8, 8)
    with pytest.raises(TypeCheckError, match="embeddings"):
        Prompt(embeddings=torch.zeros(1, 3, 8), keep=torch.ones(4, dtype=torch.bool))
