"""The record of the learning-rate sweep: winners, reused runs, and the published tables."""

from __future__ import annotations

import json
import math
import re
import statistics
from pathlib import Path
from typing import Any

import pytest

from ptviz.experiments import lr_sweep, rate_grid
from ptviz.methods import REGISTRY, list_methods
from ptviz.methods.hyperparameters import STORED_KEY
from ptviz.training.default_lr import FALLBACK_LR
from ptviz.training.events import Finished

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results.md"


def run(lr: float, validation: float, **more: Any) -> dict[str, Any]:
    values = list_methods()["prompt-tuning"].check_hyperparameters({})
    usual = {"backbone": "minilm-l6", "method": "prompt-tuning", STORED_KEY: values, "task": "trec6", "seed": 0}
    usual |= {"steps": 200, "batch": 16, "test": validation, "zero_shot": 0.5, "majority": 0.25}
    return usual | {"lr": lr, "validation": validation} | more


def chosen(*runs: dict[str, Any], winners: dict[str, Any] | None = None) -> dict[str, Any]:
    record = {"runs": list(runs), "winners": {"minilm-l6": {"prompt-tuning": winners}} if winners else {}}
    lr_sweep.select_winners(record)
    return record["winners"]["minilm-l6"]["prompt-tuning"]  # type: ignore[no-any-return]


def test_the_best_mean_validation_accuracy_wins_on_what_every_rate_ran() -> None:
    assert chosen(run(0.1, 0.8), run(0.2, 0.7))["lr"] == 0.1
    assert chosen(run(0.1, 0.8), run(0.2, 0.7), run(0.1, 0.1, task="sms"))["lr"] == 0.1
    assert chosen(run(0.1, 0.8), run(0.2, 0.9, **{STORED_KEY: {"m": 50}}))["lr"] == 0.1


def test_a_speed_is_kept_only_with_its_learning_rate() -> None:
    assert chosen(run(0.1, 0.8), winners={"lr": 0.1, "steps_per_second": 9.0})["steps_per_second"] == 9.0
    assert chosen(run(0.1, 0.8), winners={"lr": 0.2, "steps_per_second": 9.0}) == {"lr": 0.1}


def test_a_run_recorded_before_a_hyperparameter_existed_counts_as_run() -> None:
    old = run(0.1, 0.8)
    key = {name: old[name] for name in ("backbone", "method", STORED_KEY, "lr", "task", "seed", "steps", "batch")}
    lacking = {**old, STORED_KEY: {"m": old[STORED_KEY]["m"]}}
    assert lr_sweep._matches_key(lacking, key)
    assert not lr_sweep._matches_key({**lacking, STORED_KEY: {"m": 3}}, key)
    assert not lr_sweep._matches_key(lacking, key | {"seed": 1})


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    lr_sweep.save_record({"winners": {}, "runs": [run(0.1, 0.8, seconds=1.0, steps_per_second=2.0)]}, path)
    record = lr_sweep.read_record(path)
    assert record["runs"][0]["lr"] == 0.1
    lr_sweep.save_record({**record, "runs": [record["runs"][0] | {"test": -0.02}]}, path)
    assert lr_sweep.read_record(path)["runs"][0]["test"] == -0.02, "a correlation"
    for changed in ({"lr": "fast"}, {"validation": 80}, {"task": None}, {STORED_KEY: 3}):
        lr_sweep.save_record({**record, "runs": [record["runs"][0] | changed]}, path)
        with pytest.raises(ValueError, match=rf"record.json: runs\[0\].{next(iter(changed))}: expected"):
            lr_sweep.read_record(path)


MAIN = ["trec6", "tweets", "sms"]
LOW = ["yahoo", "stackoverflow", "dbpedia", "hwu", "mcid", "banking77", "clinc150", "clinc-pairs", "banking-pairs"]
"""The other built-in tasks of which the untouched backbone answers less than 80% right."""


@pytest.mark.parametrize(("name", "tasks", "steps"), [("accuracies", MAIN, 200), ("after-60", LOW, 60)])
def test_the_results_show_the_record(name: str, tasks: list[str], steps: int) -> None:
    table = re.search(rf"<!-- {name}: .*? -->\n(.*?)<!-- /{name} -->", RESULTS.read_text(), re.S)
    assert table is not None
    command = f"python -m ptviz.experiments.lr_sweep --table --steps {steps} --tasks {' '.join(tasks)}"
    assert table[1].strip() == lr_sweep.format_table(json.loads(lr_sweep.RECORD_PATH.read_text()), tasks, steps), (
        f"run: {command}"
    )


@pytest.mark.parametrize("backbone", ["minilm-l6", "smollm2-135m"])
def test_the_results_show_what_the_tuning_seeds_chose_from(backbone: str) -> None:
    table = re.search(rf"<!-- tuning-{backbone}: .*? -->\n(.*?)<!-- /tuning-{backbone} -->", RESULTS.read_text(), re.S)
    assert table is not None
    record = json.loads(lr_sweep.RECORD_PATH.read_text())
    command = f"python -m ptviz.experiments.lr_sweep --tuning-table --backbone {backbone}"
    assert table[1].strip() == lr_sweep.format_tuning_table(record, backbone), f"run: {command}"


def test_the_tuning_table_marks_the_choice_and_leaves_out_what_is_not_complete() -> None:
    rates = ((0.1, 0.6), (0.2, 0.8), (0.3, 0.7))
    runs = [run(lr, score, seed=seed) for lr, score in rates for seed in lr_sweep.TUNING_SEEDS]
    record = {"winners": {"minilm-l6": {runs[0]["method"]: {"lr": 0.2}}}, "runs": runs}
    assert lr_sweep.format_tuning_table(record, "minilm-l6").endswith("0.1: 0.600, **0.2: 0.800**, 0.3: 0.700 |")
    for less in (runs[:-1], runs[:6]):  # One run is missing; the best rate is at the edge.
        assert len(lr_sweep.format_tuning_table({**record, "runs": less}, "minilm-l6").splitlines()) == 2


def recorded(task: str, method: str) -> list[dict[str, Any]]:
    """Return the runs of a method's default settings on a task, of at most 300 steps."""
    record = json.loads(lr_sweep.RECORD_PATH.read_text())
    rate = record["winners"]["minilm-l6"][method]["lr"]
    found = [
        run for run in record["runs"] if (run["backbone"], run["method"], run["task"]) == ("minilm-l6", method, task)
    ]
    return [
        run for run in found if run["lr"] == rate and run["steps"] <= 300 and lr_sweep._has_default_hyperparameters(run)
    ]


@pytest.mark.parametrize("method", [name for name in REGISTRY if name != "ctpt"])
def test_every_gradient_method_learned(method: str) -> None:
    for task, least in zip(MAIN, (0.75, 0.84, 0.95), strict=True):
        runs = recorded(task, method)
        assert {run["seed"] for run in runs} >= {0, 1, 2}
        assert statistics.mean(run["test"] for run in runs if run["steps"] == 200) >= least
    for task in [*MAIN, *LOW]:
        runs = recorded(task, method)
        assert runs, task
        assert all(run["test"] > run["zero_shot"] for run in runs), task


@pytest.mark.parametrize("task", ["trec6", "tweets"])
def test_the_search_without_gradients_learned(task: str) -> None:
    runs = recorded(task, "ctpt")
    assert {run["seed"] for run in runs} >= {0, 1, 2}
    assert all(run["test"] > run["zero_shot"] for run in runs)


TUNED = {"task": "trec6", "seed": 100}


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ({0.02: 0.5, 0.05: 0.7, 0.1: 0.6}, None),
        ({0.02: 0.5, 0.05: 0.6, 0.1: 0.7}, 0.2),
        ({0.02: 0.7, 0.05: 0.6, 0.1: 0.5}, 0.008),
        ({0.001: 0.5, 0.003: 0.7}, 0.009),
        ({0.02: 0.5}, None),  # a method that chooses its own
    ],
)
def test_a_grid_grows_where_its_best_rate_is_at_the_edge(means: dict[float, float], expected: float | None) -> None:
    assert rate_grid.next_rate(means) == expected


def test_tuning_seeds_decide_once_their_winner_is_inside() -> None:
    old = [run(0.05, 0.9), run(0.1, 0.8)]
    edge = [run(rate, score, **TUNED) for rate, score in ((0.05, 0.6), (0.1, 0.7))]
    assert chosen(*old, *edge)["lr"] == 0.05, "the best of the tuning seeds is at the edge: they do not decide yet"
    inside = [*edge, run(0.2, 0.65, **TUNED)]
    assert chosen(*old, *inside)["lr"] == 0.1
    other = run(0.2, 0.99, task="trec6", seed=101)
    assert chosen(*old, *inside, other)["lr"] == 0.05, "two rates lack a seed that the third has"


def test_a_winner_within_one_standard_error_of_the_best_stays() -> None:
    def tuned(noise: float) -> list[dict[str, Any]]:
        scores = {0.05: (0.60, 0.60), 0.1: (0.69 + noise, 0.69 - noise), 0.2: (0.70, 0.70), 0.4: (0.6, 0.6)}
        return [
            run(rate, score, task="trec6", seed=100 + i)
            for rate, both in scores.items()
            for i, score in enumerate(both)
        ]

    assert chosen(*tuned(0.05), winners={"lr": 0.1})["lr"] == 0.1
    assert chosen(*tuned(0.005), winners={"lr": 0.1})["lr"] == 0.2, "the difference is twice its standard error"
    assert chosen(*tuned(0.05))["lr"] == 0.2, "nothing was chosen before"
    old = [{**one, "seed": one["seed"] - 100} for one in tuned(0.05)]
    assert chosen(*old, winners={"lr": 0.1})["lr"] == 0.2, "the rule is that of the tuning seeds"


def test_the_fallback_rate_stays_unless_another_is_better_by_more_than_a_standard_error() -> None:
    def tuned(gain: float) -> list[dict[str, Any]]:
        scores = {0.01: (0.5, 0.5), FALLBACK_LR: (0.60, 0.66), 0.05: (0.60 + gain, 0.66 - gain / 2), 0.1: (0.5, 0.5)}
        return [run(rate, one, seed=100 + i) for rate, both in scores.items() for i, one in enumerate(both)]

    assert chosen(*tuned(0.02))["lr"] == FALLBACK_LR
    assert chosen(*tuned(-0.04))["lr"] == FALLBACK_LR
    better = [run(one["lr"], one["validation"] + 0.05 * (one["lr"] == 0.05), seed=one["seed"]) for one in tuned(0.0)]
    assert chosen(*better)["lr"] == 0.05


def test_tuning_extends_the_grid_and_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best rate, 0.35, is beyond the grid; what was recorded is not run again."""
    path, ran = tmp_path / "record.json", []
    lr_sweep.save_record({"winners": {}, "runs": []}, path)

    def fake(method: str, frozen: object, task: Any, config: Any, **more: Any) -> Any:
        ran.append((config.lr, config.seed))
        if len(ran) == stop:
            raise KeyboardInterrupt
        score = 1 - abs(math.log(config.lr / 0.35)) / 10
        yield Finished(
            validation=score, test=score, test_loss=0.1, majority=0.25, zero_shot=0.5, best_step=200, steps=200,
            seconds=1.0, steps_per_second=2.0,
        )  # fmt: skip

    monkeypatch.setattr(lr_sweep, "train", fake)
    monkeypatch.setattr(lr_sweep, "load_backbone", lambda name: None)
    stop = 8
    with pytest.raises(KeyboardInterrupt):
        lr_sweep.tune_rates("tiny-encoder", ["mcid"], ["prompt-tuning"], 200, 16, path)
    stop = 0
    lr_sweep.tune_rates("tiny-encoder", ["mcid"], ["prompt-tuning"], 200, 16, path)
    assert sorted({rate for rate, _ in ran}) == [0.02, 0.05, 0.1, 0.2, 0.4, 0.8]
    assert len(ran) == 1 + 6 * 3, "one run was interrupted"
    assert {seed for _, seed in ran} == set(rate_grid.TUNING_SEEDS)
    assert lr_sweep.read_record(path)["winners"]["tiny-encoder"]["prompt-tuning"] == {"lr": 0.4}
    assert "| 0.4 |" not in lr_sweep.format_table(lr_sweep.read_record(path), ["mcid"], 200, "tiny-encoder")
