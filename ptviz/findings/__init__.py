"""What the papers found, tried again here: small recorded experiments with a direction, an effect and an interval."""

from ptviz.findings.catalogue import FINDINGS
from ptviz.findings.finding import Arm, Compared, Finding, Judged, Setting, judge
from ptviz.findings.record import Record

__all__ = ["FINDINGS", "Arm", "Compared", "Finding", "Judged", "Record", "Setting", "judge"]
