"""One server for all tests of this folder that only ask it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.app_server import AppServer


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    folder = tmp_path_factory.mktemp("served")
    with AppServer(folder / "home", folder / "server.log") as server:
        yield server
