"""The form that says how a file is read as a table; every choice is in the page's address."""

from __future__ import annotations

import streamlit as st

from ptviz.tasks import TableOptions, TaskError
from ptviz.tasks.custom.table_options import DELIMITER_NAMES, QUOTINGS, format_words
from ptviz.ui.components.errors import error_box

_DETECT = "detect"
_HEADER = {_DETECT: None, "yes": True, "no": False}


def reading_options_form() -> TableOptions | None:
    """Show the form; return the options, or None and an error in their place if one cannot be used."""
    with st.expander("How the file is read"), st.grid(3, vertical_alignment="bottom"):
        delimiter = _select("delimiter", [_DETECT, *DELIMITER_NAMES], "delimiter", "what stands between two cells")
        help = "standard: quotes enclose cells, doubled within them; none: quotes are part of the texts"
        quoting = _select("quoting", [_DETECT, *QUOTINGS], "quoting", help)
        header = _select("the first row is a header", list(_HEADER), "header", "without one, columns are 1, 2, ...")
        help = "as in utf-8, cp1252 or utf-16"
        encoding = st.text_input("encoding", key="encoding", placeholder=_DETECT, help=help, bind="query-params")
        help = "empty texts, missing labels, rows of another length; they are counted and listed"
        skip = st.toggle("Skip bad rows", key="skip", help=help, bind="query-params")
    try:
        return TableOptions(delimiter, quoting, encoding.strip() or None, _HEADER[header or _DETECT], skip)
    except TaskError as error:
        error_box(str(error))
        return None


def _select(label: str, choices: list[str], key: str, help: str) -> str | None:
    chosen = st.selectbox(label, choices, key=key, help=help, bind="query-params")
    return None if chosen == _DETECT else chosen


def table_query_params(options: TableOptions) -> dict[str, str]:
    """Return the query parameters that fill the forms of a table and its task with these options."""
    names = {delimiter: name for name, delimiter in DELIMITER_NAMES.items()}
    params = {name: getattr(options, name) for name in ("quoting", "encoding", "target", "template", "metric")}
    params |= {"words": format_words(options), "cut": options.cut_first}
    params["choices"] = ",".join(options.choices)
    params["delimiter"] = names.get(options.delimiter or "")
    params["header"] = None if options.header is None else "yes" if options.header else "no"
    params["chat"] = "true" if options.chat else None
    params["place"] = options.place if options.place != "prefix" else None
    params["skip"] = "true" if options.skip_bad_rows else None
    return {name: value for name, value in params.items() if value}
