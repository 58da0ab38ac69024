"""The pictures of the README, taken from the recorded runs: ``python -m tests.tour [FOLDER]`` writes to ``assets``.

It starts the app on an empty home and needs chromium, as the tests of the browser do.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Page, sync_playwright

from tests.app_server import HANGS_SECONDS, ROOT, AppServer
from tests.browser.conftest import CHROMIUM, FLAGS

_WIDTH, _MARGIN, _TALL = 1340, 12, 4000
DRAWN = """() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'
  && !document.querySelector('[data-testid=stSkeleton], [data-testid=stSpinner]')
  && [...document.querySelectorAll('.ptviz-plot')].every((node) => node.hidden || node._fullLayout)"""


class Picture(NamedTuple):
    """A file, the address of its page, and the elements that it shows; all of the window without any."""

    name: str
    address: str
    parts: Sequence[str] = ()
    height: int = 0


SIX = "prompt-tuning,p-tuning-v2,prefix-tuning,residual,dept,smop"
PICTURES = (
    Picture("watch", "watch?run=recorded-trec6-minilm-l6-prompt-tuning-0", height=1150),
    Picture("tour-1", "survey", [".st-key-figure-framework"], height=1020),
    Picture("tour-2", "embeddings", ["[class*=st-key-figure-map]", ".st-key-figure-norms", ".st-key-figure-distances"]),
    Picture("tour-3", "attention", [".st-key-figure-mass", ".st-key-figure-heads", ".st-key-figure-tokens"]),
    Picture("tour-4", "routing", [".st-key-figure-load", ".st-key-figure-balance"]),
    Picture("tour-5", f"compare-methods?methods={SIX}&seeds=3", ["[data-testid=stDataFrame] >> nth=-1",
            ".st-key-figure-comparison-curves"]),
)  # fmt: skip


def take(page: Page, address: str, picture: Picture, folder: Path) -> None:
    """Open a page and write the picture of its parts, cut to its height if it has one."""
    page.set_viewport_size({"width": _WIDTH, "height": picture.height if not picture.parts else _TALL})
    page.goto(f"{address}/{picture.address}")
    for part in picture.parts:
        page.locator(part).first.wait_for()
    page.wait_for_function(DRAWN)
    target = folder / f"{picture.name}.png"
    if not picture.parts:
        page.screenshot(path=target)
        return
    boxes = [box for part in picture.parts if (box := page.locator(part).first.bounding_box())]
    left, top = (min(box[side] for box in boxes) - _MARGIN for side in ("x", "y"))
    right = max(box["x"] + box["width"] for box in boxes) + _MARGIN
    bottom = max(box["y"] + box["height"] for box in boxes) + _MARGIN
    height = min(bottom - top, picture.height or bottom - top)
    page.screenshot(path=target, clip={"x": left, "y": top, "width": right - left, "height": height})


def main() -> None:
    """Take all pictures, or those whose names follow the folder."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "assets"
    with (
        tempfile.TemporaryDirectory() as home,
        AppServer(Path(home), Path(home) / "server.log") as server,
        sync_playwright() as play,
    ):
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(color_scheme="light")
        page.set_default_timeout(1000 * HANGS_SECONDS)
        for picture in PICTURES:
            if not sys.argv[2:] or picture.name in sys.argv[2:]:
                take(page, server.address, picture, folder)
        browser.close()


if __name__ == "__main__":
    main()
