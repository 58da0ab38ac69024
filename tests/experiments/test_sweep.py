"""Sweeps: strictly read, expanded to configs once each, and their cost taken from measured runs."""

from __future__ import annotations

import pytest

from ptviz.engine.train_job import train_run
from ptviz.experiments.planned_runs import find_runs
from ptviz.experiments.sweep import SweepError, expand_sweep, parse_sweep, sweep_from_options
from ptviz.experiments.sweep_cost import estimate_sweep

GRID = b"""
methods = ["prompt-tuning", "dept"]
tasks = ["trec6", "sms"]
seeds = [3, 1]
[training]
lr = { low = 0.01, high = 1, scale = "log", points = 3 }
steps = 20
[hyperparameters]
m = { low = 5, high = 6, points = 4 }
r = [2, 4]
"""


def test_a_grid_makes_every_combination_of_what_a_method_has():
    configs = expand_sweep(parse_sweep(GRID))
    # Two seeds, two tasks, three rates, and m of two whole numbers; dept has r as well.
    assert len(configs) == 2 * 2 * 3 * (2 + 2 * 2)
    assert {config.training.lr for config in configs} == {0.01, 0.1, 1}
    assert {config.hyperparameters["m"] for config in configs} == {5, 6}
    assert [config.training.seed for config in configs] == [3] * 36 + [1] * 36
    assert all(("r" in config.hyperparameters) == (config.method == "dept") for config in configs)


def test_equal_trainings_are_made_once():
    spec = b'methods = "prompt-tuning"\nseeds = 1\n[training]\nlr = [0.1, 0.1]\nsnapshot_every = [5, 10]\n'
    assert len(expand_sweep(parse_sweep(spec))) == 1  # how often a run is saved does not change its prompt


def test_random_draws_are_shared_by_methods_and_begin_alike_in_longer_searches():
    def draws(samples: int, methods: str) -> list[tuple[str, float, int]]:
        text = f'methods = {methods}\nseeds = 1\nsearch = "random"\nsamples = {samples}\n[training]\n'
        text += 'lr = { low = 0.001, high = 1, scale = "log" }\n[hyperparameters]\nm = { low = 1, high = 50 }\n'
        found = expand_sweep(parse_sweep(text.encode()))
        return [(one.method, one.training.lr, one.hyperparameters["m"]) for one in found]

    short = draws(5, '"prompt-tuning"')
    assert draws(9, '"prompt-tuning"')[:5] == short
    assert len({lr for _, lr, _ in short}) == 5
    both = draws(5, '["prompt-tuning", "smop"]')
    assert [one[1:] for one in both if one[0] == "smop"] == [one[1:] for one in short]
    rates = [lr for _, lr, _ in draws(200, '"prompt-tuning"')]
    assert 60 < sum(lr < 0.0316 for lr in rates) < 140, "half of the draws lie below the middle of a log scale"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("color = 1", "unknown field color"),
        ('methods = ["zz"]', "got zz"),
        ("seeds = 0", "seeds: expected a whole number >= 1"),
        ("seeds = [1, 1]", "seeds: expected each once"),
        ("[training]\nrate = 1", "training.rate: expected one of steps"),
        ("[training]\nseed = 1", "Seeds are given by `seeds`"),
        ("[training]\nlr = { low = 1, high = 0.1, points = 2 }", "expected low <= high"),
        ("[training]\nlr = { low = 0.1, high = 1 }", "a grid needs the number of points"),
        ('[training]\nlr = { low = 0, high = 1, scale = "log", points = 2 }', "low above 0"),
        ("[training]\nlr = { low = 0.1, high = 1, steps = 2 }", "unknown field steps"),
        ("[training]\nsteps = [10, 0]", "steps: expected a number from 1"),
        ("[training]\nsteps = { low = 1.5, high = 3, points = 2 }", "whole numbers"),
        ("[hyperparameters]\nm = 1000", "m (prompt tokens): expected a whole number from 1 to 200"),
        ("[hyperparameters]\nzz = 1", "hyperparameters.zz: none of the methods has it"),
        ("[training]\nlr = 2020-01-01", "expected plain data"),
        ("[early_stopping]\ngrace = 5", 'expected search = "asha"'),
        ("methods =", "expected TOML"),
        ("[hyperparameters]\nm = { low = 1, high = 200, points = 200 }\nr = { low = 1, high = 500, points = 500 }",
         "at most 100,000 runs"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_nothing_is_made(text: str, message: str):
    with pytest.raises(SweepError) as caught:
        expand_sweep(parse_sweep(text.encode()))
    assert message in str(caught.value)


def test_options_make_the_same_sweep_as_a_file():
    settings = {"methods": ["prompt-tuning"], "seeds": 2, "training": {"lr": {"low": 0.1, "high": 1, "points": 2}}}
    spec, text = sweep_from_options({**settings, "hyperparameters": {"m": [3], "init": "normal"}})
    assert expand_sweep(parse_sweep(text)) == expand_sweep(spec)
    assert len(expand_sweep(spec)) == 4


def test_the_cost_counts_what_is_missing_and_is_measured_on_finished_runs(store, model_cache, config):
    text = b'methods = ["prompt-tuning", "smop"]\nbackbones = "fake"\ntasks = "fake"\nseeds = 2\n'
    text += b"[training]\nsteps = 30\nevaluate_every = 7\nsnapshot_every = 5\n[hyperparameters]\nm = 3\n"
    configs = expand_sweep(parse_sweep(text))
    before = estimate_sweep(store, find_runs(store, configs))
    assert (before.runs, before.to_train, before.measured, before.processor_hours) == (4, 4, 0, None)
    assert config.training_fingerprint == configs[0].training_fingerprint
    run = store.create(config)
    train_run(run, model_cache)
    cost = estimate_sweep(store, find_runs(store, configs))
    assert (cost.finished, cost.to_train, cost.measured) == (1, 3, 1)
    one = estimate_sweep(
        store, [entry for entry in find_runs(store, configs) if entry.config.method == "prompt-tuning"]
    )
    threads = run.environment()["threads"]
    assert one.processor_hours == pytest.approx(run.status().seconds * threads / 3600)
    assert one.bytes == pytest.approx(
        sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file()), rel=0.01
    )
