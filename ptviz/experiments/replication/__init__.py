"""What the papers found, tried again here: small recorded experiments with a direction, an effect and an interval."""

from ptviz.experiments.replication.catalogue import FINDINGS
from ptviz.experiments.replication.results import Record
from ptviz.experiments.replication.study import Arm, Compared, Finding, Judged, Setting, judge

__all__ = ["FINDINGS", "Arm", "Compared", "Finding", "Judged", "Record", "Setting", "judge"]
