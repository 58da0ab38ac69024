"""Torch and what is built on it, loaded by one thread after the first page is drawn or some seconds after the start."""

from __future__ import annotations

import gc
import importlib
from threading import Event, Lock, Thread

import streamlit as st

_MODULES = ("ptviz.ui.train.run_page", "torch", "ptviz.backbones.loading", "ptviz.runs.method_tensors")
"""The page that Start opens, then what the other pages compute with."""
_LOCK = Lock()
_BEGUN, _LOADED = Event(), Event()


def are_libraries_loaded() -> bool:
    """Return whether ``load_libraries`` has nothing left to do."""
    return _LOADED.is_set()


def wait_for_libraries() -> None:
    """Load the libraries, or wait for them, while the page says so."""
    if not are_libraries_loaded():
        with st.spinner("Loading the libraries that compute, once after a start"):
            load_libraries()


def load_libraries() -> None:
    """Import the libraries that compute, or wait until another thread has done so.

    Two threads that import torch at the same time may both fail: a page that needs it comes here first.
    """
    with _LOCK:
        if _LOADED.is_set():
            return
        for name in _MODULES:
            importlib.import_module(name)
        # A full collection looks at the half million objects that torch and transformers bring, which takes a quarter
        # of a second each time; frozen, they are not looked at again.
        gc.collect()
        gc.freeze()
        _LOADED.set()


def load_libraries_in_background() -> None:
    """Begin to import the libraries, once, while the first page is read."""
    if not _BEGUN.is_set():
        _BEGUN.set()
        Thread(target=load_libraries, name="ptviz-libraries", daemon=True).start()
