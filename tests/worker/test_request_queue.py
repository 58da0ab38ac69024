from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ptviz.runs import StoreError
from ptviz.worker.request_queue import RequestQueue


def nobody_died() -> None:
    return None


def test_a_letter_and_its_reply(tmp_path: Path) -> None:
    box = RequestQueue(tmp_path / "mail")
    id = box.post("predict", {"texts": ["ü"]}, lasts=10)
    (letter,) = box.take_requests()
    assert (letter.id, letter.kind, letter.body) == (id, "predict", {"texts": ["ü"]})
    assert box.take_requests() == []
    box.reply(id, {"ok": 1})
    assert box.wait_for_reply(id, 1, nobody_died) == {"ok": 1}
    assert list((tmp_path / "mail").iterdir()) == []


def test_letters_come_in_order(tmp_path: Path) -> None:
    box = RequestQueue(tmp_path)
    ids = [box.post("warm", {}, lasts=10) for _ in range(5)]
    assert [letter.id for letter in box.take_requests()] == ids


def test_what_nobody_waits_for_is_thrown_away(tmp_path: Path) -> None:
    box = RequestQueue(tmp_path)
    box.post("predict", {}, lasts=-1)
    assert box.take_requests() == []
    assert list(tmp_path.iterdir()) == []


def test_foreign_files_are_no_letters(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "00-ab.letter").write_text("not json")
    (tmp_path / "01-ab.letter").write_text('{"kind": 1}')
    assert RequestQueue(tmp_path).take_requests() == []
    assert RequestQueue(tmp_path / "nowhere").take_requests() == []


def test_no_answer_is_told(tmp_path: Path) -> None:
    box = RequestQueue(tmp_path)
    with pytest.raises(StoreError, match=r"did not answer within 0\.05 s"):
        box.wait_for_reply(box.post("predict", {}, lasts=1), 0.05, nobody_died)
    assert box.take_requests() == []


def test_a_death_ends_the_waiting(tmp_path: Path) -> None:
    box = RequestQueue(tmp_path)
    with pytest.raises(StoreError, match="the worker died"):
        box.wait_for_reply(box.post("predict", {}, lasts=60), 60, lambda: "the worker died")


def test_the_reply_may_come_later(tmp_path: Path) -> None:
    box = RequestQueue(tmp_path)
    id = box.post("predict", {}, lasts=10)
    later = threading.Timer(0.1, box.reply, (id, {"late": True}))
    later.start()
    assert box.wait_for_reply(id, 5, nobody_died) == {"late": True}
    later.join()
