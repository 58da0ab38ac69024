"""The page on decompositions, beyond single parts: all at a glance, two compared, and what the worker measures."""

from __future__ import annotations

import numpy as np
import streamlit as st

from ptviz.analysis.tensor_comparison import compare_rows
from ptviz.figures import tensors as drawn
from ptviz.figures.heatmap import describe_bars, draw_bars
from ptviz.figures.linked_selection import dim_bars, dim_cells, make_pickable
from ptviz.plots.views import TensorHistory, axis_name
from ptviz.ui import scripts
from ptviz.ui.cache import cached_by_signature
from ptviz.ui.components.figure_panel import figure_panel
from ptviz.ui.components.linked_selection import update_highlight
from ptviz.ui.look.inspect_run import SnapshotSelection
from ptviz.ui.look.on_demand import probe_on_demand, probe_request

_MAX_TENSORS, _MAX_VALUES = 12, 100_000
_GALLERY_CAPTION = (
    "How to read it: each part under the letter of its paper, orange above zero and blue below it, on a scale of its "
    "own; rows of experts or sources stand below each other. Parts that multiply stand side by side with their product."
)
_ROW_COMPARISON_CAPTION = (
    "How to read it: two bars a row, the lengths of its vector in both parts, and the cosine between them: 1 is the "
    "same direction. Bars alike at cosine 1 mean that this row hardly changed."
)
_LOW_RANK_CAPTION = (
    "How to read it: the orange line is the measured accuracy with the prompt's best approximation of each rank, the "
    "blue one the share of the prompt that this misses. Orange that stays up while blue is high: few directions count."
)
_SALIENCY_CAPTION = (
    "How to read it: one row a prompt token, one column a {pieces}: how much the loss would answer, to first order, to "
    "masking that piece. Grey pieces are pruned."
)
_SIGNED_CAPTION = (
    "How to read it: one bar a prompt token, signed: orange, masking it would lower the loss (first order), so it does "
    "harm; blue, the loss would rise. First-order scores mean something at a prompt that is trained."
)
_SHIFT_CAPTION = (
    "How to read it: how far the method moves each word's vector before the frozen backbone reads it. On hovering: the "
    "word that lies nearest after the move."
)


def tensor_gallery(found: SnapshotSelection, parts: dict[str, TensorHistory]) -> None:
    """All parts of a bearable size in one figure."""
    small = {name: track for name, track in parts.items() if track.current.size <= _MAX_VALUES}
    kept = [(name, track.axes, track.current) for name, track in [*small.items()][:_MAX_TENSORS]]
    key = ("gallery", found.cache_key, found.index)
    figure, alt = cached_by_signature(key, lambda: (drawn.draw_gallery(kept), drawn.describe_gallery(kept)))
    here = found.snapshot
    python = scripts.run_script(
        found.run, "tensors", "draw_gallery([(name, part.axes, part.array) for name, part in small])", "tensors",
        "from ptviz.plots.material import load_snapshot_tensors",
        f"parts = load_snapshot_tensors(run, stage={here.stage}, step={here.step})",
        f"small = [(name, part) for name, part in parts.items() if part.array.size <= {_MAX_VALUES}][:{_MAX_TENSORS}]",
    )  # fmt: skip
    figure_panel(figure, alt, _GALLERY_CAPTION, key="gallery", name=f"{found.run.id}-parts",
    title="All parts at this step",
          tools=False, python=python)  # fmt: skip


def row_comparison_panel(
    found: SnapshotSelection, track: TensorHistory, parts: dict[str, TensorHistory], picked: frozenset[int]
) -> None:
    """The chosen part beside another one of its axes and size; ``picked`` prompt tokens stand out."""
    same = [n for n, other in parts.items() if n != track.name and other.current.shape == track.current.shape
            and other.axes == track.axes]  # fmt: skip
    if not same or len(track.axes) != 2:
        return
    st.markdown(f"**{track.name} beside another part**")
    other = st.selectbox("compare with", same, key=f"beside-{track.name}-{'-'.join(same)}", width=240)
    info = compare_rows(parts[other].current, track.current)
    st.metric(f"Added to {other}", f"{info.total_difference_share:.1%}",
              help=f"the energy of {track.name} - {other}, as a share of its own and {other}'s: 50 % is as much as "
              f"{other} itself")  # fmt: skip
    rows, token = axis_name(track.axes[0]), track.axes[0] == "m"
    figure = drawn.draw_row_comparison(info, other, track.name, rows)
    if token:
        dim_bars(make_pickable(figure, range(len(info.first_norms))), picked)
    here = found.snapshot
    python = scripts.run_script(
        found.run, "tensors", f"draw_row_comparison(found, {other!r}, {track.name!r}, {rows!r})",
        f"{track.name}-beside-{other}",
        "from ptviz.analysis.tensor_comparison import compare_rows",
        "from ptviz.plots.material import load_snapshot_tensors",
        f"parts = load_snapshot_tensors(run, stage={here.stage}, step={here.step})",
        f"found = compare_rows(parts[{other!r}].array, parts[{track.name!r}].array)",
        after=scripts.dim_code("dim_bars", picked if token else ()),
    )  # fmt: skip
    figure_panel(figure, drawn.describe_row_comparison(info, other, track.name), _ROW_COMPARISON_CAPTION, key="beside",
          name=f"{found.run.id}-{track.name}-beside-{other}", on_pick=update_highlight if token else None,
          python=python)  # fmt: skip


def low_rank_panel(found: SnapshotSelection) -> None:
    """What the prompt would be worth at each lower rank."""
    st.markdown("**What would a prompt of lower rank be worth?**")
    told = "The best approximation of every rank in the prompt's place: accuracy and loss on validation texts."
    answer = probe_on_demand(found, "ranks", "Measure ranks", told)
    if answer is not None:
        three = answer["ranks"], answer["accuracy"], answer["errors"]
        figure_panel(drawn.draw_low_rank_accuracy(answer["ranks"], answer["accuracy"], answer["loss"],
        answer["errors"]),
              f"{drawn.describe_low_rank_accuracy(*three)} On {answer['rows']} validation texts.", _LOW_RANK_CAPTION,
              key="ranks",
              name=f"{found.run.id}-ranks",
              python=scripts.run_probe_script(
                  found.run, probe_request(found, "ranks"), "tensors",
                  'draw_low_rank_accuracy(*(answer[key] for key in ("ranks", "accuracy", "loss", "errors")))', "ranks",
              ))  # fmt: skip


def saliency_panel(found: SnapshotSelection, parts: dict[str, TensorHistory], picked: frozenset[int]) -> None:
    """First-order scores of tokens and pieces now, beside those that the method kept when it pruned.

    ``picked`` prompt tokens stand out.
    """
    st.markdown("**Which tokens and pieces matter?**")
    told = "The first-order score of every prompt token and of its pieces, at this step."
    left, right = st.columns(2, gap="medium")
    with left:
        answer = probe_on_demand(found, "saliency", "Measure saliency", told)
        if answer is not None:
            first = next(iter(parts.values()))  # the prompt as used
            pieces = axis_name("S") if "S" in first.axes else "piece"
            scores, pruned = np.array(answer["pieces"]), np.array(answer["pruned"], dtype=bool)
            lines = "import numpy as np", 'scores, pruned = np.array(answer["pieces"]), np.array(answer["pruned"])'
            figure = dim_cells(make_pickable(drawn.draw_saliency(scores, pruned, pieces), range(len(scores))), picked)
            figure_panel(figure, drawn.describe_saliency(scores, pruned), _SALIENCY_CAPTION.format(pieces=pieces),
            key="saliency",
                  name=f"{found.run.id}-saliency", title="Measured at this step", on_pick=update_highlight,
                  python=scripts.run_probe_script(
                      found.run, probe_request(found, "saliency"), "tensors",
                      f"draw_saliency(scores, pruned, {pieces!r})",
                      "saliency", *lines, after=scripts.dim_cells_code(picked),
                  ))  # fmt: skip
    with right:
        for name, track in _recorded_scores(parts).items():
            gone = _pruned_cells(track, parts)
            figure = dim_cells(make_pickable(drawn.draw_saliency(track.current, gone), range(len(gone))), picked)
            python = scripts.tensor_script(
                found.run, track, "tensors", "draw_saliency(track.now, pruned)", f"{name}-recorded",
                "import numpy as np", f"pruned = np.array({gone.astype(int).tolist()}, dtype=bool)",
                after=scripts.dim_cells_code(picked),
            )  # fmt: skip
            figure_panel(figure, drawn.describe_saliency(track.current, gone), _SALIENCY_CAPTION.format(pieces="piece"),
                  key=f"recorded-{name}", name=f"{found.run.id}-{name}-recorded",
                  title=f"{name}: kept when it was pruned", on_pick=update_highlight, python=python)  # fmt: skip
        if answer is not None:
            signed = np.array(answer["signed"])
            axis = "prompt token", "signed score"
            figure = dim_bars(make_pickable(draw_bars(signed, *axis), range(len(signed))), picked)
            python = scripts.run_probe_script(
                found.run, probe_request(found, "saliency"), "heatmap",
                f'draw_bars(np.array(answer["signed"]), {axis[0]!r}, {axis[1]!r})', "signed", "import numpy as np",
                after=scripts.dim_code("dim_bars", picked),
            )  # fmt: skip
            figure_panel(figure, describe_bars(signed, "prompt token"), _SIGNED_CAPTION, key="signed",
                  name=f"{found.run.id}-signed", title="Tokens that do harm", on_pick=update_highlight,
                  python=python)  # fmt: skip


def _recorded_scores(parts: dict[str, TensorHistory]) -> dict[str, TensorHistory]:
    """Scores of pieces among the parts: axes (m, e), and no mask."""
    return {
        n: track
        for n, track in parts.items()
        if track.axes == ("m", "e") and not _is_mask(track) and track.current.any()
    }


def _is_mask(track: TensorHistory) -> bool:
    return bool(np.isin(track.current, (0.0, 1.0)).all())


def _pruned_cells(track: TensorHistory, parts: dict[str, TensorHistory]) -> np.ndarray:
    """Cells that some 0/1 part over the same leading axes has switched off."""
    gone = np.zeros(track.current.shape, dtype=bool)
    for other in parts.values():
        depth = len(other.axes)
        if (
            other.axes == track.axes[:depth]
            and other.current.shape == track.current.shape[:depth]
            and depth
            and _is_mask(other)
        ):
            gone |= (other.current == 0).reshape(*other.current.shape, *[1] * (gone.ndim - depth))
    return gone


def embedding_shift_panel(found: SnapshotSelection, parts: dict[str, TensorHistory]) -> None:
    """Which words move most, for methods that shift the words by their position."""
    if not any(track.axes == ("T", "d") for track in parts.values()):
        return
    st.markdown("**Which words move most?**")
    text = st.text_input("a sentence of your own", key="shift-text", max_chars=2000,
                         placeholder="empty: the first validation text").strip()  # fmt: skip
    told = "The shift of every word of a text, and the words of the validation texts that move most."
    answer = probe_on_demand(found, "shift", "Measure the shift", told, text=text)
    if answer is None:
        return
    st.text(answer["text"])
    asked = probe_request(found, "shift", text=text)
    left, right = st.columns(2, gap="medium")
    with left:
        three = 'answer["moved"], answer["tokens"], answer["nearest"]'
        figure_panel(drawn.draw_embedding_shift(answer["moved"], answer["tokens"], answer["nearest"]),
              drawn.describe_embedding_shift(answer["moved"], answer["tokens"]), _SHIFT_CAPTION, key="moved",
              name=f"{found.run.id}-moved", title="This text, word by word", tools=False,
              python=scripts.run_probe_script(found.run, asked, "tensors", f"draw_embedding_shift({three})",
              "moved"))  # fmt: skip
    with right:
        counts = [f"in {count} places" for count in answer["counts"]]
        python = scripts.run_probe_script(
            found.run, asked, "tensors", 'draw_embedding_shift(answer["by"], answer["most"], counts, "found")', "most",
            'counts = [f"in {count} places" for count in answer["counts"]]',
        )  # fmt: skip
        figure_panel(drawn.draw_embedding_shift(answer["by"], answer["most"], counts, "found"),
              drawn.describe_embedding_shift(answer["by"], answer["most"]), _SHIFT_CAPTION, key="most",
              name=f"{found.run.id}-most",
              title=f"Moved most in {answer['rows']} validation texts", tools=False, python=python)  # fmt: skip
