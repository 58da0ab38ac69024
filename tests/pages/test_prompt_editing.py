"""Prompt editing and waywardness on the page Embeddings: edits measured, undone and saved; refusals explained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from ptviz.profanity import mask_words
from ptviz.runs import Run, Store, saved_prompts
from tests.pages import run_pages
from tests.pages.run_pages import well

PATH = "look/embeddings.py"
pytestmark = pytest.mark.usefixtures("answered")
Page = Callable[..., AppTest]


def settled(at: AppTest) -> AppTest:
    """Return the page once all requests are answered: an answer may lead to the next request."""
    seen = -1
    for _ in range(12):
        run_pages.settled(at)
        asked = at.session_state["inside-asked"] if "inside-asked" in at.session_state else {}  # noqa: SIM401
        if len(asked) == seen:
            break
        seen = len(asked)
    return at


def press(at: AppTest, key: str) -> AppTest:
    return settled(at.button(key=key).click().run())


def begun(page: Page, run: Run) -> AppTest:
    return well(press(settled(page(PATH, run=run.id)), "operate"))


def figures(at: AppTest) -> dict[str, dict]:
    return {name.rsplit("-", 1)[-1]: figure for name, figure in run_pages.figures(at).items()}


def metrics(at: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def test_nothing_is_measured_before_it_is_asked_for(page: Page, trained: Callable[..., Run]):
    at = well(settled(page(PATH, run=trained(m=3).id)))
    assert "Accuracy now" not in metrics(at)
    at = well(press(at, "operate"))
    assert metrics(at)["Changed predictions"].startswith("0 of")
    at.select_slider(key="at").set_value("0").run()
    assert "Accuracy now" not in metrics(settled(at)), "a measurement belongs to its step"


def test_edits_are_applied_one_after_another_and_undone(page: Page, trained: Callable[..., Run]):
    at = begun(page, trained(m=3))
    assert len(at.button_group(key="edit").options) == 6
    assert at.button(key="apply").disabled, "removing nothing is no edit"
    at.multiselect(key="cut-tokens").set_value([1]).run()
    at = well(press(at, "apply"))
    at.button_group(key="edit").set_value("scale").run()
    at = well(press(at, "apply"))
    edits = at.dataframe[0].value["edit"].tolist()
    assert edits == ["unedited", "remove token 1", "multiply token 1 by 0.5"]
    assert at.dataframe[0].value["loss (nats)"].notna().all()
    at = well(press(at, "undo"))
    assert len(at.dataframe[0].value) == 2
    at = well(press(at, "reset"))
    assert at.button(key="undo").disabled


def test_an_edit_that_fails_is_reported_and_can_be_undone(page: Page, trained: Callable[..., Run]):
    run = trained(m=3)
    at = begun(page, run)
    at.session_state["edits"][run.id].append({"kind": "ablate", "tokens": [9]})
    at = settled(at.run())
    assert any("prompt tokens from 0 to 2" in text.value for text in at.text)
    assert well(press(at, "undo"))


def test_the_importance_of_every_token_next_to_its_first_order_score(page: Page, trained: Callable[..., Run]):
    at = well(press(begun(page, trained(m=3)), "weigh"))
    importance = figures(at)["importance"]
    assert [len(trace["x"]) for trace in importance["data"]] == [3, 3, 3]
    assert "Rank agreement" in metrics(at)


def test_the_faithfulness_gap_is_shown_with_the_words(page: Page, trained: Callable[..., Run]):
    at = well(press(begun(page, trained(m=3)), "faithful"))
    assert metrics(at)["Faithfulness gap"].endswith("points")
    assert "Changed predictions" in metrics(at)
    assert any(text.value.startswith("Read as words: ") for text in at.text)


def test_profane_words_of_the_prompt_are_masked(
    page: Page, trained: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
):
    run = trained(m=3)
    at = press(begun(page, run), "faithful")
    words = list(at.dataframe[-1].value["nearest word"])
    monkeypatch.setattr("ptviz.profanity.profane_words", lambda: frozenset(word.strip().lower() for word in words))
    at = press(begun(page, run), "faithful")
    masked = mask_words(words)
    assert "•" in "".join(masked), "there is something to mask"
    assert list(at.dataframe[-1].value["nearest word"]) == masked
    assert f"Read as words: {' '.join(word.strip() for word in masked)}" in [text.value for text in at.text]


def test_an_edited_prompt_is_saved(page: Page, trained: Callable[..., Run], store: Store):
    run = trained(m=3)
    at = begun(page, run)
    at.multiselect(key="cut-tokens").set_value([0]).run()
    at = well(press(at, "apply"))
    at.text_input(key="keep-title").set_value("without the first").run()
    at = well(press(at, "keep"))
    (kept,) = saved_prompts.list_saved_prompts(store.prompts_folder)
    assert (kept.title, kept.m, kept.origin["run"]) == ("without the first", 2, run.id)
    assert any(kept.id in code.value for code in at.code)


@pytest.mark.parametrize(("method", "kinds", "reason"), [("p-tuning-v2", 4, "no order"), ("smop", 4, "for each text")])
def test_impossible_edits_are_explained(page: Page, trained: Callable[..., Run], method: str, kinds: int, reason: str):
    at = begun(page, trained(method, m=3))
    assert len(at.button_group(key="edit").options) == kinds
    assert any(reason in caption.value for caption in at.caption)
    assert any("no words of its own" in caption.value for caption in at.caption)
    at = well(press(at, "weigh"))
    assert len(figures(at)["importance"]["data"]) == (2 if method == "p-tuning-v2" else 3)


def test_waywardness_needs_runs_and_offers_to_train_them(page: Page, trained: Callable[..., Run], store: Store):
    at = well(settled(page(PATH, run=trained(m=3).id)))
    assert "wayward" not in figures(at)
    assert any("gamma=0.01" in code.value for code in at.code)
    at = press(at, "wayward-train")
    queued = [summary.config for summary in store.list() if summary.status.state == "queued"]
    assert sorted(config.hyperparameters["gamma"] for config in queued) == [0.0, 0.0001, 0.001, 0.01]
    assert {config.hyperparameters["m"] for config in queued} == {11}
    assert len({config.training.steps for config in queued}) == 1


def test_pulled_prompts_are_drawn_by_gamma(page: Page, trained: Callable[..., Run]):
    pull = {"m": 2, "toward": "good thing", "init": "text", "text": "good thing"}
    runs = [trained(**pull, gamma=gamma) for gamma in (0.0, 50.0)]
    trained(**{**pull, "toward": "bad thing"})
    at = well(settled(page(PATH, run=runs[1].id)))
    drawn = figures(at)["wayward"]["data"][0]
    assert drawn["text"] == ["0", "50"]
    assert any("The sentence: " in text.value for text in at.text)
    other = well(settled(page(PATH, run=trained("dpt", m=3).id)))
    assert not any(header.value == "Waywardness" for header in other.header)
    assert replace(runs[0].config, hyperparameters={}).checked().hyperparameters["gamma"] == 0
