"""The page Checkpoint: what it shows, what it refuses, and names as text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from streamlit.testing.v1 import AppTest

from ptviz.checkpoints.detect import open_in_process
from ptviz.engine.model_cache import ModelCache
from ptviz.executors.local import LocalExecutor
from ptviz.plots import prompt_set
from ptviz.runs import Run, Store
from ptviz.runs.archive import pack_run
from ptviz.ui.open import checkpoint
from ptviz.worker.handlers import HandlerContext, answer_request
from tests.checkpoints.files import ROWS, bombs, kobold, npy
from tests.pages.conftest import QuietExecutor
from tests.pages.run_pages import wait_for
from tests.pages.snippets import redrawn

Page = Callable[..., AppTest]
PATH = "open/checkpoint.py"


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in this process: the sandbox has tests of its own, and takes a second to start."""
    monkeypatch.setattr(prompt_set, "open_checkpoint", lambda path: open_in_process(Path(path)))


def texts(at: AppTest) -> str:
    return "\n".join(text.value for text in at.text)


def figures(at: AppTest) -> list[dict]:
    found = [json.loads(element.proto.json or "{}") for element in at.get("bidi_component")]
    return [json.loads(data["figure"]) for data in found if "figure" in data]


def test_the_empty_page_says_what_to_do(page: Page) -> None:
    at = page(PATH)
    assert not at.exception
    assert any("Drop a file" in caption.value for caption in at.caption)


def test_a_prompt_is_shown_with_its_norms_and_its_uses(page: Page, tmp_path: Path) -> None:
    rows = np.tile(ROWS.numpy(), (10, 1))
    rows[3] *= 40
    (tmp_path / "p.npy").write_bytes(npy(rows))
    at = page(PATH, **{"path-a": str(tmp_path / "p.npy")})
    assert not at.exception
    assert "row 3 is an outlier" in texts(at)
    norms, cells = figures(at)
    assert [trace["name"] for trace in norms["data"]] == ["token", "outlier or dead"]
    assert redrawn(at) == {"norms", "prompt"}
    assert len(cells["data"][0]["z"]) == 40
    assert any("merge it" in str(frame.value) for frame in at.dataframe)


def test_a_bomb_is_refused_with_its_reason(page: Page, tmp_path: Path) -> None:
    (tmp_path / "p.pt").write_bytes(bombs(tmp_path / "ran")["os.system in a torch zip"])
    at = page(PATH, **{"path-a": str(tmp_path / "p.pt")})
    assert not at.exception
    assert "posix.system" in texts(at)
    assert not (tmp_path / "ran").exists()


def test_names_from_files_are_text(page: Page, tmp_path: Path, hostile: str) -> None:
    path = tmp_path / "x<b>**y**.zip"
    path.write_bytes(kobold(name=hostile, description=hostile))
    at = page(PATH, **{"path-a": str(path)})
    assert not at.exception
    assert "x<b>**y**.zip" in texts(at)
    for kind in ("markdown", "caption", "html", "badge"):
        for element in at.get(kind):
            assert "onerror" not in str(getattr(element, "value", ""))
            assert "**y**" not in str(getattr(element, "value", ""))


def test_two_are_compared(page: Page, tmp_path: Path) -> None:
    for name, rows in (("a", ROWS.numpy()), ("b", ROWS.numpy() * 2), ("c", np.ones((3, 6), np.float32))):
        (tmp_path / f"{name}.npy").write_bytes(npy(rows))
    paths = {"path-a": str(tmp_path / "a.npy"), "two": "true"}
    at = page(PATH, **paths, **{"path-b": str(tmp_path / "b.npy")})
    assert not at.exception
    similarity = next(f.value for f in at.dataframe if "measure" in f.value).set_index("measure")["similarity"]
    assert len(similarity) == 7
    assert similarity["mean"] == pytest.approx(1)
    assert similarity["concatenated"] == pytest.approx(1)
    assert similarity["euclidean"] < 0.5
    at = page(PATH, **paths, **{"path-b": str(tmp_path / "c.npy")})
    assert "widths differ" in texts(at)


def test_outlier_and_dead_rows_can_be_excluded_from_a_comparison(page: Page, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((2, 40, 64)).astype(np.float32)
    rows[:, 0] = 90 * np.ones(64) / 8  # both ran away in the same direction
    for name, one in zip("ab", rows, strict=True):
        (tmp_path / f"{name}.npy").write_bytes(npy(one))
    address = {"path-a": str(tmp_path / "a.npy"), "path-b": str(tmp_path / "b.npy"), "two": "true"}

    def mean(at: AppTest) -> float:
        frame = next(f.value for f in at.dataframe if "measure" in f.value).set_index("measure")
        return float(frame["similarity"]["mean"])

    at = page(PATH, **address)
    assert not at.exception
    assert abs(mean(at)) < 0.5
    at.toggle(key="without-odd").set_value(False).run()
    assert mean(at) > 0.7


def test_keys_and_values_are_drawn_and_not_compared_with_an_input(page: Page, tmp_path: Path) -> None:
    axes = {"axes": json.dumps({"KV": ["S", "kv", "H", "m", "h"]})}
    (tmp_path / "kv.safetensors").write_bytes(save({"KV": torch.randn(2, 2, 4, 5, 8)}, axes))
    (tmp_path / "p.npy").write_bytes(npy(ROWS.numpy()))
    at = page(PATH, **{"path-a": str(tmp_path / "kv.safetensors"), "path-b": str(tmp_path / "p.npy"), "two": "true"})
    assert not at.exception
    assert len(figures(at)) == 4
    assert "cannot be compared" in texts(at)


def test_a_bundled_run_is_imported(page: Page, store: Store, make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run()
    pack_run(run, tmp_path / "run.zip")
    at = page(PATH, **{"path-a": str(tmp_path / "run.zip")})
    at.button(key="bring-a").click().run()
    assert not at.exception
    assert len(store.list()) == 2


def test_a_path_may_be_quoted_or_in_the_home(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.npy").write_bytes(npy(ROWS.numpy()))
    monkeypatch.setenv("HOME", str(tmp_path))
    at = page(PATH, **{"path-a": '"~/p.npy"'})
    assert figures(at)
    at.button(key="keep-a").click().run()
    assert not at.exception
    assert "4 prompt tokens" in texts(at)


def test_another_width_than_the_backbone_is_reported(page: Page, tmp_path: Path) -> None:
    (tmp_path / "p.npy").write_bytes(npy(ROWS.numpy()))
    at = page(PATH, **{"path-a": str(tmp_path / "p.npy"), "ground": "tiny-encoder"})
    assert not at.exception
    assert "wrong width for tiny-encoder" in texts(at)


def test_uploads_are_stored_under_safe_names(home: Path) -> None:
    path = checkpoint.save_uploads([("../../evil name.pt", b"x")])
    assert path.is_relative_to(home / "uploads")
    assert path.name == "evil-name.pt"
    folder = checkpoint.save_uploads([("adapter_config.json", b"{}"), ("adapter_model.bin", b"x")])
    assert sorted(file.name for file in folder.iterdir()) == ["adapter_config.json", "adapter_model.bin"]
    with pytest.raises(ValueError, match="different names"):
        checkpoint.save_uploads([("a.pt", b"x"), ("a.pt", b"y")])


def test_a_prompt_writes_with_and_without_it(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_cache = ModelCache()

    def ask(self: LocalExecutor, kind: str, run: str = "", *, timeout: float = 120, **question: Any) -> dict[str, Any]:
        return answer_request(HandlerContext(self.store, model_cache), kind, {"run": run, **question})

    monkeypatch.setattr(LocalExecutor, "ask", ask)
    monkeypatch.setattr(QuietExecutor, "ask", ask)
    np.save(tmp_path / "p.npy", np.random.default_rng(0).standard_normal((3, 32)).astype(np.float32) * 3)
    where = {"path-a": str(tmp_path / "p.npy")}
    assert "Try it" in [element.value for element in page(PATH, **where).header]
    at = page(PATH, **where, ground="tiny-decoder")
    at.text_area(key="try-text-a").input("good day")
    at.number_input(key="try-tokens-a").set_value(4)
    button(at, "Write").click().run()
    wait_for(at.session_state["tried-a"][1].answer.done)
    captions = [caption.value for caption in at.run().caption]
    assert "With the prompt" in captions
    assert "Without the prompt" in captions
    assert any("'{prompt}{text}'" in caption for caption in captions)
    assert not at.exception


def test_an_encoder_is_not_asked_to_write(page: Page, tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.ones((3, 32), np.float32))
    at = page(PATH, ground="tiny-encoder", **{"path-a": str(tmp_path / "p.npy")})
    assert any("reads texts and generates none" in caption.value for caption in at.caption)
    assert not at.text_area


def button(at: AppTest, label: str) -> Any:
    return next(one for one in at.button if one.label == label)


def test_a_system_without_a_sandbox_is_said(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    from ptviz.checkpoints.sandbox import restrictions

    for found, notes in ((restrictions.PROTECTIONS, 0), ((restrictions.RESOURCE_LIMITS,), 1)):
        monkeypatch.setattr(restrictions, "find_protections", lambda found=found: found)
        at = page(PATH)
        assert not at.exception
        assert len([note for note in at.info if "system call filter, Landlock" in note.value]) == notes


def test_an_unknown_user_in_a_path_is_said(page: Page) -> None:
    at = page(PATH, **{"path-a": "~nosuchuser/x"})
    assert not at.exception
