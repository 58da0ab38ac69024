"""Every page on a fresh home: a drawn figure with data, no word of a missing run, no grave fault by axe-core."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.app_server import ROOT, AppServer
from tests.browser.pages import PAGES, WITH_FIGURES

pytestmark = pytest.mark.browser

GRAVE = ("serious", "critical")
"""The impacts that axe-core gives to what keeps a reader from using a page."""
ALSO = ("heading-order",)
"""Rules of lower impact that are refused too: users of a screen reader move by headings."""
AXE = Axe()
FIGURE = """() => {
  const plots = [...document.querySelectorAll('.ptviz-plot')].filter((node) => node._fullLayout);
  const length = (trace) => (trace.x || trace.y || trace.z || []).length;
  if (plots.some((node) => node.data.some((trace) => length(trace) > 0))) return true;
  const drawings = (root) => [...root.querySelectorAll('*')].flatMap((node) =>
    [...(node.localName === 'svg' ? [node] : []), ...(node.shadowRoot ? drawings(node.shadowRoot) : [])]);
  return drawings(document.querySelector('[data-testid=stMain]')).some((svg) =>
    svg.getBoundingClientRect().width > 200 && svg.querySelectorAll('rect, path, circle').length > 5);
}"""
"""A plot with points, or a large drawing, anywhere on the page."""


def test_every_page_is_listed() -> None:
    # The address of a page is the name of its file.
    assert {"", *(path.stem.replace("_", "-") for path in (ROOT / "pages").glob("*/*.py"))} == set(PAGES)


def grave_faults(page: Page) -> list[str]:
    """What axe-core finds on a page as it is now, one line for each kind of fault with its first place."""
    found = AXE.run(page).response["violations"]
    return [
        f"{fault['id']}: {fault['help']} ({len(fault['nodes'])}), first {fault['nodes'][0]['target']} "
        f"{fault['nodes'][0]['html'][:200]}"
        for fault in found
        if fault["impact"] in GRAVE or fault["id"] in ALSO
    ]


ADDRESSES = (*WITH_FIGURES, *(page for page in PAGES if page not in {one.partition("?")[0] for one in WITH_FIGURES}))


@pytest.mark.slow
@pytest.mark.parametrize("address", ADDRESSES)
def test_a_page_of_a_fresh_home(
    gallery_server: AppServer, tab: Callable[..., Page], settled: Callable[[Page], Page], address: str
) -> None:
    began = time.monotonic()
    page = tab(f"{gallery_server.address}/{address}")
    if address in WITH_FIGURES:
        page.wait_for_function(FIGURE)
        print(f"{address or 'home'}: a figure after {time.monotonic() - began:.1f} s")
    said = settled(page).inner_text("[data-testid=stMain]").lower()
    assert "no run to inspect" not in said
    assert "no finished run" not in said
    page.locator("[data-testid=stSkeleton], [data-testid=stSpinner]").first.wait_for(state="detached")
    expect(page.locator("ul[data-testid=stSidebarNavItems]:not([role=presentation])")).to_have_count(0)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        expect(page.locator("[data-testid=stApp]")).to_have_css("color-scheme", scheme)
        assert grave_faults(page) == [], scheme


def test_axe_finds_what_is_wrong(chromium: Browser) -> None:
    page = chromium.new_page()
    page.set_content(
        "<html lang=en><title>t</title><main><h1>t</h1><h3>u</h3><p style='color:#bbb'>pale</p><img src='data:,'>"
        "</main></html>"
    )
    assert {fault.partition(":")[0] for fault in grave_faults(page)} == {"color-contrast", "image-alt", *ALSO}
    page.close()


OUTSIDE = """() => [...document.querySelectorAll('[data-testid=stButtonGroup] button, [data-testid=stMain] label')]
  .filter((node) => node.getBoundingClientRect().right > innerWidth).map((node) => node.textContent)"""
"""Choices that the screen cuts off."""
HEAT_MAPS = """() => [...document.querySelectorAll('.ptviz-plot')].flatMap((node) => (node._fullData || [])
  .filter((trace) => trace.type === 'heatmap' && trace.showscale)
  .map((trace) => [trace.colorbar.orientation, node._fullLayout.xaxis._length / node.clientWidth]))"""
"""For each heat map the direction of its colour bar, and the share of the width that its cells have."""


def test_a_phone_cuts_off_no_choice_and_gives_figures_its_width(
    gallery_server: AppServer, tab: Callable[..., Page], settled: Callable[[Page], Page]
) -> None:
    for name in ("findings", "survey?colour=by+accuracy", "routing"):
        page = tab(f"{gallery_server.address}/{name}")
        page.wait_for_function(FIGURE)
        settled(page).set_viewport_size({"width": 390, "height": 844})
        page.wait_for_function("() => innerWidth === 390")
        assert page.evaluate(OUTSIDE) == [], name
        if name.startswith("survey"):
            taxonomy = page.get_by_test_id("ptviz-drawing").first
            page.wait_for_function("node => node.scrollWidth <= node.clientWidth", arg=taxonomy.element_handle())
    page.wait_for_function(f"() => ({HEAT_MAPS})().length && ({HEAT_MAPS})().every(([direction]) => direction === 'h')")
    assert min(share for _, share in page.evaluate(HEAT_MAPS)) > 0.55
