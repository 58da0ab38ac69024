"""The results of a sweep, read from its runs: the table of settings and scores, and the best of each method."""

from __future__ import annotations

from collections.abc import Sequence

from ptviz.analysis.sweep import BestSettings, Setting, SweepRow, SweepTable, best_settings, build_sweep_table
from ptviz.experiments.run_results import load_result, with_row_scores
from ptviz.runs.run import Run
from ptviz.runs.run_filters import training_settings
from ptviz.tasks.metrics import ACCURACY, Metric, shared_metric


def load_sweep_table(runs: Sequence[Run]) -> tuple[SweepTable, Metric]:
    """Return the table of runs, and the metric of their scores.

    Raises:
        ValueError: if the metrics of the runs' tasks differ.
        StoreError: if a run cannot be read.
    """
    finished = [run for run in runs if run.status().state == "finished"]
    metric = shared_metric(run.metric for run in finished) if finished else ACCURACY
    return build_sweep_table(_read_row(run) for run in runs), metric


def load_best_settings(runs: Sequence[Run]) -> tuple[BestSettings, ...]:
    """Return the best settings of each method.

    Raises:
        ValueError: if the metrics of the runs' tasks differ.
        StoreError: if a run cannot be read.
    """
    table, _ = load_sweep_table(runs)
    known = [load_result(run) for run, row in zip(runs, table.rows, strict=True) if row.state == "finished"]
    results = with_row_scores([one for one in known if one is not None], {run.id: run for run in runs}.__getitem__)
    return best_settings(table, {result.run: result for result in results})


def table_rows(table: SweepTable) -> list[dict[str, object]]:
    """Return the rows of a table as plain data."""
    return [
        {
            "run": row.run,
            "state": row.state,
            **{name: row.settings.get(name) for name in table.names},
            "validation": row.score,
            "test": row.test,
            "seconds": row.seconds,
        }
        for row in table.rows
    ]


def best_row(best: BestSettings) -> dict[str, object]:
    """Return the best settings of a method as plain data."""
    summary = best.summary
    return {
        "method": summary.method,
        "settings": ", ".join(f"{name} {value}" for name, value in best.settings.items()),
        "tried": best.tried,
        "validation_mean": best.validation,
        "test_mean": summary.mean,
        "test_low": summary.interval.low if summary.interval else None,
        "test_high": summary.interval.high if summary.interval else None,
        "interval_over": summary.interval.over if summary.interval else None,
        "seeds": summary.seed_count,
    }


def _read_row(run: Run) -> SweepRow:
    config, status = run.config, run.status()
    settings: dict[str, Setting] = training_settings(config) | {"lr": config.effective_lr}
    # The seed last: it is what the others are averaged over.
    settings["seed"] = settings.pop("seed")
    return SweepRow(run.id, config.method, settings, status.state, status.accuracy, status.test, status.seconds or None)
