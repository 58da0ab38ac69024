"""The page that opens a trained prompt: its source, format, warnings and uses.

The content of a file is untrusted: it is shown as text, never as Markdown or HTML.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from ptviz import paths
from ptviz.atomic_files import write_file
from ptviz.checkpoints import BackboneReference, CheckpointError, PromptBundle, PromptDiagnostics, diagnose, hub
from ptviz.checkpoints.bundle import START_RUN, UNSPLIT_AXES
from ptviz.checkpoints.diagnostics import incompatibilities, list_warnings
from ptviz.checkpoints.folder_listing import list_checkpoints
from ptviz.checkpoints.formats.ptviz import BUNDLE_FORMAT
from ptviz.checkpoints.sandbox.restrictions import describe_missing_protections
from ptviz.experiments.sample_checkpoints import list_samples
from ptviz.figures.style import format_number
from ptviz.plots import plot_checkpoint, plot_checkpoint_norms
from ptviz.plots.cache import cached_by_signature, last_modified
from ptviz.plots.checkpoint import make_backbone_reference, make_thumbnail
from ptviz.plots.prompt_set import load_checkpoint
from ptviz.runs.archive import unpack_run
from ptviz.runs.import_prompt import import_checkpoint_prompt, importable_prompts
from ptviz.runs.saved_prompts import SAVED_PREFIX
from ptviz.ui.backend import get_store
from ptviz.ui.classroom import hide_folders
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.glossary import meaning
from ptviz.ui.components.local_path import path_input
from ptviz.ui.components.uploads import check_upload_size, link_of, resolve_link, upload_dir
from ptviz.ui.look.look_page import load_backbone_vocabulary
from ptviz.ui.navigation import NEW_RUN_PAGE, open_run_page
from ptviz.ui.open.try_checkpoint import try_prompt_panel
from ptviz.ui.recorded_runs import shows_recorded

SIDES = ("a", "b")
EMBEDDINGS_PAGE = "look/embeddings.py"
MAX_UPLOAD_BYTES = 50_000_000
THUMBNAIL_CAPTION = (
    "One row per prompt token: blue values are below zero, orange ones above. A pale stripe is a dead row."
)
NORMS_CAPTION = (
    "The norm of each token's vector. Diamonds are outlier or dead rows; the blue band is the range of the selected "
    "backbone's vocabulary."
)


_UPLOAD_HELP = "one file, or the two files of a PEFT folder; they stay on this machine and nothing in them is executed"
_PATH_EXAMPLES = "/home/me/my-adapter, prompt.pt, or a run's folder"


_PATH_LABEL = "or its path on this machine, or hub:USER/NAME"


def checkpoint_input(
    side: str, label: str, help: str = _UPLOAD_HELP, where: str = _PATH_LABEL, examples: str = _PATH_EXAMPLES
) -> Path | None:
    """Return the checkpoint to open: uploaded files, or a path on this machine, which is in the page's address."""
    files = st.file_uploader(label, accept_multiple_files=True, key=f"drop-{side}", help=help)
    ids = tuple(file.file_id for file in files)
    if files and st.session_state.get(f"dropped-{side}") != ids:
        saved = save_uploads([(file.name, file.getvalue()) for file in files])
        st.session_state[f"path-{side}"] = link_of(saved)
    st.session_state[f"dropped-{side}"] = ids
    path = path_input(where, f"path-{side}", placeholder=examples)
    if len(path) > 1 and path[0] == path[-1] and path[0] in "\"'":  # as file managers copy paths
        path = path[1:-1]
    return paths.expand_user(resolve_link(path)) if path else None


def select_checkpoint(side: str, path: Path) -> Path:
    """Return the path; of a folder with several checkpoints the one that the reader chooses."""
    found = list_checkpoints(path) if path.is_dir() else []
    if len(found) < 2:
        return path
    names = {str(one): one.relative_to(path).as_posix() if one != path else "the folder itself" for one in found}
    st.text(f"This folder holds {len(found)} checkpoints.")
    chosen = st.selectbox("Checkpoint", list(names), format_func=lambda own: names.get(own, own), key=f"inside-{side}")
    return Path(chosen)


def render_samples() -> None:
    """Show a button for each sample checkpoint of the gallery, which opens it on the first side."""
    samples = list_samples() if shows_recorded() else {}
    if not samples:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Recorded examples:", width="content")
        for label, path in samples.items():
            st.button(label, key=f"sample-{path.name}", on_click=_open_sample, args=(path,), type="tertiary")


def _open_sample(path: Path) -> None:
    st.session_state[f"path-{SIDES[0]}"] = link_of(path)


def first_sample() -> Path | None:
    """Return the sample to show while nothing is opened; None if there is none, or the recorded ones are hidden."""
    return next(iter(list_samples().values()), None) if shows_recorded() else None


def fetch_hub_checkpoint(side: str, path: Path) -> Path | None:
    """Return the path; for a Hub id, the local copy: downloaded only after the button is pressed."""
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
    """Write uploads to a new folder; return the file if it is one, the folder if there are several.

    Raises:
        CheckpointError: if they are too large or have equal names.
        OSError: if the folder cannot be written.
    """
    if (size := sum(len(data) for _, data in files)) > MAX_UPLOAD_BYTES:
        raise CheckpointError(
            f"expected at most {MAX_UPLOAD_BYTES / 1e6:.0f} MB; got {size / 1e6:,.0f} MB. Give its path instead"
        )
    check_upload_size(size)
    names = [
        re.sub(r"[^A-Za-z0-9._-]+", "-", re.split(r"[/\\]", name)[-1]).lstrip(".-")[:80] or "file" for name, _ in files
    ]
    if len(set(names)) != len(names):
        raise CheckpointError(f"expected files of different names; got {', '.join(names)}")
    digest = hashlib.sha256(
        b"".join(name.encode() + b"\0" + data for name, (_, data) in zip(names, files, strict=True))
    )
    folder = upload_dir() / "checkpoints" / digest.hexdigest()[:12]
    if len(files) > 1:  # The files of a folder whose own name the browser does not send.
        folder /= "uploaded files"
    folder.mkdir(parents=True, exist_ok=True)
    for name, (_, data) in zip(names, files, strict=True):
        write_file(folder / name, data, durable=False)
    return folder if len(files) > 1 else folder / names[0]


def select_backbone_reference() -> BackboneReference | None:
    """Return the backbone to check prompts against; only installed ones, since nothing is downloaded here."""
    from ptviz import backbones

    names = [info.name for info in backbones.list_backbones() if info.available]
    chosen = st.selectbox(
        "Check compatibility with a backbone",
        names,
        index=None,
        key="ground",
        placeholder="none",
        help="whether the prompt fits, and how its norms compare with those of the vocabulary",
        bind="query-params",
    )
    return load_backbone_reference(chosen) if chosen else None


def load_backbone_reference(name: str) -> BackboneReference | None:
    """Return a backbone's sizes, and its vocabulary's norms once the worker has cached its table; loads no model."""
    return make_backbone_reference(name, load_backbone_vocabulary(name))


def render_sandbox_note() -> None:
    """Show what does not confine the process that reads files on this system, if anything."""
    if missing := describe_missing_protections():
        st.info(f"Limited protection: {missing}.", icon=":material/shield:")


def render_checkpoint(side: str, path: Path, reference: BackboneReference | None) -> None:
    """Show everything about one checkpoint, or why it was refused."""
    with show_errors():
        with st.spinner("Reading it in a separate process"):
            bundle = load_checkpoint(path)
        render_provenance(bundle, path)
        facts = load_diagnostics(bundle, path, reference)
        render_warnings(bundle, facts, reference)
        render_prompt_overview(side, bundle, path, facts, reference)
        render_capabilities(bundle)
        try_prompt_panel(side, bundle, path, _fitting_backbone(bundle, reference))
        save_prompt_form(side, bundle, path, reference)


def load_diagnostics(
    bundle: PromptBundle, path: Path, reference: BackboneReference | None
) -> tuple[PromptDiagnostics, ...]:
    """Return the diagnostics of a checkpoint, computed once: a page is drawn again at every click."""
    against = None if reference is None else (reference.name, len(reference.norms))
    return cached_by_signature(("facts", str(path), last_modified(path), against), lambda: diagnose(bundle, reference))


def save_prompt_form(side: str, bundle: PromptBundle, path: Path, reference: BackboneReference | None) -> None:
    """Show the form that saves one of its prompts, opens it on the pages that inspect, or starts a run from it."""
    if bundle.format == BUNDLE_FORMAT:
        import_run_button(side, path)
    home = _fitting_backbone(bundle, reference)
    names = list(importable_prompts(bundle, home))
    if not names:
        if any(values.axes == UNSPLIT_AXES for values in bundle.tensors.values()):
            st.caption(
                "The file does not give the number of layers and heads of its keys and values. To save it, select the "
                "backbone that they were trained for above."
            )
        return
    st.header("Save it")
    above = st.session_state.get(f"which-{side}")  # the one of several that is drawn
    several = above not in names and len(names) > 1
    which = st.selectbox("Prompt to save", names, key=f"keep-which-{side}") if several else names[0]
    which = above if above in names else which
    st.caption(
        "A saved prompt is offered on the pages that inspect prompts, and as the start of a new run. "
        + (f"It is saved as a prompt for {home}." if home else "To compare it with words, select its backbone above.")
    )
    with st.container(horizontal=True):
        saves = st.button("Save this prompt", icon=":material/bookmark_add:", key=f"keep-{side}")
        inspects = st.button("Inspect it", icon=":material/frame_inspect:", key=f"look-{side}")
        cannot = next((use.reason for use in bundle.capabilities if use.action == START_RUN and not use.possible), "")
        starts = st.button(
            "Start a run from it",
            icon=":material/play_arrow:",
            key=f"begin-{side}",
            disabled=bool(cannot),
            help=cannot or None,
        )
    if not (saves or inspects or starts):
        return
    saved = import_checkpoint_prompt(get_store(), path, bundle, which, backbone=home)
    if inspects:
        st.switch_page(EMBEDDINGS_PAGE, query_params={"run": SAVED_PREFIX + saved.id})
    elif starts:
        st.switch_page(NEW_RUN_PAGE, query_params={"begin": saved.id} | ({"backbone": home} if home else {}))
    st.badge("saved", icon=":material/check_circle:", color="green")
    st.text(f"{saved.title}: {saved.m} prompt tokens, as {saved.id}")


def _fitting_backbone(bundle: PromptBundle, reference: BackboneReference | None) -> str:
    return reference.name if reference is not None and not incompatibilities(bundle, reference) else ""


def import_run_button(side: str, path: Path) -> None:
    """Show the button that imports a bundled run with its history, snapshots and config."""
    st.header("Import the run")
    st.caption("The file holds a complete run. Once imported, it is shown like a run that was trained here.")
    if st.button("Import it", icon=":material/move_to_inbox:", key=f"bring-{side}"):
        open_run_page(unpack_run(get_store(), path).id)


def render_provenance(bundle: PromptBundle, path: Path) -> None:
    """Show format and tensors, and the metadata of the file."""
    with st.container(border=True):
        st.text(bundle.name)
        with st.container(horizontal=True):
            st.badge(bundle.kind, icon=":material/deployed_code:", color="orange")
            st.badge(f"{bundle.parameter_count:,} parameters", color="gray")
        st.caption("Format, by content")
        st.text(bundle.format)
        rows = [{"tensor": name, "shape": values.shape_text} for name, values in bundle.tensors.items()]
        st.dataframe(rows, hide_index=True, height=min(36 * (len(rows) + 1), 216))
        with st.expander("Metadata of the file"):
            st.dataframe([{"field": key, "value": text} for key, text in bundle.metadata.items()], hide_index=True)
            st.caption("These are unverified claims of the file's author. Nothing they name is downloaded.")
            st.text(hide_folders(link_of(path)))


def render_warnings(
    bundle: PromptBundle, facts: tuple[PromptDiagnostics, ...], reference: BackboneReference | None
) -> None:
    """Show its warnings as text."""
    found = list_warnings(bundle, facts, reference)
    if reference is not None and not incompatibilities(bundle, reference):
        st.badge(f"fits {reference.name}", icon=":material/check_circle:", color="green")
    if not found:
        st.caption("No warnings.")
        return
    with st.container(border=True):
        st.badge("Warnings", icon=":material/info:", color="orange")
        for text in found[:6]:
            st.text(text)
        if len(found) > 6:
            with st.expander(f"{len(found) - 6} more"):
                for text in found[6:]:
                    st.text(text)


def render_prompt_overview(
    side: str,
    bundle: PromptBundle,
    path: Path,
    facts: tuple[PromptDiagnostics, ...],
    reference: BackboneReference | None,
) -> None:
    """Show the values and the token norms of a prompt; one of several at a time."""
    if not facts:
        st.caption("This file has no vectors of single prompt tokens to draw.")
        return
    names = [fact.name for fact in facts]
    # Names are untrusted: a select box shows them as text.
    which = st.selectbox("Prompt", names, key=f"which-{side}") if len(names) > 1 else names[0]
    fact = facts[names.index(which)]
    thumbnail = make_thumbnail(fact, bundle.token_matrices()[fact.name], reference)
    most = min(fact.tokens - 1, fact.width)
    if fact.inner:
        st.caption("Each token with all of its keys and values, at every site and head of the backbone, in one row.")
    row = st.container(horizontal=True, gap="medium")
    row.metric("median norm", format_number(fact.median))
    row.metric("effective rank", f"{fact.effective_rank:.1f}", help=f"{meaning('effective rank')} Of at most {most}.")
    row.metric(
        "without outliers",
        f"{fact.effective_rank_without_outliers:z.1f}",
        help="the effective rank without outlier and dead rows",
    )
    options: dict[str, Any] = {
        "prompt": which if len(names) > 1 else "",
        "backbone": reference.name if reference is not None else "",
    }
    for plot, filename, caption in (
        (plot_checkpoint_norms, "norms", NORMS_CAPTION),
        (plot_checkpoint, "prompt", THUMBNAIL_CAPTION),
    ):
        render_plot(
            plot,
            str(path),
            key=f"{filename}-{side}",
            caption=caption,
            filename=filename,
            toolbar=False,
            answer=thumbnail,
            **options,
        )


def render_capabilities(bundle: PromptBundle) -> None:
    """Show what it can and cannot be used for."""
    st.header("What it can be used for")
    rows = [
        {"can you": use.action, "answer": "yes" if use.possible else "no", "why": use.reason}
        for use in bundle.capabilities
    ]
    st.dataframe(rows, hide_index=True)
