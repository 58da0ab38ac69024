"""The brush that the panels of one page share: prompt tokens by their numbers, picked in any figure or in a box."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

_KEY = "brush"


def choose(numbers: Sequence[int]) -> frozenset[int]:
    """A box to pick prompt tokens with the keyboard; what is picked in a figure shows up in it. The tokens picked."""
    known = st.session_state.get(_KEY)
    if known and not set(known) <= set(numbers):
        # The box refuses what it does not offer: another run, or a token that is left out.
        st.session_state[_KEY] = [number for number in known if number in numbers]
    picked = st.multiselect(
        "prompt tokens to highlight",
        list(numbers),
        key=_KEY,
        placeholder="all; pick some here, or in any figure below",
        help="click a token in a figure, or draw a box or a lasso on the map: every other figure dims the rest",
        bind="query-params",
    )
    return frozenset(picked)


def pick(numbers: list[int], more: bool) -> None:
    """Take over what was picked in a figure: ``more`` adds to the brush, and takes away what was in it."""
    before = list(st.session_state.get(_KEY, []))
    st.session_state[_KEY] = sorted(set(before) ^ set(numbers)) if more else sorted(numbers)
