"""The public figures of a comparison: for none, one and several runs, and words for what is wrong."""

from __future__ import annotations

import pytest

from ptviz import plots
from ptviz.plots.alt_text import alt_of
from ptviz.runs import RunConfig, RunWriter, Store
from ptviz.training.events import Evaluated, StageStarted

EVERY = [
    plots.plot_comparison,
    plots.plot_comparison_panels,
    plots.plot_pareto_front,
    plots.plot_convergence,
    plots.plot_seeds,
    plots.plot_learning_rate_grid,
]


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("plot", EVERY)
def test_any_number_of_runs_also_by_id(plot, count):
    runs = [Store().create(RunConfig(method="dpt")) for _ in range(count)]
    figure = plot(runs)
    assert len(alt_of(figure)) > 20
    assert plot([run.id for run in runs]).to_json() == figure.to_json()


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match="cost: expected one of trained, seconds, memory, length, size; got 'money'"):
        plots.plot_pareto_front([], cost="money")
    runs = [Store().create(RunConfig(method=name)) for name in ("dpt", "smop")]
    with pytest.raises(ValueError, match="expected runs of one method; got dpt, smop"):
        plots.plot_learning_rate_grid(runs)


def test_references_are_dotted_lines_with_names():
    run = Store().create(RunConfig(method="dpt"))
    with RunWriter(run) as writer:
        writer.begin(None)
        writer.write_event(StageStarted(0, "tune", 4))
        writer.write_event(Evaluated(0, 2, 1.0, 0.5, True, 1.0))
    plain, drawn = plots.plot_comparison([run]), plots.plot_comparison([run], references={"LoRA": 0.9, "full": 0.8})
    dotted = [trace for trace in drawn.data if trace.line.dash == "dot"]
    assert [(trace.name, set(trace.y)) for trace in dotted] == [("LoRA", {0.9}), ("full", {0.8})]
    assert len(drawn.data) == len(plain.data) + 2
    assert "References: LoRA 90.0%; full 80.0%." in alt_of(drawn)
    flat = plots.plot_comparison([run], references={"LoRA": 0.5})
    assert flat.layout.yaxis.range is not None, "plotly would draw -100% to 100% around equal scores"
