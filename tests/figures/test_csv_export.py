"""Exported data of a figure: names where the figure shows names, in full and as they are, and numbers elsewhere."""

from __future__ import annotations

import csv
import io

import numpy as np
import plotly.graph_objects as go

from ptviz.analysis.prediction_errors import ClassScores, LengthGroup
from ptviz.analysis.prompt_clusters import cluster
from ptviz.analysis.sweep import SettingImportance, SweepRow, build_sweep_table, mean_scores
from ptviz.figures import attention, prediction_errors, prompt_similarity, sweep
from ptviz.figures.class_probabilities import ClassProbabilities, draw_class_probabilities
from ptviz.figures.csv_export import figure_to_csv
from ptviz.figures.elements import add_points, axis, category_axis, empty_figure

LONG = "<b>a class</b> & a name that is far longer than its tick"


def exported(figure: go.Figure) -> list[dict[str, str]]:
    assert "<b>" not in figure.to_json()
    return list(csv.DictReader(io.StringIO(figure_to_csv(figure))))


def column(figure: go.Figure, letter: str, trace: str) -> list[str]:
    return [row[letter] for row in exported(figure) if row["trace"] == trace]


def test_categories_are_exported_by_name():
    scores = [ClassScores(name, 10, 0.5, 0.5, 0.5, 0.25) for name in (LONG, "short")]
    figure = prediction_errors.draw_class_scores(scores)
    assert column(figure, "y", "with the prompt") == column(figure, "y", "without a prompt") == [LONG, "short"]
    groups = [LengthGroup(1, 4, 7, 0.5, None, 0.25), LengthGroup(5, 5, 3, 0.75, None, 0.5)]
    figure = prediction_errors.draw_length_groups(groups)
    assert column(figure, "x", "with the prompt") == ["1 to 4 (7)", "5 (3)"]
    figure = draw_class_probabilities(ClassProbabilities((LONG, "b"), (0.9, 0.1), (0.4, 0.6)))
    assert column(figure, "y", "with prompt") == [LONG, "b"]
    figure = sweep.draw_setting_importance(SettingImportance(("lr", "m"), (0.75, 0.25), 9))
    assert column(figure, "y", "main effect") == ["lr", "m"]


def test_cells_are_exported_by_the_names_of_row_and_column():
    rows = [SweepRow(f"{i}", "x", {"init": init, "lr": lr}, score=0.1 * i)
            for i, (init, lr) in enumerate([(LONG, 0.1), (LONG, 0.3), ("words", 0.1)])]  # fmt: skip
    table = build_sweep_table(rows)
    figure = sweep.draw_sweep_heatmap(table, "init", "lr", mean_scores(table, "init", "lr"))
    assert {(row["x"], row["y"]) for row in exported(figure)} == {(LONG, "0.1"), (LONG, "0.3"), ("words", "0.1")}
    names = [f"token {i}" for i in range(90)]
    heat_map = attention.draw_attention_heatmap(np.full((1, 90), 0.5), "text", "token", [LONG], names)
    cells = exported(heat_map)
    assert [row["x"] for row in cells] == names, "also where only every third column has a tick"
    assert {row["y"] for row in cells} == {LONG}


def test_only_positions_on_an_axis_of_names_are_named():
    figure = empty_figure(300, xaxis=category_axis(["a", "b"], 9), yaxis=axis(), yaxis2=category_axis(["c", "d"], 9))
    add_points(figure, [0, 1, 2, -1, 0.5], [0, 1, 0, 1, 0], "first")
    add_points(figure, [0, 1], [0, 1], "second", yaxis="y2")
    assert column(figure, "x", "first") == ["a", "b", "2", "-1", "0.5"]
    assert column(figure, "y", "first") == ["0", "1", "0", "1", "0"]
    assert column(figure, "y", "second") == ["c", "d"]
    alike = np.array([[1, 0.2, 0.9], [0.2, 1, 0.3], [0.9, 0.3, 1]])
    tree = cluster(alike)
    branches = column(prompt_similarity.draw_similarity(alike, "abc", tree, "mean"), "x", "dendrogram")
    assert [float(x) for x in branches] == tree.positions.ravel().tolist(), "a branch is no prompt"
    space = go.Figure(go.Scatter3d(x=[0], y=[1], z=[2], name="space"), layout={"xaxis": category_axis(["a"], 9)})
    assert exported(space)[0]["x"] == "0"
