"""``ptviz attach`` without a cluster: what it tells the shell about the runs that it followed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ptviz.cli import wait_for_runs
from ptviz.executors import choose
from ptviz.runs import RunConfig, Status, Store
from ptviz.runs.run import Run
from ptviz.runs.writer import write_status


class Cluster:
    """An executor whose only run ends in a state at once."""

    def __init__(self, run: Run, state: str) -> None:
        self.store, self.run, self.state = Store(), run, state

    def attach(self) -> list[str]:
        return [self.run.id]

    def describe_cluster(self) -> dict[str, Any]:
        return {"nodes": [], "queued": [], "messages": 0, "seconds": 0}

    def status(self, id: str) -> Status:
        return self.store.get(id).status()

    def ensure_worker(self) -> None:
        write_status(self.run.path, self.run.status().with_changes(state=self.state, reason="at its end"))


@pytest.mark.parametrize(("state", "code"), [("failed", 1), ("stopped", 0), ("finished", 0)])
def test_a_followed_run_that_fails_is_told_to_the_shell(
    shell: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, state: str, code: int
) -> None:
    run = Store().create(RunConfig("tiny-encoder"), queued=True)
    monkeypatch.setattr(choose, "make_executor", lambda *given: Cluster(run, state))
    monkeypatch.setattr(wait_for_runs, "POLL_SECONDS", 0.01)
    answer = shell("attach")
    assert answer.code == code, answer.err
    assert (f"1 of 1 runs failed: {run.id}" in answer.err) == (code == 1)
