"""Tables of several runs: their results by method, and the settings that differ between them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from ptviz.analysis.statistics import student_interval
from ptviz.plots.method_style import method_title
from ptviz.plots.run_argument import RunOrId, get_runs
from ptviz.runs import RunSummary
from ptviz.runs.run_filters import SettingValue, differing_settings
from ptviz.runs.store import summarise

_NOT_TRAINED = ("seed", "device", "snapshot_every")
"""Settings in which the seeds of a method may differ; as in ``training_fingerprint``, two change no training."""


def run_groups_table(runs: Sequence[RunOrId]) -> list[dict[str, Any]]:
    """Return finished runs grouped by method, task, backbone and metric, the best mean test score first.

    A group has "runs" (their number), "seeds", "mean", "sd", "low" and "high" (Student's 95% interval over its runs,
    None below two seeds or where other settings than the seed differ), "validation", "zero_shot" and "seconds" (means),
    "parameters" and "differ": the settings that differ within it besides the seed.

    Raises:
        StoreError: if a run does not exist or cannot be read.
    """
    return group_summaries(summarise(run) for run in get_runs(runs))


def group_summaries(summaries: Iterable[RunSummary]) -> list[dict[str, Any]]:
    """Return the rows of ``run_groups_table`` for entries of a list of runs."""
    groups: dict[tuple[str, ...], list[RunSummary]] = {}
    for one in summaries:
        if one.status.state == "finished" and one.status.test is not None:
            key = one.config.method, one.config.task_names, one.config.backbone, one.metric.name
            groups.setdefault(key, []).append(one)
    rows = [_group_row(key, own) for key, own in groups.items()]
    return sorted(rows, key=lambda row: -row["mean"])


def _group_row(key: tuple[str, ...], own: list[RunSummary]) -> dict[str, Any]:
    tests = [float(one.status.test if one.status.test is not None else math.nan) for one in own]
    differ = [name for name in differing_settings([one.config for one in own]) if name != "seed"]
    seeds = sorted({one.config.training.seed for one in own})
    # Runs of one seed, or of different settings, are no sample of seeds: an interval would say too much.
    interval = student_interval(tests) if len(seeds) == len(own) and not differ else None
    return {
        **dict(zip(("method", "task", "backbone", "metric"), key, strict=True)),
        "runs": len(own),
        "seeds": ", ".join(map(str, seeds)),
        "mean": fmean(tests),
        "sd": stdev(tests) if len(tests) > 1 else None,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "validation": _mean(one.status.accuracy for one in own),
        "zero_shot": _mean(one.status.zero_shot for one in own),
        "seconds": _mean(one.status.seconds or None for one in own),
        "parameters": next((one.trained for one in own if one.trained is not None), None),
        "differ": ", ".join(differ),
    }


def check_seeds_of_methods(summaries: Sequence[RunSummary]) -> None:
    """Check that the runs of each method are its seeds: one run for a seed, and other settings equal.

    Raises:
        ValueError: for runs of one method that share a seed, or differ in a setting that changes what is trained.
    """
    by_method: dict[str, list[RunSummary]] = {}
    for one in summaries:
        by_method.setdefault(one.config.method, []).append(one)
    for method, own in by_method.items():
        differ = [str(row["setting"]) for row in compare_settings(own) if row["setting"] not in _NOT_TRAINED]
        if differ:
            raise ValueError(
                f"{method_title(method)}: expected runs that differ in the seed alone, which a comparison takes the "
                f"mean of; these differ in {', '.join(differ)}. Leave out all but one choice of settings, or compare "
                "settings by a sweep"
            )
        seeds = Counter(one.config.training.seed for one in own)
        if repeated := [str(seed) for seed, count in seeds.items() if count > 1]:
            raise ValueError(
                f"{method_title(method)}: expected one run for each seed; got several of seed {', '.join(repeated)}. "
                "Leave out all but one of each"
            )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def settings_table(runs: Sequence[RunOrId]) -> list[dict[str, SettingValue]]:
    """Return the settings that differ between runs: one row per setting, with a column per run, by its id.

    Raises:
        StoreError: if a run does not exist or cannot be read.
    """
    return compare_settings([summarise(run) for run in get_runs(runs)])


def compare_settings(summaries: Sequence[RunSummary]) -> list[dict[str, SettingValue]]:
    """Return the rows of ``settings_table`` for entries of a list of runs; the learning rate is the one used."""
    differing: Mapping[str, Sequence[SettingValue]] = differing_settings([one.config for one in summaries])
    rates = tuple(one.lr if one.lr is not None else one.config.training.lr for one in summaries)
    found = {name: values for name, values in differing.items() if name != "lr"}
    if len(set(rates)) > 1:
        found = {**found, "lr": rates}
    ids = [one.id for one in summaries]
    return [{"setting": name, **dict(zip(ids, values, strict=True))} for name, values in found.items()]
