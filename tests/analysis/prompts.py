"""Published prompts, read from the folder next to the repository if it is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

PROMPTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "prompts" / "roberta-base.safetensors"
needs_prompts = pytest.mark.skipif(
    not PROMPTS.exists(), reason=f"needs the released prompts of thunlp/Prompt-Transferability as {PROMPTS}"
)
TYPES = (
    ("IMDB", "SST2", "laptop", "restaurant", "movierationales", "tweetevalsentiment"),
    ("MNLI", "QNLI", "snli"),
    ("ethicsdeontology", "ethicsjustice"),
    ("QQP", "MRPC"),
)
TASKS = tuple(name for group in TYPES for name in group)


def released() -> dict[str, np.ndarray]:
    """Return fifteen prompts of 100 x 768 for RoBERTa-base, one of them a random control."""
    return load_file(PROMPTS)
