"""The pages that inspect a run: every empty state, every kind of method, one step shared by all panels."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from ptviz.figures.linked_selection import DIMMED_OPACITY, PICKABLE
from ptviz.runs import Run, RunConfig, RunWriter, Store, saved_prompts
from ptviz.runs.embedding_table import save_vocabulary
from ptviz.ui.components import drawn_figures
from ptviz.worker.projection_process import run_job
from ptviz.worker.projection_queue import ProjectionQueue, projection_folder
from tests.pages.run_pages import figures, settled, wait_for, well

PAGES = ("look/embeddings.py", "look/decompositions.py", "look/routing.py")
pytestmark = pytest.mark.usefixtures("answered")
Page = Callable[..., AppTest]


def ending(at: AppTest) -> set[str]:
    """Return the names of the figures, without the run's id."""
    return {name.rsplit("-", 1)[-1] for name in figures(at)}


@pytest.mark.parametrize("path", PAGES)
def test_nothing_there(page: Page, path: str):
    at = well(page(path))
    assert at.button(key="start-usual")


@pytest.mark.parametrize("path", PAGES)
def test_a_run_without_snapshots(page: Page, store: Store, path: str):
    run = store.create(replace(RunConfig(), backbone="tiny-encoder"), queued=True)
    assert "no snapshot yet" in " ".join(c.value for c in well(page(path, run=run.id)).caption)


@pytest.mark.parametrize("path", PAGES)
def test_an_unknown_run_is_reported(page: Page, path: str):
    at = page(path, run="gone")
    assert not at.exception
    assert "there is no run 'gone'" in " ".join(t.value for t in at.text)


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("gone", ["gone", "kept:gone"])
def test_another_run_can_be_chosen_where_the_named_one_is_gone(
    page: Page, make_run: Callable[..., Run], path: str, gone: str
):
    run = make_run(backbone="tiny-encoder")
    at = page(path, run=gone)
    assert not at.exception
    said = " ".join(element.value for element in [*at.text, *at.markdown])
    assert "gone" in said
    assert "No run to inspect yet" not in said
    box = at.selectbox(key="look-run")
    assert box.value is None
    box.set_value(run.id).run()
    assert at.query_params["run"] in (run.id, [run.id])
    assert at.selectbox(key="look-run").value == run.id
    assert at.select_slider(key="at")


def drawn(at: AppTest) -> dict[str, dict]:
    """Return the figures by the last parts of their names."""
    return {name.rsplit("-", 1)[-1]: figure for name, figure in figures(at).items()}


def maps(at: AppTest) -> dict[str, dict]:
    """Return the traces of the projection by name."""
    return {trace["name"]: trace for trace in drawn(at)["map"]["data"]}


def opacities(at: AppTest) -> dict[int, float]:
    """Return the opacity of each prompt token in the projection."""
    return {
        number: trace["opacity"]
        for trace in drawn(at)["map"]["data"]
        if trace.get("meta") == PICKABLE
        for number in trace["customdata"]
    }


def numbers(at: AppTest) -> dict[str, list[int]]:
    """Return the prompt tokens that each panel shows."""
    found = drawn(at)
    # Highlighted cells and the others are two layers.
    layers = [np.array(decoded(trace["z"]), dtype=float) for trace in found["cosines"]["data"]]
    shown = np.isfinite([np.diag(cells) for cells in layers]).any(0)
    return {
        "map": sorted(opacities(at)),
        "norms": sorted(n for t in found["norms"]["data"] if t.get("meta") == PICKABLE for n in t["customdata"]),
        "distances": sorted(
            n for t in found["distances"]["data"] if t.get("meta") == PICKABLE for n in t["customdata"]
        ),
        "words": [row[0] for row in found["words"]["data"][0]["customdata"]],
        "steps": [row[0] for row in found["steps"]["data"][0]["customdata"]],
        "ranks": [trace["customdata"][0] for trace in found["ranks"]["data"]],
        "cosines": np.flatnonzero(shown).tolist(),
    }


def decoded(values: Any) -> np.ndarray:
    """Return an array that plotly has written."""
    if not isinstance(values, dict):
        return np.array(values, dtype=float)
    flat = np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"])
    return flat.reshape([int(n) for n in values["shape"].split(",")]) if "shape" in values else flat


def test_tokens_among_words(page: Page, trained: Callable[..., Run]):
    at = well(settled(page("look/embeddings.py", run=trained(m=6).id)))
    shown = {"map", "norms", "distances", "words", "steps", "ranks", "drift", "cosines", "spectrum"}
    assert shown | {"moment"} == ending(at)
    assert {m.label: m.value for m in at.metric}["Prompt tokens"] == "6"
    assert [caption.value for caption in at.caption if "How to read it" in caption.value]
    assert len(at.get("download_button")) == len(shown)
    scripts = [code.value for code in at.code if "figure.show()" in code.value]
    assert len(scripts) == len(shown), "every figure can be drawn again"
    gl = [t for figure in drawn(at).values() for t in figure["data"] if t["type"] in ("scattergl", "scatter3d")]
    assert len(gl) <= 4


def test_a_highlight_dims_the_other_tokens_in_every_panel(page: Page, trained: Callable[..., Run]):
    at = well(settled(page("look/embeddings.py", run=trained(m=6).id)))
    at.multiselect(key="brush").set_value([1, 4]).run()
    found = drawn(well(at))
    assert opacities(at) == {0: DIMMED_OPACITY, 1: 1.0, 2: DIMMED_OPACITY, 3: DIMMED_OPACITY, 4: 1.0, 5: DIMMED_OPACITY}
    for name in ("norms", "distances"):
        dots = next(trace for trace in found[name]["data"] if trace.get("meta") == PICKABLE)
        assert np.flatnonzero(decoded(dots["marker"]["opacity"]) == 1).tolist() == [1, 4], name
    for name in ("words", "steps", "cosines"):
        bright, faint = (decoded(trace["z"]) for trace in found[name]["data"])
        assert np.isfinite(bright[1]).all(), name
        assert (np.isfinite(bright) != np.isfinite(faint)).all(), f"{name}: dimmed, and not hidden"
    assert [trace["opacity"] == 1 for trace in found["ranks"]["data"]] == [n in (1, 4) for n in range(6)]
    at.select_slider(key="at").set_value("0").run()
    assert opacities(well(at))[4] == 1.0, "a token keeps its number at every step"


def test_rows_left_out_are_in_no_panel(page: Page, trained: Callable[..., Run], monkeypatch: pytest.MonkeyPatch):
    one, other = trained(m=6), trained(m=6)
    monkeypatch.setattr("ptviz.ui.look.embeddings.find_outliers", lambda rows: np.arange(len(rows)) == 2)
    at = well(settled(page("look/embeddings.py", run=one.id)))
    before = drawn(at)["map"]["data"][0]["x"]
    assert any(warning.value.startswith("Token 2: norm above") for warning in at.warning)
    assert all(shown == [0, 1, 2, 3, 4, 5] for shown in numbers(at).values())
    at.multiselect(key="brush").set_value([2, 3]).run()
    at = well(at.button(key="leave-out").click().run())
    assert {tuple(shown) for shown in numbers(at).values()} == {(0, 1, 3, 4, 5)}
    assert at.multiselect(key="brush").value == [3], "what is left out cannot be highlighted"
    assert not at.warning
    assert {m.label: m.value for m in at.metric}["Prompt tokens"] == "5"
    assert drawn(at)["map"]["data"][0]["x"] != before, "the axes are fitted without it"
    at.selectbox(key="look-run").set_value(other.id).run()
    assert at.multiselect(key="out").value == [], "another prompt has other tokens"


def test_choices_come_from_the_address(page: Page, trained: Callable[..., Run]):
    run = trained(m=6)
    at = well(settled(page("look/embeddings.py", run=run.id, out="2", brush="1", dims="3", metric="L2")))
    assert {tuple(shown) for name, shown in numbers(at).items()} == {(0, 1, 3, 4, 5)}
    assert opacities(at)[1] == 1.0
    assert {trace["type"] for trace in maps(at).values()} == {"scatter3d"}
    assert drawn(at)["words"]["data"][0]["name"] == "L2"
    at = settled(page("look/embeddings.py", run=run.id, out="99", brush="77", expert="9"))
    assert not at.exception
    refused = [text.value for text in at.text if "expected" in text.value]
    assert refused == [
        f"{name}: expected a value that this page offers; got {got}. It is left out"
        for name, got in (("out", 99), ("brush", 77))
    ]
    assert all(shown == [0, 1, 2, 3, 4, 5] for shown in numbers(at).values())


def test_several_runs_in_one_projection(page: Page, trained: Callable[..., Run], store: Store):
    run, other, routed = trained(m=6), trained(m=3), trained("smop", m=2, k=3)
    inner = trained("p-tuning-v2", m=2)
    kept = saved_prompts.save_prompt(
        store.prompts_folder, {"embeddings": torch.randn(4, 32)}, "mine", "tiny-encoder", None, {}
    )
    at = well(settled(page("look/embeddings.py", run=run.id)))
    at.multiselect(key="beside").set_value([other.id, routed.id, f"kept:{kept.id}"]).run()
    found = [trace for trace in maps(well(at)).values() if "markers" in trace["mode"]]
    assert [len(decoded(trace["x"])) for trace in found[1:]] == [6, 3, 6, 4], "all experts of a run that has some"
    assert len({(t["marker"]["color"], t["marker"].get("symbol")) for t in found}) == 5
    assert [trace.get("meta") == PICKABLE for trace in found[1:]] == [True, False, False, False]
    at.segmented_control(key="colours").set_value("method").run()
    again = [trace for trace in maps(well(at)).values() if "markers" in trace["mode"]]
    assert again[1]["marker"]["color"] == again[2]["marker"]["color"] != again[3]["marker"]["color"]
    assert again[1]["marker"]["symbol"] != again[2]["marker"]["symbol"]
    at.multiselect(key="beside").set_value([inner.id]).run()
    assert any("it is not shown" in text.value for text in well(at).text)


def test_every_expert_can_be_selected(page: Page, trained: Callable[..., Run]):
    run = trained("smop", m=2, k=3)
    at = well(settled(page("look/embeddings.py", run=run.id)))
    part = next(name for name in at.selectbox(key="part").options if "k x m x d" in name)
    at.selectbox(key="part").set_value(part.split("  ")[0]).run()
    first = drawn(well(at))["norms"]
    at.selectbox(key="expert").set_value(2).run()
    assert drawn(well(at))["norms"] != first
    at.multiselect(key="beside").set_value(["here:0", "here:1"]).run()
    assert {"expert 0 of this run", "expert 1 of this run"} <= set(maps(well(at)))


def test_a_projection_comes_from_the_worker_once(page: Page, trained: Callable[..., Run]):
    at = well(settled(page("look/embeddings.py", run=trained(m=4).id, map="t-SNE", fitted="1000")))
    for _ in range(20):
        if "map" in drawn(at):
            break
        at = well(settled(at))
    assert drawn(at)["map"]["layout"]["xaxis"]["title"]["text"] == "t-SNE axis 1"
    before = decoded(maps(at)["vocabulary"]["x"])
    at.select_slider(key="at").set_value("0").run()
    assert np.array_equal(decoded(maps(well(at))["vocabulary"]["x"]), before), "fitted once: motion is comparable"
    at.multiselect(key="out").set_value([0]).run()
    assert sorted(opacities(well(at))) == [1, 2, 3]
    assert np.array_equal(decoded(maps(at)["vocabulary"]["x"]), before)


def test_a_projection_shows_its_progress_and_can_be_cancelled(
    page: Page, trained: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ProjectionQueue, "add_job", lambda self, name: None)
    monkeypatch.setattr("tests.pages.conftest.run_job", lambda folder: None)
    run = trained(m=3).id
    well(settled(page("look/embeddings.py", run=run)))  # the vocabulary first: no projection is requested without it
    at = well(page("look/embeddings.py", run=run, map="UMAP", fitted="1000"))
    jobs = projection_folder("0" * 24).parent
    waiting = wait_for(lambda: [folder for folder in jobs.glob("*") if (folder / "order.npz").exists()])
    (waiting[0] / "progress.json").write_text('{"doing": "fitting", "share": 0.5}')
    at = well(at.run())
    assert "fitting (50%)" in at.get("progress")[0].proto.text
    assert "map" not in drawn(at)
    at = well(at.button(key="map-cancel").click().run())
    assert not (waiting[0] / "order.npz").exists()
    assert any("was cancelled" in caption.value for caption in at.caption)
    assert at.button(key="map-on")


def test_a_projection_that_another_page_cancels_says_so_and_can_be_computed(
    page: Page, trained: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ProjectionQueue, "add_job", lambda self, name: None)
    monkeypatch.setattr("tests.pages.conftest.run_job", lambda folder: None)
    run = trained(m=3).id
    well(settled(page("look/embeddings.py", run=run)))  # the vocabulary first: no projection is requested without it
    address = {"run": run, "map": "t-SNE", "fitted": "1000"}
    hers, his = well(page("look/embeddings.py", **address)), well(page("look/embeddings.py", **address))
    jobs = projection_folder("0" * 24).parent
    [job] = wait_for(lambda: [folder for folder in jobs.glob("*") if (folder / "order.npz").exists()])
    assert his.get("progress")
    hers.button(key="map-cancel").click().run()
    his = well(settled(his))
    assert not his.get("progress"), "nothing computes it any more"
    assert any("was cancelled" in caption.value for caption in his.caption)
    assert not (job / "order.npz").exists(), "his page does not request again what she has cancelled"
    monkeypatch.setattr("tests.pages.conftest.run_job", run_job)
    his = well(settled(well(his.button(key="map-on").click().run())))
    assert maps(his)
    assert maps(well(hers.run())), "a projection that is stored is shown wherever it was cancelled"


def test_the_presenter_moves_by_one_snapshot(page: Page, trained: Callable[..., Run]):
    at = well(settled(page("look/decompositions.py", run=trained(m=6).id, at="0")))
    for by, expected in ((1, 1), (-1, 0), (-1, 0)):
        at.session_state["presenter-step"] = by
        at.run()
        options = at.select_slider(key="at").options
        assert at.select_slider(key="at").value == options[expected]


def test_one_step_moves_every_panel(page: Page, trained: Callable[..., Run]):
    at = well(settled(page("look/embeddings.py", run=trained(m=6).id, at="0")))
    before = figures(at)
    cursor = before["moment"]["layout"]["shapes"][0]["x0"]
    assert cursor == 0
    at.select_slider(key="at").set_value("4").run()
    after = figures(well(at))
    assert after["moment"]["layout"]["shapes"][0]["x0"] == 4
    for name in ("map", "norms", "distances", "cosines", "words"):
        key = next(k for k in before if k.endswith(name))
        assert before[key] != after[key], name


def test_the_step_is_part_of_the_address(page: Page, trained: Callable[..., Run]):
    run = trained(m=6)
    for path in ("look/embeddings.py", "look/decompositions.py"):
        at = well(settled(page(path, run=run.id, at="2")))
        assert at.select_slider(key="at").value == "2"


def test_play_moves_through_the_steps_and_ends(page: Page, trained: Callable[..., Run]):
    at = well(settled(page("look/decompositions.py", run=trained(m=6).id)))
    at.button(key="play").click().run()
    seen = [at.select_slider(key="at").value]
    for _ in range(4):
        seen.append(well(at.run()).select_slider(key="at").value)
    assert {"0", "2", "4"} <= set(seen)
    assert seen[-1] == "4"
    assert not at.session_state["playing"]


def test_keys_and_values_have_views_of_their_own(page: Page, trained: Callable[..., Run]):
    at = well(settled(page("look/embeddings.py", run=trained("p-tuning-v2", m=4).id)))
    shown = {"sites", "tokens", "directions", "map", "norms", "cosines", "spectrum"}
    assert shown | {"moment"} == ending(at)
    assert "vocabulary" not in maps(at), "there are no words in that space"
    before = drawn(at)
    at.number_input(key="head").set_value(1).run()
    after = drawn(well(at))
    for name in shown:
        assert (before[name] == after[name]) == (name in ("sites", "tokens", "directions")), name
    at.multiselect(key="brush").set_value([2]).run()
    tokens = [decoded(trace["z"]) for trace in drawn(well(at))["tokens"]["data"]]
    assert np.flatnonzero(np.isfinite(tokens[0]).all(0)).tolist() == [2]
    assert opacities(at) == {0: DIMMED_OPACITY, 1: DIMMED_OPACITY, 2: 1.0, 3: DIMMED_OPACITY}
    at.multiselect(key="out").set_value([0]).run()
    tokens = [decoded(trace["z"]) for trace in drawn(well(at))["tokens"]["data"]]
    kept = np.any([np.isfinite(cells).all(0) for cells in tokens], axis=0)
    assert np.flatnonzero(kept).tolist() == [1, 2, 3], "each token keeps its number"
    assert sorted(opacities(at)) == [1, 2, 3]
    other = trained(m=3)
    well(at.run()).selectbox(key="look-run").set_value(other.id).run()
    well(settled(at))


@pytest.mark.parametrize("method", ["dept", "smop"])
def test_every_tensor_can_be_inspected(page: Page, trained: Callable[..., Run], method: str):
    at = well(settled(page("look/decompositions.py", run=trained(method, m=4).id)))
    for part in at.selectbox(key="part").options:
        at.selectbox(key="part").set_value(part.split("  ")[0]).run()
        assert len(figures(well(at))) > 1, part


def test_the_routing_of_texts(page: Page, trained: Callable[..., Run]):
    run = trained("smop", m=2, k=3)
    at = well(settled(page("look/routing.py", run=run.id)))
    assert {"load", "classes", "inputs", "alike"} <= ending(at)
    inputs = next(figure for name, figure in figures(at).items() if name.endswith("inputs"))
    assert "<b>" not in json.dumps(inputs)
    at.text_input(key="own").set_value("a good thing").run()
    at = well(settled(at))
    assert any(text.value.startswith("To expert ") for text in at.text)


def test_without_routing_the_page_says_so(page: Page, trained: Callable[..., Run]):
    at = well(settled(page("look/routing.py", run=trained(m=2).id)))
    assert any("nothing to route" in m.value for m in at.markdown)


def test_the_routing_page_prefers_a_run_with_routing(page: Page, trained: Callable[..., Run]):
    routed, _ = trained("smop", m=2, k=3), trained(m=2)
    at = well(settled(page("look/routing.py")))
    assert at.selectbox(key="look-run").value == routed.id


def test_an_active_run_shows_its_newest_step(page: Page, trained: Callable[..., Run]):
    run = trained(m=6)
    with RunWriter(run) as writer:
        writer.status = writer.status.with_changes(state="running")
        (run.path / "status.json").write_bytes(writer.status.to_bytes())
        at = well(settled(page("look/decompositions.py", run=run.id)))
        assert figures(at)["moment"]["layout"]["shapes"][0]["x0"] == 4


def test_another_run_starts_at_its_own_best_step(page: Page, trained: Callable[..., Run]):
    one, other = trained(m=6), trained(m=6)
    at = well(settled(page("look/decompositions.py", run=one.id, at="2")))
    at.selectbox(key="look-run").set_value(other.id).run()
    assert well(at).select_slider(key="at").value == "best"


def test_a_step_or_tensor_of_the_address_that_the_run_does_not_have_is_said(page: Page, trained: Callable[..., Run]):
    run = trained("dept", m=6)
    at = settled(page("look/decompositions.py", run=run.id, at="777", part="Q"))
    assert not at.exception
    found = [text.value for text in at.text]
    assert "at: expected a value that this page offers; got 777. best is used instead" in found
    assert any(text.startswith("part: expected one of P_s, A, B, AB; got Q. ") for text in found)


def test_a_link_names_a_tensor(page: Page, trained: Callable[..., Run]):
    run, other = trained("dept", m=6), trained(m=6)
    at = well(settled(page("look/decompositions.py", run=run.id, part="B", at="2")))
    assert at.selectbox(key="part").value == "B"
    at.selectbox(key="part").set_value("A").run()
    assert at.query_params["part"] in ("A", ["A"])
    # Neither the tensor nor the step of the address is one of the other run, by the reader's choice.
    at = well(settled(at.selectbox(key="look-run").set_value(other.id).run()))
    assert at.selectbox(key="part").value == "P"
    assert "part" not in at.query_params


def test_a_page_waits_for_no_answer_once_the_words_are_there(page: Page, trained: Callable[..., Run]):
    from ptviz import load_backbone

    save_vocabulary(load_backbone("tiny-encoder"))
    run = trained(m=6)
    at = well(page("look/embeddings.py", run=run.id))
    assert {"map", "norms", "words"} <= ending(at)


def test_profane_words_are_masked_until_the_reader_shows_them(page, trained, monkeypatch):
    at = well(settled(page("look/embeddings.py", run=trained(m=4).id)))
    shown = drawn(at)["words"]["data"][0]["text"]
    word = shown[0][0].strip()
    monkeypatch.setattr("ptviz.profanity.profane_words", lambda: frozenset({word.lower()}))
    drawn_figures._drawn.cache_clear()  # Figures drawn earlier do not know that the list has changed.
    masked = drawn(at.run())["words"]["data"][0]["text"]
    assert masked[0][0].strip() == word[0] + "•" * (len(word) - 1)
    button = next(b for b in at.button if b.key == "profanity-words-cosine")
    assert button.label == "Show 1 profane word"
    button.click().run()
    assert drawn(at)["words"]["data"][0]["text"] == shown
    assert next(b for b in at.button if b.key == "profanity-words-cosine").label == "Mask 1 profane word"
    script = next(code.value for code in at.code if "plot_nearest_words(" in code.value)
    assert "with profanity_filter(masks=False):" in script
    compile(script, "snippet", "exec")
