"""Export of a run: shell command, Python, commands for other libraries, and curves as CSV."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import streamlit as st

from ptviz.plots.snippet import training_snippet
from ptviz.runs import Run
from ptviz.ui.components.csv_download import csv_download
from ptviz.ui.components.report_download import report_download
from ptviz.ui.train.training_curves import history_to_csv

if TYPE_CHECKING:
    from ptviz.reports.document import Report


def export_menu(run: Run) -> None:
    """Show the run as a shell command and as Python, how to export its prompt, and a button for its curves as CSV."""
    with st.popover("Share", icon=":material/ios_share:"):
        config = run.config
        if len(run.history()):
            report_download(lambda: _make_report(run), f"{run.id}-report")
        st.markdown("**The same run in the shell**")
        st.code(config.shell_command(), language="shell", wrap_lines=True)
        st.markdown("**The same run in Python**")
        st.code(training_snippet(config), language="python")
        if not config.more_tasks:
            st.markdown("**For Hugging Face's PEFT, and for vLLM**")
            st.code("\n".join(_export_commands(run.id)), language="shell", wrap_lines=True)
            st.caption(
                "The first writes a folder with layout.json, which says how texts are laid out and answers read. The "
                "second embeds one input behind the prompt; it is for decoders. Both say what does not fit."
            )
        csv_download(
            "Curves as CSV",
            lambda: history_to_csv({run.id: run.history()}, [run.metric]),
            f"{run.id}.csv",
            key="csv",
        )
        st.caption("To save the curves as a picture, press SVG or PNG above the figure.")


def _make_report(run: Run) -> Report:
    from ptviz.reports.run_report import run_report  # Here, because it draws figures, and the page is rendered often.

    return run_report(run)


def _export_commands(run: str) -> tuple[str, str]:
    name = shlex.quote(run)
    return (f"ptviz export {name} --to peft", f"ptviz export {name} --to prompt-embeds --text 'your input'")
