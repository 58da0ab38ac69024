"""Published tables of measured transfer, to compare with own results."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ptviz.analysis.transfer_correlation import error_reduction


@dataclass(frozen=True, eq=False)
class PublishedTransfer:
    """Scores in percent as published: rows target tasks, columns source prompts.

    ``baseline`` is each target's score without a source; None if the paper has none.
    """

    title: str
    citation: str
    url: str
    description: str
    targets: tuple[str, ...]
    sources: tuple[str, ...]
    scores: Float[np.ndarray, "t n"]
    baseline: Float[np.ndarray, " t"] | None = None

    @property
    def error_reduction(self) -> Float[np.ndarray, "t n"] | None:
        """Return the relative error reduction over the baseline, 1 if no error is left; None without one."""
        if self.baseline is None:
            return None
        return error_reduction(self.scores / 100, np.broadcast_to(self.baseline[:, None] / 100, self.scores.shape))


_SPOT_SCORES = """
         BoolQ CoLA STS-B WiC  CR   MRPC RTE  WSC  COPA CB
none     73.0 52.9 88.1 63.6 93.5 86.1 68.7 71.5 56.7 92.7
C4       75.8 54.8 87.8 66.3 93.9 88.0 69.1 68.0 54.3 83.1
DocNLI   72.7 52.7 87.3 64.7 93.6 86.2 67.4 71.1 56.0 87.2
Yelp-2   74.8 53.9 88.1 64.7 93.8 86.6 69.2 70.8 55.0 87.8
MNLI     77.6 54.2 89.5 69.5 93.9 88.4 74.7 71.8 69.3 97.0
QQP      75.9 55.6 89.4 67.9 93.7 88.1 72.0 71.5 62.0 88.7
QNLI     75.6 55.5 89.2 69.6 93.8 87.8 71.1 71.5 59.7 92.5
ReCoRD   73.1 54.7 87.7 65.5 93.7 88.7 67.5 77.2 59.3 74.1
CxC      75.9 55.0 90.0 70.2 93.9 88.0 70.3 68.6 60.3 89.3
SQuAD    76.0 54.9 87.6 66.8 93.9 88.7 71.2 72.4 63.0 91.3
DROP     73.6 53.0 86.9 67.5 93.7 88.2 65.7 73.4 60.0 78.5
SST-2    73.3 52.3 87.9 63.8 93.8 85.6 66.9 68.6 57.0 92.9
WinoGrande 74.1 52.8 87.8 62.4 93.7 86.1 67.9 71.5 56.7 83.9
HellaSwag 70.0 32.7 87.5 60.1 93.6 86.6 63.9 70.2 58.0 85.5
MultiRC  74.0 50.0 88.2 66.4 93.4 86.4 67.6 69.2 56.0 80.0
CosmosQA 73.4 52.1 87.7 65.9 93.6 87.9 68.7 69.6 62.3 83.9
RACE     73.6 52.5 87.5 63.1 93.4 86.5 66.5 68.9 57.3 84.8
"""
_SU_SCORES = """
           IMDB SST-2 laptop restaurant movie tweets MNLI QNLI SNLI deontology justice QQP MRPC
IMDB       89.7 73.6 79.8 68.0 85.8 78.4 57.1 50.3 57.7 51.3 62.7 58.4 50.3
SST-2      86.1 93.3 86.8 85.6 74.2 86.3 58.5 51.2 55.4 50.8 51.7 51.2 50.4
laptop     45.3 65.5 75.3 72.3 31.9 73.1 53.1 51.2 53.8  3.1  2.5 25.9  2.5
restaurant 59.8 74.2 78.7 79.5 28.7 77.2 66.5 60.8 65.6  1.4  1.1 37.2  1.3
movie      81.8 71.4 69.3 66.7 76.0 72.9 52.1 50.5 54.7 51.6 56.8 52.1 50.5
tweets     32.5 45.5 53.4 57.1 33.2 74.5 40.0 40.9 41.1 41.0 41.5 46.1 41.0
MNLI       36.6 35.8 34.3 33.1 32.8 38.9 79.9 47.5 73.9 32.7 32.8 34.3 32.7
QNLI       55.5 52.1 50.5 52.4 50.8 52.6 75.5 90.5 69.5 50.5 50.6 43.5 50.5
SNLI       34.1 34.2 34.5 33.6 33.3 36.4 77.0 55.6 88.5 33.3 33.3 30.1 33.3
deontology 49.7 49.6 50.3 49.6 50.8 49.7 49.7 50.3 49.6 71.7 61.9 50.4 50.3
justice    50.1 50.1 50.0 49.5 50.6 50.0 50.1 49.9 50.1 58.9 67.8 50.0 49.8
QQP        39.7 56.8 53.8 45.2 36.8 48.9 49.9 36.9 59.6 36.9 39.2 86.9 66.9
MRPC       68.0 52.6 43.8 65.4 68.5 51.8 65.9 68.0 59.9 63.5 56.8 70.0 84.4
"""


def _parse_scores(text: str) -> tuple[tuple[str, ...], tuple[str, ...], Float[np.ndarray, "rows columns"]]:
    """Return the names of the columns, the names of the rows, and the values."""
    first, *rest = (line.split() for line in text.strip().splitlines())
    return tuple(first), tuple(row[0] for row in rest), np.array([[float(cell) for cell in row[1:]] for row in rest])


def load_published_tables() -> tuple[PublishedTransfer, ...]:
    """Load SPoT's transfer on T5-Base (Vu et al. 2022) and zero-shot transfer on RoBERTa-Base (Su et al. 2022)."""
    spot, sources, scores = _parse_scores(_SPOT_SCORES)
    su, targets, zero_shot = _parse_scores(_SU_SCORES)
    return (
        PublishedTransfer(
            title="Tuned from a source prompt (T5-Base)",
            citation="Vu et al., SPoT, ACL 2022, appendix; mean of 3 seeds",
            url="https://aclanthology.org/2022.acl-long.346",
            description="score of the target after prompt tuning from each source prompt; baseline: without a source",
            targets=spot,
            sources=sources[1:],
            scores=scores[1:].T,
            baseline=scores[0],
        ),
        PublishedTransfer(
            title="Zero-shot, without training (RoBERTa-Base)",
            citation="Su et al., NAACL 2022; values of the released result files",
            url="https://github.com/thunlp/Prompt-Transferability",
            description="accuracy of each source prompt on the target, without further training",
            targets=targets,
            sources=su,
            scores=zero_shot,
        ),
    )
