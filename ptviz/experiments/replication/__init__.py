"""What the papers found, tried again here: small recorded experiments with a direction, an effect and an interval."""

from ptviz.experiments.replication.catalogue import STUDIES
from ptviz.experiments.replication.results import StudyRecord
from ptviz.experiments.replication.study import (
    Arm,
    ArmSetting,
    Comparison,
    ReplicationStudy,
    StudyResult,
    evaluate_study,
)

__all__ = [
    "STUDIES",
    "Arm",
    "ArmSetting",
    "Comparison",
    "ReplicationStudy",
    "StudyRecord",
    "StudyResult",
    "evaluate_study",
]
