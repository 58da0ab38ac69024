"""Tags, notes and pins: written by the store, edited by hand, and bounded."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from ptviz import cli
from ptviz.runs import Run, RunConfig, Store, StoreError
from ptviz.runs.annotations import Annotations
from ptviz.runs.archive import pack_run, unpack_run
from tests.damaged_files import make_run


def test_annotations_are_changed_one_by_one(store: Store, config: RunConfig) -> None:
    run = store.create(config)
    assert run.annotations() == Annotations()
    store.annotate(run.id, tags=[" paper ", "first  try", "paper", ""])
    store.annotate(run.id, notes=" good\nstart ")
    store.annotate(run.id, pinned=True)
    assert run.annotations() == Annotations(("paper", "first try"), "good\nstart", True)
    (summary,) = store.list()
    assert summary.annotations == run.annotations()
    store.annotate(run.id, tags=[], notes="")
    assert store.list()[0].annotations == Annotations(pinned=True)


def test_tags_of_simultaneous_changes_are_all_kept(store: Store, config: RunConfig) -> None:
    run = store.create(config)
    store.annotate(run.id, tags=["old"])
    with ThreadPoolExecutor(8) as threads:
        [*threads.map(lambda i: Store(store.root).annotate(run.id, add_tags=[f"tag {i}"]), range(16))]
    assert set(run.annotations().tags) == {"old", *(f"tag {i}" for i in range(16))}
    store.annotate(run.id, add_tags=["new"], remove_tags=[f"tag {i}" for i in range(16)])
    assert run.annotations().tags == ("old", "new")
    with pytest.raises(ValueError, match="tags: expected at most 20; got 21"):
        store.annotate(run.id, add_tags=[str(i) for i in range(19)])


def test_the_shell_adds_tags_to_those_that_came_meanwhile(
    store: Store, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Store().create(config)
    found, before = Store().get(run.id).annotations(), Run.annotations
    Store().annotate(run.id, tags=["theirs"])
    answers = iter([found])
    monkeypatch.setattr(Run, "annotations", lambda self: next(answers, None) or before(self))
    assert cli.run(["note", run.id, "--tag", "mine"]) == 0
    assert run.annotations().tags == ("theirs", "mine")


def test_a_file_edited_by_hand_is_read(store: Store, config: RunConfig) -> None:
    run = store.create(config)
    (run.path / "annotations.json").write_text('{"tags": ["mine"], "colour": "red"}')
    assert store.list()[0].annotations == Annotations(("mine",))


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"tags": "a"}', '{"tags": [1]}', '{"tags": [""]}', '{"notes": 1}', '{"pinned": "yes"}',
     json.dumps({"tags": ["x"] * 21}), json.dumps({"tags": ["x" * 41]}), json.dumps({"notes": "x" * 10_001}),
     json.dumps({"notes": "x" * 200_000}), '{"notes": "\\ud800"}'],
)  # fmt: skip
def test_a_damaged_file_is_said_and_overwrites_nothing(store: Store, config: RunConfig, content: str) -> None:
    run = store.create(config)
    path = run.path / "annotations.json"
    path.write_text(content)
    with pytest.raises(StoreError, match=r"annotations\.json: .*fix or delete it, the run stays readable"):
        run.annotations()
    (summary,) = store.list()
    assert summary.annotations == Annotations()
    assert "annotations.json" in summary.damage
    with pytest.raises(StoreError, match=r"annotations\.json"):
        store.annotate(run.id, pinned=True)
    assert path.read_text() == content


def test_bad_annotations_are_refused_before_anything_changes(store: Store, config: RunConfig) -> None:
    run = store.create(config)
    with pytest.raises(ValueError, match="tags: expected at most 20; got 21"):
        store.annotate(run.id, tags=[str(i) for i in range(21)])
    for bad in ("x" * 41, "a,b"):
        with pytest.raises(ValueError, match="tag: expected at most 40 characters and no comma"):
            store.annotate(run.id, tags=[bad])
    with pytest.raises(ValueError, match="notes: expected at most 10,000 characters; got 10,001"):
        store.annotate(run.id, notes="x" * 10_001, pinned=True)
    with pytest.raises(StoreError, match="there is no run 'none'"):
        store.annotate("none", pinned=True)
    assert not (run.path / "annotations.json").exists()


def test_a_bundle_carries_them(store: Store, tmp_path) -> None:
    run = make_run(store, "noted")
    assert "annotations.json" in pack_run(run, tmp_path / "run.zip")
    there = Store(tmp_path / "there" / "runs")
    assert unpack_run(there, tmp_path / "run.zip").annotations() == run.annotations() != Annotations()
