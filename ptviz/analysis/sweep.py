"""What a sweep found: a table of runs by their settings, the importance of each setting, and the best of each method.

Importance is the main effect of functional ANOVA: the share of the variance of the score that one setting explains on
its own, averaged over the others, after Hutter, Hoos and Leyton-Brown, "An Efficient Approach for Assessing
Hyperparameter Importance", ICML 2014, https://proceedings.mlr.press/v32/hutter14.html. As there, a random forest
predicts the score from the settings; the averages are taken over the settings of the runs. What is missing to 1 are
interactions of settings and what the forest does not predict.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from ptviz.analysis.comparison import MethodSummary, RunResult, summarise_methods

Setting = float | int | str | bool | None
MIN_RUNS = 8
"""Fewest finished runs from which importance is estimated."""
_TREES = 100


@dataclass(frozen=True)
class SweepRow:
    """One run of a sweep: ``settings`` by name, None where its method has none; scores are None before its end.

    ``score`` is the best validation score so far, ``state`` that of the run.
    """

    run: str
    method: str
    settings: Mapping[str, Setting]
    state: str = "finished"
    score: float | None = None
    test: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class SweepTable:
    """The runs of a sweep, and the settings that differ between them, in order: ``names``."""

    names: tuple[str, ...] = ()
    rows: tuple[SweepRow, ...] = ()

    def finished(self) -> SweepTable:
        """Return the table of those runs that have finished with a score."""
        return SweepTable(self.names, tuple(row for row in self.rows if row.state == "finished" and _known(row.score)))


@dataclass(frozen=True)
class SettingImportance:
    """The share of the variance of the validation score, 0 to 1, that each setting explains on its own.

    ``fit`` is the forest's share of explained variance on the runs (out of bag): near 0, the shares say nothing.
    """

    names: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    fit: float = math.nan
    runs: int = 0


@dataclass(frozen=True)
class BestSettings:
    """The settings of a method with the best mean validation score, and their test scores over seeds."""

    summary: MethodSummary
    validation: float
    settings: Mapping[str, Setting] = field(default_factory=dict)
    tried: int = 1


def build_sweep_table(rows: Iterable[SweepRow]) -> SweepTable:
    """Return the table of runs with the settings that vary among the runs that have them, as they first appear."""
    listed = tuple(rows)
    return SweepTable(_varying(listed), listed)


def _varying(rows: Sequence[SweepRow]) -> tuple[str, ...]:
    names = dict.fromkeys(name for row in rows for name in row.settings)
    values = {name: {_key(row.settings[name]) for row in rows if row.settings.get(name) is not None} for name in names}
    return tuple(name for name, found in values.items() if len(found) > 1)


def setting_values(table: SweepTable, name: str) -> tuple[Setting, ...]:
    """Return the values of a setting in the table, sorted; numbers before texts, None left out."""
    found = {_key(row.settings.get(name)): row.settings.get(name) for row in table.rows}
    return tuple(value for _, value in sorted(found.items()) if value is not None)


def _key(value: Setting) -> tuple[int, float, str]:
    """Return a key that sorts and compares values of different types."""
    if value is None:
        return 2, 0.0, ""
    if isinstance(value, str):
        return 1, 0.0, value
    return 0, float(value), str(isinstance(value, bool))


def mean_scores(table: SweepTable, x: str, y: str) -> Float[np.ndarray, "rows columns"]:
    """Return the mean validation score for each pair of values of ``y`` (rows) and ``x`` (columns); NaN without a run.

    Means are over seeds and over all other settings.

    Raises:
        ValueError: if one of the two is no setting that varies.
    """
    for name in (x, y):
        if name not in table.names:
            raise ValueError(f"expected a setting that varies ({', '.join(table.names) or 'none does'}); got {name!r}")
    done = table.finished()
    columns, rows = ({_key(value): i for i, value in enumerate(setting_values(table, name))} for name in (x, y))
    sums, counts = np.zeros((len(rows), len(columns))), np.zeros((len(rows), len(columns)))
    for row in done.rows:
        i, j = rows.get(_key(row.settings.get(y))), columns.get(_key(row.settings.get(x)))
        if i is not None and j is not None and row.score is not None:
            sums[i, j] += row.score
            counts[i, j] += 1
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def estimate_importance(table: SweepTable) -> SettingImportance:
    """Return the main effect of each setting that varies, the largest first; empty with fewer than ``MIN_RUNS`` runs.

    Where a method lacks a setting, that is a value of its own. Equal tables give equal results: the forest's randomness
    has a fixed seed.
    """
    done = table.finished()
    names = [name for name in table.names if len({_key(row.settings.get(name)) for row in done.rows}) > 1]
    scores = np.array([row.score for row in done.rows], dtype=np.float64)
    if len(scores) < MIN_RUNS or not names or float(np.ptp(scores)) == 0:
        return SettingImportance(runs=len(scores))
    from sklearn.ensemble import RandomForestRegressor

    # Ranks: a forest splits by order alone, and texts have one too.
    columns = []
    for name in names:
        ranks = {key: rank for rank, key in enumerate(sorted({_key(row.settings.get(name)) for row in done.rows}))}
        columns.append([ranks[_key(row.settings.get(name))] for row in done.rows])
    settings = np.array(columns, dtype=np.float64).T
    forest = RandomForestRegressor(_TREES, min_samples_leaf=2, random_state=0, oob_score=True, bootstrap=True)
    with warnings.catch_warnings():  # With few runs, some are in the sample of every tree.
        warnings.simplefilter("ignore")
        forest.fit(settings, scores)
    total = float(np.var(forest.predict(settings)))
    shares = [_main_effect(forest.predict, settings, index) / total if total else 0.0 for index in range(len(names))]
    order = sorted(range(len(names)), key=lambda index: -shares[index])
    return SettingImportance(
        tuple(names[i] for i in order), tuple(min(1.0, shares[i]) for i in order), float(forest.oob_score_), len(scores)
    )


def _main_effect(
    predict: Callable[[Float[np.ndarray, "n d"]], Float[np.ndarray, " n"]], settings: Float[np.ndarray, "n d"], at: int
) -> float:
    """Return the variance of the mean prediction over the values of one setting, each weighted by its runs."""
    values, counts = np.unique(settings[:, at], return_counts=True)
    means = []
    for value in values:
        changed = settings.copy()
        changed[:, at] = value
        means.append(float(np.mean(predict(changed))))
    return float(np.cov(means, fweights=counts, ddof=0)) if len(means) > 1 else 0.0


def best_settings(table: SweepTable, results: Mapping[str, RunResult]) -> tuple[BestSettings, ...]:
    """Return the best settings of each method by mean validation score over seeds, the best test mean first.

    Selected by validation, reported by test, with Student's interval over seeds. Settings that were trained with fewer
    seeds than the most are left out: their mean is less certain, and so more often extreme.
    """
    groups: dict[str, dict[tuple[object, ...], list[SweepRow]]] = {}
    shared = [name for name in table.names if name not in ("method", "seed")]
    for row in table.finished().rows:
        key = tuple(_key(row.settings.get(name)) for name in shared)
        groups.setdefault(row.method, {}).setdefault(key, []).append(row)
    found = []
    for own in groups.values():
        most = max(len(rows) for rows in own.values())
        complete = [rows for rows in own.values() if len(rows) == most]
        best = max(complete, key=_mean_score)
        runs = [results[row.run] for row in best if row.run in results]
        if runs:
            tried = _varying([row for rows in own.values() for row in rows])
            settings = {name: best[0].settings.get(name) for name in shared if name in tried}
            found.append(BestSettings(summarise_methods(runs)[0], _mean_score(best), settings, len(own)))
    return tuple(sorted(found, key=lambda one: -one.summary.mean))


def _mean_score(rows: Sequence[SweepRow]) -> float:
    return float(np.mean([row.score for row in rows]))


def _known(score: float | None) -> bool:
    return score is not None and math.isfinite(score)
