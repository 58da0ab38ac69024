"""Addresses that name no page, give a parameter twice, or a value that the page cannot use, say so."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from ptviz.ui.address_problems import nearest_pages, unknown_path
from tests.app_server import HANGS_SECONDS

TITLES = {"": "Home", "decompositions": "Decompositions", "new-run": "New run", "runs": "All runs", "watch": "Watch"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8501/", None),
        ("http://127.0.0.1:8501", None),
        ("http://127.0.0.1:8501/runs", None),
        ("http://127.0.0.1:8501/runs/?pick=a/b", None),
        ("", None),
        ("http://127.0.0.1:8501/factors", "factors"),
        ("http://host/ptviz/watc", "watc"),
    ],
)
def test_a_path_of_no_page_is_found(url: str, expected: str | None) -> None:
    assert unknown_path(url, TITLES) == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("decomposition", "decompositions"), ("newrun", "new-run"), ("all-runs", "runs"), ("Watches", "watch")],
)
def test_the_nearest_page_is_suggested_by_path_or_title(asked: str, expected: str) -> None:
    assert nearest_pages(asked, TITLES)[0] == expected


def test_nothing_like_any_page_suggests_none() -> None:
    assert nearest_pages("zzzzzz", TITLES) == []


def _page() -> None:
    import streamlit as st

    from ptviz.ui.components.address_values import checked_address, expect_one_of, expect_whole_number

    with checked_address(st.session_state.get("page", "first")):
        st.number_input("seeds", 1, 20, 3, key="seeds", bind="query-params")
        st.number_input("rate", 0.0, 1.0, None, key="rate", bind="query-params")
        st.slider("smooth", 0.0, 0.99, 0.9, 0.01, key="smooth", bind="query-params")
        st.toggle("chat", key="chat", bind="query-params")
        st.segmented_control("map", ["PCA", "UMAP"], default="PCA", key="map", bind="query-params")
        st.multiselect("more", ["sms", "bbc"], key="more", bind="query-params")
        st.text_input("find", key="find", bind="query-params")
        expect_one_of("kind", ["keys", "values"], "keys")
        names = ("keys", "values")
        st.segmented_control("kind", (0, 1), default=0, key="kind", bind="query-params", format_func=names.__getitem__)
        expect_whole_number("row", 0, 199, "0")
        st.number_input("row", 0, 199, key="row", bind="query-params")
        run = st.selectbox("run", ["long", "short"], key="run")
        steps = ["10", "20"] if run == "long" else ["10"]
        if st.session_state.get("at") not in steps:
            st.session_state.pop("at", None)
        st.selectbox("step", steps, key="at", bind="query-params")
        if st.session_state.setdefault("times", 0) < 2:  # As a page whose answer came while it was drawn.
            st.session_state["times"] += 1
            st.rerun()


def opened(**address: str | list[str]) -> AppTest:
    at = AppTest.from_function(_page, default_timeout=HANGS_SECONDS)
    for name, value in address.items():
        at.query_params[name] = value
    at.run()
    assert not at.exception
    return at


def said(at: AppTest) -> list[str]:
    return [text.value for text in at.text]


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ({"seeds": "99"}, "seeds: expected a number that its box allows; got 99. 3 is used instead"),
        ({"seeds": "many"}, "seeds: expected a number that its box allows; got many. 3 is used instead"),
        ({"rate": "2"}, "rate: expected a value that this page offers; got 2. It is left out"),
        ({"smooth": "5"}, "smooth: expected a number that its box allows; got 5. 0.9 is used instead"),
        ({"chat": "perhaps"}, "chat: expected true or false; got perhaps. False is used instead"),
        ({"map": "zzz"}, "map: expected a value that this page offers; got zzz. PCA is used instead"),
        ({"more": ["sms", "zzz"]}, "more: expected a value that this page offers; got sms, zzz. sms is used instead"),
        ({"more": "zzz"}, "more: expected a value that this page offers; got zzz. It is left out"),
        ({"kind": "zzz"}, "kind: expected one of keys, values; got zzz. keys is used instead"),
        ({"row": "5000"}, "row: expected a whole number from 0 to 199; got 5000. 0 is used instead"),
        ({"row": "1.5"}, "row: expected a whole number from 0 to 199; got 1.5. 0 is used instead"),
        ({"row": "nan"}, "row: expected a whole number from 0 to 199; got nan. 0 is used instead"),
        ({"at": "777"}, "at: expected a value that this page offers; got 777. 10 is used instead"),
        ({"map": "a\x1bb"}, "map: expected a value that this page offers; got a\\x1bb. PCA is used instead"),
    ],
)
def test_what_a_page_cannot_use_is_said_once_until_the_reader_changes_something(
    address: dict[str, str | list[str]], problem: str
) -> None:
    at = opened(**address)
    assert said(at) == [problem], "though the page has drawn itself three times"
    assert said(at.run()) == [problem]
    assert said(at.text_input(key="find").set_value("x").run()) == []
    assert said(at.run()) == []


@pytest.mark.parametrize(
    "address",
    [
        {"seeds": "3", "smooth": "0.90", "chat": "FALSE", "map": "PCA", "kind": "keys", "row": "0", "at": "10"},
        {"seeds": "7", "rate": "1e-1", "smooth": "0.5", "chat": "true", "map": "UMAP", "kind": "values", "at": "20"},
        {"seeds": "", "map": "", "kind": "", "row": "", "chat": "", "more": ["bbc", "sms"], "find": "zzz"},
        {"nothing": "zzz", "times": "0"},
    ],
)
def test_what_a_page_can_use_needs_no_word(address: dict[str, str | list[str]]) -> None:
    assert said(opened(**address)) == []


def test_a_value_that_another_choice_made_impossible_is_no_fault_of_the_address() -> None:
    at = opened(at="20")
    assert at.selectbox(key="at").value == "20"
    at.selectbox(key="run").set_value("short").run()
    assert at.selectbox(key="at").value == "10"
    assert said(at) == []


def test_another_page_starts_with_its_own_address() -> None:
    at = opened(seeds="99")
    at.session_state["page"] = "second"
    at.query_params.clear()
    at.query_params["row"] = "-1"
    assert said(at.run()) == ["row: expected a whole number from 0 to 199; got -1. 0 is used instead"]
