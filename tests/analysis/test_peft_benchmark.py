"""PEFT's result files, from a small one of their layout."""

from __future__ import annotations

import json

import pytest

from ptviz.analysis.peft_benchmark import lap_of, laps_of
from ptviz.analysis.race import standings, steps_to


def result(**changes) -> str:
    metrics = [
        {"step": 250, "valid accuracy": 0.2, "train loss": 0.9},
        {"step": 500, "valid accuracy": 0.4, "train loss": 0.8},
        {"step": 500, "test accuracy": 0.37, "train loss": 0.8},
    ]
    training = {
        "status": "success", "train_time": 12.5, "num_trainable_params": 61440, "accelerator_memory_max": 2**30,
        "metrics": metrics, **changes,
    }  # fmt: skip
    run = {
        "experiment_name": "prompt_tuning/small", "created_at": "2025-06-19", "train_config": {"seed": 3},
        "peft_config": {"num_virtual_tokens": 20},
    }  # fmt: skip
    return json.dumps({"run_info": run, "train_info": training, "meta_info": {}})


def test_a_result_becomes_a_lap():
    lap = lap_of(result())
    assert (lap.method, lap.seed, lap.test, lap.validation) == ("prompt_tuning/small", 3, 0.37, 0.4)
    assert (lap.seconds, lap.trained, lap.memory, lap.length) == (12.5, 61440, 2**30, 20)
    assert (lap.evaluated, lap.accuracies) == ((250, 500), (0.2, 0.4))
    assert steps_to(lap.evaluated, lap.accuracies, 0.95) == 500
    assert standings([lap])[0].mean == 0.37


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "JSON"),
        ("[]", "run_info"),
        ("{}", "run_info"),
        (result(status="failed"), "did not succeed"),
        (result(metrics=[]), "test accuracy"),
    ],
)
def test_other_files_are_refused(text, said):
    with pytest.raises(ValueError, match=said):
        lap_of(text)
    assert laps_of([("x.json", text)]) == ([], [laps_of([("x.json", text)])[1][0]])


def test_good_files_are_read_beside_bad_ones():
    laps, problems = laps_of([("good", result()), ("bad", "{")])
    assert len(laps) == 1
    assert problems[0].startswith("bad: ")
