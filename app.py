"""The web app: `ptviz app`, or `streamlit run app.py`."""

import streamlit as st

from ptviz.ui.server import exception_handlers, lifespan, middleware, on_script_error, routes

app = st.App(
    "pages/index.py",
    lifespan=lifespan,
    routes=routes(),
    middleware=middleware(),
    on_script_error=on_script_error,
    exception_handlers=exception_handlers(),
)
