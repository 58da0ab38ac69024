"""What only a browser can show: the journey of a first run, first requests of fresh servers, text that stays text."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from ptviz.executors.local import LocalExecutor
from ptviz.runs import RunConfig, Store

pytestmark = pytest.mark.browser

Tab = Callable[..., Page]

LOOK = """() => {
  const node = document.querySelector('.ptviz-plot[data-updates]');
  if (!node || !node._fullLayout) return null;
  const trace = (name) => node.data.find((t) => t.name === name) || { x: [] };
  return {
    updates: +node.dataset.updates,
    x: node._fullLayout.xaxis.range.map(Number),
    steps: [...trace('loss of each batch').x],
    ink: node._fullLayout.font.color,
  };
}"""


def look(page: Page) -> dict[str, Any]:
    """The first live figure: how often it was updated, the range it shows, its steps, the colour of its text."""
    page.wait_for_function(LOOK)
    return page.evaluate(LOOK)


def await_steps(page: Page, count: int) -> None:
    page.wait_for_function(f"() => (({LOOK})() || {{steps: []}}).steps.length >= {count}")


def zoom(page: Page) -> None:
    """Drag a rectangle over the left half of the upper plot, as a reader would."""
    area = page.locator(".ptviz-plot .nsewdrag").first.bounding_box()
    page.mouse.move(area["x"] + area["width"] * 0.1, area["y"] + area["height"] * 0.2)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] * 0.3, area["y"] + area["height"] * 0.5, steps=4)
    page.mouse.move(area["x"] + area["width"] * 0.5, area["y"] + area["height"] * 0.9, steps=4)
    page.mouse.up()


@pytest.mark.slow
def test_a_first_run_is_followed_stopped_and_resumed(server, settled, tab: Tab):
    # Longer than the test takes: on a busy machine pages need more of the processor than steps do.
    settings = "steps=900&evaluate_every=2&snapshot_every=5&validation_rows=20&test_rows=20"
    page = settled(tab(f"{server.address}/new-run?{settings}"))
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/watch?run=*")
    await_steps(page, 3)

    before = look(page)
    assert before["x"] == [0, 900]
    zoom(page)
    page.wait_for_function(f"() => (({LOOK})()).x[0] > 1")
    near = look(page)
    page.wait_for_function(f"() => (({LOOK})()).updates >= {near['updates'] + 10}")
    after = look(page)
    assert after["x"] == pytest.approx(near["x"])
    assert len(after["steps"]) > len(near["steps"])
    page.wait_for_function("() => location.search.includes('zoom=')")

    address = page.url
    second = settled(tab(address))
    assert look(second)["x"] == pytest.approx(near["x"], rel=1e-3)
    second.close()
    page.reload()
    settled(page)
    await_steps(page, len(after["steps"]))
    again = look(page)
    assert again["x"] == pytest.approx(near["x"], rel=1e-3)
    assert again["steps"] == list(range(len(again["steps"])))

    # Streamlit's own header has a button of this name while the page runs.
    page.get_by_test_id("stMain").get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Resume", exact=True).click()  # there once the run has stopped
    await_steps(page, max(60, len(again["steps"]) + 20))
    resumed = look(page)["steps"]
    assert resumed == list(range(len(resumed)))

    with page.expect_download() as download:
        page.get_by_role("button", name="Download as SVG").first.click()
    assert download.value.path().read_text().startswith("<svg")
    page.get_by_role("textbox", name="Try it").fill("Who wrote Hamlet?")
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile(r"With the prompt of step \d+: human"))).to_be_visible()


@pytest.mark.slow
def test_a_run_outlives_the_server(server, settled, tab: Tab):
    executor = LocalExecutor(Store(server.home / "runs"))
    settings = "steps=60&evaluate_every=2&backbone=minilm-l6&validation_rows=20&test_rows=20"
    page = settled(tab(f"{server.address}/new-run?{settings}"))
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/watch?run=*")
    await_steps(page, 3)
    address, worker = page.url, executor.worker_info()
    page.close()
    server.stop()
    assert executor.worker_info().pid == worker.pid
    server.start()
    # On a busy machine the page of a live run may be drawn without a pause until the run has ended.
    page = tab(address)
    await_steps(page, 60)
    expect(page.get_by_role("button", name="Extend")).to_be_visible()  # there once it has finished
    assert look(page)["steps"] == list(range(60))
    expect(page.get_by_text("60 / 60")).to_be_visible()


PAGES = {"": "See a prompt learn", "new-run": "New run", "watch": "Watch", "runs": "All runs"}


@pytest.mark.slow
@pytest.mark.parametrize(("path", "title"), PAGES.items())
def test_every_page_answers_as_the_first_request_of_a_fresh_server(server, settled, tab: Tab, path: str, title: str):
    page = settled(tab(f"{server.address}/{path}"))
    expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
    expect(page.get_by_text("Page not found")).to_have_count(0)
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
    expect(page.get_by_role("link", name="All runs").first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_hostile_name_stays_text_and_the_figure_follows_the_theme(
    server, settled, tab: Tab, make_finished, scheme: str
):
    name = "<img src=x onerror=alert(1)> **bold** :smile: $x^2$ [link](javascript:alert(1))"
    run = make_finished(Store(server.home / "runs"), RunConfig(name=name))
    page = settled(tab(f"{server.address}/watch?run={run.id}", scheme))
    expect(page.get_by_text(name, exact=True)).to_be_visible()
    ink = look(page)["ink"]
    assert ink == ("#1B2430" if scheme == "light" else "#E7ECF1")
    page.goto(f"{server.address}/runs?pick={run.id}")
    settled(page)
    assert look(page)["ink"] == ink
    page.goto(server.address)
    expect(settled(page).get_by_text(name[:40])).to_be_visible()
    assert page.evaluate("() => document.querySelectorAll('img[src=x]').length") == 0


def test_a_path_in_a_link_is_opened_after_a_button_press(server, settled, tab: Tab, tmp_path: Path):
    np.save(tmp_path / "secret.npy", np.ones((3, 8), dtype=np.float32))
    page = settled(tab(f"{server.address}/checkpoint?path-a={tmp_path / 'secret.npy'}"))
    expect(page.get_by_text(f"names {tmp_path / 'secret.npy'}")).to_be_visible()
    expect(page.get_by_text("What it can be used for")).to_have_count(0)
    page.get_by_role("button", name="Open it").click()
    expect(page.get_by_text("What it can be used for")).to_be_visible()
    expect(page.get_by_role("button", name="Open it")).to_have_count(0)
    box = page.get_by_role("textbox", name="or its path on this machine")
    np.save(tmp_path / "typed.npy", np.ones((5, 8), dtype=np.float32))
    box.fill(str(tmp_path / "typed.npy"))
    box.press("Enter")
    expect(page.get_by_text("typed.npy").first).to_be_visible()
    expect(page.get_by_role("button", name="Open it")).to_have_count(0)


def test_no_other_site_can_show_the_app_in_a_frame_or_read_it(server, settled, tab: Tab):
    """The foreign site has the same address under another name, which is as foreign to a browser as any."""
    page = settled(tab(server.address))
    other = server.address.replace("127.0.0.1", "localhost")
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.evaluate(
        "(url) => { const f = document.createElement('iframe'); f.src = url; document.body.append(f); }", other
    )
    while not any("frame" in text.lower() for text in refused):
        page.wait_for_event("console")
    assert page.evaluate("(url) => fetch(url).then(() => 'read', () => 'refused')", other) == "refused"


def test_a_page_says_that_the_server_is_gone_and_comes_back_with_it(server, settled, tab: Tab):
    page = settled(tab(f"{server.address}/runs"))
    server.stop()
    away = page.locator(".ptviz-away")
    expect(away).to_be_visible()
    expect(away).to_contain_text(f"ptviz is not running; start it with ptviz app --port {server.port}")
    server.start()
    expect(away).to_be_hidden()
    settled(page)
    expect(page.get_by_role("heading", name="All runs").first).to_be_visible()


def test_a_page_that_broke_is_loaded_again(server, settled, tab: Tab):
    page = settled(tab(f"{server.address}/survey"))
    # As React leaves the page after an error that nobody catches.
    page.evaluate("""() => {
      window.before = true;
      document.getElementById('root').replaceChildren();
      window.dispatchEvent(new ErrorEvent('error'));
    }""")
    page.wait_for_function("() => window.before === undefined")
    settled(page)
    assert page.evaluate("() => sessionStorage.getItem('ptviz-reloaded-at') !== null")


def test_an_address_of_no_page_suggests_the_nearest(server, tab: Tab):
    page = tab(f"{server.address}/decomposition")
    expect(page.get_by_text("There is no page at this address (decomposition)")).to_be_visible()
    expect(page.get_by_role("link", name="Open Decompositions")).to_be_visible()
