"""What the panels of one page share of the reader's choices: prompt tokens to highlight, and those to leave out.

Both go by a token's number, which stays the same whatever is left out, at every step and in every panel.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import streamlit as st

HIGHLIGHT_KEY, EXCLUDED_KEY = "brush", "out"
"""The widgets, in the session and in the address."""
_SUBJECT_KEY = "brushed"


def select_tokens(m: int, odd: Sequence[int], about: Hashable) -> tuple[list[int], frozenset[int]]:
    """The tokens that every panel shows, of ``m``, and those of them to stand out; with the boxes to choose both.

    ``odd`` are rows whose norm ran away: they are named, with a button that leaves them out. ``about`` says whose
    tokens these are; another prompt begins with all of its tokens.
    """
    _reset_for_new_prompt(about)
    _drop_unavailable(EXCLUDED_KEY, range(m))
    warned = st.container()
    left, right = st.columns(2, gap="medium")
    # The box of the left column depends on the one of the right: that one is asked first.
    out = right.multiselect(
        "prompt tokens to leave out", range(m), key=EXCLUDED_KEY, placeholder="none", max_selections=max(m - 1, 1),
        help="rows that no panel of this page shows or counts", bind="query-params", disabled=m < 2,
    )  # fmt: skip
    shown = [number for number in range(m) if number not in out] if len(out) < m else list(range(m))
    _drop_unavailable(HIGHLIGHT_KEY, shown)
    picked = left.multiselect(
        "prompt tokens to highlight", shown, key=HIGHLIGHT_KEY, placeholder="all; pick here or in a figure",
        help="click a token in a figure, or draw a box or a lasso on the map: every figure dims the others",
        bind="query-params",
    )  # fmt: skip
    with warned:
        _warn_of_outliers([number for number in odd if number in shown], len(shown))
    return shown, frozenset(picked)


def highlight_box(
    label: str, numbers: Sequence[int], about: Hashable, key: str = HIGHLIGHT_KEY, *, named: Callable[[int], str] = str
) -> frozenset[int]:
    """A box to choose what stands out in every panel, by numbers that stay the same; ``about`` as in ``select_tokens``.

    What is picked in a figure that hears ``picker(key)`` shows up in it.
    """
    mine = f"{_SUBJECT_KEY}-{key}"
    if st.session_state.setdefault(mine, about) != about:
        st.session_state[mine] = about
        if key in st.session_state:
            st.session_state[key] = []
    _drop_unavailable(key, numbers)
    return frozenset(
        st.multiselect(
            label, list(numbers), key=key, format_func=named, placeholder="all; pick here or in a figure",
            help="click in a figure: every figure that shows the same things dims the others", bind="query-params",
        )
    )  # fmt: skip


def update_highlight(numbers: list[int], more: bool, key: str = HIGHLIGHT_KEY) -> None:
    """Take over what was picked in a figure: ``more`` adds to the brush, and takes away what was in it."""
    before = list(st.session_state.get(key, []))
    st.session_state[key] = sorted(set(before) ^ set(numbers)) if more else sorted(numbers)


def make_pick_handler(key: str) -> Callable[[list[int], bool], None]:
    """``update_highlight`` for the box of another key."""
    return lambda numbers, more: update_highlight(numbers, more, key)


def _warn_of_outliers(odd: list[int], shown: int) -> None:
    if not odd:
        return
    told = f"Token{'s' if len(odd) > 1 else ''} {', '.join(map(str, odd))}"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.warning(
            f"{told}: norm above three times the median. Such a row may never have been used; it rules every panel "
            "that it is in.",
            width="stretch",
        )
        st.button("Leave out", icon=":material/filter_alt_off:", key="leave-out", on_click=_exclude_tokens, args=(odd,),
                  disabled=len(odd) >= shown)  # fmt: skip


def _exclude_tokens(numbers: list[int]) -> None:
    st.session_state[EXCLUDED_KEY] = sorted({*st.session_state.get(EXCLUDED_KEY, []), *numbers})


def _reset_for_new_prompt(about: Hashable) -> None:
    """Another prompt than the last one: its tokens have nothing in common with those chosen."""
    if st.session_state.setdefault(_SUBJECT_KEY, about) != about:
        st.session_state[_SUBJECT_KEY] = about
        for key in (HIGHLIGHT_KEY, EXCLUDED_KEY):
            if key in st.session_state:
                st.session_state[key] = []


def _drop_unavailable(key: str, numbers: Sequence[int]) -> None:
    """A box refuses what it does not offer: a token that is left out, or one that a shorter prompt does not have."""
    known = st.session_state.get(key)
    if known and not set(known) <= set(numbers):
        st.session_state[key] = [number for number in known if number in numbers]
