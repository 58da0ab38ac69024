"""What a page cannot use of the values in its address, said in words above the page.

A page is drawn inside ``checked_address``. Widgets that Streamlit binds to the address are compared with it once they
are drawn; ``expect_one_of`` and others, called before a widget, say better what it expects. Only what came with the
address can be a problem: a value that another choice of the reader has made impossible is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import streamlit as st

from ptviz.safe_text import safe_list, safe_text
from ptviz.ui.components.errors import error_box

_VISIT_KEY = "address-visit"


@dataclass
class _Visit:
    """What a session knows about the address of the page on screen.

    ``given`` are the parameters that came with the address and that nothing on the page has taken yet, ``left`` is the
    address as the page left it. The first ``said`` of the ``problems`` were shown beside the reader's ``choices``.
    """

    page: str
    given: dict[str, list[str]] = field(default_factory=dict)
    left: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    said: int = 0
    choices: dict[str, object] = field(default_factory=dict)


@contextmanager
def checked_address(page: str) -> Iterator[None]:
    """Show above what the block draws which values of the page's address it cannot use.

    They stay while the page draws itself again, and go when the reader changes something.
    """
    place = st.container()
    visit = _begin_visit(page)
    try:
        yield
    finally:  # A page that asks to be drawn again has changed the address by then.
        _compare_with_widgets(visit)
        visit.left, visit.choices, visit.said = _parameters(), _choices(), len(visit.problems)
        with place:
            for problem in visit.problems:
                error_box(problem)


def _begin_visit(page: str) -> _Visit:
    visit: _Visit | None = st.session_state.get(_VISIT_KEY)
    if visit is None or visit.page != page:
        visit = st.session_state[_VISIT_KEY] = _Visit(page)
    now = _choices()
    if any(now[name] != visit.choices[name] for name in now.keys() & visit.choices.keys()):
        del visit.problems[: visit.said]
    visit.given |= {name: values for name, values in _parameters().items() if values != visit.left.get(name)}
    return visit


def _parameters() -> dict[str, list[str]]:
    return {name: st.query_params.get_all(name) for name in st.query_params}


def _choices() -> dict[str, object]:
    """Return the state of the widgets, as far as it is plain values that can be compared."""
    found = {str(name): st.session_state[name] for name in st.session_state}
    return {name: value for name, value in found.items() if _is_plain(value)}


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(_is_plain(one) for one in value)
    return value is None or isinstance(value, str | int | float)


def _compare_with_widgets(visit: _Visit) -> None:
    """Report what widgets did not take from the address: Streamlit drops or changes it without a word."""
    for name in [name for name in visit.given if name in st.session_state]:
        given, value = visit.given.pop(name), st.session_state[name]
        # What a widget takes stays in the address, except its default.
        if any(given) and st.query_params.get_all(name) != given and not _is_same(given, value):
            refuse(name, _describe_kind(value), ", ".join(given), _describe_replacement(value))


def _is_same(given: list[str], value: object) -> bool:
    """Return whether the value of a widget is what the address gives, though it may be spelled in another way."""
    if isinstance(value, list):
        return given == [str(one) for one in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return given[-1].lower() == str(value).lower()
    try:
        return float(given[-1]) == value
    except ValueError:
        return False


def _describe_kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    return "a number that its box allows" if isinstance(value, int | float) else "a value that this page offers"


def _describe_replacement(value: object) -> str:
    shown = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
    return f"{safe_text(shown)} is used instead" if shown else "It is left out"


def refuse(name: str, expected: str, got: str, instead: str) -> None:
    """Report a parameter of the address that cannot be used; ``instead`` says in a sentence what the page does."""
    refuse_in_words(f"{name}: expected {expected}; got {safe_text(got)}. {instead}")


def refuse_in_words(problem: str) -> None:
    """Report a problem of the address that is a sentence already."""
    visit: _Visit | None = st.session_state.get(_VISIT_KEY)
    if visit is not None:
        visit.problems.append(problem)


def take_given(name: str) -> str:
    """Return what the address gave for a parameter when the page was opened, once; "" if nothing, or afterwards."""
    visit: _Visit | None = st.session_state.get(_VISIT_KEY)
    return visit.given.pop(name, [""])[-1] if visit is not None else ""


def forget_given() -> None:
    """Forget what nothing has taken yet: the reader has chosen another run, for which the address was not made."""
    visit: _Visit | None = st.session_state.get(_VISIT_KEY)
    if visit is not None:
        visit.given.clear()


def expect_one_of(name: str, known: Iterable[str], instead: str) -> None:
    """Report what the address gives for a parameter if it is none of the known values; ``instead`` is used then."""
    names = [one for one in known if one]
    if (given := take_given(name)) and given not in names:
        refuse(
            name, f"one of {safe_list(names)}" if names else "nothing", given, f"{safe_text(instead)} is used instead"
        )


def expect_whole_number(name: str, low: int, high: int, instead: str) -> None:
    """Report what the address gives for a parameter if it is no whole number in these bounds."""
    given = take_given(name)
    try:
        fits = not given or (low <= float(given) <= high and float(given).is_integer())
    except ValueError:
        fits = False
    if not fits:
        refuse(name, f"a whole number from {low:,} to {high:,}", given, f"{instead} is used instead")
