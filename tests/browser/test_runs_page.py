"""The list of runs in a real browser: what is ticked is what is used, however fast, and a name opens its run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ptviz.runs import Run, Store
from tests.app_server import AppServer
from tests.damaged_files import make_run

pytestmark = pytest.mark.browser
HEADER, ROW = 35, 35
"""Pixels of the head and of a row of a table, which Streamlit draws on a canvas."""


@pytest.fixture
def runs(home: Path) -> list[Run]:
    return [make_run(Store(), f"run {number}") for number in range(4)]


def table(page: Page) -> tuple[float, float]:
    """The upper left corner of the table, once it is drawn."""
    box = page.get_by_test_id("stDataFrame").first.bounding_box()
    assert box is not None
    return box["x"], box["y"]


def test_four_runs_ticked_fast_are_the_four_that_are_used(
    server: AppServer, runs: list[Run], settled: Callable[[Page], Page], tab: Callable[..., Page]
) -> None:
    page = settled(tab(f"{server.address}/runs"))
    page.get_by_test_id("stDataFrame").locator("canvas").first.wait_for()
    x, y = table(page)
    for row in range(4):
        page.mouse.click(x + 16, y + HEADER + ROW * row + ROW / 2)
    expect(page.get_by_role("button", name="Delete 4 runs")).to_be_visible()
    page.wait_for_function(
        "() => document.querySelectorAll('.ptviz-plot .legend .traces').length === 4"
        " && new URL(location.href).searchParams.get('pick')?.split(',').length === 4"
    )
    page.reload()
    expect(settled(page).get_by_role("button", name="Delete 4 runs")).to_be_visible()


def test_a_name_opens_its_run(
    server: AppServer, runs: list[Run], settled: Callable[[Page], Page], tab: Callable[..., Page]
) -> None:
    page = settled(tab(f"{server.address}/runs"))
    page.get_by_test_id("stDataFrame").locator("canvas").first.wait_for()
    x, y = table(page)
    page.mouse.click(x + 90, y + HEADER + ROW / 2)
    page.wait_for_url(f"**/watch?run={runs[-1].id}*")
    expect(page.get_by_role("heading", name="run 3")).to_be_visible()
