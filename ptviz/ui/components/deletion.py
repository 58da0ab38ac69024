"""The question before something is deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st


@st.dialog("Delete permanently?", icon=":material/delete:")
def confirm_deletion(text: str, lines: Sequence[str], key: str, delete: Callable[[], None]) -> None:
    """Ask in a dialog, and call ``delete`` before the page is drawn again if the answer is yes.

    ``text`` says in Markdown what is deleted; ``lines`` name it as plain text, because names may be untrusted. ``key``
    begins the keys of the two buttons.
    """
    st.markdown(text)
    for line in lines:
        st.text(line)
    with st.container(horizontal=True):
        deleted = st.button("Delete", icon=":material/delete:", key=f"{key}-really", on_click=delete)
        # The filled button is the one that does no harm.
        if st.button("Cancel", type="primary", key=f"{key}-not") or deleted:
            st.rerun()
