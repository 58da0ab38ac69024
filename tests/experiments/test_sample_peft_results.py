"""Recorded runs as result files of PEFT's benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptviz.analysis.peft_benchmark import parse_results
from ptviz.analysis.peft_benchmark_files import read_benchmark_files
from ptviz.experiments.run_results import load_result
from ptviz.experiments.sample_peft_results import benchmark_samples, write_benchmark_samples
from ptviz.methods import list_methods
from ptviz.runs.run import Run


def test_the_samples_are_the_recorded_runs(gallery: Path, tmp_path: Path) -> None:
    runs = [Run(folder) for folder in sorted((gallery / "runs").glob("recorded-trec6-minilm-l6-*"))]
    write_benchmark_samples(tmp_path, runs)
    folder = benchmark_samples()
    assert folder is not None
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in tmp_path.iterdir()
    }
    results, problems = parse_results(read_benchmark_files([folder])[0])
    assert not problems
    assert {result.survey_method for result in results} == set(list_methods())
    own = {(run.config.method, run.config.training.seed): load_result(run) for run in runs}
    for result in results:
        read, stored = result.run_result, own[result.survey_method, result.run_result.seed]
        assert stored is not None
        assert read.test == pytest.approx(stored.test, abs=1e-4)
        assert set(read.evaluated) == set(stored.evaluated)
        assert (read.trained, read.length) == (stored.trained, stored.length)
        assert result.losses
        # A search without gradients has no learning rate; its step size must not be shown as one.
        assert (result.lr is None) == (result.survey_method == "ctpt")
