"""Who a visitor of a classroom is: the two tokens of its addresses, and the signed name that a browser then keeps.

The address with the visitors' token gives each browser a random name, that with the teacher's token makes it the
teacher's. The name is in a cookie, signed with a key that stays in the folder of runs, so it survives a reload and a
restart of the app, and no one can make that of another. Deleting the file makes new tokens and forgets all names.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from ptviz import paths
from ptviz.runs.run import read_small_file
from ptviz.runs.run_file_io import FileSignature, StoreError, file_signature, to_store_error
from ptviz.validation import InvalidData, decode_json

_FILE = "classroom.json"
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # No two that look alike on a blackboard.
_TOKEN_LENGTH = 10
Secret = Annotated[str, Meta(min_length=_TOKEN_LENGTH, max_length=200)]


@dataclass(frozen=True)
class Visitor:
    """One browser; ``id`` is "" for the teacher."""

    id: str
    is_teacher: bool = False

    @property
    def label(self) -> str:
        """Return the short name by which teacher and visitor can talk about this visitor."""
        return "teacher" if self.is_teacher else f"visitor {self.id[:4]}"


class ClassroomKeys(Struct, frozen=True):
    """The secrets of a classroom: the token of the visitors' address, that of the teacher's, and the signing key."""

    token: Secret
    teacher: Secret
    key: Secret

    @property
    def cookie(self) -> str:
        """Return the name of the cookie; another classroom on another port of this machine has another."""
        return f"ptviz-{hmac.new(self.key.encode(), b'cookie', 'sha256').hexdigest()[:8]}"

    def admit(self, token: str) -> Visitor | None:
        """Return a new visitor, or the teacher, for the token of an address; None for a wrong one."""
        # Both are compared, in a time that does not depend on the place of the first wrong letter.
        is_teacher = hmac.compare_digest(token.encode(), self.teacher.encode())
        is_visitor = hmac.compare_digest(token.strip().lower().encode(), self.token.encode())
        if is_teacher:
            return Visitor("", is_teacher=True)
        return Visitor(secrets.token_hex(8)) if is_visitor else None

    def sign(self, visitor: Visitor) -> str:
        """Return the value of the cookie of a visitor."""
        name = "teacher" if visitor.is_teacher else visitor.id
        return f"{name}.{self._signature(name)}"

    def recognise(self, value: str) -> Visitor | None:
        """Return whose cookie this is; None if it was not signed here."""
        name, _, signature = value.partition(".")
        if not name or not hmac.compare_digest(signature.encode(), self._signature(name).encode()):
            return None
        return Visitor("", is_teacher=True) if name == "teacher" else Visitor(name)

    def _signature(self, name: str) -> str:
        return hmac.new(self.key.encode(), f"name {name}".encode(), "sha256").hexdigest()


def load_keys() -> ClassroomKeys:
    """Return the secrets of the classroom in the user's folder, made at the first call; only the user can read them.

    Raises:
        StoreError: if the file is damaged, or the folder cannot be written.
    """
    path = paths.data_dir() / _FILE
    if not path.exists():
        _make_keys(path)
    return _read_keys(path, file_signature(path))


@lru_cache(maxsize=4)
def _read_keys(path: Path, signature: FileSignature) -> ClassroomKeys:
    try:
        return decode_json(read_small_file(path), ClassroomKeys)
    except InvalidData as error:
        raise StoreError(f"{path}: {error}; delete it to make new addresses") from None


def _make_keys(path: Path) -> None:
    token = "".join(secrets.choice(_LETTERS) for _ in range(_TOKEN_LENGTH))
    keys = {"token": token, "teacher": secrets.token_urlsafe(24), "key": secrets.token_hex(32)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(keys, file)
        try:
            os.link(draft, path)  # Unlike a rename it replaces nothing: another process may have been faster.
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    except OSError as error:
        raise to_store_error(error, path) from error
