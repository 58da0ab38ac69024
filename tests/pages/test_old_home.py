"""The pages open a run that an earlier version wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.old_home import RUN, copy_old_home
from tests.pages.run_pages import figures, well


@pytest.mark.parametrize("path", ["train/watch.py", "look/embeddings.py", "look/decompositions.py"])
def test_an_old_run_is_shown(page, home: Path, path: str) -> None:
    copy_old_home(home)
    assert figures(well(page(path, run=RUN)))
