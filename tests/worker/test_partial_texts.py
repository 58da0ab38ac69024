"""Texts that grow while they are written: readable meanwhile, gone at the end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import execute_run
from ptviz.runs import RunConfig, Store, StoreError
from ptviz.runs.run_file_io import atomic_write
from ptviz.training import TrainConfig
from ptviz.worker.directory import WorkerDir
from ptviz.worker.handlers import HandlerContext, answer_request
from ptviz.worker.partial_texts import create_partial_texts, partial_texts, read_partial_texts, remove_partial_texts
from tests.text_tasks import offer_tasks


def test_texts_grow_and_are_removed_at_the_end(tmp_path: Path) -> None:
    store = Store(tmp_path)
    name, folder = create_partial_texts(store), WorkerDir.of_store(store.root).requests.folder
    assert read_partial_texts(store, name) == {}
    with partial_texts(store, name) as on_text:
        assert on_text is not None
        on_text("with", "a")
        on_text("with", "a cat")
        on_text("without", "b")
        assert read_partial_texts(store, name) == {"with": "a cat", "without": "b"}
    assert read_partial_texts(store, name) == {}
    assert not list(folder.iterdir())


def test_a_text_that_is_not_needed_any_more_is_not_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    name, folder = create_partial_texts(store), WorkerDir.of_store(store.root).requests.folder
    with partial_texts(store, name) as on_text:
        assert on_text is not None
        on_text("with", "a")
        remove_partial_texts(store, name)
        with pytest.raises(StoreError, match="not needed"):
            on_text("with", "a cat")
    with pytest.raises(StoreError, match="not needed"), partial_texts(store, name):
        pytest.fail("it is not begun either")
    assert not list(folder.iterdir())


def test_what_a_dead_worker_left_is_removed_by_a_later_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    new, old = create_partial_texts(store), create_partial_texts(store)
    requests = WorkerDir.of_store(store.root).requests
    os.utime(requests.folder / f"{old}.partial", (0, 0))
    requests.remove_stale_files()
    assert [path.stem for path in requests.folder.iterdir()] == [new]


def test_a_name_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="16 hexadecimal"), partial_texts(Store(tmp_path), "../../etc/passwd"):
        pass
    with partial_texts(Store(tmp_path), "") as on_text:
        assert on_text is None


@pytest.mark.parametrize("backbone", ["tiny-decoder", "tiny-encoder-decoder"])
def test_a_run_gives_out_its_texts_token_by_token(
    tmp_path: Path, backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer_tasks(monkeypatch)
    training = TrainConfig(steps=2, snapshot_every=2, evaluate_every=2, batch=4, validation_rows=4, test_rows=4)
    store = Store(tmp_path)
    run = store.create(RunConfig(backbone, "seer", "prompt-tuning", training=training))
    execute_run(run.path)
    seen: list[dict[str, str]] = []

    def write(path: Path, data: bytes, durable: bool = True) -> None:
        atomic_write(path, data, durable)
        seen.append(read_partial_texts(store, path.stem))

    monkeypatch.setattr("ptviz.worker.partial_texts.atomic_write", write)
    context = HandlerContext(store, ModelCache())
    text = {"run": run.id, "texts": ["the cat sees the dog"]}
    answer = answer_request(context, "predict", {**text, "stream": create_partial_texts(store)})
    assert len(seen) > 3
    assert seen[-1] == {side: answer[side][0] for side in ("with", "without")}
    grown = [texts["with"] for texts in seen if texts.keys() == {"with"}]
    assert grown == sorted(grown, key=len)
    assert answer == answer_request(context, "predict", text)
