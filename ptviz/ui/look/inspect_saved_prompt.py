"""A kept prompt on the pages that look inside: one moment, without a run, so without steps, texts or answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from ptviz import tasks
from ptviz.analysis.geometry import cloud, geometry, outliers
from ptviz.analysis.neighbours import nearest
from ptviz.figures import nearest_words as drawn
from ptviz.figures.linked_selection import dim, pickable
from ptviz.plots.views import Track
from ptviz.runs import saved_prompts
from ptviz.runs.embedding_table import Vocabulary
from ptviz.runs.saved_prompts import AXES, KEPT, KeptPrompt
from ptviz.training.config import TrainConfig
from ptviz.ui import scripts
from ptviz.ui.backend import store
from ptviz.ui.cache import remembered
from ptviz.ui.components import forms, linked_selection
from ptviz.ui.components.figure_panel import panel
from ptviz.ui.components.linked_selection import pick
from ptviz.ui.look import attention as gazes
from ptviz.ui.look import decompositions, inspect_run, nearest_words, projection_map, token_panels
from ptviz.ui.look.on_demand import Place
from ptviz.ui.navigation import CHECKPOINT, COMPOSE

_LETTERS = {"embeddings": "P", "key_values": "KV"}
"""What the tensors of a kept prompt are called on these pages."""


def embeddings(kept: KeptPrompt) -> None:
    """Its tokens among the words of its backbone; the views of its tensors where no words can be had."""
    about(kept)
    tracks = _tracks(kept)
    if "P" not in tracks:
        st.caption("Its keys and values lie inside the backbone, where there are no words to compare with.")
        decompositions.views(tracks["KV"], kept.id, kept.id)
        return
    whole = tracks["P"]
    odd = np.flatnonzero(outliers(whole.now)).tolist()
    rows, picked = linked_selection.rows(len(whole.now), odd, kept.id)
    track = whole.take("m", rows)
    if kept.backbone:
        words = inspect_run.words_of(kept.backbone)
        if words is None:
            st.caption("The worker is fetching the words of the backbone; this takes a few seconds the first time.")
        else:
            _among(kept, track, words, rows, picked)
    else:
        st.caption("Nobody said which backbone it is for, so there are no words to compare with.")
    decompositions.views(track, (kept.id, tuple(rows)), kept.id)


def parts(kept: KeptPrompt) -> None:
    """The views of its tensors."""
    about(kept)
    decompositions.views(inspect_run.choose_part(_tracks(kept)), kept.id, kept.id)


def attention(kept: KeptPrompt) -> None:
    """What texts of a task look at in it: the task is for a person to choose."""
    about(kept)
    if not kept.backbone:
        st.markdown(
            "Nobody said which backbone this prompt is for, and without one no text can meet it. Open its checkpoint "
            "again, choose the backbone there, and keep it."
        )
        st.page_link(CHECKPOINT, label="Open a checkpoint", icon=":material/folder_open:")
        return
    known = {info.name: info.title for info in tasks.catalogue() if info.available}
    if kept.task and kept.task not in known:
        known = {kept.task: kept.task, **known}
    names = {name: known[name] for name in sorted(known, key=lambda name: name != kept.task)}
    task = forms.pick(
        "Texts and classes of", names, key="task", help="what the backbone is asked while it wears this prompt"
    )
    gazes.gaze(Place(KEPT + kept.id, task=task), TrainConfig().validation_rows)


def routing(kept: KeptPrompt) -> None:
    """There is nothing to route in one prompt; the page says so, and what would route."""
    about(kept)
    st.markdown(
        "This is one prompt, the same for every text, so there is nothing to route. Routing belongs to methods that "
        "keep several prompts, as SMoP, PT-MoE and ATTEMPT do: choose such a run above."
    )
    st.page_link(COMPOSE, label="Start a run from it", icon=":material/tune:", query_params={"begin": kept.id})


def about(kept: KeptPrompt) -> None:
    """Where it came from, as text: all of it may be a stranger's."""
    st.text(kept.title)
    known = {"backbone": kept.backbone or "not said", "task": kept.task or "not said", **kept.origin}
    rows = [
        {"": name, "it says": "; ".join(f"{k}: {v}" for k, v in told.items()) if isinstance(told, dict) else str(told)}
        for name, told in known.items()
    ]
    with st.expander("Where this prompt came from"):
        st.dataframe(rows, hide_index=True)


def _tracks(kept: KeptPrompt) -> dict[str, Track]:
    found = remembered(("kept", kept.id, kept.made), lambda: saved_prompts.tensors(store(), kept.id))
    return {
        _LETTERS[name]: Track(_LETTERS[name], AXES[name], (0,), (tensor.numpy(),), 0) for name, tensor in found.items()
    }


def _among(kept: KeptPrompt, track: Track, words: Vocabulary, rows: Sequence[int], picked: frozenset[int]) -> None:
    """A map, norms, distances and nearest words."""
    table, key = words.table, (kept.id, kept.made, tuple(rows))
    if table.shape[1] != track.now.shape[1]:
        st.warning(f"Its vectors have {track.now.shape[1]} numbers, those of {kept.backbone} {table.shape[1]}.")
        return
    around = remembered(("cloud", kept.backbone, table.shape), lambda: cloud(table))
    info = remembered(("geometry", key), lambda: geometry(track.now, table, around))
    chosen = f"numbers={list(rows)}" + (f", picked={sorted(picked)}" if picked else "")
    left, right = st.columns([3, 2], gap="medium")
    with left:
        projection_map.still(kept, track, words, rows, picked)
    with right:
        for what, read in (("norms", token_panels.READ_NORMS), ("distances", token_panels.READ_DISTANCES)):
            python = scripts.still(
                kept.id, kept.backbone, rows, "words", f"draw_norms(found, {what!r}, {chosen})", what,
                "from ptviz.analysis.geometry import cloud, geometry",
                "found = geometry(tokens, words.table, cloud(words.table))",
            )  # fmt: skip
            panel(drawn.draw_norms(info, what, numbers=rows, picked=picked),
                  drawn.tell_norms(info, what, numbers=rows), read, key=what, name=f"{kept.id}-{what}", on_pick=pick,
                  python=python)  # fmt: skip
    _words(kept, track, words, rows, picked)


def _words(kept: KeptPrompt, track: Track, words: Vocabulary, rows: Sequence[int], picked: frozenset[int]) -> None:
    st.subheader("Nearest words")
    metric, count, labels = nearest_words.choose_measure(), nearest_words.COUNT, [str(number) for number in rows]
    bright = [i for i, number in enumerate(rows) if number in picked]
    key = ("neighbours", kept.id, kept.made, tuple(rows), metric)
    found = remembered(key, lambda: nearest(track.now, words.table, count, metric))
    told = [words.words(ids) for ids in found.ids]
    python = scripts.still(
        kept.id, kept.backbone, rows, "words",
        f"draw_neighbours(found, [words.words(ids) for ids in found.ids], {labels})", "words",
        "from ptviz.analysis.neighbours import nearest",
        f"found = nearest(tokens, words.table, {count}, {metric!r})",
        after=scripts.dimmed(bright),
    )  # fmt: skip
    panel(dim(pickable(drawn.draw_neighbours(found, told, labels), rows), bright),
          drawn.tell_neighbours(found, told, labels), nearest_words.READ_WORDS, key=f"words-{metric}",
          name=f"{kept.id}-words", tools=False, on_pick=pick, python=python)  # fmt: skip
