"""What one visitor sees of another: nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ptviz.classroom.visitor_store import NOBODY, VisitorStore
from ptviz.runs import Run, RunConfig, Store, StoreError
from ptviz.runs.source_runs import find_source_runs

ANNA, BORIS = "a1" * 8, "b2" * 8


def ids(store: Store) -> list[str]:
    return [summary.id for summary in store.list()]


def test_each_sees_her_own_runs_and_the_teacher_all(
    whole: Store, anna: VisitorStore, boris: VisitorStore, hers: Run, small: Callable[..., RunConfig]
) -> None:
    his, teachers = boris.create(small(name="his")), whole.create(small(name="private"))
    assert ids(anna) == [hers.id] == [one.id for one in anna.own_runs()]
    assert ids(boris) == [his.id]
    assert set(ids(whole)) == {hers.id, his.id, teachers.id}
    assert [one.annotations.owner for one in whole.list()] == ["", BORIS, ANNA]


def test_a_shared_run_is_seen_and_not_changed(
    whole: Store, anna: VisitorStore, small: Callable[..., RunConfig]
) -> None:
    run = whole.create(small())
    whole.annotate(run.id, shared=True)
    assert ids(anna) == [run.id]
    assert not anna.own_runs()
    assert anna.get(run.id).config == run.config
    assert not anna.may_change(run.id)
    assert whole.may_change(run.id)
    for change in (
        lambda: anna.rename(run.id, "mine"),
        lambda: anna.annotate(run.id, tags=["mine"]),
        lambda: anna.delete(run.id),
    ):
        with pytest.raises(StoreError, match="is not yours"):
            change()
    assert whole.list()[0].annotations.tags == ()


def test_a_guessed_id_is_refused_as_unknown(boris: VisitorStore, hers: Run) -> None:
    for ask in (
        lambda: boris.get(hers.id),
        lambda: boris.get(f"{hers.id}@trec6"),
        lambda: boris.folder(hers.id),
        lambda: boris.rename(hers.id, "x"),
        lambda: boris.annotate(hers.id, pinned=True),
        lambda: boris.delete(hers.id),
        lambda: boris.check_own(hers.id),
    ):
        with pytest.raises(StoreError, match=rf"^there is no run '{hers.id}'.$"):
            ask()
    near = hers.id[:-1] + ("0" if hers.id[-1] != "0" else "1")
    with pytest.raises(StoreError, match=rf"^there is no run '{near}'.$"):  # It names no run that is close.
        boris.get(near)
    with pytest.raises(StoreError, match="expected the id of a run"):
        boris.get("../runs")
    assert hers.path.is_dir()
    assert not boris.may_change(hers.id)


def test_what_is_hers_can_be_changed(anna: VisitorStore, hers: Run) -> None:
    anna.rename(hers.id, "new name")
    anna.annotate(hers.id, tags=["good"])
    found = anna.list()[0]
    assert (found.name, found.annotations.tags, found.annotations.owner) == ("new name", ("good",), ANNA)
    with pytest.raises(StoreError, match="sharing a run is for the teacher"):
        anna.annotate(hers.id, shared=True)
    anna.delete(hers.id)
    assert not ids(anna)


def test_of_damaged_annotations_nobody_knows_whose_the_run_is(whole: Store, anna: VisitorStore, hers: Run) -> None:
    (hers.path / "annotations.json").write_text("{")
    assert not ids(anna)
    with pytest.raises(StoreError, match="there is no run"):
        anna.get(hers.id)
    assert ids(whole) == [hers.id]


def test_damaged_runs_are_the_teachers_alone(whole: Store, anna: VisitorStore, hers: Run) -> None:
    (hers.path / "config.json").write_text("{")
    assert not ids(anna)
    assert not anna.problems()
    assert whole.list() == []
    assert whole.problems()


def test_the_number_of_runs_is_limited(whole: Store, anna: VisitorStore, small: Callable[..., RunConfig]) -> None:
    for _ in range(3):
        anna.create(small())
    with pytest.raises(StoreError, match="at most 3 runs of one visitor; you have 3 and asked for 1 more"):
        anna.create(small())
    assert len(ids(whole)) == 3
    assert not [path for path in whole.root.iterdir() if path.name not in ids(whole)], "no draft is left"


def test_an_imported_run_is_the_importers_whatever_its_file_says(
    whole: Store, anna: VisitorStore, boris: VisitorStore, finished_bundle: Path
) -> None:
    from ptviz.runs.archive import unpack_run

    run = unpack_run(boris, finished_bundle)
    assert ids(boris) == [run.id]
    assert not ids(anna)
    mine = unpack_run(whole, finished_bundle)
    assert (mine.annotations().owner, mine.annotations().shared) == ("", False)
    assert mine.annotations().tags == ("kept",)


def test_what_concerns_all_runs_is_refused(anna: VisitorStore, whole: Store, hers: Run) -> None:
    from ptviz.worker.background_jobs import TransferJob, cancel_job, submit_job

    with pytest.raises(StoreError, match="measuring transfer is for the teacher"):
        submit_job(anna, TransferJob("zero-shot", ("x",)))
    with pytest.raises(StoreError, match="is for the teacher"):
        cancel_job(anna)
    submit_job(whole, TransferJob("zero-shot", ("x",)))


def test_nobody_sees_what_all_see_and_starts_nothing(
    whole: Store, hers: Run, anna: VisitorStore, small: Callable[..., RunConfig]
) -> None:
    nobody = VisitorStore(whole, NOBODY, anna.rules)
    assert not ids(nobody)
    with pytest.raises(StoreError, match="needs a visitor"):
        nobody.create(small())
    with pytest.raises(ValueError, match="owner"):
        VisitorStore(whole, "", anna.rules)
    with pytest.raises(ValueError, match="owner"):
        VisitorStore(whole, "../x", anna.rules)


def test_source_prompts_of_others_are_not_listed(anna: VisitorStore, hers: Run) -> None:
    assert find_source_runs(anna, anna.list()) == {}


def test_recorded_runs_are_everybodys(gallery: Path, anna: VisitorStore) -> None:
    from ptviz.runs.recorded_runs import recorded_runs

    recorded = recorded_runs()[0]
    assert anna.get(recorded.id).recorded
    assert anna.folder(recorded.id).is_dir()
    assert not anna.may_change(recorded.id)
    with pytest.raises(StoreError, match="read-only"):
        anna.delete(recorded.id)
