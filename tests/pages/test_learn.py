"""The survey's page and the page of one method, through pages/index.py."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

from ptviz.methods import REGISTRY, build_method
from ptviz.prompt import Spec
from ptviz.runs import Run, RunConfig, RunWriter, Store
from ptviz.training import TrainConfig
from ptviz.training.events import Evaluated, Finished, Snapshot, StageStarted, StepCompleted
from tests.pages.snippets import redrawn, redrawn_drawings

Page = Callable[..., AppTest]
SURVEY, METHOD = "learn/survey.py", "learn/method.py"


def component_data(at: AppTest) -> list[dict[str, Any]]:
    """Return the data of the page's components, in order."""
    return [json.loads(element.proto.json or "{}") for element in at.get("bidi_component")]


def drawings(at: AppTest) -> list[str]:
    """Return the SVG drawings on the page, in order."""
    return [data["forms"][0]["svg"] for data in component_data(at) if data.get("forms")]


def words(at: AppTest) -> str:
    return "\n".join(element.value for element in [*at.markdown, *at.caption, *at.text])


def well(at: AppTest) -> AppTest:
    assert not at.exception
    assert not at.error
    assert not any("Problem" in m.value and "-badge[" in m.value for m in at.markdown)
    return at


@pytest.fixture
def trained(store: Store) -> Run:
    """A finished run of prompt tuning whose prompt went from -1 to 1."""
    config = RunConfig("tiny-encoder", "trec6", "prompt-tuning", {"m": 3}, TrainConfig(steps=10), "my own")
    run = store.create(config)
    with RunWriter(run) as writer:
        writer.begin(None)
        writer.write_event(StageStarted(0, "tune", 10))
        for step, value in ((0, -1.0), (10, 1.0)):
            writer.write_event(StepCompleted(0, step, 1.0, 0.1, 1.0, 0.1))
            writer.write_event(Evaluated(0, step, 1.0, 0.3 + step / 20, True, 0.1))
            writer.write_event(
                Snapshot(0, step, {"P": torch.full((3, 32), value)}, {"P": torch.full((3, 32), value)}, {})
            )
        writer.write_event(Finished(0.8, 0.75, 0.6, 0.26, 0.38, 10, 10, 2.0, 10.0))
    return run


def test_the_survey_shows_both_figures_and_an_outline(page: Page):
    at = well(page(SURVEY))
    tree, framework, pair = drawings(at)
    for method in REGISTRY.values():
        for drawn in (tree, framework):
            assert f'data-open="{method.card.name}"' in drawn
    assert "Taxonomy of" in tree
    assert "ringed" in pair
    assert len(at.get("page_link")) == len(REGISTRY)


def test_the_tree_has_the_selected_colours(page: Page, trained: Run):
    counted = drawings(well(page(SURVEY, colour="by trainable parameters", shape="tiny-encoder")))[0]
    assert "trainable parameters" in counted
    assert "no run yet" not in counted
    measured = drawings(well(page(SURVEY, colour="by accuracy", shape="tiny-encoder")))[0]
    assert measured.count("no run yet</text>") == len(REGISTRY) - 1
    assert "80.0%" in measured


def test_the_tree_without_runs_says_what_to_do(page: Page):
    at = well(page(SURVEY, colour="by accuracy"))
    assert "train some methods" in words(at)


@pytest.mark.parametrize("name", list(REGISTRY))
def test_every_method_has_its_page(page: Page, name: str):
    at = well(page(METHOD, of=name))
    card = REGISTRY[name].card
    assert at.title[0].value == card.title
    [equation] = [data["mathml"] for data in component_data(at) if "mathml" in data]
    assert all(words in html.unescape(equation) for words in (term.meaning for term in card.symbols))
    assert card.idea in words(at)
    assert card.lesson in words(at)
    assert card.suggested_experiment in words(at)
    assert any(card.title in drawn for drawn in drawings(at))
    assert f"class {REGISTRY[name].__name__}" in "\n".join(code.value for code in at.code)
    assert "Our analysis" in words(at)
    assert all(claim.text in words(at) for claim in card.reported_results)


def test_the_framework_has_forms_for_narrow_pages_and_phones_and_can_be_exported(page: Page):
    at = well(page(SURVEY, shape="tiny-encoder"))
    (framework,) = [data for data in component_data(at) if len(data.get("forms", ())) == 3]  # The taxonomy has two.
    forms = framework["forms"]
    wide, narrow, phone = (float(form["svg"].split('viewBox="0 0 ')[1].split()[0]) for form in forms)
    assert phone < forms[1]["least"] < narrow < forms[0]["least"] < wide
    assert forms[2]["least"] < 358  # a phone of 390 pixels without its margins
    for form in forms:
        assert all(f'data-open="{method}"' in form["svg"] for method in REGISTRY)
    names = [button.proto.label for button in at.get("download_button")]
    assert names == ["CSV"] * 3


def test_symbols_of_hyperparameters_are_greek_where_the_paper_s_are(page: Page):
    from ptviz.ui.learn.method import _symbols_to_text

    assert _symbols_to_text("alpha_2/alpha_1") == "\u03b1\u2082/\u03b1\u2081"
    assert _symbols_to_text("1 - |gamma|/m") == "1 - |\u03b3|/m"
    assert _symbols_to_text("mlp_lr/lr") == "mlp_lr/lr"
    table = next(table for table in well(page(METHOD, of="mpt")).table if "symbol" in table.value)
    assert table.value.loc["lam", "symbol"] == "\u03bb"


def test_the_hint_to_train_is_shown_only_without_a_run(page: Page, trained: Run):
    assert "Once you have trained a run" in words(well(page(METHOD, of="dpt")))
    assert "Once you have trained a run" not in words(well(page(METHOD, of="prompt-tuning")))


def test_shapes_are_those_of_the_backbone_chosen(page: Page):
    for shape, width in (("tiny-encoder", 32), ("minilm-l6", 384)):
        drawn = "".join(drawings(well(page(METHOD, of="prompt-tuning", shape=shape))))
        assert f">10 \u00d7 {width}<" in drawn


def test_a_run_s_own_tensors_are_shown_before_and_after(page: Page, trained: Run):
    at = well(page(METHOD, **{"of": "prompt-tuning", "run-prompt-tuning": trained.id}))
    after = next(drawn for drawn in drawings(at) if "my own" in drawn)
    at.segmented_control(key="when").set_value("before training").run()
    before = next(drawn for drawn in drawings(well(at)) if "my own" in drawn)
    blue, orange = '"#0072B2"', '"#D55E00"'
    assert after.split("crispEdges")[1].count(orange) == 3 * 24
    assert before.split("crispEdges")[1].count(blue) == 3 * 24


def test_copied_python_names_the_method(page: Page):
    at = well(page(METHOD, of="dept"))
    assert 'train_and_save(RunConfig(method="dept"))' in "\n".join(code.value for code in at.code)


def test_an_unknown_method_in_the_address_falls_back(page: Page):
    at = page(METHOD, of="<script>")
    assert not at.exception
    name, usual = next(iter(REGISTRY.items()))
    assert at.title[0].value == usual.card.title
    (said,) = (text.value for text in at.text if "expected" in text.value)
    assert said.startswith(f"of: expected one of {name}, ")
    assert said.endswith(f"; got <script>. {name} is used instead")


def test_hyperparameters_and_costs_come_from_live_modules():
    from ptviz.backbones import list_backbones
    from ptviz.plots.method_panels import compute_cost_curves

    shape = next(info for info in list_backbones() if info.name == "tiny-encoder")
    curve = next(curve for curve in compute_cost_curves("prompt-tuning", shape) if curve.hyperparameter == "m")
    spec = Spec.from_sizes(shape.width, shape.sites, shape.heads, shape.head_width, 64)
    assert curve.trainable_parameters == tuple(
        build_method("prompt-tuning", spec, {"m": m}).trainable_parameters() for m in curve.values
    )


@pytest.mark.parametrize("colour", ["by family", "by trainable parameters", "by accuracy", "by training time"])
def test_snippets_of_the_survey_draw_what_the_page_shows(
    page: Page, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colour: str
):
    monkeypatch.chdir(tmp_path)
    at = page(SURVEY, shape="tiny-encoder", colour=colour)
    assert {"ptviz-taxonomy", "ptviz-framework"} < redrawn_drawings(at)


def test_snippets_of_a_method_draw_what_the_page_shows(
    page: Page, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    drawings_of_dpt = {"ptviz-dpt", "ptviz-dpt-stages"}
    at = page(METHOD, of="dpt")
    assert redrawn_drawings(at) == drawings_of_dpt
    assert redrawn(at) == {"ptviz-dpt-cost-m", "ptviz-dpt-cost-r"}
    for when in ("after training", "before training"):
        at = page(METHOD, **{"of": "prompt-tuning", "run-prompt-tuning": trained.id, "when": when})
        assert "ptviz-prompt-tuning" in redrawn_drawings(at)


def test_the_survey_keeps_its_colours_while_a_method_is_visited(page):
    at = page("learn/survey.py")
    (colour,) = [group for group in at.button_group if group.key == "colour"]
    colour.set_value("by trainable parameters").run()
    at.switch_page("learn/method.py").run()
    at.switch_page("learn/survey.py").run()
    (colour,) = [group for group in at.button_group if group.key == "colour"]
    assert colour.value in ("by trainable parameters", ["by trainable parameters"])
