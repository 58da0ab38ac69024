"""Opening a trained prompt that somebody else made: where from, what it is, what is odd about it, what for.

Whatever a file says about itself is shown as text, never as Markdown or HTML.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import streamlit as st

from ptviz import paths
from ptviz.backbones.shape import named_backbone_shape
from ptviz.checkpoints import (
    BackboneReference,
    CheckpointError,
    PromptBundle,
    PromptDiagnostics,
    diagnose,
    hub,
)
from ptviz.checkpoints.bundle import UNSPLIT_AXES
from ptviz.checkpoints.bundle import Array as Matrix
from ptviz.checkpoints.diagnostics import incompatibilities
from ptviz.checkpoints.formats.ptviz import BUNDLE_FORMAT
from ptviz.figures.checkpoint import PromptThumbnail, draw_thumbnail, draw_thumbnail_norms
from ptviz.plots.cache import cached_by_signature
from ptviz.plots.prompt_set import last_modified, load_checkpoint
from ptviz.runs.archive import unpack_run
from ptviz.runs.import_prompt import import_checkpoint_prompt, importable_prompts
from ptviz.runs.saved_prompts import SAVED_PREFIX
from ptviz.ui.backend import get_store
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.plotly_chart import plotly_chart
from ptviz.ui.look.inspect_run import has_pending_requests, load_backbone_vocabulary
from ptviz.ui.navigation import COMPOSE_PAGE, open_run_page

SIDES = ("a", "b")
EMBEDDINGS_PAGE = "look/embeddings.py"
KEEPS = 200
"""Uploads kept at most; the oldest go first."""
MAX_CELLS = 160
MAX_UPLOAD_BYTES = 50_000_000
THUMBNAIL_CAPTION = (
    "Each row is a prompt token: blue numbers are below zero, orange ones above. A pale stripe is a dead row."
)
NORMS_CAPTION = (
    "The length of each token's vector. A diamond stands far from the others; a blue band is the range of the chosen "
    "backbone's own words."
)


_UPLOAD_HELP = "one file, or the two files of a PEFT folder; they stay on this machine and nothing in them is executed"
_PATH_EXAMPLES = "/home/me/my-adapter, prompt.pt, or a run's folder"


_PATH_LABEL = "or its path on this machine, or hub:USER/NAME"


def checkpoint_input(
    side: str, label: str, help: str = _UPLOAD_HELP, where: str = _PATH_LABEL, examples: str = _PATH_EXAMPLES
) -> Path | None:
    """A checkpoint to open: files dropped here, or a path on this machine, which lives in the page's address."""
    files = st.file_uploader(
        label,
        accept_multiple_files=True,
        key=f"drop-{side}",
        help=help,
    )
    ids = tuple(file.file_id for file in files)
    if files and st.session_state.get(f"dropped-{side}") != ids:
        st.session_state[f"path-{side}"] = str(save_uploads([(file.name, file.getvalue()) for file in files]))
    st.session_state[f"dropped-{side}"] = ids
    path = st.text_input(
        where,
        key=f"path-{side}",
        placeholder=examples,
        bind="query-params",
    ).strip()
    if len(path) > 1 and path[0] == path[-1] and path[0] in "\"'":  # as file managers copy paths
        path = path[1:-1]
    return Path(path).expanduser() if path else None


def fetch_hub_checkpoint(side: str, path: Path) -> Path | None:
    """A path as it is; for a hub id the folder that was fetched, which nobody's link but a press of the button does."""
    id = path.as_posix()
    if not id.startswith(hub.HUB_PREFIX):
        return path
    folder = hub.find_fetched_adapter(id)
    st.text(f"{id}: " + ("fetched before." if folder is not None else "not on this machine yet."))
    if st.button("Fetch it" if folder is None else "Fetch it again", icon=":material/download:", key=f"fetch-{side}"):
        with st.spinner("Fetching its config, weights and README, and nothing else"):
            folder = hub.fetch_adapter(id)
    return folder


def save_uploads(files: Sequence[tuple[str, bytes]]) -> Path:
    """Write uploads to a folder of their own; the file if it is one, the folder if they belong together.

    Raises:
        CheckpointError: if they are too large or have one name.
        OSError: if the folder cannot be written.
    """
    if (size := sum(len(data) for _, data in files)) > MAX_UPLOAD_BYTES:
        raise CheckpointError(
            f"expected at most {MAX_UPLOAD_BYTES / 1e6:.0f} MB; got {size / 1e6:,.0f} MB. Give its path instead"
        )
    names = [
        re.sub(r"[^A-Za-z0-9._-]+", "-", re.split(r"[/\\]", name)[-1]).lstrip(".-")[:80] or "file" for name, _ in files
    ]
    if len(set(names)) != len(names):
        raise CheckpointError(f"expected files of different names; got {', '.join(names)}")
    digest = hashlib.sha256(
        b"".join(name.encode() + b"\0" + data for name, (_, data) in zip(names, files, strict=True))
    )
    folder = paths.data_dir() / "uploads" / "checkpoints" / digest.hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    for name, (_, data) in zip(names, files, strict=True):
        (folder / name).write_bytes(data)
    return folder if len(files) > 1 else folder / names[0]


def select_backbone_reference() -> BackboneReference | None:
    """The backbone to hold prompts against; only what is on this machine, since nothing is fetched for a look."""
    from ptviz import backbones

    names = [info.name for info in backbones.list_backbones() if info.available]
    chosen = st.selectbox(
        "Hold it against a backbone",
        names,
        index=None,
        key="ground",
        placeholder="none",
        help="says whether it would fit, and how its norms compare with the vocabulary's",
        bind="query-params",
    )
    return load_backbone_reference(chosen) if chosen else None


def load_backbone_reference(name: str) -> BackboneReference | None:
    """The sizes of a backbone, and the norms of its words once the worker has written its table; no model is loaded."""
    sizes, words = named_backbone_shape(name), load_backbone_vocabulary(name)
    if sizes is None:
        return None
    norms = np.zeros(0, np.float32)
    if words is not None:
        table = words.table
        norms = cached_by_signature(
            ("norms", name, table.shape), lambda: np.linalg.norm(table, axis=1).astype(np.float32)
        )
    return BackboneReference(name, sizes, norms[norms > 0])


def rerun_when_answered() -> None:
    """See to it that the page is drawn again once the worker has answered: nothing is on its way at first."""

    def tick() -> None:
        if not has_pending_requests():
            st.rerun()

    if has_pending_requests():
        st.caption("The worker is fetching the words of the backbone; norms are compared as soon as they are here.")
        st.fragment(tick, run_every=0.6)()


def render_checkpoint(side: str, path: Path, ground: BackboneReference | None) -> None:
    """Everything about one checkpoint, or why it was refused."""
    with show_errors():
        with st.spinner("Reading it in a process of its own"):
            bundle = load_checkpoint(path)
        render_provenance(bundle, path)
        facts = load_diagnostics(bundle, path, ground)
        render_warnings(bundle, facts, ground)
        render_prompt_overview(side, bundle, facts, ground)
        render_capabilities(bundle)
        save_prompt_form(side, bundle, path, ground)


def load_diagnostics(
    bundle: PromptBundle, path: Path, ground: BackboneReference | None
) -> tuple[PromptDiagnostics, ...]:
    """The facts of a checkpoint, measured once: a page is drawn again at every click."""
    against = None if ground is None else (ground.name, len(ground.norms))
    return cached_by_signature(("facts", str(path), last_modified(path), against), lambda: diagnose(bundle, ground))


def save_prompt_form(side: str, bundle: PromptBundle, path: Path, ground: BackboneReference | None) -> None:
    """Keep one of its prompts beside the runs; look inside it, or start a run from it."""
    if bundle.format == BUNDLE_FORMAT:
        import_run_button(side, path)
    home = ground.name if ground is not None and not incompatibilities(bundle, ground) else ""
    names = list(importable_prompts(bundle, home))
    if not names:
        if any(values.axes == UNSPLIT_AXES for values in bundle.tensors.values()):
            st.caption(
                "The file does not say how many layers and heads its keys and values are for. Choose above the "
                "backbone they were trained for, and it can be kept."
            )
        return
    st.subheader("Keep it")
    above = st.session_state.get(f"which-{side}")  # the one of several that is drawn
    several = above not in names and len(names) > 1
    which = st.selectbox("Prompt to keep", names, key=f"keep-which-{side}") if several else names[0]
    which = above if above in names else which
    st.caption(
        "A kept prompt is offered on the pages that look inside, and as the start of a new run. "
        + (f"It is kept as one for {home}." if home else "Choose above the backbone it is for, to see words beside it.")
    )
    with st.container(horizontal=True):
        keeps = st.button("Keep this prompt", icon=":material/bookmark_add:", key=f"keep-{side}")
        looks = st.button("Look inside", icon=":material/frame_inspect:", key=f"look-{side}")
        starts = st.button("Start a run from it", icon=":material/play_arrow:", key=f"begin-{side}")
    if not (keeps or looks or starts):
        return
    kept = import_checkpoint_prompt(get_store(), path, bundle, which, backbone=home)
    if looks:
        st.switch_page(EMBEDDINGS_PAGE, query_params={"run": SAVED_PREFIX + kept.id})
    elif starts:
        st.switch_page(COMPOSE_PAGE, query_params={"begin": kept.id} | ({"backbone": home} if home else {}))
    st.badge("kept", icon=":material/check_circle:", color="green")
    st.text(f"{kept.title}: {kept.m} prompt tokens, as {kept.id}")


def import_run_button(side: str, path: Path) -> None:
    """Bring a bundled run in, whole: its curve, its snapshots and its config."""
    st.subheader("Bring the run in")
    st.caption("The file holds a whole run: brought in, it replays here as if it had been trained here.")
    if st.button("Bring it in", icon=":material/move_to_inbox:", key=f"bring-{side}"):
        open_run_page(unpack_run(get_store(), path).id)


def render_provenance(bundle: PromptBundle, path: Path) -> None:
    """What it is, and what the file says about itself."""
    with st.container(border=True):
        st.text(bundle.name)
        with st.container(horizontal=True):
            st.badge(bundle.kind, icon=":material/deployed_code:", color="orange")
            st.badge(f"{bundle.parameter_count:,} numbers", color="gray")
        st.caption("Format, by content")
        st.text(bundle.format)
        rows = [{"tensor": name, "shape": values.shape_text} for name, values in bundle.tensors.items()]
        st.dataframe(rows, hide_index=True, height=min(36 * (len(rows) + 1), 216))
        with st.expander("What the file says about itself"):
            st.dataframe([{"field": key, "value": text} for key, text in bundle.metadata.items()], hide_index=True)
            st.caption("These are claims of whoever made the file. Nothing they name is fetched.")
            st.text(str(path))


def render_warnings(
    bundle: PromptBundle, facts: tuple[PromptDiagnostics, ...], ground: BackboneReference | None
) -> None:
    """What is odd about it, as text."""
    unfit = incompatibilities(bundle, ground) if ground is not None else []
    several = len(facts) > 1
    found = [*bundle.warnings, *(f"{f.name}: {text}" if several else text for f in facts for text in f.warnings)]
    found = [*unfit, *(text for text in found if "wrong width" not in text)]
    if ground is not None and not unfit:
        st.badge(f"fits {ground.name}", icon=":material/check_circle:", color="green")
    if not found:
        st.caption("Nothing odd was found.")
        return
    with st.container(border=True):
        st.badge("Worth knowing", icon=":material/info:", color="orange")
        for text in found[:6]:
            st.text(text)
        if len(found) > 6:
            with st.expander(f"{len(found) - 6} more"):
                for text in found[6:]:
                    st.text(text)


def render_prompt_overview(
    side: str, bundle: PromptBundle, facts: tuple[PromptDiagnostics, ...], ground: BackboneReference | None
) -> None:
    """Its numbers as colours and the norms of its tokens; one prompt of several at a time."""
    if not facts:
        st.caption("This file holds no vectors of single prompt tokens, so there is no picture of them here.")
        return
    names = [fact.name for fact in facts]
    # Names come from a stranger: a select box shows them as text.
    which = st.selectbox("Prompt", names, key=f"which-{side}") if len(names) > 1 else names[0]
    fact = facts[names.index(which)]
    small = make_thumbnail(fact, prompt_matrices(bundle)[fact.name], ground)
    most = min(fact.tokens - 1, fact.width)
    if fact.inner:
        st.caption("Each token with all of its keys and values, at every site and head of the backbone, in one row.")
    left, middle, right = st.columns(3)
    left.metric("median norm", f"{fact.median:.3g}")
    middle.metric(
        "effective rank", f"{fact.effective_rank:.1f}", help=f"how many directions its tokens spread over, of {most}"
    )
    right.metric(
        "without odd rows",
        f"{fact.effective_rank_without_outliers:.1f}",
        help="the effective rank once odd and dead rows are left out",
    )
    told = f"{fact.tokens} tokens of width {fact.width}, median norm {fact.median:.3g}, {len(small.outlier_rows)} stand out."
    plotly_chart(
        draw_thumbnail_norms(small),
        f"Norm of each prompt token. {told}",
        key=f"norms-{side}",
        name="norms",
        tools=False,
    )
    st.caption(NORMS_CAPTION)
    plotly_chart(
        draw_thumbnail(small), f"Every number as a colour. {told}", key=f"cells-{side}", name="prompt", tools=False
    )
    st.caption(THUMBNAIL_CAPTION)


def make_thumbnail(fact: PromptDiagnostics, matrix: Matrix, ground: BackboneReference | None) -> PromptThumbnail:
    """A prompt small enough to draw: block means of at most 160 by 160."""
    for axis in (0, 1):
        parts = np.array_split(matrix, min(MAX_CELLS, matrix.shape[axis]), axis=axis)
        matrix = np.stack([part.mean(axis) for part in parts], axis=axis)
    limit = float(np.quantile(np.abs(matrix), 0.98)) or 1.0
    cells = tuple(tuple(round(float(value), 5) for value in row) for row in matrix)
    held = fact.inside is not None and ground is not None
    band = (float(ground.norms.min()), float(ground.norms.max())) if held and ground is not None else None
    across = "keys and values, site by site" if fact.inner else "embedding dimension"
    return PromptThumbnail(fact.name, cells, limit, fact.norms, (*fact.dead, *fact.outliers), band, fact.width, across)


def prompt_matrices(bundle: PromptBundle) -> dict[str, Matrix]:
    """Every prompt of a checkpoint with one row a token: those at the input, then keys and values."""
    return {**bundle.input_prompts(), **bundle.key_value_prompts()}


def render_capabilities(bundle: PromptBundle) -> None:
    """What it can and cannot be used for."""
    st.subheader("What it can be used for")
    rows = [
        {"can you": use.action, "answer": "yes" if use.possible else "no", "why": use.reason}
        for use in bundle.capabilities
    ]
    st.dataframe(rows, hide_index=True)
