"""The predictions of a finished run: what is shown is what was predicted, filtered, sorted and safe to open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from ptviz.plots import error_summary, plot_calibration, plot_confusion, predictions_table
from ptviz.runs import Run, StoreError
from ptviz.runs.prediction_files import write_predictions_error
from tests.pages.run_pages import figures, well

Page = Callable[..., AppTest]
CLASSES = {
    "text": ["one good film", "=2+3", "a bad film", "no words"],
    "label": ["yes", "no", "no", "yes"],
    "predicted": ["yes", "yes", "no", "no"],
    "p(yes)": [0.9, 0.6, 0.2, 0.3],
    "p(no)": [0.1, 0.4, 0.8, 0.7],
}
TEXTS = {
    "text": ["walk", "go", "see"],
    "references": [["walked", "had walked"], ["went"], ["saw"]],
    "predicted": ["Had walked.", "goed", "seed"],
    "score": [1.0, 0.25, 0.0],
}


@pytest.fixture
def predicted(make_run: Callable[..., Run]) -> Callable[..., Run]:
    """A finished run with these predictions."""

    def make(columns: dict[str, list[Any]]) -> Run:
        run = make_run("finished")
        pd.DataFrame(columns).to_parquet(run.path / "predictions.parquet", index=False)
        return run

    return make


def shown(at: AppTest) -> pd.DataFrame:
    (table,) = at.dataframe
    return table.value


def test_classes_are_filtered_sorted_and_searched(page: Page, predicted: Callable[..., Run]) -> None:
    run = predicted(CLASSES)
    at = well(page("train/watch.py", run=run.id))
    table = shown(at)
    assert table["text"].tolist() == CLASSES["text"]
    assert table["confidence"].tolist() == [90, 60, 80, 70]
    assert table["right"].tolist() == ["✓ right", "✗ wrong", "✓ right", "✗ wrong"]
    at.selectbox(key="order").set_value("highest first").run()
    assert shown(at)["text"].tolist() == ["one good film", "a bad film", "no words", "=2+3"]
    at.toggle(key="wrong").set_value(True).run()
    assert shown(well(at))["text"].tolist() == ["no words", "=2+3"]
    assert any("2 of 4 examples; 2 of all are wrong" in one.value for one in at.caption)
    (snippet,) = [one.value for one in at.code if "predictions_table(" in one.value]
    space: dict[str, Any] = {}
    exec(snippet, space)
    assert [row["text"] for row in space["result"]] == ["no words", "=2+3"]
    at.toggle(key="wrong").set_value(False).run()
    at.text_input(key="find").set_value("FILM no").run()
    assert shown(well(at))["text"].tolist() == ["a bad film"]
    at.text_input(key="find").set_value("nothing has this").run()
    assert shown(well(at)).empty
    again = well(page("train/watch.py", run=run.id, wrong="true", order="lowest first"))
    assert shown(again)["text"].tolist() == ["=2+3", "no words"]


def test_written_texts_are_judged_by_their_references(page: Page, predicted: Callable[..., Run]) -> None:
    run = predicted(TEXTS)
    table = shown(well(page("train/watch.py", run=run.id, order="lowest first")))
    assert table["input"].tolist() == ["see", "go", "walk"]
    assert table["target"].tolist() == ["saw", "went", "walked | had walked"]
    assert table["output"].tolist() == ["seed", "goed", "Had walked."]
    assert table["right"].tolist() == ["✗ wrong", "✗ wrong", "✓ right"]
    assert [row["input"] for row in predictions_table(run, wrong_only=True)] == ["go", "see"]
    unscored = predicted({**TEXTS, "score": [None, None, None]})
    assert [row["score"] for row in predictions_table(unscored, order="highest first")] == [None] * 3
    well(page("train/watch.py", run=unscored.id))


def test_the_csv_holds_no_formula(predicted: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, page: Page) -> None:
    from ptviz.ui.train import predictions

    made: list[str] = []
    monkeypatch.setattr(predictions, "figure_csv_download", lambda content, *names: made.append(content()))
    page("train/watch.py", run=predicted(CLASSES).id, find="2+3")
    assert made[-1].splitlines() == ["text,label,predicted,confidence,right", "'=2+3,no,yes,0.6,False"]


def test_what_is_no_prediction_is_said(page: Page, predicted: Callable[..., Run], make_run: Callable[..., Run]) -> None:
    run = predicted({"text": ["a"], "surprise": [1]})
    at = page("train/watch.py", run=run.id)
    assert not at.exception
    assert any("its columns are not those of predictions" in one.value for one in at.text)
    with pytest.raises(StoreError, match=r"predictions\.parquet: its columns"):
        predictions_table(run)
    with pytest.raises(ValueError, match="order: expected test set, lowest first or highest first; got 'odd'"):
        predictions_table(run, order="odd")  # type: ignore[arg-type]
    without = make_run("finished")
    assert any("The worker makes them" in one.value for one in well(page("train/watch.py", run=without.id)).text)
    write_predictions_error(without.path, 3, "no memory")
    at = well(page("train/watch.py", run=without.id))
    assert any(one.value == "They could not be made: no memory" for one in at.text)
    assert not page("train/watch.py", run=make_run("stopped").id).dataframe


def test_a_real_run_shows_its_test_examples(page: Page, trained: Callable[..., Run], table: Path) -> None:
    run = trained()
    found = run.predictions()
    assert found is not None
    assert len(found) == len(shown(well(page("train/watch.py", run=run.id)))) == len(predictions_table(run))
    right = sum(row["right"] for row in predictions_table(run)) / len(found)
    assert right == pytest.approx(run.status().test)


ZERO_SHOT = {"zero_shot": ["no", "no", "no", "no"], "zero_shot_confidence": [0.6, 0.7, 0.9, 0.5]}


def test_what_the_prompt_changed_is_listed_by_confidence(page: Page, predicted: Callable[..., Run]) -> None:
    run = predicted({**CLASSES, **ZERO_SHOT})
    at = well(page("train/watch.py", run=run.id))
    assert any("fixed 1 and broke 1 of 4 examples (McNemar's exact test: p = 1)" in one.value for one in at.text)
    at.segmented_control(key="change").set_value("fixed").run()
    assert shown(well(at))["text"].tolist() == ["one good film"]
    at.segmented_control(key="change").set_value("broken").run()
    assert shown(well(at))["text"].tolist() == ["=2+3"]
    (snippet,) = [one.value for one in at.code if "predictions_table(" in one.value]
    assert 'change="broken"' in snippet
    assert [row["zero_shot"] for row in predictions_table(run, change="fixed")] == ["no"]
    with pytest.raises(ValueError, match="change: expected any, fixed or broken; got 'odd'"):
        predictions_table(run, change="odd")  # type: ignore[arg-type]
    texts = predicted({**TEXTS, "zero_shot": ["Walked", "go", "seed"], "zero_shot_score": [1.0, 0.0, 0.5]})
    assert [row["change"] for row in predictions_table(texts)] == ["", "fixed", "broken"]
    assert predictions_table(texts)[0]["zero_shot_right"]
    at = well(page("train/watch.py", run=texts.id))
    assert any("1 of 3 outputs score higher and 1 score lower" in one.value for one in at.text)


@pytest.mark.parametrize("view", ["Confusion matrix", "Classes", "Calibration", "Length"])
def test_every_view_draws_its_data(page: Page, predicted: Callable[..., Run], view: str) -> None:
    for run in (predicted({**CLASSES, **ZERO_SHOT}), predicted(CLASSES)):
        at = well(page("train/watch.py", run=run.id, errors=view))
        assert at.segmented_control(key="errors").value == view
        ending = {"Confusion matrix": "-confusion", "Length": "-lengths"}.get(view, f"-{view.lower()}")
        (figure,) = [one for name, one in figures(at).items() if name.endswith(ending)]
        assert figure["data"]


def test_texts_have_a_score_by_length_and_no_classes(page: Page, predicted: Callable[..., Run]) -> None:
    run = predicted(TEXTS)
    assert at_views(well(page("train/watch.py", run=run.id))) == ["Answers", "Length"]
    with pytest.raises(ValueError, match="has no classes"):
        plot_confusion(run)
    with pytest.raises(ValueError, match="writes texts: calibration"):
        plot_calibration(run)
    assert error_summary(run)["confusion"] is None
    choices = {**CLASSES, "p(1)": CLASSES["p(yes)"], "p(2)": CLASSES["p(no)"]}
    run = predicted({name: column for name, column in choices.items() if name not in ("p(yes)", "p(no)")})
    assert at_views(well(page("train/watch.py", run=run.id))) == ["Answers", "Calibration", "Length"]


def at_views(at: AppTest) -> list[str]:
    return at.segmented_control(key="errors").options


def test_a_run_of_an_earlier_version_is_answered_without_the_prompt(
    page: Page, trained: Callable[..., Run], answered: None
) -> None:
    run = trained()
    frame = run.predictions()
    assert frame is not None
    assert {"zero_shot", "zero_shot_confidence"} <= set(frame)
    zero = sum(row["zero_shot_right"] for row in predictions_table(run)) / len(frame)
    assert zero == pytest.approx(run.status().zero_shot or 0, abs=0.5)
    assert zero == pytest.approx(run.history().finished.zero_shot)  # type: ignore[union-attr]
    frame.drop(columns=["zero_shot", "zero_shot_confidence"]).to_parquet(run.path / "predictions.parquet", index=False)
    with pytest.raises(StoreError, match=f"ptviz errors {run.id} --zero-shot adds them"):
        plot_confusion(run, zero_shot=True)
    with pytest.raises(StoreError, match="--zero-shot adds them"):
        predictions_table(run, change="fixed")
    at = well(page("train/watch.py", run=run.id))
    at.button(key="zero-shot").click().run()
    if f"zero-shot-{run.id}" in at.session_state:
        at.session_state[f"zero-shot-{run.id}"].result(60)
        at.run()
    again = run.predictions()
    assert again is not None
    assert again.equals(frame)
