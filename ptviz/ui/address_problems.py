"""What is wrong with the address of a page, said before the page is drawn."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from urllib.parse import urlsplit

import streamlit as st
from streamlit.navigation.page import Page


def render_address_problems(pages: Iterable[Page]) -> None:
    """Say that the address names no page, with the nearest ones, or that it gives a parameter twice."""
    known = {page.url_path: page for page in pages}
    titles = {path: page.title for path, page in known.items()}
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    if (asked := unknown_path(st.context.url or "", {*titles, base.rsplit("/", 1)[-1]})) is not None:
        st.warning(f"There is no page at this address ({asked[:60]}). This is the home page.", icon=":material/help:")
        for path in nearest_pages(asked, titles):
            st.page_link(known[path], label=f"Open {titles[path]}", icon=":material/arrow_forward:")
    for name, values in repeated_parameters().items():
        shown = ", ".join(value[:40] for value in values)
        st.warning(f"The address gives {name[:40]} {len(values)} times ({shown}): the last one is used.")


def repeated_parameters() -> dict[str, list[str]]:
    """Return the query parameters that the address gives more than once, with all of their values."""
    found = {name: st.query_params.get_all(name) for name in st.query_params}
    return {name: values for name, values in found.items() if len(values) > 1}


def unknown_path(url: str, titles: Iterable[str]) -> str | None:
    """Return the last part of an address if it is the path of no page; else None."""
    last = urlsplit(url).path.rstrip("/").rsplit("/", 1)[-1]
    return None if not last or last in titles else last


def nearest_pages(asked: str, titles: dict[str, str]) -> list[str]:
    """Return the paths of up to two pages whose path or title is closest to what was asked for."""
    names = {path: path for path in titles if path}
    names |= {title.lower().replace(" ", "-"): path for path, title in titles.items()}
    found = get_close_matches(asked.lower(), names, n=3, cutoff=0.5)
    return list(dict.fromkeys(names[name] for name in found))[:2]
