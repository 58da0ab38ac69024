"""The Python that redraws the figures of the page Transfer, from the record that the page and the command share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ptviz.analysis.similarity import METRICS, NEURONS
from ptviz.experiments.transfer_gain import Setting
from ptviz.ui.compare.prompt_selection import Chosen
from ptviz.ui.scripts import script

MODULE = "transfer"


def runs(chosen: Chosen) -> list[str]:
    """The lines that find the runs and kept prompts again: ``store``, ``names`` by id, and ``runs``."""
    return [
        "from ptviz.runs import Store", "from ptviz.runs import transfer", "store = Store()",
        f"names = {dict(zip([run.id for run in chosen.runs], chosen.names, strict=True))!r}",
        "known = {one.id: one for one in transfer.sources(store)}", "runs = [known[id] for id in names]",
    ]  # fmt: skip


def prompts(chosen: Chosen) -> list[str]:
    """The lines that read the vectors of all that are compared: ``prompts`` by name."""
    return [
        *runs(chosen), "vectors = {names[one.id]: transfer.vectors(store, one) for one in runs}",
        "prompts = {name: matrix for name, matrix in vectors.items() if matrix is not None}", *chosen.lines,
    ]  # fmt: skip


def _compared(chosen: Chosen, metrics: Sequence[str], centred: bool, without: bool) -> list[str]:
    """The lines that make ``alike``: what ``similarity`` or ``overlap`` finds, by measure."""
    lines, vectors = prompts(chosen), [metric for metric in metrics if metric in METRICS]
    more = f"{', leave_out=out' if without else ''}{', centred=True' if centred else ''}"
    if without and vectors:
        lines += ["from ptviz.analysis.geometry import outliers", "out = [outliers(one) for one in prompts.values()]"]
    if vectors:
        made = f"similarity(list(prompts.values()), metric{more})"
        lines += ["from ptviz.analysis.similarity import similarity"]
        lines += [f"alike = {{metric: {made} for metric in {vectors!r}}}"]
    if NEURONS in metrics:
        lines += ["from ptviz.analysis.similarity import overlap", "from ptviz.runs import neurons"]
        lines += [f"active = [neurons.known({chosen.backbone!r}, one) for one in prompts.values()]"]
        lines += [f"{'alike |= ' if vectors else 'alike = '}{{{NEURONS!r}: overlap(active)}}"]
    return lines


def similar(chosen: Chosen, metric: str, centred: bool, without: bool, name: str) -> str:
    """The clustered heat map under one measure."""
    lines = [
        *_compared(chosen, [metric], centred, without), "from ptviz.analysis.transfer import clustered",
        f"values = alike[{metric!r}].values",
    ]  # fmt: skip
    return script(MODULE, lines, f"draw_similarity(values, list(prompts), clustered(values), {metric!r})", name)


def mapped(chosen: Chosen, kind: str, groups: Sequence[int], centred: bool, without: bool, name: str) -> str:
    """The map of the mean tokens."""
    kept = "one[~outliers(one)]" if without else "one"
    lines = [
        *prompts(chosen), "import numpy as np", "from ptviz.analysis.projection import project",
        *(["from ptviz.analysis.geometry import outliers"] if without else []),
        f"means = np.stack([{kept}.mean(0) for one in prompts.values()]).astype(np.float32)",
        *(["means = means - means.mean(0)"] if centred else []),
        f"tokens = {'means[:1][None]' if kind == 'UMAP' else 'np.zeros((0, 0, means.shape[1]))'}",
    ]  # fmt: skip
    lines += [f"found = project(means, tokens, {kind!r}, normalise=True)"]
    return script(MODULE, lines, f"draw_map(found, list(prompts), {list(groups)!r})", name)


def _tasks(titles: Sequence[str]) -> list[str]:
    return ["tasks = transfer.targets(runs)", f"titles = {list(titles)!r}"]


_ACCURACIES = ("cells = transfer.known(store, runs, tasks)", "grid = transfer.accuracies(runs, tasks, cells)")


def _trials(setting: Setting) -> list[str]:
    return [
        "from ptviz.runs import gains", f"setting = gains.Setting({setting.steps}, {setting.seeds}, {setting.rows})",
        "trials = gains.known(store, runs, tasks, setting)",
    ]  # fmt: skip


def _gained(setting: Setting) -> list[str]:
    return [
        *_trials(setting), "from ptviz.analysis.transfer import over_seeds",
        "reductions = over_seeds(*gains.ends(store, runs, tasks, trials, setting))",
    ]  # fmt: skip


def grid(chosen: Chosen, titles: Sequence[str], name: str) -> str:
    """The grid of prompts as they are."""
    lines = [
        *runs(chosen), *_tasks(titles), *_ACCURACIES,
        "own = [[False, *(run.config.task == task.name for run in runs)] for task in tasks]",
    ]  # fmt: skip
    return script(MODULE, lines, 'draw_grid(grid, titles, ["no prompt", *names.values()], own)', name)


def gained(chosen: Chosen, titles: Sequence[str], setting: Setting, name: str) -> str:
    """The grid of starts."""
    lines = [*runs(chosen), *_tasks(titles), *_gained(setting)]
    return script(MODULE, lines, "draw_gains(reductions, titles, list(names.values()))", name)


def courses(
    chosen: Chosen, task: str, starts: dict[str, str], places: dict[str, int | None], setting: Setting, name: str
) -> str:
    """The curves of one task: ``starts`` names each start, ``places`` says which mark it has; None: the usual grey."""
    lines = [
        *runs(chosen), "tasks = transfer.targets(runs)", *_trials(setting),
        "from ptviz.analysis.comparison import Lap, bands", "from ptviz.figures.comparison import Look",
        "from ptviz.figures.style import Mark, mark", f"starts = {starts!r}", f"places = {places!r}",
        f"own = [trial for trial in trials.values() if trial.task == {task!r}]",
        "own.sort(key=lambda trial: [*starts].index(trial.start))",
        "laps = [Lap(starts[one.start], one.seed, evaluated=one.evaluated, accuracies=one.accuracies) for one in own]",
        "looks = {title: Look(title, Mark() if at is None else mark(at)) for title, at in places.items()}",
    ]  # fmt: skip
    return script("race", lines, "draw_bands(bands(laps), looks)", name)


START, ZERO_SHOT, ACCURACY = "gain of the start", "gain over no prompt", "accuracy"
_MEASURED = {
    START: "reductions[:, places]",
    ZERO_SHOT: "grid[:, 1:][:, places] - grid[:, :1]",
    ACCURACY: "grid[:, 1:][:, places]",
}
"""What similarity can be held against, and how it comes from the two grids."""


def _related(
    chosen: Chosen, titles: Sequence[str], setting: Setting, kind: str, metrics: Iterable[str], centred: bool,
    without: bool,
) -> list[str]:  # fmt: skip
    measured = _gained(setting) if kind == START else _ACCURACIES
    return [
        *_compared(chosen, list(metrics), centred, without), *_tasks(titles), *measured,
        "from ptviz.analysis.transfer import relation",
        "places = [place for place, run in enumerate(runs) if names[run.id] in prompts]", "n = len(places)",
        "trained_on, targets = [runs[place].config.task for place in places], [task.name for task in tasks]",
        f"measured = {_MEASURED[kind]}",
        "told = {metric: relation(one.values[:n, :n], trained_on, measured, targets) for metric, one in alike.items()}",
    ]  # fmt: skip


def related(
    chosen: Chosen, titles: Sequence[str], setting: Setting, kind: str, metric: str, centred: bool, without: bool,
    name: str,
) -> str:  # fmt: skip
    """The scatter of similarity against what was measured."""
    lines = [
        *_related(chosen, titles, setting, kind, [metric], centred, without),
        "sources = [names[runs[place].id] for place in places]",
    ]  # fmt: skip
    return script(MODULE, lines, f"draw_relation(told[{metric!r}], titles, sources, {metric!r}, {kind!r})", name)


def estimated(
    chosen: Chosen, titles: Sequence[str], setting: Setting, kind: str, metrics: Iterable[str], centred: bool,
    without: bool, name: str,
) -> str:  # fmt: skip
    """The correlations under every measure."""
    return script(
        MODULE, _related(chosen, titles, setting, kind, metrics, centred, without), "draw_estimates(told)", name
    )


def published(place: int, gains: bool, name: str) -> str:
    """A paper's own table."""
    lines = ["from ptviz.analysis.published_transfer import tables", f"table = tables()[{place}]"]
    if gains:
        return script(MODULE, lines, "draw_gains(table.reduction, table.targets, table.sources)", name)
    lines += ["own = [[source == target for source in table.sources] for target in table.targets]"]
    return script(MODULE, lines, "draw_grid(table.scores / 100, table.targets, table.sources, own)", name)
