"""Texts that grow while they are written: readable meanwhile, gone at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptviz.runs import Store, StoreError
from ptviz.worker.directory import WorkerDir
from ptviz.worker.partial_texts import new_stream_name, partial_texts, read_partial_texts


def test_texts_grow_and_are_removed_at_the_end(tmp_path: Path) -> None:
    store, name = Store(tmp_path), new_stream_name()
    folder = WorkerDir.of_store(store.root).create().requests.folder
    assert read_partial_texts(store, name) == {}
    with partial_texts(store, name) as on_text:
        assert on_text is not None
        on_text("with", "a")
        on_text("with", "a cat")
        on_text("without", "b")
        assert read_partial_texts(store, name) == {"with": "a cat", "without": "b"}
    assert read_partial_texts(store, name) == {}
    assert not list(folder.iterdir())


def test_a_name_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="16 hexadecimal"), partial_texts(Store(tmp_path), "../../etc/passwd"):
        pass
    with partial_texts(Store(tmp_path), "") as on_text:
        assert on_text is None
