"""The tokens of a classroom's addresses, and the signed name that a browser keeps."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from ptviz.classroom.access import Visitor, load_keys
from ptviz.runs import StoreError


def test_the_secrets_are_made_once_and_read_by_their_owner_alone(home: Path) -> None:
    keys = load_keys()
    assert load_keys() == keys
    assert len({keys.token, keys.teacher, keys.key}) == 3
    assert not [path for path in home.iterdir() if path.name != "classroom.json"]
    if sys.platform != "win32":
        assert stat.S_IMODE((home / "classroom.json").stat().st_mode) == 0o600


def test_each_browser_gets_a_name_of_its_own() -> None:
    keys = load_keys()
    one, other = keys.admit(keys.token), keys.admit(f" {keys.token.upper()} ")
    assert one is not None
    assert other is not None
    assert one.id != other.id
    assert not one.is_teacher
    assert keys.admit(keys.teacher) == Visitor("", is_teacher=True)


@pytest.mark.parametrize("token", ["", "x", "é", "a" * 10, "\0"])
def test_a_wrong_token_admits_nobody(token: str) -> None:
    keys = load_keys()
    assert keys.admit(token) is None
    assert keys.admit(keys.token[:-1]) is None


def test_a_name_is_recognised_only_as_it_was_signed() -> None:
    keys = load_keys()
    visitor = Visitor("ab12")
    value = keys.sign(visitor)
    assert keys.recognise(value) == visitor
    assert keys.recognise(keys.sign(Visitor("", is_teacher=True))) == Visitor("", is_teacher=True)
    signature = value.partition(".")[2]
    for forged in (
        "",
        ".",
        "ab12",
        "ab12.",
        f"ab13.{signature}",
        f"teacher.{signature}",
        f".{signature}",
        value[:-1],
        "é.é",
    ):
        assert keys.recognise(forged) is None


def test_new_secrets_forget_all_names(home: Path) -> None:
    keys = load_keys()
    value = keys.sign(Visitor("ab12"))
    (home / "classroom.json").unlink()
    assert load_keys().recognise(value) is None


def test_damaged_secrets_are_refused(home: Path) -> None:
    load_keys()
    (home / "classroom.json").write_text(json.dumps({"token": "", "teacher": "x", "key": "x"}))
    with pytest.raises(StoreError, match="delete it to make new addresses"):
        load_keys()
