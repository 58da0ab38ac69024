"""A backbone or data that is not here yet: its terms, a button that downloads it, and the progress."""

from __future__ import annotations

import time

import streamlit as st

from ptviz.ui.classroom import visitor_rules
from ptviz.ui.components.errors import error_box, run_and_rerun
from ptviz.ui.components.formatting import format_duration
from ptviz.worker.downloads import (
    Download,
    DownloadStatus,
    cancel_download,
    download_status,
    find_download,
    start_download,
)

_REFRESH_SECONDS = 1.0
_KNOWN_SHARE = 0.05
"""Share of a download from which its remaining time is estimated."""


def render_missing(install_command: str) -> None:
    """Offer the download behind an install command; show any other command, to be run in a terminal."""
    if visitor_rules() is not None:
        st.caption("It is not on this computer. Choose another one, or ask your teacher for it.")
        return
    download = find_download(install_command)
    if download is not None:
        render_download(download)
        return
    st.caption("Not installed. Run this in a terminal:")
    st.code(install_command, language="shell")


def render_download(download: Download) -> None:
    """Show a download's terms and button; its progress while it runs; its error after it failed.

    There is one download at a time, for all pages and tabs. The page is drawn again when it ends. Nothing is shown to a
    visitor of a classroom.
    """
    if visitor_rules() is not None:
        return
    status = download_status()
    running = status is not None and status.is_running
    st.fragment(_render, run_every=_REFRESH_SECONDS if running else None)(download, running)


def _render(download: Download, running: bool) -> None:
    status = download_status()
    if running != (status is not None and status.is_running):
        st.rerun()
    if status is not None and status.is_running:
        _render_progress(status, is_other=status.name != download.name)
    else:
        _render_offer(download, status.error if status is not None and status.name == download.name else "")


def _render_progress(status: DownloadStatus, is_other: bool) -> None:
    text = f"{status.name}: {status.message}" if is_other else status.message
    st.progress(status.share or 0.0, text=text[:1].upper() + text[1:] + _format_time_left(status))
    st.caption(
        "One download at a time: this one can start when the other is done."
        if is_other
        else "It continues when you leave or reload this page."
    )
    if st.button("Cancel the download", icon=":material/close:", key=f"cancel-{status.name}-{is_other}"):
        cancel_download()


def _format_time_left(status: DownloadStatus) -> str:
    if status.share is None or not _KNOWN_SHARE < status.share < 1:
        return ""
    passed = time.time() - status.started
    return f", about {format_duration(passed / status.share * (1 - status.share))} left"


def _render_offer(download: Download, error: str) -> None:
    if error:
        error_box(error)
    for line in download.terms:
        st.caption(line)
    accepted = not download.must_accept or st.checkbox("I accept these terms", key=f"accept-{download.name}")
    label = f"{'Try again' if error else 'Download'} ({download.megabytes} MB)"
    if st.button(label, icon=":material/download:", key=f"download-{download.name}", disabled=not accepted):
        run_and_rerun(lambda: start_download(download.name))
