"""``ptviz figures``: files for every drawing, without a browser, and clear words when something is wrong."""

from __future__ import annotations

import json
import os
import shutil
import xml.etree.ElementTree as ElementTree
from importlib.util import find_spec
from pathlib import Path

import plotly.graph_objects as go
import plotly.io
import pytest
from PIL import Image

from ptviz.cli.figures import draw_figures
from ptviz.methods import REGISTRY
from ptviz.plots.drawing import write_pngs
from tests.cli.conftest import Shell

ASSETS = Path(__file__).resolve().parents[2] / "docs" / "assets"
NAMES = {"taxonomy", "framework", "panel-original", *(f"panel-{name}" for name in REGISTRY)}


def test_svg_writes_every_drawing_without_a_browser(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    answer = shell("figures", "--out", tmp_path / "new", "--json")
    assert answer.code == 0
    assert {Path(path).stem for path in answer.json["files"]} == NAMES
    for path in (tmp_path / "new").iterdir():
        root = ElementTree.parse(path).getroot()
        assert root.get("aria-label") == answer.json["alt"][path.stem]
        assert float(root.get("width", 0)) > 100


@pytest.mark.parametrize("name", ["taxonomy", "framework"])
def test_the_pictures_in_assets_are_the_live_figures(name: str):
    kept = (ASSETS / f"{name}.svg").read_text(encoding="utf-8")
    assert kept == draw_figures("minilm-l6", 3)[name].to_svg(), f"run: ptviz figures --out NEW, then copy {name}.svg"


def test_json_is_a_plotly_figure(shell: Shell, tmp_path: Path):
    assert shell("figures", "--out", tmp_path, "--format", "json", "--backbone", "tiny-encoder").code == 0
    figure = go.Figure(json.loads((tmp_path / "panel-smop.json").read_text()))
    assert any("SMoP" in note.text for note in figure.layout.annotations)


def test_html_stands_on_its_own_folder(shell: Shell, tmp_path: Path):
    assert shell("figures", "--out", tmp_path, "--format", "html", "--backbone", "tiny-encoder").code == 0
    assert "plotly.min.js" in (tmp_path / "taxonomy.html").read_text()
    assert (tmp_path / "plotly.min.js").is_file()


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.mark.skipif(
    find_spec("kaleido") is None or not ("BROWSER_PATH" in os.environ or any(map(shutil.which, BROWSERS))),
    reason='a real PNG needs kaleido (pip install "ptviz[png]") and a Chromium browser on the PATH; with both it runs',
)
def test_a_real_png_has_twice_the_size_of_the_drawing_and_its_colours(tmp_path: Path):
    drawing = draw_figures("tiny-encoder", 3)["panel-prompt-tuning"]
    write_pngs([drawing], [tmp_path / "panel.png"])
    with Image.open(tmp_path / "panel.png") as picture:
        assert picture.format == "PNG"
        assert picture.size == (2 * round(drawing.scene.width), 2 * round(drawing.scene.height))
        assert len(picture.convert("RGB").getcolors(2**24) or []) > 50, "an empty picture has few colours"


def test_png_without_a_renderer_says_what_to_do(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("no kaleido here")

    monkeypatch.setattr(plotly.io, "write_images", refuse)
    answer = shell("figures", "--out", tmp_path, "--format", "png", "--backbone", "tiny-encoder")
    assert answer.code == 2
    assert "pip install kaleido" in answer.err
    assert "--format svg" in answer.err
    assert answer.err.count("\n") == 1


def test_png_pictures_replace_earlier_ones_only_when_all_are_drawn(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    room = iter([3, 100])

    def draw(file: list[Path], **_: object) -> None:
        for path in file[: next(room)]:
            assert path.suffix == ".png"
            path.write_bytes(b"new")
        if not file[-1].exists():
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(plotly.io, "write_images", draw)
    (tmp_path / "taxonomy.png").write_bytes(b"old")
    for code, expected in ((2, b"old"), (0, b"new")):
        answer = shell("figures", "--out", tmp_path, "--format", "png", "--backbone", "tiny-encoder")
        assert answer.code == code
        assert (tmp_path / "taxonomy.png").read_bytes() == expected
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.png" for name in NAMES}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "pdf"], "expected one of svg, html, json, png"),
        (["--backbone", "gpt-9"], "expected one of minilm-l6"),
    ],
)
def test_bad_input_is_one_line(shell: Shell, tmp_path: Path, words: list[str], message: str):
    answer = shell("figures", "--out", tmp_path / "none", *words)
    assert answer.code == 2
    assert message in answer.err
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_made_is_told(shell: Shell, tmp_path: Path):
    (tmp_path / "file").write_text("")
    answer = shell("figures", "--out", tmp_path / "file" / "inside")
    assert answer.code == 2
    assert "cannot be written" in answer.err


def test_sources_change_what_is_stacked(shell: Shell, tmp_path: Path):
    transfers = [name for name, method in REGISTRY.items() if method.uses_source_tasks]
    if not transfers:
        pytest.skip("no method of this build learns from source tasks")
    assert shell("figures", "--out", tmp_path, "--backbone", "tiny-encoder", "--sources", 7).code == 0
    drawn = "".join((tmp_path / f"panel-{name}.svg").read_text() for name in transfers)
    assert "1…7" in drawn
