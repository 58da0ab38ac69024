"""What visitors may train."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ptviz.classroom.rules import CLASSROOM_VARIABLE, ClassroomRules, active_rules
from ptviz.runs import RunConfig


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"steps": 101}, "steps: expected at most 100 in this classroom; got 101"),
        ({"method": "attempt", "source_steps": 101}, "source_steps: expected at most 100"),
        ({"batch": 65}, "batch: expected at most 64"),
        ({"length": 257}, "length: expected at most 256"),
        ({"validation_rows": 1001}, "validation_rows: expected at most 1,000"),
        ({"test_rows": 2001}, "test_rows: expected at most 2,000"),
        ({"backbone": "minilm-l6"}, "backbone: expected one of tiny-encoder in this classroom; got minilm-l6"),
        ({"backbone": "google-bert/bert-base-uncased"}, "backbone: expected one of tiny-encoder"),
        ({"task": "hub:ag_news"}, "task: expected one that is on this machine, or a table that you uploaded"),
        ({"task": "/etc/passwd"}, "task: expected one that is on this machine"),
        ({"method": "attempt", "sources": ("hub:ag_news",)}, "sources: expected tasks that are on this machine"),
        ({"device": "cuda"}, "device: it is chosen by the worker"),
    ],
)
def test_a_run_outside_the_rules_is_refused(
    rules: ClassroomRules, small: Callable[..., RunConfig], tmp_path: Path, settings: dict[str, object], reason: str
) -> None:
    rules.check(small(source_steps=200), tmp_path)  # of a method without source tasks
    with pytest.raises(ValueError, match=reason):
        rules.check(small(**settings), tmp_path)


def test_evaluations_and_snapshots_are_limited(small: Callable[..., RunConfig], tmp_path: Path) -> None:
    rules = ClassroomRules()
    rules.check(small(steps=1000, evaluate_every=5, snapshot_every=5), tmp_path)
    for name in ("evaluate_every", "snapshot_every"):
        with pytest.raises(ValueError, match=f"{name}: expected at least 5 for 1,000 steps; got 4"):
            rules.check(small(steps=1000, **{name: 4}), tmp_path)


def test_a_table_is_allowed_in_the_visitors_folder_only(
    rules: ClassroomRules, small: Callable[..., RunConfig], tmp_path: Path
) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own, other):
        folder.mkdir()
        (folder / "rows.csv").write_text("text,label\n")
    (own / "link.csv").symlink_to(other / "rows.csv")
    rules.check(small(task=str(own / "rows.csv")), own)
    for path in (other / "rows.csv", own / ".." / "other" / "rows.csv", own / "link.csv", own / "none.csv"):
        with pytest.raises(ValueError, match="task: expected one that is on this machine"):
            rules.check(small(task=str(path)), own)


def test_only_backbones_on_this_machine_can_be_named(rules: ClassroomRules) -> None:
    rules.check_known()
    with pytest.raises(ValueError, match="got nowhere"):
        ClassroomRules(backbones=("nowhere",)).check_known()


def test_the_rules_reach_the_server_by_the_environment(rules: ClassroomRules, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CLASSROOM_VARIABLE, raising=False)
    assert active_rules() is None
    monkeypatch.setenv(CLASSROOM_VARIABLE, rules.to_text())
    assert active_rules() == rules
    monkeypatch.setenv(CLASSROOM_VARIABLE, '{"max_steps": 0}')
    with pytest.raises(ValueError, match=CLASSROOM_VARIABLE):
        active_rules()
