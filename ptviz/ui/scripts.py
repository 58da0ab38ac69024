"""The Python that redraws a figure: short scripts with the run's own id, which need the library and no page."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ptviz.plots.views import Track, View
from ptviz.runs import Run

WORDS = ("from ptviz.runs.embedding_table import vocabulary", "words = vocabulary(run.config.backbone)")
"""The lines that find the words of a run's backbone."""


def script(module: str, lines: Sequence[str], drawn: str, name: str, after: Sequence[str] = ()) -> str:
    """``lines``, then ``drawn``: a call of a function of that module of ``ptviz.figures``, kept as a file of its own.

    Imports may stand anywhere among the lines; they go to the top. ``after`` does more to ``figure``.
    """
    lines = [*lines, _figures(module, drawn), f"figure = {drawn}", *after, f'figure.write_html("{name}.html")']
    return _in_order(lines)


def scene(module: str, lines: Sequence[str], drawn: str, name: str) -> str:
    """As ``script``, for a drawing that becomes SVG without a browser."""
    lines = [
        "from pathlib import Path", "from ptviz.figures.diagrams.svg import to_svg", *lines, _figures(module, drawn),
        f"scene = {drawn}", f'Path("{name}.svg").write_text(to_svg(scene), encoding="utf-8")',
    ]  # fmt: skip
    return _in_order(lines)


def _figures(module: str, drawn: str) -> str:
    return f"from ptviz.figures.{module} import {drawn.split('(')[0]}"


def _in_order(lines: Sequence[str]) -> str:
    imports = sorted({line for line in lines if line.startswith(("from ", "import "))})
    return "\n".join([*imports, "", *(line for line in lines if line not in imports)])


def training(run: Run, weight: float) -> str:
    """The chart of one run's training."""
    lines = [
        *_run(run), "from ptviz.plots.material import curve_of", "from ptviz.plots.method_style import mark_of",
        f"curve = curve_of(run.curve(), weight={weight!r})",
    ]  # fmt: skip
    return script("training", lines, "draw_training(curve, mark_of(run.config.method))", run.id)


def comparison(runs: Sequence[tuple[str, str]]) -> str:
    """The chart of several runs, given as (id, name)."""
    lines = [
        "from ptviz.runs import Store", "from ptviz.plots.material import curve_of",
        "from ptviz.plots.method_style import mark_of",
        "store = Store()", f"names = {dict(runs)!r}", "runs = [store.get(id) for id in names]",
        "curves = [(names[run.id], mark_of(run.config.method), curve_of(run.curve())) for run in runs]",
    ]  # fmt: skip
    return script("training", lines, "draw_comparison(curves)", "comparison")


def moment(run: Run, position: int) -> str:
    """The strip of a training curve with the step that a page looks at."""
    lines = [*_run(run), "from ptviz.plots.material import curve_of", "from ptviz.plots.method_style import mark_of"]
    drawn = f"draw_moment(curve_of(run.curve()), {position}, mark_of(run.config.method))"
    return script("moment", lines, drawn, f"{run.id}-moment")


def track(run: Run, shown: Track, rows: Sequence[int] | None = None) -> list[str]:
    """The lines that read a part of a run at the steps shown, or the slice that its name tells.

    ``rows`` are the prompt tokens that ``shown`` has been cut down to, if it has been.
    """
    part, _, places = shown.name.partition("[")
    place = {axis: int(i) for axis, i in (told.split("=") for told in places.rstrip("]").split(", ") if told)}
    cut = f".slice({place!r})" if place else ""
    cut += "" if rows is None else f'.take("m", {list(rows)!r})'
    step = shown.steps[shown.at]
    # The end of a stage and the start of the next are two snapshots at one step.
    which = ", earlier=True" if step in shown.steps[shown.at % len(shown.steps) + 1 :] else ""
    return [
        *_run(run), "from ptviz.plots.material import track_of",
        f"track = track_of(run, {part!r}, steps={shown.steps!r}, at={step}{which}){cut}",
    ]  # fmt: skip


def view(run: Run, shown: Track, seen: View, *, rows: Sequence[int] | None = None, after: Sequence[str] = ()) -> str:
    """One view of a part: what the pages on decompositions and embeddings show. ``rows`` as in ``track``."""
    lines = [
        *track(run, shown, rows), "from ptviz.plots.views import views_of",
        f"view = next(view for view in views_of(track.axes) if view.name == {seen.name!r})",
        "figure = view.draw(view.analyse(track))", *after, f'figure.write_html("{run.id}-{seen.name}.html")',
    ]  # fmt: skip
    return _in_order(lines)


def part(
    run: Run,
    shown: Track,
    module: str,
    drawn: str,
    name: str,
    *lines: str,
    rows: Sequence[int] | None = None,
    after: Sequence[str] = (),
) -> str:
    """A figure of a part: ``drawn`` is a call in terms of ``track`` and of what ``lines`` make. ``rows`` as above."""
    return script(module, [*track(run, shown, rows), *lines], drawn, f"{run.id}-{name}", after)


def of_run(run: Run, module: str, drawn: str, name: str, *lines: str, after: Sequence[str] = ()) -> str:
    """A figure of a run: ``drawn`` is a call in terms of ``run`` and of what ``lines`` make."""
    return script(module, [*_run(run), *lines], drawn, f"{run.id}-{name}", after)


def answered(
    run: Run, question: Mapping[str, object], module: str, drawn: str, name: str, *lines: str, after: Sequence[str] = ()
) -> str:
    """A figure of what the worker answered: ``drawn`` is a call in terms of ``answer`` and of what ``lines`` make.

    ``question`` is that of ``ptviz.worker.probe_handlers.answer_of``, its kind among it.
    """
    asked = ["from ptviz.worker.probe_handlers import answer_of", f"answer = answer_of(run, {_told(question)})"]
    return of_run(run, module, drawn, name, *asked, *lines, after=after)


def asked(
    id: str, question: Mapping[str, object], module: str, drawn: str, name: str, *lines: str, after: Sequence[str] = ()
) -> str:
    """As ``answered``, for a run or a kept prompt by its id, and without ``run`` at hand."""
    found = [
        "from ptviz.runs import Store", "from ptviz.worker.probe_handlers import answer_about",
        f"answer = answer_about(Store(), {id!r}, {_told(question)})",
    ]  # fmt: skip
    return script(module, [*found, *lines], drawn, name, after)


def _told(question: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in question.items())


def still(
    kept: str, backbone: str, rows: Sequence[int], module: str, drawn: str, name: str, *lines: str,
    after: Sequence[str] = (),
) -> str:  # fmt: skip
    """A figure of a kept prompt's ``rows``: ``drawn`` in terms of ``tokens``, ``words`` and of what ``lines`` make."""
    found = [
        "from ptviz.runs import Store", "from ptviz.runs.saved_prompts import tensors",
        "from ptviz.runs.embedding_table import vocabulary",
        f'tokens = tensors(Store(), {kept!r})["embeddings"].numpy()[{list(rows)}]', f"words = vocabulary({backbone!r})",
    ]  # fmt: skip
    return script(module, [*found, *lines], drawn, f"{kept}-{name}", after)


def dimmed(rows: Collection[int], columns: Collection[int] = ()) -> list[str]:
    """The lines that dim the cells of ``figure`` but for some rows or columns; none if nothing stands out."""
    if not rows and not columns:
        return []
    told = f", {sorted(columns)}" if columns else ""
    return ["from ptviz.figures.linked_selection import dim", f"figure = dim(figure, {sorted(rows)}{told})"]


def dimmed_by(function: str, places: Collection[int]) -> list[str]:
    """As ``dimmed``, with another function of ``ptviz.figures.linked_selection``."""
    if not places:
        return []
    return [f"from ptviz.figures.linked_selection import {function}", f"figure = {function}(figure, {sorted(places)})"]


def waywardness(ids: Sequence[str], name: str) -> str:
    """Runs that were pulled to one sentence: how much of it they read as, and what they lost."""
    lines = [
        "from ptviz.plots.material import waywardness_of", "from ptviz.runs import Store",
        "from ptviz.runs.embedding_table import vocabulary", "store = Store()",
        f"runs = [store.get(id) for id in {list(ids)!r}]",
        "found = waywardness_of(runs, vocabulary(runs[0].config.backbone))",
    ]  # fmt: skip
    return script("waywardness", lines, "draw_waywardness(found)", name)


def race(ids: Sequence[str], drawn: str, name: str, module: str = "race") -> str:
    """A picture of a race of some runs: a call with ``laps``, ``curves``, ``order``, ``looks`` and ``zero_shot``."""
    lines = [
        "from statistics import fmean", "from ptviz.analysis.comparison import bands, standings",
        "from ptviz.figures.comparison import Look", "from ptviz.plots.material import laps_of",
        "from ptviz.runs import Store", "from ptviz.plots.method_style import mark_of, title_of",
        "store = Store()", f"runs = [store.get(id) for id in {list(ids)!r}]", "laps = laps_of(runs)",
        "curves, order = bands(laps), standings(laps)",
        "looks = {lap.method: Look(title_of(lap.method), mark_of(lap.method)) for lap in laps}",
        "known = [told.zero_shot for run in runs if (told := run.curve().baselines)]",
        "zero_shot = fmean(known) if known else None",
    ]  # fmt: skip
    return script(module, lines, drawn, name)


def grid(ids: Sequence[str]) -> str:
    """Learning rates against seeds, of runs of one method."""
    lines = [
        "from ptviz.analysis.comparison import grid", "from ptviz.plots.material import laps_of",
        "from ptviz.runs import Store",
        "from ptviz.training import default_rate", f"runs = [Store().get(id) for id in {list(ids)!r}]",
        "configs = {run.id: run.config for run in runs}",
        "rates = {id: own.training.lr or default_rate(own.method, own.backbone) for id, own in configs.items()}",
        "told = [(rates[lap.run], lap.seed, lap.test, lap.zero_shot) for lap in laps_of(runs)]",
        "made = grid(next((own.method for own in configs.values()), ''), told)",
    ]  # fmt: skip
    return script("race", lines, "draw_grid(made)", "stability")


def taxonomy(values: Mapping[str, float], measure: str, unit: str, log: bool) -> str:
    """The family tree, with the values that colour it."""
    lines = ["from ptviz.analysis.taxonomy import taxonomy", "from ptviz.methods import REGISTRY"]
    cards = "method.card for method in REGISTRY.values()"
    if measure:
        lines += [f"values = {dict(values)!r}",
                  f"tree = taxonomy(({cards}), values, {measure!r}, {unit!r}, {log!r})"]  # fmt: skip
    else:
        lines += [f"tree = taxonomy({cards})"]
    return scene("taxonomy", lines, "draw_taxonomy(tree)", "ptviz-taxonomy")


def framework(backbone: str) -> str:
    """All panels on a backbone's sizes."""
    lines = ["from ptviz.plots.material import all_panels, backbone_of"]
    drawn = f"draw_framework(all_panels(backbone_of({backbone!r})))"
    return scene("framework", lines, drawn, "ptviz-framework")


def pair(one: str, other: str, backbone: str) -> str:
    """Two panels side by side."""
    lines = ["from ptviz.plots.material import backbone_of, panel_of", f"shape = backbone_of({backbone!r})"]
    drawn = f"draw_pair(panel_of({one!r}, shape), panel_of({other!r}, shape))"
    return scene("framework", lines, drawn, f"ptviz-{one}-{other}")


def panel(method: str, backbone: str, run: Run | None = None, first: bool = False) -> str:
    """One method's panel, or that of a run with its tensors."""
    if run is None:
        lines = ["from ptviz.plots.material import backbone_of, panel_of"]
        return scene("anatomy", lines, f"draw_panel(panel_of({method!r}, backbone_of({backbone!r})))",
                     f"ptviz-{method}")  # fmt: skip
    lines = [*_run(run), "from ptviz.plots.material import live_panel"]
    return scene("anatomy", lines, f"draw_panel(live_panel(run, first={first!r}))", run.id)


def stages(method: str, backbone: str, steps: int) -> str:
    """A method's stages as a timeline."""
    lines = ["from ptviz.plots.material import backbone_of, legs_of"]
    drawn = f"draw_stages(legs_of({method!r}, backbone_of({backbone!r}), {steps}))"
    return scene("stages", lines, drawn, f"ptviz-{method}-stages")


def cost(method: str, backbone: str, knob: str) -> str:
    """How a method's counts grow with one of its knobs, given by its symbol."""
    lines = [
        "from ptviz.plots.material import backbone_of, costs_of",
        f"curves = costs_of({method!r}, backbone_of({backbone!r}))",
        f"curve = next(curve for curve in curves if curve.knob == {knob!r})",
    ]  # fmt: skip
    return script("cost", lines, "draw_cost(curve)", f"ptviz-{method}-cost-{knob}")


def _run(run: Run) -> list[str]:
    return ["from ptviz.runs import Store", f"run = Store().get({run.id!r})"]
