"""The Python that redraws the figures of the page Transfer, from the record that the page and the command share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ptviz.analysis.similarity import NEURON_METRIC, SIMILARITY_METRICS
from ptviz.experiments.transfer_gain import TransferGainSettings
from ptviz.ui.compare.prompt_selection import PromptSelection
from ptviz.ui.scripts import figure_script

FIGURE_MODULE = "transfer"


def runs_code(chosen: PromptSelection) -> list[str]:
    """The lines that find the runs and kept prompts again: ``store``, ``names`` by id, and ``runs_code``."""
    return [
        "from ptviz.runs import Store", "from ptviz.experiments import transfer", "store = Store()",
        f"names = {dict(zip([run.id for run in chosen.runs], chosen.names, strict=True))!r}",
        "known = {one.id: one for one in transfer.sources(store)}", "runs = [known[id] for id in names]",
    ]  # fmt: skip


def prompts_code(chosen: PromptSelection) -> list[str]:
    """The lines that read the vectors of all that are compared: ``prompts_code`` by name."""
    return [
        *runs_code(chosen), "vectors = {names[one.id]: transfer.vectors(store, one) for one in runs}",
        "prompts = {name: matrix for name, matrix in vectors.items() if matrix is not None}", *chosen.code_lines,
    ]  # fmt: skip


def _similarity_code(chosen: PromptSelection, metrics: Sequence[str], centred: bool, without: bool) -> list[str]:
    """The lines that make ``alike``: what ``similarity`` or ``overlap`` finds, by measure."""
    lines, vectors = prompts_code(chosen), [metric for metric in metrics if metric in SIMILARITY_METRICS]
    more = f"{', leave_out=out' if without else ''}{', centred=True' if centred else ''}"
    if without and vectors:
        lines += [
            "from ptviz.prompt_statistics import find_outliers",
            "out = [find_outliers(one) for one in prompts.values()]",
        ]
    if vectors:
        made = f"compute_similarity(list(prompts.values()), metric{more})"
        lines += ["from ptviz.analysis.similarity import compute_similarity"]
        lines += [f"alike = {{metric: {made} for metric in {vectors!r}}}"]
    if NEURON_METRIC in metrics:
        lines += ["from ptviz.analysis.similarity import neuron_overlap", "from ptviz.runs import neurons"]
        lines += [f"active = [neurons.known({chosen.backbone!r}, one) for one in prompts.values()]"]
        lines += [f"{'alike |= ' if vectors else 'alike = '}{{{NEURON_METRIC!r}: neuron_overlap(active)}}"]
    return lines


def similarity_script(chosen: PromptSelection, metric: str, centred: bool, without: bool, name: str) -> str:
    """The clustered heat map under one measure."""
    lines = [
        *_similarity_code(chosen, [metric], centred, without), "from ptviz.analysis.transfer import cluster",
        f"values = alike[{metric!r}].values",
    ]  # fmt: skip
    return figure_script(
        FIGURE_MODULE, lines, f"draw_similarity(values, list(prompts), cluster(values), {metric!r})", name
    )


def prompt_projection_script(
    chosen: PromptSelection, kind: str, groups: Sequence[int], centred: bool, without: bool, name: str
) -> str:
    """The map of the mean tokens."""
    kept = "one[~find_outliers(one)]" if without else "one"
    lines = [
        *prompts_code(chosen), "import numpy as np", "from ptviz.analysis.projection import project",
        *(["from ptviz.prompt_statistics import find_outliers"] if without else []),
        f"means = np.stack([{kept}.mean(0) for one in prompts.values()]).astype(np.float32)",
        *(["means = means - means.mean(0)"] if centred else []),
        f"tokens = {'means[:1][None]' if kind == 'UMAP' else 'np.zeros((0, 0, means.shape[1]))'}",
    ]  # fmt: skip
    lines += [f"found = project(means, tokens, {kind!r}, normalise=True)"]
    return figure_script(FIGURE_MODULE, lines, f"draw_map(found, list(prompts), {list(groups)!r})", name)


def _tasks_code(titles: Sequence[str]) -> list[str]:
    return ["tasks = transfer.targets(runs)", f"titles = {list(titles)!r}"]


_ACCURACIES_CODE = ("cells = transfer.known(store, runs, tasks)", "grid = transfer.accuracies(runs, tasks, cells)")


def _transfer_runs_code(setting: TransferGainSettings) -> list[str]:
    return [
        "from ptviz.experiments import transfer_gain", f"setting = gains.Setting({setting.steps}, {setting.seeds}, {setting.rows})",
        "trials = gains.known(store, runs, tasks, setting)",
    ]  # fmt: skip


def _gains_code(setting: TransferGainSettings) -> list[str]:
    return [
        *_transfer_runs_code(setting), "from ptviz.analysis.transfer import mean_error_reduction",
        "reductions = mean_error_reduction(*gains.ends(store, runs, tasks, trials, setting))",
    ]  # fmt: skip


def transfer_grid_script(chosen: PromptSelection, titles: Sequence[str], name: str) -> str:
    """The grid of prompts as they are."""
    lines = [
        *runs_code(chosen), *_tasks_code(titles), *_ACCURACIES_CODE,
        "own = [[False, *(run.config.task == task.name for run in runs)] for task in tasks]",
    ]  # fmt: skip
    return figure_script(FIGURE_MODULE, lines, 'draw_grid(grid, titles, ["no prompt", *names.values()], own)', name)


def transfer_gains_script(
    chosen: PromptSelection, titles: Sequence[str], setting: TransferGainSettings, name: str
) -> str:
    """The grid of starts."""
    lines = [*runs_code(chosen), *_tasks_code(titles), *_gains_code(setting)]
    return figure_script(FIGURE_MODULE, lines, "draw_transfer_gains(reductions, titles, list(names.values()))", name)


def transfer_curves_script(
    chosen: PromptSelection,
    task: str,
    starts: dict[str, str],
    places: dict[str, int | None],
    setting: TransferGainSettings,
    name: str,
) -> str:
    """The curves of one task: ``starts`` names each start, ``places`` says which mark it has; None: the usual grey."""
    lines = [
        *runs_code(chosen), "tasks = transfer.targets(runs)", *_transfer_runs_code(setting),
        "from ptviz.analysis.comparison import RunResult, compute_seed_bands",
        "from ptviz.figures.comparison import MethodStyle",
        "from ptviz.figures.style import SeriesStyle, series_style", f"starts = {starts!r}", f"places = {places!r}",
        f"own = [trial for trial in trials.values() if trial.task == {task!r}]",
        "own.sort(key=lambda trial: [*starts].index(trial.start))",
        "laps = [RunResult(starts[one.start], one.seed, evaluated=one.evaluated, accuracies=one.accuracies) for one in own]",
        "looks = {title: MethodStyle(title, SeriesStyle() if at is None else series_style(at)) for title, at in places.items()}",
    ]  # fmt: skip
    return figure_script("comparison", lines, "draw_seed_bands(compute_seed_bands(laps), looks)", name)


START_GAIN, ZERO_SHOT_GAIN, ZERO_SHOT_ACCURACY = "gain of the start", "gain over no prompt", "accuracy"
_MEASURED_CODE = {
    START_GAIN: "reductions[:, places]",
    ZERO_SHOT_GAIN: "grid[:, 1:][:, places] - grid[:, :1]",
    ZERO_SHOT_ACCURACY: "grid[:, 1:][:, places]",
}
"""What similarity can be held against, and how it comes from the two grids."""


def _correlation_code(
    chosen: PromptSelection, titles: Sequence[str], setting: TransferGainSettings, kind: str, metrics: Iterable[str],
    centred: bool,
    without: bool,
) -> list[str]:  # fmt: skip
    measured = _gains_code(setting) if kind == START_GAIN else _ACCURACIES_CODE
    return [
        *_similarity_code(chosen, list(metrics), centred, without), *_tasks_code(titles), *measured,
        "from ptviz.analysis.transfer import correlate_transfer",
        "places = [place for place, run in enumerate(runs) if names[run.id] in prompts]", "n = len(places)",
        "trained_on, targets = [runs[place].config.task for place in places], [task.name for task in tasks]",
        f"measured = {_MEASURED_CODE[kind]}",
        "told = {metric: correlate_transfer(one.values[:n, :n], trained_on, measured, targets) for metric, one in alike.items()}",
    ]  # fmt: skip


def correlation_script(
    chosen: PromptSelection, titles: Sequence[str], setting: TransferGainSettings, kind: str, metric: str,
    centred: bool, without: bool,
    name: str,
) -> str:  # fmt: skip
    """The scatter of similarity against what was measured."""
    lines = [
        *_correlation_code(chosen, titles, setting, kind, [metric], centred, without),
        "sources = [names[runs[place].id] for place in places]",
    ]  # fmt: skip
    return figure_script(
        FIGURE_MODULE,
        lines,
        f"draw_transfer_correlation(told[{metric!r}], titles, sources, {metric!r}, {kind!r})",
        name,
    )


def correlations_script(
    chosen: PromptSelection, titles: Sequence[str], setting: TransferGainSettings, kind: str, metrics: Iterable[str],
    centred: bool,
    without: bool, name: str,
) -> str:  # fmt: skip
    """The correlations under every measure."""
    return figure_script(
        FIGURE_MODULE,
        _correlation_code(chosen, titles, setting, kind, metrics, centred, without),
        "draw_correlations(told)",
        name,
    )


def published_transfer_script(place: int, gains: bool, name: str) -> str:
    """A paper's own table."""
    lines = [
        "from ptviz.analysis.published_transfer import load_published_tables",
        f"table = load_published_tables()[{place}]",
    ]
    if gains:
        return figure_script(
            FIGURE_MODULE, lines, "draw_transfer_gains(table.reduction, table.targets, table.sources)", name
        )
    lines += ["own = [[source == target for source in table.sources] for target in table.targets]"]
    return figure_script(FIGURE_MODULE, lines, "draw_grid(table.scores / 100, table.targets, table.sources, own)", name)
