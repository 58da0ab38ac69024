"""Maps laid by a process of their own: known by their content, seen on their way, told when they fail."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ptviz.analysis.projection import project_together
from ptviz.worker import projection_process
from ptviz.worker.projection_process import (
    ProjectionJob,
    cancel,
    enqueue,
    is_pending,
    load_progress,
    load_projection,
    run_job,
)
from tests.app_server import HANGS_SECONDS

RNG = np.random.default_rng(0)
WORDS = RNG.normal(size=(80, 8)).astype(np.float32)
ORDER = ProjectionJob(WORDS, (WORDS[None, :3] + 1, RNG.normal(size=(2, 4, 8)).astype(np.float32)), "PCA")


@pytest.mark.parametrize(
    "other",
    [
        replace(ORDER, words=WORDS[::-1]),
        replace(ORDER, words=WORDS[:-1]),
        replace(ORDER, prompts=ORDER.prompts[:1]),
        replace(ORDER, prompts=ORDER.prompts[::-1]),
        replace(ORDER, prompts=(ORDER.prompts[0], ORDER.prompts[1].reshape(4, 2, 8))),
        replace(ORDER, kind="t-SNE"),
        replace(ORDER, dims=3),
        replace(ORDER, normalise=True),
        replace(ORDER, seed=1),
    ],
)
def test_another_content_has_another_name(other: ProjectionJob):
    assert other.digest != ORDER.digest
    assert replace(ORDER, words=WORDS.astype(np.float64)).digest == ORDER.digest, (
        "the type of the numbers is no content"
    )


def test_a_map_is_laid_once(tmp_path: Path):
    assert (load_projection(tmp_path), is_pending(tmp_path)) == (None, False)
    enqueue(ORDER, tmp_path)
    assert is_pending(tmp_path)
    assert load_progress(tmp_path).doing == "waiting for its turn"
    run_job(tmp_path)
    assert not is_pending(tmp_path)
    expected = project_together(ORDER.words, ORDER.prompts, "PCA")
    for one, other in zip(load_projection(tmp_path) or (), expected, strict=True):
        assert np.allclose(one.tokens, other.tokens, atol=1e-5)
        assert np.allclose(one.background, other.background, atol=1e-5)
    enqueue(ORDER, tmp_path)
    assert not is_pending(tmp_path), "a map that is there is not ordered again"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.npz"]


def test_a_failure_is_told_in_words_and_forgotten_when_it_is_ordered_again(tmp_path: Path):
    enqueue(replace(ORDER, words=ORDER.words[:0], prompts=()), tmp_path)
    run_job(tmp_path)
    assert "expected some vocabulary or prompt tokens" in load_progress(tmp_path).error
    assert load_projection(tmp_path) is None
    enqueue(ORDER, tmp_path)
    assert load_progress(tmp_path).error == ""
    run_job(tmp_path)
    assert load_projection(tmp_path)


@pytest.mark.parametrize(
    ("how", "said"),
    [("[", "damaged"), ("[1, 2]", "expected"), ('["PCA", 9, false, 0]', "9"), ('["PCA", 2, 3, 0]', "whole number")],
)
def test_wrongly_typed_settings_are_a_failure(tmp_path: Path, how: str, said: str):
    enqueue(ORDER, tmp_path)
    with np.load(tmp_path / "order.npz") as file:
        arrays = {**file, "how": np.array(how)}
    np.savez(tmp_path / "order.npz", **arrays)
    run_job(tmp_path)
    assert "InvalidData" in load_progress(tmp_path).error
    assert said in load_progress(tmp_path).error


def test_an_order_taken_back_is_not_laid(tmp_path: Path):
    enqueue(ORDER, tmp_path)
    cancel(tmp_path)
    run_job(tmp_path)
    assert load_projection(tmp_path) is None


def test_a_torn_map_is_thrown_away(tmp_path: Path):
    enqueue(ORDER, tmp_path)
    run_job(tmp_path)
    whole = (tmp_path / "map.npz").read_bytes()
    (tmp_path / "map.npz").write_bytes(whole[: len(whole) // 2])
    assert load_projection(tmp_path) is None
    assert not (tmp_path / "map.npz").exists()


def test_the_share_grows_over_all_legs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[float] = []

    def slow(*given: object, on_progress: object, **how: object) -> object:
        for doing, share in (("loading UMAP", 0.0), ("looking for neighbours", 0.0), ("fitting", 0.0),
                             ("fitting", 0.5), ("placing the steps", 0.0), ("placing the steps", 1.0)):  # fmt: skip
            on_progress(doing, share)  # type: ignore[operator]
            seen.append(load_progress(tmp_path).share)
        return project_together(ORDER.words, ORDER.prompts)

    monkeypatch.setattr(projection_process, "project_together", slow)
    monkeypatch.setattr(projection_process, "_REPORT_INTERVAL", 0.0)
    enqueue(ORDER, tmp_path)
    monkeypatch.setattr(projection_process.time, "monotonic", iter(range(100)).__next__)
    run_job(tmp_path)
    assert seen == sorted(seen)
    assert seen == pytest.approx([0.0, 0.2, 0.4, 0.65, 0.9, 1.0])


def test_a_process_lays_what_it_is_told_and_ends_with_whoever_asked(tmp_path: Path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, kind in zip(folders, ("PCA", "PCA"), strict=True):
        enqueue(replace(ORDER, kind=kind), folder)
    process = subprocess.Popen(
        [sys.executable, "-m", "ptviz.worker.projection_process"], stdin=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    for folder in folders:
        process.stdin.write(f"{folder}\n")
    process.stdin.flush()
    for folder in folders:
        while is_pending(folder):
            assert process.poll() is None
        assert load_projection(folder)
    process.stdin.close()
    assert process.wait(timeout=HANGS_SECONDS) == 0
