"""Views are found by the names of axes: a method nobody has heard of gets its pictures too."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from torch import nn

from ptviz.backbone_shape import BackboneShape
from ptviz.figures.csv_export import figure_to_csv
from ptviz.methods.base import REGISTRY, MethodCard, MethodTensor, PromptMethod
from ptviz.plots import plot_tensor_view
from ptviz.plots.alt_text import alt_of
from ptviz.plots.tensor_views import VIEWS, TensorHistory, axis_name, list_indices, views_for_axes
from ptviz.prompt import Batch, Prompt, Spec
from ptviz.runs.config import RunConfig
from ptviz.runs.method_tensors import load_method_tensors
from ptviz.runs.run_file_io import StoreError

RNG = np.random.default_rng(0)
SIZES = {"m": 5, "d": 16, "k": 3, "r": 2, "T": 7, "S": 2, "kv": 2, "H": 4, "h": 8, "q": 6}
BACKBONE = BackboneShape(16, 2, 4, 8)


def track(axes: tuple[str, ...], steps: int = 3, name: str = "X") -> TensorHistory:
    values = tuple(RNG.normal(size=[SIZES[axis] for axis in axes]) for _ in range(steps))
    return TensorHistory(name, axes, tuple(range(0, 10 * steps, 10)), values, steps - 1)


def names(axes: tuple[str, ...]) -> set[str]:
    return {view.name for view in views_for_axes(axes)}


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        (("m", "d"), {"spectrum", "rank", "approximation", "cosines", "values"}),
        (("m", "r"), {"spectrum", "rank", "values"}),
        (("k", "m", "d"), {"spectrum", "rank", "approximation", "cosines", "values", "alike", "own"}),
        (("S", "kv", "H", "m", "h"), {"spectrum", "rank", "values", "sites", "tokens", "directions"}),
        (("T", "d"), {"spectrum", "rank", "approximation", "cosines", "values", "reach"}),
        (("m",), {"vector"}),
        ((), set()),
    ],
)
def test_axes_decide(axes, expected):
    assert names(axes) == expected


@pytest.mark.parametrize("axes", [("m", "d"), ("k", "m", "d"), ("S", "kv", "H", "m", "h"), ("m",), ("q", "r")])
@pytest.mark.parametrize("steps", [1, 3])
def test_every_view_that_fits_draws_and_tells(axes, steps):
    found = track(axes, steps)
    for view in views_for_axes(axes):
        leading = view.leading_axes(axes)
        shown = found.select(list_indices(found, leading)[-1]) if leading else found
        info = view.analyse(shown)
        assert json.loads(view.draw(info).to_json())["data"], view.name
        assert len(view.describe(info)) > 10
        assert view.caption.startswith("How to read it:")


def test_a_slice_keeps_the_other_axes():
    found = track(("k", "m", "d")).select({"k": 1})
    assert found.axes == ("m", "d")
    assert found.name == "X[k=1]"
    assert found.current.shape == (5, 16)
    with pytest.raises(KeyError, match="has the axes"):
        found.select({"k": 0})


def test_some_places_of_an_axis_alone():
    found = track(("S", "kv", "H", "m", "h"))
    fewer = found.take("m", [0, 3])
    assert (fewer.axes, fewer.name, fewer.current.shape) == (found.axes, "X", (2, 2, 4, 2, 8))
    assert np.array_equal(fewer.current, found.current[..., [0, 3], :])
    with pytest.raises(KeyError, match="has the axes"):
        found.take("d", [0])


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., go.Figure]:
    """Draw a view of a tensor with these axes, with the first and the last two of its five tokens."""

    def draw(axes: tuple[str, ...], view: str, **options: Any) -> go.Figure:
        found = track(axes, name="shown")

        def load(prompt: str, part: str, *, tokens: Sequence[int] | None = None, **_: Any) -> TensorHistory:
            return found if tokens is None else found.take("m", tokens)

        monkeypatch.setattr("ptviz.plots.tensors.load_tensor_history", load)
        return plot_tensor_view("run", view, tokens=[0, 3, 4], **options)

    return draw


def csv_rows(figure: go.Figure) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(figure_to_csv(figure))))


def test_tokens_keep_their_numbers_in_every_heat_map(seen):
    figure = seen(("S", "kv", "H", "m", "h"), "tokens")
    assert np.flatnonzero(np.isfinite(figure.data[0].z).all(axis=0)).tolist() == [0, 3, 4]
    assert {row["x"] for row in csv_rows(figure)} == {"0", "3", "4"}
    assert figure.data[0].z.shape == (4, 5)
    assert figure.layout.xaxis.dtick == 1, "ticks are the positions"
    figure = seen(("m", "d"), "values")
    assert {row["y"] for row in csv_rows(figure)} == {"0", "3", "4"}
    low, high = (np.unravel_index(find(figure.data[0].z), (5, 16)) for find in (np.nanargmin, np.nanargmax))
    assert f"at prompt token {low[0]}, embedding width {low[1]}" in alt_of(figure)
    assert f"at prompt token {high[0]}, embedding width {high[1]}" in alt_of(figure)
    assert "A matrix of 3 x 16." in alt_of(figure)
    figure = seen(("m", "d"), "cosines")
    assert {(row["x"], row["y"]) for row in csv_rows(figure)} == set(product("034", "034"))
    bright, faint = seen(("m", "d"), "values", highlight=[3]).data
    assert np.flatnonzero(np.isfinite(bright.z).all(axis=1)).tolist() == [3]
    assert np.flatnonzero(np.isfinite(faint.z).all(axis=1)).tolist() == [0, 4]
    assert [row[0] for row in bright.customdata] == [0, 1, 2, 3, 4]


def test_tokens_keep_their_numbers_as_bars(seen):
    figure = seen(("m",), "vector", highlight=[4])
    (bars,) = figure.data
    assert [row["x"] for row in csv_rows(figure)] == ["0", "3", "4"]
    assert list(bars.customdata) == [0, 3, 4]
    assert [opacity == 1 for opacity in bars.marker.opacity] == [False, False, True]
    values = dict(zip(bars.x, bars.y, strict=True))
    assert f"(prompt token {min(values, key=values.get)}) to" in alt_of(figure)


def test_keys_and_values_in_numbers():
    found = track(("S", "kv", "H", "m", "h"))
    found.values[-1][1, 1, 2] = np.outer(np.arange(5), RNG.normal(size=8))  # the values of site 1, head 2: one way
    by = {view.name: view.analyse(found).values for view in views_for_axes(found.axes) if view.needs_all_axes}
    norms = np.linalg.norm(found.current, axis=-1)
    assert np.allclose(by["sites"][2 + 1], norms[1, 1].mean(-1)), "values stand below keys"
    assert np.allclose(by["tokens"][2 + 1], norms[1, 1].mean(0))
    assert by["directions"].shape == (4, 4)
    assert np.isclose(by["directions"][3, 2], 1)
    assert by["directions"].max() > 2


def test_an_unknown_axis_is_called_by_its_own_name():
    assert axis_name("m") == "prompt token"
    assert axis_name("zz") == "zz"


def test_views_have_names_of_their_own():
    assert len({view.name for view in VIEWS}) == len(VIEWS)


@pytest.fixture
def made_up():
    """A method that is in no paper: three little prompts, mixed evenly through a product of factors."""

    class MadeUp(PromptMethod):
        card = MethodCard(
            "made-up", "Made up", "nobody", "https://example.org", ("direct", "x", "y"), "P = Q R", "none"
        )

        def __init__(self, spec: Spec) -> None:
            super().__init__()
            self.slots = 5
            self.Q = nn.Parameter(torch.randn(3, 5, 2))
            self.R = nn.Parameter(torch.randn(2, spec.width))

        def forward(self, batch: Batch) -> Prompt:
            return Prompt(embeddings=(self.Q.mean(0) @ self.R)[None])

        def tensors(self) -> dict[str, MethodTensor]:
            return {"Q": MethodTensor(self.Q, ("k", "m", "r")), "R": MethodTensor(self.R, ("r", "d"))}

    yield MadeUp
    del REGISTRY["made-up"]


def test_a_made_up_method_finds_its_views(made_up):
    method = made_up(Spec.from_sizes(16, 2, 4, 8, 64))
    method = SimpleNamespace(state={name: torch.randn(p.shape) for name, p in method.named_parameters()})
    found = load_method_tensors(RunConfig(method="made-up"), method.state, BACKBONE)
    # What the backbone is given comes first, although the method does not list it among its parts.
    assert list(found) == ["prompt", "Q", "R"]
    assert np.allclose(found["prompt"].array, (method.state["Q"].mean(0) @ method.state["R"]).numpy(), atol=1e-6)
    assert names(found["Q"].axes) == {"spectrum", "rank", "values"}
    assert names(found["R"].axes) == {"spectrum", "rank", "approximation", "cosines", "values"}
    for name, part in found.items():
        for view in views_for_axes(part.axes):
            whole = TensorHistory(name, part.axes, (0,), (part.array,), 0)
            leading = view.leading_axes(part.axes)
            assert view.draw(view.analyse(whole.select(list_indices(whole, leading)[0]) if leading else whole)).data


@pytest.mark.parametrize("name", REGISTRY)
def test_every_method_has_parts_with_views(name):
    from ptviz.methods import build_method

    config = RunConfig(method=name).checked()
    spec = Spec.from_sizes(16, 2, 4, 8, config.training.length, config.source_tasks())
    spec = Spec(torch.randn(40, 16), 2, 4, 8, config.training.length, torch.arange(40), ("a", "b"), spec.source_tasks)
    method = build_method(name, spec, config.hyperparameters)
    found = load_method_tensors(config, method.state_dict(), BACKBONE)
    assert set(method.tensors()) <= set(found)
    for part in found.values():
        assert part.array.ndim == 0 or views_for_axes(part.axes)
    for name, part in method.tensors().items():
        assert np.allclose(part.tensor.detach().numpy(), found[name].array, atol=1e-6), name


def test_a_state_of_other_sizes_is_told(made_up):
    with pytest.raises(StoreError, match="does not fit"):
        load_method_tensors(RunConfig(method="made-up"), {"Q": torch.zeros(3, 5, 2), "R": torch.zeros(2, 99)}, BACKBONE)
