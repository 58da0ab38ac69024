"""The forward pass of one text through a frozen backbone, moving: text, prompt, attention of each layer, answer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import streamlit as st

from ptviz.figures.style import FROZEN, PROMPT
from ptviz.runs import Run
from ptviz.runs.forward_pass import ForwardPass, read_forward_pass

INPUT_COLOUR = "#B39DDB"
"""The lilac of the survey's figures."""
_INPUT_LINE_COLOUR = "#8E73C9"
"""The same for thin lines, which a pale colour would hide on white."""
CAPTION = (
    "How to read it: lilac is the text, orange the soft prompt, blue the frozen backbone. A line is the attention that "
    "a token gives to a token of the layer before, averaged over the heads; it is thicker for more, and left out below "
    "8%. The slider shows the prompt after more or fewer training steps. The arrow keys move it by one snapshot. "
)
_HTML = """
<div class="ptviz-forward" data-testid="ptviz-forward" role="group" aria-label="Forward pass">
  <div class="controls">
    <button type="button" data-part="back">Back</button>
    <button type="button" data-part="play">Play</button>
    <button type="button" data-part="next">Next</button>
    <label>training step <input type="range" min="0" step="1" data-part="step"><output data-part="step-name"></output>
    </label>
  </div>
  <p data-part="said" aria-live="polite"></p>
  <svg data-part="drawing" role="img" width="100%"></svg>
</div>
"""
_CSS = f"""
.ptviz-forward {{ color: var(--st-text-color); font-family: var(--st-font); font-size: 0.875rem; }}
.controls {{ display: flex; flex-wrap: wrap; gap: 0.5rem; align-items: center; }}
.controls label {{ display: flex; gap: 0.5rem; align-items: center; flex: 1 1 15rem; }}
.controls input {{ flex: 1; min-width: 5rem; max-width: 22rem; accent-color: var(--st-primary-color); }}
.controls output {{ white-space: nowrap; font-variant-numeric: tabular-nums; }}
button {{
  font: inherit; padding: 0.25rem 0.8rem; cursor: pointer; min-width: 4.2rem; color: var(--st-text-color);
  background: transparent; border: 1px solid var(--st-border-color); border-radius: var(--st-button-radius);
}}
button:hover, button:focus-visible {{ border-color: var(--st-primary-color); color: var(--st-primary-color); }}
button[aria-disabled=true] {{ opacity: 0.45; cursor: default; }}
p {{ margin: 0.5rem 0 0.3rem; min-height: 2.6em; line-height: 1.3; }}
svg {{ display: block; }}
svg text {{ fill: currentColor; font-size: 12px; }}
svg .title {{ font-weight: 600; }}
svg .faint {{ opacity: 0.75; }}
svg .small {{ font-size: 11px; }}
svg .best {{ font-weight: 700; }}
.frozen {{ fill: {FROZEN}; fill-opacity: 0.12; stroke: {FROZEN}; }}
.text .label rect, .text .node.lit {{ fill: {INPUT_COLOUR}; }}
.text .label text {{ fill: #1B2430; }}
.prompt .label rect, .prompt .node.lit, .with, .answer {{ fill: {PROMPT}; }}
.prompt .label circle {{ fill: #fff; }}
.node {{ fill: var(--st-border-color); }}
.row .label {{ opacity: 0; transform: translateX(-60px); }}
.row.there .label {{ opacity: 1; transform: none; }}
.alone {{ fill: {FROZEN}; fill-opacity: 0.25; stroke: {FROZEN}; }}
.edges {{ fill: none; visibility: hidden; }}
.edges.there {{ visibility: visible; }}
.edges.past {{ opacity: 0.35; }}
.from-prompt {{ stroke: {PROMPT}; }}
.from-text {{ stroke: {_INPUT_LINE_COLOUR}; }}
.edges path {{ stroke-dasharray: 1; stroke-dashoffset: 1; }}
.edges.there path {{ stroke-dashoffset: 0; }}
.answer, .bars {{ opacity: 0; visibility: hidden; }}
.answer.there, .bars.there {{ opacity: 1; visibility: visible; }}
.animated .label, .animated .bars, .animated .answer, .animated .edges {{
  transition: opacity 0.5s, transform 0.5s;
}}
.animated .with, .animated .prompt .label rect {{ transition: width 0.5s; }}
.animated .edges path {{ transition: stroke-dashoffset 0.6s; }}
"""

_COMPONENT = st.components.v2.component(
    "ptviz_forward_pass",
    html=_HTML,
    css=_CSS,
    js=(Path(__file__).parent / "forward_pass.js").read_text(encoding="utf-8"),
)


def render_forward_pass(run: Run, *, title: str = "", key: str = "forward-pass") -> bool:
    """Show the forward pass that a run recorded; return False, and show nothing, if it recorded none.

    It moves once by itself unless the reader prefers reduced motion, and is stepped by buttons and arrow keys. A slider
    chooses the training step. Nothing is computed: the numbers were measured when the run was recorded.

    Raises:
        StoreError: if the recorded file is damaged.
    """
    found = read_forward_pass(run)
    if found is None:
        return False
    if title:
        st.header(title)
    _COMPONENT(key=key, data={**_to_data(found), "name": run.id})
    measured = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    st.caption(f"{CAPTION}Recorded with run {run.id} ({measured}).")
    return True


def _to_data(found: ForwardPass) -> dict[str, Any]:
    """Return what the drawing needs, with a label for each training step."""
    several = len({one.stage for one in found.steps}) > 1
    labels = [f"{one.stage + 1}:{one.step}" if several else str(one.step) for one in found.steps]
    steps = [{**asdict(one), "label": label} for one, label in zip(found.steps, labels, strict=True)]
    return {**asdict(found), "steps": steps}
