"""A link can name any file of this machine: none is opened before the reader says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

PAGES = {
    "path-a": ("open/checkpoint.py", {}),
    "path-b": ("open/checkpoint.py", {"two": "true"}),
    "path-results": ("compare/peft_benchmark.py", {}),
    "library": ("compare/transfer.py", {}),
    "path": ("train/new_run.py", {"from": "my own table"}),
    "other": ("train/new_run.py", {"backbone": "other"}),
}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> set[str]:
    """The paths below this test's folder that the page looked into."""
    found: set[str] = set()

    def record(*given: object) -> None:
        found.update(str(one) for one in given if str(one).startswith(str(tmp_path)))

    for module, name in (
        ("ptviz.ui.open.checkpoint", "load_checkpoint"),
        ("ptviz.ui.compare.prompt_selection", "load_checkpoint"),
        ("ptviz.ui.compare.peft_benchmark", "load_results"),
        ("ptviz.ui.train.task_editor", "_read_head"),
        ("ptviz.backbones.loading", "backbone_info"),
    ):
        monkeypatch.setattr(f"{module}.{name}", lambda *given, **_: (record(*given), 1 / 0), raising=False)
    return found


@pytest.mark.parametrize("parameter", PAGES)
def test_a_path_in_the_address_waits_for_a_button(
    page: Callable[..., AppTest], tmp_path: Path, opened: set[str], parameter: str
):
    path, rest = PAGES[parameter]
    file = tmp_path / "<b>secret.csv"
    file.write_text("text,label\n")
    at = page(path, confirm=False, **{parameter: str(file)}, **rest)
    assert not opened
    assert not at.exception
    assert any(str(file) in text.value for text in at.text)
    button = at.button(key=f"open-{parameter}")
    at = button.click().run()
    assert parameter == "other" or opened == {str(file)}
    assert not [one for one in at.button if one.key == f"open-{parameter}"]


@pytest.mark.parametrize(
    ("path", "address"),
    [
        *((path, {parameter: "/a\0b", **rest}) for parameter, (path, rest) in PAGES.items()),
        ("train/new_run.py", {"from": "from the Hub", "hub": "a\0b"}),
    ],
)
def test_a_nul_character_is_one_sentence(page: Callable[..., AppTest], path: str, address: dict[str, str]):
    at = page(path, **address)
    for button in [button for button in at.button if button.key == "start"]:
        at = button.click().run()
    said = [text.value for text in at.text if "NUL" in text.value]
    assert [text for text in said if "expected a path or name without a NUL character (\\x00); got" in text]
    assert not at.exception
    assert not [text for text in at.text if "null byte" in text.value or "unexpected" in text.value]


def test_a_typed_path_is_opened_at_once(page: Callable[..., AppTest], tmp_path: Path):
    np.save(tmp_path / "p.npy", np.ones((3, 8), dtype=np.float32))
    at = page("open/checkpoint.py")
    at = at.text_input(key="path-a").input(str(tmp_path / "p.npy")).run()
    assert "p.npy" in " ".join(text.value for text in at.text)
    assert not [one for one in at.button if str(one.key).startswith("open-")]
    assert at.metric, "its numbers are shown"


def test_another_path_in_the_address_of_the_same_session_asks_again(page: Callable[..., AppTest], tmp_path: Path):
    for name in ("p.npy", "q.npy"):
        np.save(tmp_path / name, np.ones((3, 8), dtype=np.float32))
    at = page("open/checkpoint.py", **{"path-a": str(tmp_path / "p.npy")})
    assert at.metric
    at.session_state["path-a"] = str(tmp_path / "q.npy")
    at = at.run()
    assert not at.metric
    assert [one for one in at.button if one.key == "open-path-a"]
