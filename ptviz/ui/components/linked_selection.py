"""What the panels of one page share of the reader's choices: prompt tokens to highlight, and those to leave out.

Both go by a token's number, which stays the same whatever is left out, at every step and in every panel.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import streamlit as st

BRUSH, OUT = "brush", "out"
"""The widgets, in the session and in the address."""
_ABOUT = "brushed"


def rows(m: int, odd: Sequence[int], about: Hashable) -> tuple[list[int], frozenset[int]]:
    """The tokens that every panel shows, of ``m``, and those of them to stand out; with the boxes to choose both.

    ``odd`` are rows whose norm ran away: they are named, with a button that leaves them out. ``about`` says whose
    tokens these are; another prompt begins with all of its tokens.
    """
    _begin(about)
    _within(OUT, range(m))
    warned = st.container()
    left, right = st.columns(2, gap="medium")
    # The box of the left column depends on the one of the right: that one is asked first.
    out = right.multiselect(
        "prompt tokens to leave out", range(m), key=OUT, placeholder="none", max_selections=max(m - 1, 1),
        help="rows that no panel of this page shows or counts", bind="query-params", disabled=m < 2,
    )  # fmt: skip
    shown = [number for number in range(m) if number not in out] if len(out) < m else list(range(m))
    _within(BRUSH, shown)
    picked = left.multiselect(
        "prompt tokens to highlight", shown, key=BRUSH, placeholder="all; pick here or in a figure",
        help="click a token in a figure, or draw a box or a lasso on the map: every figure dims the others",
        bind="query-params",
    )  # fmt: skip
    with warned:
        _warn([number for number in odd if number in shown], len(shown))
    return shown, frozenset(picked)


def box(
    label: str, numbers: Sequence[int], about: Hashable, key: str = BRUSH, *, named: Callable[[int], str] = str
) -> frozenset[int]:
    """A box to choose what stands out in every panel, by numbers that stay the same; ``about`` as in ``rows``.

    What is picked in a figure that hears ``picker(key)`` shows up in it.
    """
    mine = f"{_ABOUT}-{key}"
    if st.session_state.setdefault(mine, about) != about:
        st.session_state[mine] = about
        if key in st.session_state:
            st.session_state[key] = []
    _within(key, numbers)
    return frozenset(
        st.multiselect(
            label, list(numbers), key=key, format_func=named, placeholder="all; pick here or in a figure",
            help="click in a figure: every figure that shows the same things dims the others", bind="query-params",
        )
    )  # fmt: skip


def pick(numbers: list[int], more: bool, key: str = BRUSH) -> None:
    """Take over what was picked in a figure: ``more`` adds to the brush, and takes away what was in it."""
    before = list(st.session_state.get(key, []))
    st.session_state[key] = sorted(set(before) ^ set(numbers)) if more else sorted(numbers)


def picker(key: str) -> Callable[[list[int], bool], None]:
    """``pick`` for the box of another key."""
    return lambda numbers, more: pick(numbers, more, key)


def _warn(odd: list[int], shown: int) -> None:
    if not odd:
        return
    told = f"Token{'s' if len(odd) > 1 else ''} {', '.join(map(str, odd))}"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.warning(
            f"{told}: norm above three times the median. Such a row may never have been used; it rules every panel "
            "that it is in.",
            width="stretch",
        )
        st.button("Leave out", icon=":material/filter_alt_off:", key="leave-out", on_click=_leave_out, args=(odd,),
                  disabled=len(odd) >= shown)  # fmt: skip


def _leave_out(numbers: list[int]) -> None:
    st.session_state[OUT] = sorted({*st.session_state.get(OUT, []), *numbers})


def _begin(about: Hashable) -> None:
    """Another prompt than the last one: its tokens have nothing in common with those chosen."""
    if st.session_state.setdefault(_ABOUT, about) != about:
        st.session_state[_ABOUT] = about
        for key in (BRUSH, OUT):
            if key in st.session_state:
                st.session_state[key] = []


def _within(key: str, numbers: Sequence[int]) -> None:
    """A box refuses what it does not offer: a token that is left out, or one that a shorter prompt does not have."""
    known = st.session_state.get(key)
    if known and not set(known) <= set(numbers):
        st.session_state[key] = [number for number in known if number in numbers]
