"""What moves on the pages: a replay played to its end, and the forward pass stepped by the keyboard."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from ptviz.runs import RunConfig, Store
from ptviz.runs.forward_pass import write_forward_pass
from tests.fake_forward_pass import fake_forward_pass

pytestmark = pytest.mark.browser

Tab = Callable[..., Page]


@pytest.fixture
def recorded(server, make_finished) -> None:
    """A recorded run with a forward pass, where the server looks for those that come with the app."""
    folder = server.home / "no-gallery" / "runs" / "recorded-1"
    shutil.move(make_finished(Store(server.home / "runs"), RunConfig()).path, folder)
    write_forward_pass(folder, fake_forward_pass())


def test_a_replay_plays_to_its_end_and_keeps_the_zoom(server, settled, tab: Tab, make_finished) -> None:
    run = make_finished(Store(server.home / "runs"), RunConfig())
    page = settled(tab(f"{server.address}/watch?run={run.id}&replay=1x&zoom=xaxis:2:12"))  # two seconds
    expect(page.get_by_text("Replay of a finished run")).to_be_visible()
    expect(page.get_by_text("20 / 20")).to_be_visible()
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    page.wait_for_function("() => location.search.includes('step=20')")
    figure = page.locator(".ptviz-plot[data-updates]").first
    assert figure.evaluate("node => node._fullLayout.xaxis.range.map(Number)") == [2, 12]
    page.keyboard.press("j")
    expect(page.get_by_text("19 / 20")).to_be_visible()
    assert figure.evaluate("node => node._fullLayout.xaxis.range.map(Number)") == [2, 12]
    page.get_by_role("slider", name="step").press("Home")
    expect(page.get_by_text("0 / 20")).to_be_visible()
    page.get_by_role("slider", name="step").press("PageUp")
    page.wait_for_function("() => +new URLSearchParams(location.search).get('step') > 0")
    second = settled(tab(f"{server.address}/watch?run={run.id}&replay=1x&step=19"))
    expect(second.get_by_text("19 / 20")).to_be_visible()


@pytest.mark.usefixtures("recorded")
def test_the_forward_pass_is_stepped_by_the_keyboard(server, settled, tab: Tab) -> None:
    page = settled(tab(server.address))
    drawing = page.get_by_test_id("ptviz-forward")
    said = drawing.locator("[data-part=said]")
    expect(said).to_contain_text('"Hi" With the prompt of step 20: good, 90%. The backbone alone: bad, 60%.')
    drawing.get_by_role("button", name="Back").focus()
    page.keyboard.press("ArrowLeft")
    expect(said).to_have_text("Layer 1 of 1: the tokens of the text give 60% of their attention to the prompt.")
    page.keyboard.press("ArrowLeft")
    expect(said).to_contain_text("1 vector, the soft prompt, slides in front, here after 20 training steps.")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")  # the first moment stays
    expect(said).to_have_text('The text "Hi" enters as 2 tokens, each a frozen vector.')
    page.keyboard.press("ArrowRight")
    drawing.get_by_role("slider").press("Home")
    expect(said).to_have_text('"Hi" With the prompt of step 0: bad, 70%. The backbone alone: bad, 60%.')
    drawing.get_by_role("button", name="Back").focus()
    page.keyboard.press("ArrowLeft")
    expect(said).to_contain_text("give 20% of their attention to the prompt")


@pytest.mark.usefixtures("recorded")
def test_nothing_moves_by_itself_for_readers_who_want_it_still(chromium, server, settled) -> None:
    with chromium.new_context(reduced_motion="reduce") as context:
        page = context.new_page()
        page.goto(server.address)
        drawing = settled(page).get_by_test_id("ptviz-forward")
        expect(drawing).to_have_attribute("data-moment", "3")
        expect(drawing.get_by_role("button", name="Play")).to_be_visible()
