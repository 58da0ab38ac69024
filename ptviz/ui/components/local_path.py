"""A box for a path on this machine. A path that only the page's address names is opened after a button press.

A visitor of a classroom opens their own uploads and the recorded examples, and no other path.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from ptviz.checkpoints.hub import HUB_PREFIX
from ptviz.paths import expand_user
from ptviz.ui.classroom import OFF_IN_A_CLASSROOM, visitor_rules
from ptviz.ui.components.uploads import LINK_PREFIXES

_ALLOWED_KEY = "allowed-paths"


def allow_path(path: str) -> None:
    """Let this session open a path: it was typed, uploaded or confirmed here."""
    st.session_state.setdefault(_ALLOWED_KEY, set()).add(path.strip())


def is_path_allowed(path: str) -> bool:
    """Return whether this session may open a path; ids of the hub and links name no file of its own choice."""
    if visitor_rules() is not None:
        return not path or path.startswith(LINK_PREFIXES)
    return not path or path.startswith((HUB_PREFIX, *LINK_PREFIXES)) or path in st.session_state.get(_ALLOWED_KEY, ())


def path_input(label: str, key: str, or_hub_id: bool = False, **options: Any) -> str:
    """Return the path in a text box that is bound to the page's address; "" while there is none to open.

    A link can name any file of this machine. So a path from the address waits for the reader's button press.
    With ``or_hub_id`` text that is no path on this machine is an id, which is not asked for.
    """
    if visitor_rules() is not None:
        path = str(st.text_input(label, key=key, bind="query-params", disabled=True, **options)).strip()
        st.caption(OFF_IN_A_CLASSROOM)
        return path if is_path_allowed(path) else ""

    def typed() -> None:
        allow_path(str(st.session_state[key]))

    path = str(st.text_input(label, key=key, bind="query-params", on_change=typed, **options)).strip()
    is_id = or_hub_id and not expand_user(path).exists()
    return path if is_id or confirm_path(path, key) else ""


def confirm_path(path: str, key: str) -> bool:
    """Return whether this session may open a path that the address names; until then, show a button that allows it."""
    if is_path_allowed(path):
        return True
    st.text(f"The address of this page names {path} on this machine.")
    st.button("Open it", icon=":material/folder_open:", key=f"open-{key}", on_click=allow_path, args=(path,))
    return False
