"""The sweep behind the default learning rates: ``python -m ptviz.training.sweep`` repeats it and rewrites its record.

Every run of it is kept in ``defaults.json``: backbone, method, knobs, learning rate, task, seed, accuracies. The
winner of a method on a backbone is the rate with the best mean validation accuracy over the tasks; test accuracy is
recorded but never chosen by.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from ptviz.backbones import load_backbone
from ptviz.methods import REGISTRY
from ptviz.methods.knobs import check_knobs
from ptviz.tasks import load_task
from ptviz.training.config import TrainConfig
from ptviz.training.events import Baselines, Finished
from ptviz.training.trainer import train

RECORD = Path(__file__).with_name("defaults.json")
GRID: dict[str, tuple[float, ...]] = {
    "prompt-tuning": (0.02, 0.05, 0.1),
    "p-tuning-v2": (0.02, 0.05, 0.1),
    "dept": (0.02, 0.05, 0.1),
    "smop": (0.05, 0.1, 0.2),
}


def sweep(
    backbone: str,
    tasks: list[str],
    methods: list[str],
    steps: int,
    seeds: int,
    batch: int,
    grid: list[float] | None = None,
) -> None:
    """Run what the record lacks, one run at a time, saving after each; then choose the winners."""
    record = json.loads(RECORD.read_text())
    runs: list[dict[str, Any]] = record.setdefault("runs", [])
    frozen = load_backbone(backbone)
    baselines: dict[str, Baselines] = {}
    for name in tasks:
        task = load_task(name)
        for method in methods:
            knobs = check_knobs(REGISTRY[method], {})
            for lr in grid or GRID[method]:
                for seed in range(seeds):
                    key = {
                        "backbone": backbone,
                        "method": method,
                        "knobs": knobs,
                        "lr": lr,
                        "task": name,
                        "seed": seed,
                        "steps": steps,
                        "batch": batch,
                    }
                    if any(all(run[k] == v for k, v in key.items()) for run in runs):
                        continue
                    config = TrainConfig(
                        steps=steps,
                        seed=seed,
                        lr=lr,
                        batch=batch,
                        evaluate_every=max(25, steps // 4),
                        snapshot_every=steps,
                    )
                    end = None
                    for event in train(method, frozen, task, config, baselines=baselines.get(name)):
                        if isinstance(event, Baselines):
                            baselines[name] = event
                        if isinstance(event, Finished):
                            end = event
                    assert end is not None
                    run = {**key, "validation": end.validation, "test": end.test, "zero_shot": end.zero_shot, "majority": end.majority,
                           "steps_per_second": round(end.steps_per_second, 2), "seconds": round(end.seconds, 1)}  # fmt: skip
                    runs.append(run)
                    print(json.dumps(run), flush=True)
                    save(record)
    choose(record)
    save(record)


def choose(record: dict[str, Any]) -> None:
    """The winners, from the runs: best mean validation accuracy over tasks and seeds, at the batch that was swept."""
    scores: dict[tuple[str, str], dict[float, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for run in record["runs"]:
        scores[run["backbone"], run["method"]][run["lr"]].append(run)
    winners: dict[str, dict[str, Any]] = defaultdict(dict)
    for (backbone, method), rates in scores.items():
        # A rate that was tried on fewer tasks is not compared: its mean would be of something else.
        most = max(len({run["task"] for run in runs}) for runs in rates.values())
        full = {lr: runs for lr, runs in rates.items() if len({run["task"] for run in runs}) == most}
        best = max(full, key=lambda lr: statistics.mean(run["validation"] for run in full[lr]))
        speed = statistics.median(run["steps_per_second"] * run["batch"] / 16 for run in full[best])
        winners[backbone][method] = {"lr": best, "steps_per_second": round(speed, 2)}
    record["winners"] = winners


def save(record: dict[str, Any]) -> None:
    """Write the record, one run a line, so that a change reads well in a diff."""
    runs = ",\n  ".join(json.dumps(run) for run in record["runs"])
    winners = json.dumps(record.get("winners", {}), indent=1)
    RECORD.write_text(f'{{"winners": {winners},\n "runs": [\n  {runs}\n ]}}\n')


def main() -> None:
    """The command line of the sweep."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--backbone", default="minilm-l6")
    ask.add_argument("--tasks", nargs="+", default=["trec6", "tweets", "sms"])
    ask.add_argument("--methods", nargs="+", default=list(GRID))
    ask.add_argument("--steps", type=int, default=200)
    ask.add_argument("--seeds", type=int, default=1)
    ask.add_argument("--batch", type=int, default=16)
    ask.add_argument("--rates", type=float, nargs="+")
    a = ask.parse_args()
    sweep(a.backbone, a.tasks, a.methods, a.steps, a.seeds, a.batch, a.rates)


if __name__ == "__main__":
    main()
