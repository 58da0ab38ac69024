"""Export vectors to TensorBoard's embedding projector, https://projector.tensorflow.org: two TSVs, a config."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ptviz.checkpoints.bundle import Array

PROJECTOR_CONFIG = "projector_config.pbtxt"


def write_embedding_projector(
    folder: Path, rows: Array, labels: Sequence[tuple[str, ...]], columns: tuple[str, ...]
) -> None:
    """Write ``rows`` (n, d) with one tuple of labels per row; ``columns`` names the labels.

    Raises:
        ValueError: if the numbers of rows and labels differ.
        OSError: if the folder cannot be written.
    """
    if len(rows) != len(labels):
        raise ValueError(f"expected a label for each of {len(rows)} rows; got {len(labels)}")
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / "tensors.tsv", rows, fmt="%.7g", delimiter="\t")
    lines = ["\t".join(_clean_cell(text) for text in row) for row in [columns, *labels]]
    (folder / "metadata.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = 'embeddings {\n  tensor_path: "tensors.tsv"\n  metadata_path: "metadata.tsv"\n}\n'
    (folder / PROJECTOR_CONFIG).write_text(config, encoding="utf-8")


def _clean_cell(text: str) -> str:
    """Return text for one cell, without tabs and line ends."""
    return " ".join(text.split()) or repr(text)
