"""The documentation builds as a site without a warning, and the site fetches nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TAGS = r"<(?:script|img|iframe|source)[^>]*\ssrc=", r"<link[^>]*\shref="
FETCHED = re.compile("|".join(rf"{tag}[\"']?(?:https?:)?//" for tag in TAGS))
"""What a browser loads by itself when it opens a page; links that a reader follows are not meant."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_every_page_becomes_a_page_of_the_site(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert pages | {Path("404.html")} == {path.relative_to(site) for path in site.rglob("*.html")}
    assert "load_backbone" in (site / "api" / "train.html").read_text()


@pytest.mark.slow
def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    assert FETCHED.search('<script src="https://example.org/x.js"></script>')
    for page in site.rglob("*.html"):
        # The address of the page itself, for search engines, is not fetched.
        text = re.sub(r"<link[^>]*rel=[\"']?canonical[^>]*>", "", page.read_text())
        assert not FETCHED.search(text), page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import\s*)[\"']?(?:https?:)?//", sheet.read_text()), sheet
