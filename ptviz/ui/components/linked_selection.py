"""The selection that all panels of a page share: prompt tokens to highlight, and those to leave out.

A token keeps its number at every step and in every panel, whatever is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import streamlit as st

HIGHLIGHT_KEY, EXCLUDED_KEY = "brush", "out"
"""Keys of the widgets, in the session and in the address."""
_SUBJECT_KEY = "brushed"


def select_tokens(m: int, outliers: Sequence[int], about: Hashable) -> tuple[list[int], frozenset[int]]:
    """Return the tokens of ``m`` that every panel shows, and those of them to highlight, from two boxes.

    ``outliers`` are named, with a button that leaves them out. ``about`` identifies the prompt: the boxes of another
    one start empty.
    """
    _reset_for_new_prompt(about)
    _drop_unavailable(EXCLUDED_KEY, range(m))
    warned = st.container()
    left, right = st.columns(2, gap="medium")
    # The left box depends on the right one, which therefore comes first.
    out = right.multiselect(
        "prompt tokens to leave out",
        range(m),
        key=EXCLUDED_KEY,
        placeholder="none",
        max_selections=max(m - 1, 1),
        help="rows that no panel of this page shows or counts",
        bind="query-params",
        disabled=m < 2,
    )
    shown = [number for number in range(m) if number not in out] if len(out) < m else list(range(m))
    _drop_unavailable(HIGHLIGHT_KEY, shown)
    picked = left.multiselect(
        "prompt tokens to highlight",
        shown,
        key=HIGHLIGHT_KEY,
        placeholder="all; pick here or in a figure",
        help="click a token in a figure, or draw a box or a lasso on the map: every figure dims the others",
        bind="query-params",
    )
    with warned:
        _warn_of_outliers([number for number in outliers if number in shown], len(shown))
    return shown, frozenset(picked)


def highlight_box(
    label: str, numbers: Sequence[int], about: Hashable, key: str = HIGHLIGHT_KEY, *, named: Callable[[int], str] = str
) -> frozenset[int]:
    """Return what every panel highlights, from a box; ``about`` as in ``select_tokens``.

    Figures with ``make_pick_handler(key)`` fill the box too.
    """
    mine = f"{_SUBJECT_KEY}-{key}"
    if st.session_state.setdefault(mine, about) != about:
        st.session_state[mine] = about
        if key in st.session_state:
            st.session_state[key] = []
    _drop_unavailable(key, numbers)
    return frozenset(
        st.multiselect(
            label,
            list(numbers),
            key=key,
            format_func=named,
            placeholder="all; pick here or in a figure",
            help="click in a figure: every figure that shows the same things dims the others",
            bind="query-params",
        )
    )


def update_highlight(numbers: list[int], more: bool, key: str = HIGHLIGHT_KEY) -> None:
    """Highlight what was picked in a figure; ``more`` adds it to the selection, or removes it from there."""
    before = list(st.session_state.get(key, []))
    st.session_state[key] = sorted(set(before) ^ set(numbers)) if more else sorted(numbers)


def make_pick_handler(key: str) -> Callable[[list[int], bool], None]:
    """Return ``update_highlight`` for the box of another key."""
    return lambda numbers, more: update_highlight(numbers, more, key)


def _warn_of_outliers(outliers: list[int], shown: int) -> None:
    if not outliers:
        return
    names = f"Token{'s' if len(outliers) > 1 else ''} {', '.join(map(str, outliers))}"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.warning(
            f"{names}: norm above three times the median. It may never have been used, and dominates every panel.",
            width="stretch",
        )
        st.button(
            "Leave out",
            icon=":material/filter_alt_off:",
            key="leave-out",
            on_click=_exclude_tokens,
            args=(outliers,),
            disabled=len(outliers) >= shown,
        )


def _exclude_tokens(numbers: list[int]) -> None:
    st.session_state[EXCLUDED_KEY] = sorted({*st.session_state.get(EXCLUDED_KEY, []), *numbers})


def _reset_for_new_prompt(about: Hashable) -> None:
    """Empty both boxes for another prompt: its tokens have nothing in common with those selected."""
    if st.session_state.setdefault(_SUBJECT_KEY, about) != about:
        st.session_state[_SUBJECT_KEY] = about
        for key in (HIGHLIGHT_KEY, EXCLUDED_KEY):
            if key in st.session_state:
                st.session_state[key] = []


def _drop_unavailable(key: str, numbers: Sequence[int]) -> None:
    """Remove what the box does not offer and would refuse: tokens left out, or beyond the end of a shorter prompt."""
    known = st.session_state.get(key)
    if known and not set(known) <= set(numbers):
        st.session_state[key] = [number for number in known if number in numbers]
