"""The public drawings of methods: for a name, a run and its id, and words for what is wrong."""

from __future__ import annotations

import pytest

from ptviz import plots
from ptviz.methods import REGISTRY
from ptviz.plots.alt_text import alt_of

TINY = {"backbone": "tiny-encoder"}


def test_a_drawing_shows_itself_in_a_notebook():
    drawing = plots.plot_method("dpt", **TINY)
    assert drawing._repr_svg_() == drawing.to_svg()
    assert drawing.to_svg().startswith("<svg")
    assert drawing.scene.alt
    assert drawing.to_figure().layout.annotations


def test_more_source_tasks_and_another_backbone_change_the_drawing():
    assert plots.plot_method("mpt", **TINY) != plots.plot_method("mpt", source_tasks=5, **TINY)
    assert plots.plot_method("mpt", **TINY) != plots.plot_method("mpt")


def test_the_framework_holds_every_panel():
    alt = plots.plot_framework(**TINY).scene.alt
    assert all(method.card.title in alt for method in REGISTRY.values())
    assert plots.plot_backbone("tiny-encoder").scene.title


def test_cost_and_stages():
    figure = plots.plot_parameter_cost("prompt-tuning", "m", **TINY)
    assert "Trainable parameters over" in alt_of(figure)
    assert plots.plot_stages("dept", steps=50, **TINY) != plots.plot_stages("dept", **TINY)


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match="expected family, parameters, accuracy or time; got 'size'"):
        plots.plot_taxonomy(colour_by="size")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="do not depend on 'x'; expected one of m"):
        plots.plot_parameter_cost("prompt-tuning", "x", **TINY)
    with pytest.raises(ValueError, match="unknown method 'none': expected one of"):
        plots.plot_stages("none", **TINY)
    with pytest.raises(ValueError, match="expected one of minilm-l6"):
        plots.plot_method("dpt", backbone="gpt-9")
