"""Pages over the websocket, as ``python -m tests.soak`` asks for them: without a browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.app_server import HANGS_SECONDS, AppServer
from tests.soak.__main__ import PAGES
from tests.soak.hostile_files import write_hostile_files
from tests.soak.visitor import Visitor

pytestmark = pytest.mark.slow


def test_every_page_settles_in_one_session(served: AppServer):
    with Visitor(served.port) as visitor:
        for page in PAGES:
            view = visitor.visit(page, {}, HANGS_SECONDS)
            assert not view.problems
            assert view.settled_seconds is not None
            assert view.bytes > 1000


def test_an_unknown_page_is_a_problem(served: AppServer):
    with Visitor(served.port) as visitor:
        assert "the page was not found" in visitor.visit("nowhere", {}, HANGS_SECONDS).problems


def test_a_file_in_the_address_is_opened_by_the_button_only(served: AppServer, tmp_path: Path):
    np.save(tmp_path / "p.npy", np.ones((3, 8), dtype=np.float32))
    with Visitor(served.port) as visitor:
        closed = visitor.visit("checkpoint", {"path-a": str(tmp_path / "p.npy")}, HANGS_SECONDS)
        opened = visitor.press("Open it", HANGS_SECONDS)
        assert not closed.problems
        assert not opened.problems
        assert "bare tensor" not in closed.words, "what the address names is not read"
        assert "bare tensor" in opened.words


@pytest.mark.parametrize("name", ["runs-a-command.bin", "name.safetensors"])
def test_a_hostile_file_runs_nothing_and_breaks_no_page(served: AppServer, tmp_path: Path, name: str):
    files, witness = write_hostile_files(tmp_path)
    (file,) = [file for file in files if file.name == name]
    with Visitor(served.port) as visitor:
        assert not visitor.visit("checkpoint", {"path-a": str(file)}, HANGS_SECONDS).problems
        assert not visitor.press("Open it", HANGS_SECONDS).problems
    assert not witness.exists()
    log = served.log.read_text()
    assert "Traceback" not in log
    assert "\x1b[31m" not in log
