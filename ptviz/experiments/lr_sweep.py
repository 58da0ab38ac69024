"""Learning-rate sweep behind the default learning rates; run it with ``python -m ptviz.experiments.lr_sweep``.

``lr_sweep_record.json`` holds every run: backbone, method, hyperparameters, learning rate, task, seed and accuracies.
The winner of a method on a backbone is the rate with the best mean validation accuracy over the tasks; test accuracy
is recorded but not used for the selection.

``--tune`` chooses rates on seeds that no table reports, ``TUNING_SEEDS``. It adds rates until the winner lies
between two others. Every run is saved at once, and the same command continues after an interruption.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, TypedDict

from msgspec import Meta

from ptviz.atomic_files import write_file
from ptviz.backbones import Backbone, load_backbone
from ptviz.experiments.rate_grid import MOST_RATES, TUNING_SEEDS, next_rate
from ptviz.methods import list_methods
from ptviz.methods.hyperparameters import STORED_KEY
from ptviz.methods.source_prompt import SourcePrompt
from ptviz.tasks import Task, default_source_tasks, load_task
from ptviz.training.config import TrainConfig
from ptviz.training.default_lr import fallback_learning_rate
from ptviz.training.events import Baselines, Finished
from ptviz.training.source_prompts import make_source_config
from ptviz.training.trainer import train, train_source_prompt
from ptviz.validation import (
    Count,
    Duration,
    InvalidData,
    Name,
    PathText,
    Scalar,
    Score,
    StepCount,
    decode_json,
)

RECORD_PATH = Path(str(files("ptviz.training"))) / "lr_sweep_record.json"
TUNING_TEST_ROWS = 100
"""Test examples of runs on the tuning seeds: no table shows their test accuracy, so that few are enough."""
SCORE_NAMES = ("validation", "test", "zero_shot", "majority", "steps_per_second", "seconds")
LR_GRID: dict[str, tuple[float, ...]] = {
    "prompt-tuning": (0.02, 0.05, 0.1),
    "p-tuning-v2": (0.02, 0.05, 0.1),
    "dept": (0.02, 0.05, 0.1),
    "smop": (0.05, 0.1, 0.2),
    "p-tuning": (0.001, 0.003, 0.01),
    "residual": (0.02, 0.05, 0.1),
    "prefix-tuning": (0.0001, 0.0003, 0.001),
    "dpt": (0.02, 0.05, 0.1),
    "pt-moe": (0.02, 0.05, 0.1),
    "xprompt": (0.05, 0.1, 0.2),
    "spot-single": (0.02, 0.05, 0.1, 0.2),
    "spot-multi": (0.02, 0.05, 0.1, 0.2),
    "attempt": (0.02, 0.05, 0.1, 0.2),
    "transprompt": (0.001, 0.003, 0.01, 0.02, 0.03),
    "mpt": (0.02, 0.05, 0.1),
    "ctpt": (0.02,),  # A search without gradients sets its own step size.
}


SourcePromptCache = dict[tuple[str, int, int], SourcePrompt]
"""Source prompts by task, length and steps."""


def run_sweep(
    backbone: str,
    tasks: list[str],
    methods: list[str],
    seeds: list[int],
    steps: int,
    batch: int,
    confirm: bool,
    path: Path = RECORD_PATH,
    cache: SourcePromptCache | None = None,
    grid: Mapping[str, Sequence[float]] = LR_GRID,
    frozen: Backbone | None = None,
) -> None:
    """Run what the record lacks, saving after each run; then select the winners.

    ``confirm`` runs only the winning rates, to evaluate them on more tasks and seeds. ``cache`` holds the source
    prompts that are trained, so that methods and rates share them. ``grid`` holds the rates of each method; ``frozen``
    is the backbone if it is loaded already.
    """
    cache = {} if cache is None else cache
    record = read_record(path)
    frozen = load_backbone(backbone) if frozen is None else frozen
    baselines: dict[str, Baselines] = {}
    for seed, name, method in itertools.product(seeds, tasks, methods):
        task, values = load_task(name), list_methods()[method].check_hyperparameters({})
        rates = (record["winners"][backbone][method]["lr"],) if confirm else grid[method]
        for lr in rates:
            key = {"backbone": backbone, "method": method, STORED_KEY: values, "lr": lr, "task": name, "seed": seed}
            key |= {"steps": steps, "batch": batch}
            if any(_matches_key(run, key) for run in record["runs"]):
                continue
            every = max(25, steps // 4)
            config = TrainConfig(steps=steps, seed=seed, lr=lr, batch=batch, evaluate_every=every, snapshot_every=steps)
            if seed in TUNING_SEEDS:
                config = replace(config, test_rows=TUNING_TEST_ROWS)
            sources = None
            if list_methods()[method].uses_source_tasks:
                sources = [load_task(source) for source in default_source_tasks(name)]
            prompts = {}
            if sources and list_methods()[method].needs_source_prompts:
                m = int(values["m"])
                prompts = {task.name: get_source_prompt(cache, frozen, task, m, config) for task in sources}
            known = baselines.get(name)
            for event in train(
                method,
                frozen,
                task,
                config,
                hyperparameters=values,
                baselines=known,
                sources=sources,
                source_prompts=prompts,
            ):
                if isinstance(event, Baselines):
                    baselines[name] = event
                if isinstance(event, Finished):
                    run = {**key, **{score: round(getattr(event, score), 4) for score in SCORE_NAMES}}
                    record["runs"].append(run)
                    print(json.dumps(run), flush=True)
                    save_record(record, path)
    select_winners(record)
    save_record(record, path)


def tune_rates(
    backbone: str,
    tasks: list[str],
    methods: list[str],
    steps: int,
    batch: int,
    path: Path = RECORD_PATH,
    seeds: Sequence[int] = TUNING_SEEDS,
) -> None:
    """Run every rate of the grid on the tuning seeds, and add rates until the best one lies inside the grid.

    A method whose grid has one rate, because it needs none, is run at that rate.
    """
    frozen, cache = load_backbone(backbone), SourcePromptCache()
    for method in methods:
        rates: list[float] = sorted(LR_GRID[method])
        while True:
            run_sweep(
                backbone, tasks, [method], list(seeds), steps, batch, False, path, cache, {method: rates}, frozen
            )  # fmt: skip
            own = [r for r in read_record(path)["runs"] if (r["backbone"], r["method"]) == (backbone, method)]
            means = mean_validation([r for r in own if r["seed"] in seeds and r["steps"] == steps])
            more = next_rate({rate: means[rate] for rate in rates if rate in means})
            if more is None or len(rates) >= MOST_RATES:
                break
            rates = sorted([*rates, more])


def mean_validation(runs: Sequence[Mapping[str, Any]]) -> dict[float, float]:
    """Return the mean validation score of each rate that ran on every task and seed of these runs, by rate."""
    groups: dict[float, list[Mapping[str, Any]]] = defaultdict(list)
    for run in runs:
        if _has_default_hyperparameters(run):
            groups[run["lr"]].append(run)
    wanted = {_comparison_key(run) for own in groups.values() for run in own}
    return {
        rate: statistics.mean(run["validation"] for run in own)
        for rate, own in sorted(groups.items())
        if {_comparison_key(run) for run in own} == wanted
    }


def get_source_prompt(
    cache: SourcePromptCache, backbone: Backbone, task: Task, m: int, config: TrainConfig
) -> SourcePrompt:
    """Return the source prompt of a task, trained first if needed: methods, learning rates and seeds share it."""
    key = (task.name, m, config.source_steps)
    if key not in cache:
        cache[key] = train_source_prompt(backbone, task, m, make_source_config(config))
    return cache[key]


def select_winners(record: dict[str, Any]) -> None:
    """Set the best learning rates: highest mean validation accuracy, at default hyperparameters.

    Rates are compared on the (task, seed, steps) that all of them ran; runs that only confirm the winner are left out.
    Runs on the tuning seeds decide alone once their best rate lies inside the grid, or as many rates were tried as may
    be; before that they count for nothing. The rate in use before them, the winner or else the fallback, stays if it is
    within one standard error of the best (the one-standard-error rule, Breiman et al., "Classification and Regression
    Trees", 1984).
    """
    groups: dict[tuple[str, str], dict[float, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for run in record["runs"]:
        if _has_default_hyperparameters(run):
            groups[run["backbone"], run["method"]][run["lr"]].append(run)
    winners: dict[str, dict[str, Any]] = defaultdict(dict)
    for (backbone, method), every in groups.items():
        rates = _deciding_runs(every)
        if not rates:
            continue
        shared = set.intersection(*({_comparison_key(run) for run in runs} for runs in rates.values()))
        means = {
            lr: statistics.mean(run["validation"] for run in runs if _comparison_key(run) in shared)
            for lr, runs in rates.items()
            if shared
        }
        best = max(means, key=lambda lr: means[lr]) if means else next(iter(rates))
        # The recorded speed was measured on an idle machine; these runs may have shared theirs.
        earlier = record.get("winners", {})
        before = earlier.get(backbone, {}).get(method, {})
        old = before.get("lr", fallback_learning_rate(method, earlier))
        if old in means and _is_within_noise(rates[old], rates[best]):
            best = old
        winners[backbone][method] = before if before.get("lr") == best else {"lr": best}
    record["winners"] = winners


def _is_within_noise(runs: Sequence[Mapping[str, Any]], best: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether tuning runs differ from those of the best rate by at most one standard error, pair by pair."""
    scores = {_comparison_key(run): run["validation"] for run in runs if run["seed"] in TUNING_SEEDS}
    pairs = [run["validation"] - scores[key] for run in best if (key := _comparison_key(run)) in scores]
    return len(pairs) > 1 and statistics.mean(pairs) <= statistics.stdev(pairs) / math.sqrt(len(pairs))


def _deciding_runs(rates: Mapping[float, list[dict[str, Any]]]) -> dict[float, list[dict[str, Any]]]:
    """Return the runs that choose among the rates: those on the tuning seeds once they can decide, else the others."""
    if means := tuned_means([run for runs in rates.values() for run in runs]):
        return {rate: [run for run in rates[rate] if run["seed"] in TUNING_SEEDS] for rate in means}
    others = {rate: [run for run in runs if run["seed"] not in TUNING_SEEDS] for rate, runs in rates.items()}
    return {rate: runs for rate, runs in others.items() if runs}


def tuned_means(runs: Sequence[Mapping[str, Any]]) -> dict[float, float]:
    """Return the mean validation score of each rate on the tuning seeds; empty before these runs can decide.

    They can once every rate ran on every task and seed, and the best lies inside the grid or as many rates were tried
    as may be.
    """
    tuning = [run for run in runs if run["seed"] in TUNING_SEEDS and _has_default_hyperparameters(run)]
    means = mean_validation(tuning)
    complete = set(means) == {run["lr"] for run in tuning}
    return means if complete and (next_rate(means) is None or len(means) >= MOST_RATES) else {}


def format_table(record: dict[str, Any], tasks: Sequence[str], steps: int, backbone: str = "minilm-l6") -> str:
    """Return the test accuracies of the best learning rates as a Markdown table: the mean over seeds, and each seed.

    A cell is empty if nothing was measured; a method without any measurement has no row. The tuning seeds are left out.
    """
    runs = [run for run in record["runs"] if run["backbone"] == backbone and run["steps"] == steps]
    runs = [run for run in runs if run["seed"] not in TUNING_SEEDS]
    lines = ["| method | learning rate | " + " | ".join(tasks) + " |", "|---" * (len(tasks) + 2) + "|"]
    for name, label in (("majority", "majority class"), ("zero_shot", "zero-shot")):
        known = [next((f"{run[name]:.3f}" for run in runs if run["task"] == task), "") for task in tasks]
        lines.append(f"| *{label}* | | " + " | ".join(known) + " |")
    for method in list_methods():
        rate = record["winners"].get(backbone, {}).get(method, {}).get("lr")
        own = [r for r in runs if r["method"] == method and r["lr"] == rate and _has_default_hyperparameters(r)]
        cells = [_format_scores([run for run in own if run["task"] == task]) for task in tasks]
        if any(cells):
            lines.append(f"| `{method}` | {rate} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def format_tuning_table(record: dict[str, Any], backbone: str) -> str:
    """Return the mean validation scores of the rates tried on the tuning seeds as a Markdown table.

    The chosen rate is bold. A method whose grid is not complete has no row.
    """
    lines = ["| method | tasks | learning rate: mean validation accuracy |", "|---|---|---|"]
    for method in list_methods():
        own = [run for run in record["runs"] if (run["backbone"], run["method"]) == (backbone, method)]
        if means := tuned_means(own):
            chosen = record["winners"][backbone][method]["lr"]
            cells = [f"**{lr:g}: {mean:.3f}**" if lr == chosen else f"{lr:g}: {mean:.3f}" for lr, mean in means.items()]
            tasks = ", ".join(sorted({run["task"] for run in own if run["seed"] in TUNING_SEEDS}))
            lines.append(f"| `{method}` | {tasks} | {', '.join(cells)} |")
    return "\n".join(lines)


def _matches_key(run: dict[str, Any], key: dict[str, Any]) -> bool:
    """Return whether a run is the one asked for; hyperparameters that are newer than it count as defaults."""
    same = all(run[name] == value for name, value in key.items() if name != STORED_KEY)
    return same and list_methods()[run["method"]].check_hyperparameters(run[STORED_KEY]) == key[STORED_KEY]


def _has_default_hyperparameters(run: Mapping[str, Any]) -> bool:
    """Return whether a run used the defaults; hyperparameters that are newer than it count as defaults."""
    method = list_methods()[run["method"]]
    return method.check_hyperparameters(run[STORED_KEY]) == method.check_hyperparameters({})


def _format_scores(runs: list[dict[str, Any]]) -> str:
    seeds = [run["test"] for run in sorted(runs, key=lambda run: run["seed"])]
    if len(seeds) < 2:
        return "".join(f"{test:.3f}" for test in seeds)
    return f"{statistics.mean(seeds):.3f} ({', '.join(f'{test:.3f}' for test in seeds)})"


def _comparison_key(run: Mapping[str, Any]) -> tuple[str, int, int]:
    return run["task"], run["seed"], run["steps"]


_Rate = Annotated[float, Meta(gt=0, le=1e6)]


class _SweepRun(TypedDict):
    backbone: Name
    method: Name
    lr: _Rate
    task: PathText
    seed: Count
    steps: StepCount
    batch: Count
    validation: Score
    test: Score
    zero_shot: Score
    majority: Score
    steps_per_second: Duration
    seconds: Duration
    knobs: dict[str, Scalar]


class _SweepRecord(TypedDict):
    winners: dict[str, dict[str, dict[str, _Rate]]]
    runs: list[_SweepRun]


def read_record(path: Path = RECORD_PATH) -> dict[str, Any]:
    """Return the record: its winners by backbone and method, and its runs.

    Raises:
        OSError: if it cannot be read.
        InvalidData: if it is damaged.
    """
    try:
        return {**decode_json(path.read_bytes(), _SweepRecord)}
    except InvalidData as error:
        raise InvalidData(f"{path}: {error}") from None


def save_record(record: dict[str, Any], path: Path = RECORD_PATH) -> None:
    """Write the record, one run per line, so that diffs are readable."""
    runs = ",\n  ".join(json.dumps(run) for run in record["runs"])
    winners = json.dumps(record.get("winners", {}), indent=1)
    write_file(path, f'{{"winners": {winners},\n "runs": [\n  {runs}\n ]}}\n'.encode())


def main() -> None:
    """Run the sweep from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="minilm-l6")
    parser.add_argument("--tasks", nargs="+", default=["trec6", "tweets", "sms"])
    parser.add_argument("--methods", nargs="+", default=list(LR_GRID))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--confirm", action="store_true", help="only the winning rates, on these tasks and seeds")
    tune = f"choose rates on the seeds {', '.join(map(str, TUNING_SEEDS))}; the grid grows until the best is inside"
    parser.add_argument("--tune", action="store_true", help=tune)
    parser.add_argument("--record", type=Path, default=RECORD_PATH)
    parser.add_argument("--table", action="store_true", help="only print the accuracies, as in docs/results.md")
    parser.add_argument("--tuning-table", action="store_true", help="only print what the tuning seeds chose from")
    a = parser.parse_args()
    if a.tuning_table:
        print(format_tuning_table(read_record(a.record), a.backbone))
        return
    if a.table:
        print(format_table(read_record(a.record), a.tasks, a.steps, a.backbone))
        return
    if a.tune:
        tune_rates(a.backbone, a.tasks, a.methods, a.steps, a.batch, a.record)
        return
    run_sweep(a.backbone, a.tasks, a.methods, a.seeds, a.steps, a.batch, a.confirm, a.record)


if __name__ == "__main__":
    main()
