"""Results on a decoder: the methods of the survey beside what needs no training, in one table of ``docs/results.md``.

Run it with ``python -m ptviz.experiments.decoder_results``. Each run is saved at once in ``decoder_results.json``; the
same command continues. ``--table`` prints what is recorded; a cell without a record stays empty.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from ptviz.atomic_files import write_file
from ptviz.backbones import Backbone, load_backbone
from ptviz.methods import list_methods
from ptviz.tasks import Task, load_task
from ptviz.training.baselines import IN_CONTEXT_EXAMPLES, majority_score
from ptviz.training.batches import EncodedExamples
from ptviz.training.config import TrainConfig
from ptviz.training.default_lr import default_learning_rate
from ptviz.training.evaluation import evaluate, subsample_task
from ptviz.training.events import Finished
from ptviz.training.trainer import train
from ptviz.validation import Count, Duration, Name, PathText, Score, StepCount, decode_json

RECORD_PATH = Path(str(files("ptviz.experiments"))) / "decoder_results.json"
BACKBONE = "smollm2-135m"
TASKS = ("trec6", "tweets", "spelling")
METHODS = ("prompt-tuning", "p-tuning-v2", "prefix-tuning", "p-tuning", "residual", "dpt", "dept", "smop", "pt-moe")
SEEDS = (1, 2, 3)
MAJORITY, ZERO_SHOT, IN_CONTEXT = "majority", "zero-shot", "in context"
BASELINES = (MAJORITY, ZERO_SHOT, IN_CONTEXT)


@dataclass(frozen=True)
class DecoderResult:
    """The test score of one method or baseline with one seed; ``lr`` and ``seconds`` are 0 for what trains nothing.

    The seed of "in context" draws its examples; "majority" and "zero-shot" have the seed 0.
    """

    backbone: Name
    method: Name
    task: PathText
    seed: Count
    steps: StepCount
    batch: Annotated[int, Meta(ge=0)]
    lr: Annotated[float, Meta(ge=0)]
    test: Score
    seconds: Duration

    @property
    def key(self) -> tuple[str, str, str, int, int, float]:
        """Return the settings that make two results the same."""
        return self.backbone, self.method, self.task, self.seed, self.steps, self.lr


def read_results(path: Path = RECORD_PATH) -> list[DecoderResult]:
    """Return the recorded results; none without a file.

    Raises:
        InvalidData: if the record is damaged.
    """
    return decode_json(path.read_bytes(), list[DecoderResult]) if path.exists() else []


def run_missing(
    backbone: str,
    tasks: Sequence[str],
    methods: Sequence[str],
    seeds: Sequence[int],
    config: TrainConfig,
    path: Path = RECORD_PATH,
) -> None:
    """Measure and train what the record lacks, the baselines of a task first, saving after each result."""
    frozen, results = load_backbone(backbone), read_results(path)

    def save(method: str, task: str, seed: int, steps: int, lr: float, test: float, seconds: float) -> None:
        results.append(DecoderResult(backbone, method, task, seed, steps, config.batch, lr, round(test, 4), seconds))
        lines = ",\n".join(json.dumps(vars(one)) for one in results)
        write_file(path, f"[\n{lines}\n]\n".encode())
        print(json.dumps(vars(results[-1])), flush=True)

    for name in tasks:
        task = load_task(name)
        known = {one.key for one in results}
        for baseline, seed in [(MAJORITY, 0), (ZERO_SHOT, 0), *((IN_CONTEXT, seed) for seed in seeds)]:
            if (backbone, baseline, name, seed, 0, 0.0) not in known:
                save(baseline, name, seed, 0, 0.0, score_baseline(baseline, frozen, task, config, seed), 0.0)
        for seed in seeds:
            for method in methods:
                lr = config.lr or default_learning_rate(method, backbone)
                if (backbone, method, name, seed, config.steps, lr) in known:
                    continue
                for event in train(method, frozen, task, replace(config, seed=seed)):
                    if isinstance(event, Finished):
                        save(method, name, seed, config.steps, lr, event.test, round(event.seconds, 1))


def score_baseline(baseline: str, backbone: Backbone, task: Task, config: TrainConfig, seed: int) -> float:
    """Return the test score of a baseline; "in context" shows as many training examples, drawn by the seed."""
    own = subsample_task(task, config)
    if baseline == MAJORITY:
        return majority_score(own, "test")
    rows = EncodedExamples(backbone, own, own.test, 0, config.length)
    if baseline == IN_CONTEXT:
        drawn = task.subsample(IN_CONTEXT_EXAMPLES, 2, 2, 0, seed).train
        rows = rows.in_context(drawn, config.length)
    return evaluate(None, rows).score


def format_table(
    results: Sequence[DecoderResult], tasks: Sequence[str], backbone: str = BACKBONE, steps: int | None = None
) -> str:
    """Return the test scores as a Markdown table: baselines, then the methods in their order, with mean and each seed.

    ``steps`` selects the runs of a number of steps; by default all that are recorded. Of runs at several learning rates
    those at the default one are shown; where there are none, those at the rate recorded last.
    """
    own = [one for one in results if one.backbone == backbone and (steps is None or one.steps in (0, steps))]
    lines = ["| method | learning rate | " + " | ".join(tasks) + " |", "|---" * (len(tasks) + 2) + "|"]
    for method in (*BASELINES, *list_methods()):
        rows = [one for task in tasks for one in _at_one_rate([x for x in own if (x.method, x.task) == (method, task)])]
        cells = [_format_scores([one for one in rows if one.task == task]) for task in tasks]
        if any(cells):
            rate = ", ".join(f"{lr:g}" for lr in sorted({one.lr for one in rows if one.lr}))
            lines.append(
                f"| {f'*{method}*' if method in BASELINES else f'`{method}`'} | {rate} | {' | '.join(cells)} |"
            )
    return "\n".join(lines)


def _at_one_rate(rows: Sequence[DecoderResult]) -> list[DecoderResult]:
    """Return the rows of a method on a task at the default learning rate, or at the rate recorded last."""
    if not rows or rows[0].method in BASELINES:
        return [*rows]
    default = default_learning_rate(rows[0].method, rows[0].backbone)
    rate = default if any(one.lr == default for one in rows) else rows[-1].lr
    return [one for one in rows if one.lr == rate]


def _format_scores(rows: Sequence[DecoderResult]) -> str:
    scores = [one.test for one in sorted(rows, key=lambda one: one.seed)]
    if len(scores) < 2:
        return "".join(f"{score:.3f}" for score in scores)
    return f"{statistics.mean(scores):.3f} ({', '.join(f'{score:.3f}' for score in scores)})"


def main() -> None:
    """Run what is missing, or print the table, from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default=BACKBONE)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--test-rows", type=int, default=200)
    parser.add_argument("--record", type=Path, default=RECORD_PATH)
    parser.add_argument("--table", action="store_true", help="only print what is recorded, as in docs/results.md")
    a = parser.parse_args()
    if a.table:
        print(format_table(read_results(a.record), a.tasks, a.backbone))
        return
    config = TrainConfig(
        steps=a.steps, batch=a.batch, evaluate_every=max(10, a.steps // 3), snapshot_every=a.steps, validation_rows=60,
        test_rows=a.test_rows,
    )  # fmt: skip
    run_missing(a.backbone, a.tasks, a.methods, a.seeds, config, a.record)


if __name__ == "__main__":
    main()
