"""The page on decompositions, beyond single parts: all at a glance, two compared, and what the worker measures."""

from __future__ import annotations

import numpy as np
import streamlit as st

from ptviz.analysis.tensor_comparison import beside
from ptviz.figures import tensors as drawn
from ptviz.figures.heatmap import draw_bars, tell_bars
from ptviz.figures.linked_selection import dim, dim_bars, pickable
from ptviz.plots.views import Track, called
from ptviz.ui import scripts
from ptviz.ui.cache import remembered
from ptviz.ui.components.figure_panel import panel
from ptviz.ui.components.linked_selection import pick
from ptviz.ui.look.inspect_run import Moment
from ptviz.ui.look.on_demand import measured, question

_MOST, _CELLS = 12, 100_000
_READ_GALLERY = (
    "How to read it: each part under the letter of its paper, orange above zero and blue below it, on a scale of its "
    "own; rows of experts or sources stand below each other. Parts that multiply stand side by side with their product."
)
_READ_BESIDE = (
    "How to read it: two bars a row, the lengths of its vector in both parts, and the cosine between them: 1 is the "
    "same direction. Bars alike at cosine 1 mean that this row hardly changed."
)
_READ_THINNED = (
    "How to read it: the orange line is the measured accuracy with the prompt's best approximation of each rank, the "
    "blue one the share of the prompt that this misses. Orange that stays up while blue is high: few directions count."
)
_READ_SALIENCY = (
    "How to read it: one row a prompt token, one column a {pieces}: how much the loss would answer, to first order, to "
    "masking that piece. Grey pieces are pruned."
)
_READ_SIGNED = (
    "How to read it: one bar a prompt token, signed: orange, masking it would lower the loss (first order), so it does "
    "harm; blue, the loss would rise. First-order scores mean something at a prompt that is trained."
)
_READ_MOVED = (
    "How to read it: how far the method moves each word's vector before the frozen backbone reads it. On hovering: the "
    "word that lies nearest after the move."
)


def glance(found: Moment, parts: dict[str, Track]) -> None:
    """All parts of a bearable size in one figure."""
    small = {name: track for name, track in parts.items() if track.now.size <= _CELLS}
    kept = [(name, track.axes, track.now) for name, track in [*small.items()][:_MOST]]
    key = ("gallery", found.key, found.at)
    figure, alt = remembered(key, lambda: (drawn.draw_gallery(kept), drawn.tell_gallery(kept)))
    here = found.here
    python = scripts.of_run(
        found.run, "parts", "draw_gallery([(name, part.axes, part.array) for name, part in small])", "parts",
        "from ptviz.plots.material import parts_at", f"parts = parts_at(run, stage={here.stage}, step={here.step})",
        f"small = [(name, part) for name, part in parts.items() if part.array.size <= {_CELLS}][:{_MOST}]",
    )  # fmt: skip
    panel(figure, alt, _READ_GALLERY, key="gallery", name=f"{found.run.id}-parts", title="All parts at this step",
          tools=False, python=python)  # fmt: skip


def compared(found: Moment, track: Track, parts: dict[str, Track], picked: frozenset[int]) -> None:
    """The chosen part beside another one of its axes and size; ``picked`` prompt tokens stand out."""
    same = [n for n, other in parts.items() if n != track.name and other.now.shape == track.now.shape
            and other.axes == track.axes]  # fmt: skip
    if not same or len(track.axes) != 2:
        return
    st.markdown(f"**{track.name} beside another part**")
    other = st.selectbox("compare with", same, key=f"beside-{track.name}-{'-'.join(same)}", width=240)
    info = beside(parts[other].now, track.now)
    st.metric(f"Added to {other}", f"{info.share:.1%}",
              help=f"the energy of {track.name} - {other}, as a share of its own and {other}'s: 50 % is as much as "
              f"{other} itself")  # fmt: skip
    rows, token = called(track.axes[0]), track.axes[0] == "m"
    figure = drawn.draw_beside(info, other, track.name, rows)
    if token:
        dim_bars(pickable(figure, range(len(info.first))), picked)
    here = found.here
    python = scripts.of_run(
        found.run, "parts", f"draw_beside(found, {other!r}, {track.name!r}, {rows!r})", f"{track.name}-beside-{other}",
        "from ptviz.analysis.tensor_comparison import beside", "from ptviz.plots.material import parts_at",
        f"parts = parts_at(run, stage={here.stage}, step={here.step})",
        f"found = beside(parts[{other!r}].array, parts[{track.name!r}].array)",
        after=scripts.dimmed_by("dim_bars", picked if token else ()),
    )  # fmt: skip
    panel(figure, drawn.tell_beside(info, other, track.name), _READ_BESIDE, key="beside",
          name=f"{found.run.id}-{track.name}-beside-{other}", on_pick=pick if token else None,
          python=python)  # fmt: skip


def thinned(found: Moment) -> None:
    """What the prompt would be worth at each lower rank."""
    st.markdown("**What would a prompt of lower rank be worth?**")
    told = "The best approximation of every rank in the prompt's place: accuracy and loss on validation texts."
    answer = measured(found, "ranks", "Measure ranks", told)
    if answer is not None:
        three = answer["ranks"], answer["accuracy"], answer["errors"]
        panel(drawn.draw_thinned(answer["ranks"], answer["accuracy"], answer["loss"], answer["errors"]),
              f"{drawn.tell_thinned(*three)} On {answer['rows']} validation texts.", _READ_THINNED, key="ranks",
              name=f"{found.run.id}-ranks",
              python=scripts.answered(
                  found.run, question(found, "ranks"), "parts",
                  'draw_thinned(*(answer[key] for key in ("ranks", "accuracy", "loss", "errors")))', "ranks",
              ))  # fmt: skip


def salient(found: Moment, parts: dict[str, Track], picked: frozenset[int]) -> None:
    """First-order scores of tokens and pieces now, beside those that the method kept when it pruned.

    ``picked`` prompt tokens stand out.
    """
    st.markdown("**Which tokens and pieces matter?**")
    told = "The first-order score of every prompt token and of its pieces, at this step."
    left, right = st.columns(2, gap="medium")
    with left:
        answer = measured(found, "saliency", "Measure saliency", told)
        if answer is not None:
            first = next(iter(parts.values()))  # the prompt as used
            pieces = called("S") if "S" in first.axes else "piece"
            scores, pruned = np.array(answer["pieces"]), np.array(answer["pruned"], dtype=bool)
            lines = "import numpy as np", 'scores, pruned = np.array(answer["pieces"]), np.array(answer["pruned"])'
            figure = dim(pickable(drawn.draw_saliency(scores, pruned, pieces), range(len(scores))), picked)
            panel(figure, drawn.tell_saliency(scores, pruned), _READ_SALIENCY.format(pieces=pieces), key="saliency",
                  name=f"{found.run.id}-saliency", title="Measured at this step", on_pick=pick,
                  python=scripts.answered(
                      found.run, question(found, "saliency"), "parts", f"draw_saliency(scores, pruned, {pieces!r})",
                      "saliency", *lines, after=scripts.dimmed(picked),
                  ))  # fmt: skip
    with right:
        for name, track in _recorded(parts).items():
            gone = _pruned(track, parts)
            figure = dim(pickable(drawn.draw_saliency(track.now, gone), range(len(gone))), picked)
            python = scripts.part(
                found.run, track, "parts", "draw_saliency(track.now, pruned)", f"{name}-recorded",
                "import numpy as np", f"pruned = np.array({gone.astype(int).tolist()}, dtype=bool)",
                after=scripts.dimmed(picked),
            )  # fmt: skip
            panel(figure, drawn.tell_saliency(track.now, gone), _READ_SALIENCY.format(pieces="piece"),
                  key=f"recorded-{name}", name=f"{found.run.id}-{name}-recorded",
                  title=f"{name}: kept when it was pruned", on_pick=pick, python=python)  # fmt: skip
        if answer is not None:
            signed = np.array(answer["signed"])
            axis = "prompt token", "signed score"
            figure = dim_bars(pickable(draw_bars(signed, *axis), range(len(signed))), picked)
            python = scripts.answered(
                found.run, question(found, "saliency"), "matrix",
                f'draw_bars(np.array(answer["signed"]), {axis[0]!r}, {axis[1]!r})', "signed", "import numpy as np",
                after=scripts.dimmed_by("dim_bars", picked),
            )  # fmt: skip
            panel(figure, tell_bars(signed, "prompt token"), _READ_SIGNED, key="signed",
                  name=f"{found.run.id}-signed", title="Tokens that do harm", on_pick=pick,
                  python=python)  # fmt: skip


def _recorded(parts: dict[str, Track]) -> dict[str, Track]:
    """Scores of pieces among the parts: axes (m, e), and no mask."""
    return {n: track for n, track in parts.items() if track.axes == ("m", "e") and not _mask(track) and track.now.any()}


def _mask(track: Track) -> bool:
    return bool(np.isin(track.now, (0.0, 1.0)).all())


def _pruned(track: Track, parts: dict[str, Track]) -> np.ndarray:
    """Cells that some 0/1 part over the same leading axes has switched off."""
    gone = np.zeros(track.now.shape, dtype=bool)
    for other in parts.values():
        depth = len(other.axes)
        if other.axes == track.axes[:depth] and other.now.shape == track.now.shape[:depth] and depth and _mask(other):
            gone |= (other.now == 0).reshape(*other.now.shape, *[1] * (gone.ndim - depth))
    return gone


def shifted(found: Moment, parts: dict[str, Track]) -> None:
    """Which words move most, for methods that shift the words by their position."""
    if not any(track.axes == ("T", "d") for track in parts.values()):
        return
    st.markdown("**Which words move most?**")
    text = st.text_input("a sentence of your own", key="shift-text", max_chars=2000,
                         placeholder="empty: the first validation text").strip()  # fmt: skip
    told = "The shift of every word of a text, and the words of the validation texts that move most."
    answer = measured(found, "shift", "Measure the shift", told, text=text)
    if answer is None:
        return
    st.text(answer["text"])
    asked = question(found, "shift", text=text)
    left, right = st.columns(2, gap="medium")
    with left:
        three = 'answer["moved"], answer["tokens"], answer["nearest"]'
        panel(drawn.draw_moved(answer["moved"], answer["tokens"], answer["nearest"]),
              drawn.tell_moved(answer["moved"], answer["tokens"]), _READ_MOVED, key="moved",
              name=f"{found.run.id}-moved", title="This text, word by word", tools=False,
              python=scripts.answered(found.run, asked, "parts", f"draw_moved({three})", "moved"))  # fmt: skip
    with right:
        counts = [f"in {count} places" for count in answer["counts"]]
        python = scripts.answered(
            found.run, asked, "parts", 'draw_moved(answer["by"], answer["most"], counts, "found")', "most",
            'counts = [f"in {count} places" for count in answer["counts"]]',
        )  # fmt: skip
        panel(drawn.draw_moved(answer["by"], answer["most"], counts, "found"),
              drawn.tell_moved(answer["by"], answer["most"]), _READ_MOVED, key="most", name=f"{found.run.id}-most",
              title=f"Moved most in {answer['rows']} validation texts", tools=False, python=python)  # fmt: skip
