"""Every figure, page and command names the metric of the run's task."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from ptviz import plots
from ptviz.cli import run as run_command
from ptviz.plots.alt_text import alt_of
from ptviz.runs import Run, Store
from ptviz.tasks.metrics import METRICS
from ptviz.ui.compare.methods_results import display_rows, evaluations_to_csv
from ptviz.ui.train.run_table import build_run_frame
from ptviz.ui.train.training_curves import history_to_csv
from tests.pages.run_pages import figures

MakeRun = Callable[..., Run]
ANSWER = {"losses": [1.0, 2.0], "accuracies": [0.5, 0.7], "loss": 1.1, "accuracy": 0.6, "rows": 9}
FIGURES: dict[str, Callable[[Run], go.Figure]] = {
    "training": plots.plot_training,
    "runs": lambda run: plots.plot_run_comparison([run]),
    "strip": lambda run: plots.plot_step_strip(run, 5),
    "bands": lambda run: plots.plot_comparison([run]),
    "panels": lambda run: plots.plot_comparison_panels([run]),
    "seeds": lambda run: plots.plot_seeds([run]),
    "grid": lambda run: plots.plot_learning_rate_grid([run]),
    "convergence": lambda run: plots.plot_convergence([run]),
    "cost": lambda run: plots.plot_pareto_front([run], cost="seconds"),
    "importance": lambda run: plots.plot_importance(run, answer=ANSWER),
}


@pytest.fixture
def scored(make_run: MakeRun) -> MakeRun:
    """A finished run on a task with a metric."""

    def make(metric: str, **config: object) -> Run:
        run = make_run("finished", **config)
        (run.path / "environment.json").write_text(json.dumps({"metric": metric}))
        return run

    return make


def words(figure: go.Figure) -> str:
    """Return all that a figure says, to readers of its picture and of its alternative text."""
    return f"{figure.to_json()} {alt_of(figure)}"


@pytest.mark.parametrize("name", FIGURES)
def test_figures_name_the_metric(name: str, scored: MakeRun) -> None:
    draw = FIGURES[name]
    said = words(draw(scored("macro-f1")))
    assert "macro F1" in said
    assert "ccuracy" not in said
    # A run of a version that did not record the metric is on a task with accuracy.
    assert "accuracy" in words(draw(scored("accuracy"))).lower()
    assert "Matthews correlation" in words(draw(scored("matthews")))


def test_axes_have_the_metrics_name_and_unit(scored: MakeRun) -> None:
    axis = plots.plot_training(scored("macro-f1")).layout.yaxis
    assert (axis.title.text, axis.tickformat, list(axis.range)) == ("validation macro F1", ".0%", [0, 1.03])
    figure = plots.plot_training(scored("matthews"))
    assert (figure.layout.yaxis.title.text, figure.layout.yaxis.tickformat) == (
        "validation Matthews correlation",
        ".2~f",
    )
    assert "Best validation Matthews correlation 0.80 at step 20. Zero-shot 0.38, majority class 0.26." in alt_of(
        figure
    )
    assert "most frequent target 26.0%" in alt_of(plots.plot_training(scored("rouge-l")))


def test_an_axis_reaches_down_to_a_negative_score(scored: MakeRun) -> None:
    from ptviz.figures.elements import score_range

    assert score_range(METRICS["accuracy"], []) == score_range(METRICS["matthews"], [0.2, None]) == [0, 1.03]
    assert score_range(METRICS["matthews"], [-0.2, 0.5]) == [pytest.approx(-0.23), 1.03]


def test_runs_of_different_metrics_are_not_drawn_on_one_axis(scored: MakeRun) -> None:
    runs = [scored("accuracy"), scored("macro-f1")]
    mixed = [
        plots.plot_run_comparison,
        plots.plot_comparison,
        plots.plot_comparison_panels,
        plots.plot_pareto_front,
        plots.plot_convergence,
        plots.plot_seeds,
        plots.plot_learning_rate_grid,
        plots.comparison_table,
    ]
    for plot in mixed:
        with pytest.raises(ValueError, match="one metric; got accuracy, macro F1"):
            plot(runs)


def test_the_best_correlation_may_be_negative() -> None:
    from ptviz.analysis.comparison import steps_to_reach

    assert steps_to_reach((0, 5, 10), (-0.4, -0.1, -0.2), 0.9) == 5
    assert steps_to_reach((0, 5, 10), (0.1, 0.46, 0.5), 0.9) == 5


def said_on(at: AppTest) -> str:
    texts = [element.value for kind in ("caption", "markdown", "text") for element in at.get(kind)]
    return " ".join([*texts, *(f"{one.label} {one.value} {one.delta} {one.help}" for one in at.metric)])


def test_the_page_of_a_run(page: Callable[..., AppTest], scored: MakeRun) -> None:
    at = page("train/watch.py", run=scored("macro-f1").id)
    said = said_on(at)
    assert "the macro F1 on validation texts" in said
    assert METRICS["macro-f1"].definition in said
    assert "ccuracy" not in said
    said = said_on(page("train/watch.py", run=scored("matthews").id))
    assert "Best on validation 0.80 +0.42" in said


def test_the_list_of_runs(page: Callable[..., AppTest], scored: MakeRun, store: Store) -> None:
    runs = [scored("accuracy"), scored("macro-f1")]
    assert list(build_run_frame(store.list())["Metric"]) == ["Macro F1", "Accuracy"]
    assert "Metric" not in build_run_frame([one for one in store.list() if one.id == runs[0].id])
    drawn = figures(page("train/runs.py", pick=",".join(run.id for run in runs)))
    axes = {name: figure["layout"]["yaxis"]["title"]["text"] for name, figure in drawn.items()}
    assert axes == {"comparison-accuracy": "validation accuracy", "comparison-macro-f1": "validation macro F1"}


def test_tables_and_files(scored: MakeRun) -> None:
    from ptviz.analysis.comparison import summarise_methods
    from ptviz.plots.comparison import load_results_of

    run = scored("matthews")
    header = history_to_csv({run.id: run.history()}, [run.metric]).splitlines()[0]
    assert header.endswith("validation_matthews")
    assert history_to_csv({run.id: run.history()}).splitlines()[0].endswith("validation_accuracy")
    results = load_results_of([run])
    assert evaluations_to_csv(results).splitlines()[0].endswith("step,validation_matthews")
    (row,) = display_rows(summarise_methods([*results, replace(results[0], seed=1)]), metric=run.metric)
    assert row["95% interval"] == "0.75 to 0.75"


def test_the_shell(scored: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    run = scored("matthews")
    assert run_command(["show", run.id]) == 0
    shown = capsys.readouterr().out
    assert "Matthews correlation 0.80" in shown
    assert "test        0.75" in shown
    assert "ccuracy" not in shown
    assert run_command(["runs"]) == 0
    assert "Matthews correlation" in capsys.readouterr().out.replace("\n", " ")
    assert run_command(["runs", "--json"]) == 0
    assert [one["metric"] for one in json.loads(capsys.readouterr().out)] == ["matthews"]


def test_a_damaged_environment_hides_no_run(scored: MakeRun, store: Store) -> None:
    run = scored("macro-f1")
    (run.path / "environment.json").write_text("{")
    assert [one.metric.name for one in store.list()] == ["accuracy"]
    assert run.metric is METRICS["accuracy"]


def test_transfer_between_tasks_of_different_metrics() -> None:
    import numpy as np

    from ptviz.figures.transfer import describe_transfer_grid, draw_transfer_grid

    scores, own = np.array([[0.1, 0.5], [0.2, -0.04]]), [[False, True], [False, False]]
    metrics = METRICS["accuracy"], METRICS["matthews"]
    figure = draw_transfer_grid(scores, ["trec6", "cola"], ["none", "P"], own, metrics)
    assert list(figure.layout.yaxis.ticktext) == ["trec6 (accuracy)", "cola (Matthews correlation)"]
    cells = figure.data[0]
    assert [list(row) for row in cells.text] == [["10%", "[50%]"], ["0.20", "-0.04"]]
    assert cells.colorbar.title.text == "score"
    said = describe_transfer_grid(scores, ["trec6", "cola"], ["none", "P"], metrics)
    assert "Zero-shot score of 2 prompts" in said
    assert "Best on cola (Matthews correlation): none, 0.20." in said
    same = draw_transfer_grid(scores, ["a", "b"], ["none", "P"], own, [METRICS["macro-f1"]] * 2)
    assert same.data[0].colorbar.title.text == "macro F1"
    assert list(same.layout.yaxis.ticktext) == ["a", "b"]


def test_measured_transfer_records_its_metric(scored: MakeRun, store: Store) -> None:
    from ptviz.experiments.transfer_prompts import target_tasks
    from ptviz.experiments.transfer_results import (
        TransferRun,
        TransferScore,
        acquire_record_lock,
        fingerprint,
        read_transfer_scores,
        save_measurement,
    )

    run = scored("matthews", task="trec6")
    (target,) = target_tasks(store.list())
    lock = acquire_record_lock(store)
    save_measurement(
        store, TransferScore(run.id, "trec6", 200, -0.25, 1.0, fingerprint(store, run.id, target), metric="matthews")
    )
    lock.release()
    said = words(plots.plot_transfer([run]))
    assert "Matthews correlation" in said
    assert "-0.25" in said
    assert "ccuracy" not in said
    (stored,) = read_transfer_scores(store).values()
    assert stored.metric == "matthews"
    old = json.loads((store.root / ".transfer.json").read_text())
    del old["cells"][0]["metric"]
    (store.root / ".transfer.json").write_text(json.dumps(old))
    assert read_transfer_scores(store)[stored.key].metric == "accuracy"
    assert TransferRun("a", "b", 1, 1, 0, (0,), (0.5,)).metric == "accuracy"
