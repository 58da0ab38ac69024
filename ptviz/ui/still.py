"""A kept prompt on the pages that look inside: one moment, without a run, so without steps, texts or answers."""

from __future__ import annotations

from collections.abc import Hashable

import streamlit as st

from ptviz.analysis.geometry import cloud, geometry
from ptviz.analysis.neighbours import nearest
from ptviz.figures import words as drawn
from ptviz.runs import prompts
from ptviz.runs.prompts import AXES, KeptPrompt
from ptviz.runs.vocabulary import Vocabulary
from ptviz.ui import factors, inside, nearby, tokens
from ptviz.ui.panels import panel
from ptviz.ui.remembered import remembered
from ptviz.ui.services import store
from ptviz.ui.starting import COMPOSE
from ptviz.views import Track

_LETTERS = {"embeddings": "P", "key_values": "KV"}
"""What the tensors of a kept prompt are called on these pages."""


def embeddings(kept: KeptPrompt) -> None:
    """Its tokens among the words of its backbone; the views of its tensors where no words can be had."""
    about(kept)
    tracks = _tracks(kept)
    if "P" not in tracks:
        st.caption("Its keys and values lie inside the backbone, where there are no words to compare with.")
        factors.views(tracks["KV"], kept.id, kept.id)
        return
    if kept.backbone:
        words = inside.words_of(kept.backbone)
        if words is None:
            st.caption("The worker is fetching the words of the backbone; this takes a few seconds the first time.")
        else:
            _among(kept, tracks["P"], words)
    else:
        st.caption("Nobody said which backbone it is for, so there are no words to compare with.")
    factors.views(tracks["P"], kept.id, kept.id)


def parts(kept: KeptPrompt) -> None:
    """The views of its tensors."""
    about(kept)
    factors.views(inside.choose_part(_tracks(kept)), kept.id, kept.id)


def needs_run(kept: KeptPrompt) -> None:
    """What a page says that shows how texts meet a prompt: a kept prompt has neither task nor texts."""
    about(kept)
    st.markdown(
        "This page shows what texts of a task do with a prompt. A kept prompt has no task: start a run from it, and "
        "look at step 0 of that run."
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
    found = remembered(("kept", kept.id, kept.made), lambda: prompts.tensors(store(), kept.id))
    return {
        _LETTERS[name]: Track(_LETTERS[name], AXES[name], (0,), (tensor.numpy(),), 0) for name, tensor in found.items()
    }


def _among(kept: KeptPrompt, track: Track, words: Vocabulary) -> None:
    """Norms, distances and nearest words."""
    table, key = words.table, (kept.id, kept.made)
    if table.shape[1] != track.now.shape[1]:
        st.warning(f"Its vectors have {track.now.shape[1]} numbers, those of {kept.backbone} {table.shape[1]}.")
        return
    around = remembered(("cloud", kept.backbone, table.shape), lambda: cloud(table))
    info = remembered(("geometry", key), lambda: geometry(track.now, table, around))
    bands = (("norms", tokens.READ_NORMS), ("distances", tokens.READ_DISTANCES))
    for column, (what, read) in zip(st.columns(2, gap="medium"), bands, strict=True):
        with column:
            panel(drawn.draw_norms(info, what), drawn.tell_norms(info, what), read, key=what, name=f"{kept.id}-{what}")
    _words(kept, track, words, key)


def _words(kept: KeptPrompt, track: Track, words: Vocabulary, key: Hashable) -> None:
    st.subheader("Nearest words")
    metric, count = nearby.choose_measure(), nearby.COUNT
    found = remembered(("neighbours", key, metric), lambda: nearest(track.now, words.table, count, metric))
    texts = words.words(found.ids)
    rows = [texts[i : i + count] for i in range(0, len(texts), count)]
    panel(drawn.draw_neighbours(found, rows), drawn.tell_neighbours(found, rows), nearby.READ_WORDS,
          key=f"words-{metric}", name=f"{kept.id}-words", tools=False)  # fmt: skip
