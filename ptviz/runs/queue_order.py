"""Whose turn it is in the queue: owners take turns, so that many runs of one do not delay the first run of another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ptviz.runs.store import RunSummary


def fair_order(summaries: Iterable[RunSummary]) -> list[RunSummary]:
    """Return the queued runs in the order in which they are trained.

    The owner whose runs were trained longest ago is next, one who had none yet before all others; of several such
    owners the one who has waited longest. Within an owner the oldest comes first. With one owner, or none, this is the
    order of queueing.
    """
    waiting: dict[str, list[RunSummary]] = {}
    last_turn: dict[str, float] = {}
    for summary in summaries:
        owner, status = summary.annotations.owner, summary.status
        if status.state == "queued":
            waiting.setdefault(owner, []).append(summary)
        if status.state in ("running", "stopping"):
            last_turn[owner] = float("inf")  # It has its turn now.
        elif status.seconds > 0:  # A resumed run that is queued again too: stopping it must win no place.
            last_turn[owner] = max(status.updated, last_turn.get(owner, 0.0))
    for own in waiting.values():
        own.sort(key=_queued_at, reverse=True)
    turns, order = {owner: (0, last_turn.get(owner, 0.0)) for owner in waiting}, []
    while waiting:
        owner = min(waiting, key=lambda one: (turns[one], _queued_at(waiting[one][-1])))
        order.append(waiting[owner].pop())
        turns[owner] = (turns[owner][0] + 1, float(len(order)))  # After all who had fewer turns since now.
        if not waiting[owner]:
            del waiting[owner]
    return order


def _queued_at(summary: RunSummary) -> tuple[float, str]:
    return summary.status.queued, summary.id
