"""Two opened checkpoints side by side: their diagnostics in one table, and the similarity of their prompts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from ptviz.analysis.prompt_similarity import SIMILARITY_METRICS, compute_similarity, random_similarity
from ptviz.checkpoints import PromptDiagnostics
from ptviz.checkpoints.bundle import Array as Matrix
from ptviz.plots import plot_checkpoints_norms
from ptviz.plots.cache import cached_by_signature, last_modified
from ptviz.plots.checkpoint import make_thumbnail
from ptviz.plots.prompt_set import load_checkpoint
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.open.checkpoint import SIDES, load_diagnostics

MAX_TOKENS = 512


def render_checkpoint_comparison(paths: Sequence[Path]) -> None:
    """Show two checkpoints in one table, and the similarity of the prompts drawn above under every measure."""
    bundles = [load_checkpoint(path) for path in paths]
    facts = [load_diagnostics(bundle, path, None) for bundle, path in zip(bundles, paths, strict=True)]
    names = [_drawn_prompt_name(side, known) for side, known in zip(SIDES, facts, strict=True)]
    shown = [next((f for f in known if f.name == name), None) for known, name in zip(facts, names, strict=True)]
    rows = [
        {
            "name": bundle.name,
            "prompt": fact.name if fact else None,
            "format": bundle.format,
            "kind": bundle.kind,
            "parameters": bundle.parameter_count,
            "tokens": fact.tokens if fact else None,
            "median norm": fact.median if fact else None,
            "effective rank": fact.effective_rank if fact else None,
            "without outliers": fact.effective_rank_without_outliers if fact else None,
        }
        for bundle, fact in zip(bundles, shown, strict=True)
    ]
    st.header("Side by side")
    short = st.column_config.NumberColumn(format="%.2f")
    st.dataframe(
        rows, hide_index=True, column_config=dict.fromkeys(("median norm", "effective rank", "without outliers"), short)
    )
    one, two = shown
    if one is None or two is None:
        st.caption("One of them has no prompt of single tokens, so their values are not compared.")
        return
    if one.inner != two.inner:
        st.text("One is an input prompt, the other keys and values inside the backbone: they cannot be compared.")
        return
    if one.width != two.width:
        st.text(f"Their widths differ ({one.width} and {two.width}): they belong to different backbones.")
        return
    render_plot(
        plot_checkpoints_norms,
        [str(path) for path in paths],
        prompts=[one.name, two.name],
        answer=[make_thumbnail(f, b.token_matrices()[f.name], None) for f, b in zip((one, two), bundles, strict=True)],
        key="norms-compared",
        caption="How to read it: the norm of each token's vector in both prompts, on one logarithmic axis. Diamonds "
        "are outlier or dead rows; a row of zeros has no place on it.",
        filename="norms-compared",
        title="Norms of both",
        toolbar=False,
    )
    odd = any((*fact.dead, *fact.outliers) for fact in (one, two))
    without = odd and st.toggle("Exclude outlier and dead rows", value=True, key="without-odd")
    pair = [bundle.token_matrices()[fact.name][:MAX_TOKENS] for bundle, fact in zip(bundles, (one, two), strict=True)]
    odd_rows = [(*fact.dead, *fact.outliers) for fact in (one, two)]
    out = [np.isin(np.arange(len(m)), rows) for m, rows in zip(pair, odd_rows, strict=True)] if without else None
    if max(one.tokens, two.tokens) > MAX_TOKENS:
        st.caption(f"Their first {MAX_TOKENS} tokens are compared: every token is compared with every other.")
    key = ("similarity", *(str(path) for path in paths), *(last_modified(path) for path in paths), *names, without)
    found = cached_by_signature(key, lambda: _similarity_rows(pair, out))
    number = st.column_config.NumberColumn(format="%.3f")
    st.dataframe(found, hide_index=True, column_config={"similarity": number, "random": number})
    st.caption(
        "1 is identical; the two Euclidean measures shrink with distance. *random* is the median of random prompts of "
        "the same shapes (seed 0): what unrelated prompts have. The measures disagree: the page Transfer shows which "
        "of them predict transfer."
    )


def _drawn_prompt_name(side: str, facts: Sequence[PromptDiagnostics]) -> str:
    """Return the prompt of a checkpoint that is drawn above, by default its first."""
    names = [fact.name for fact in facts]
    chosen = st.session_state.get(f"which-{side}")
    return chosen if chosen in names else next(iter(names), "")


def _similarity_rows(pair: list[Matrix], out: list[NDArray[np.bool_]] | None) -> list[dict[str, object]]:
    """Return the similarity of two prompts under every measure, or why it is not defined."""
    rows: list[dict[str, object]] = []
    for metric in SIMILARITY_METRICS:
        try:
            info = compute_similarity(pair, metric, leave_out=out)
            note = f"the first {info.compared_rows} rows of both" if info.compared_rows else ""
            unrelated = random_similarity(pair, metric, leave_out=out)
            found = float(info.values[0, 1])
            if not math.isfinite(found):
                raise ValueError("needs at least four tokens in both")
            rows.append({"measure": metric, "similarity": found, "random": unrelated.median, "": note})
        except ValueError as error:
            rows.append({"measure": metric, "similarity": None, "random": None, "": str(error)})
    return rows
