"""Replication studies: small recorded experiments that repeat published findings, with effect and interval."""

from ptviz.experiments.replication.record import StudyRecord
from ptviz.experiments.replication.studies import STUDIES
from ptviz.experiments.replication.study import (
    Arm,
    ArmSetting,
    Comparison,
    ReplicationStudy,
)
from ptviz.experiments.replication.verdict import StudyResult, evaluate_study

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
