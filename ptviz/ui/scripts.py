"""The Python that redraws a figure: short scripts with the run's own id, which need the library and no page."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ptviz.plots.views import TensorHistory, TensorView
from ptviz.runs import Run

VOCABULARY_CODE = (
    "from ptviz.runs.embedding_table import load_vocabulary",
    "words = load_vocabulary(run.config.backbone)",
)
"""The lines that find the words of a run's backbone."""


def figure_script(module: str, lines: Sequence[str], drawn: str, name: str, after: Sequence[str] = ()) -> str:
    """``lines``, then ``drawn``: a call of a function of that module of ``ptviz.figures``, kept as a file of its own.

    Imports may stand anywhere among the lines; they go to the top. ``after`` does more to ``figure``.
    """
    lines = [*lines, _figure_import(module, drawn), f"figure = {drawn}", *after, f'figure.write_html("{name}.html")']
    return _imports_first(lines)


def _figure_import(module: str, drawn: str) -> str:
    return f"from ptviz.figures.{module} import {drawn.split('(')[0]}"


def _imports_first(lines: Sequence[str]) -> str:
    imports = sorted({line for line in lines if line.startswith(("from ", "import "))})
    return "\n".join([*imports, "", *(line for line in lines if line not in imports)])


def tensor_history_code(run: Run, shown: TensorHistory, rows: Sequence[int] | None = None) -> list[str]:
    """The lines that read a part of a run at the steps shown, or the slice that its name tells.

    ``rows`` are the prompt tokens that ``shown`` has been cut down to, if it has been.
    """
    part, _, places = shown.name.partition("[")
    place = {axis: int(i) for axis, i in (told.split("=") for told in places.rstrip("]").split(", ") if told)}
    cut = f".slice({place!r})" if place else ""
    cut += "" if rows is None else f'.take("m", {list(rows)!r})'
    step = shown.steps[shown.current_index]
    # The end of a stage and the start of the next are two snapshots at one step.
    which = ", earlier=True" if step in shown.steps[shown.current_index % len(shown.steps) + 1 :] else ""
    return [
        *_run_code(run), "from ptviz.plots.material import load_tensor_history",
        f"track = load_tensor_history(run, {part!r}, steps={shown.steps!r}, at={step}{which}){cut}",
    ]  # fmt: skip


def view_script(
    run: Run, shown: TensorHistory, seen: TensorView, *, rows: Sequence[int] | None = None, after: Sequence[str] = ()
) -> str:
    """One view of a part: what the pages on decompositions and embeddings show. ``rows`` as in ``tensor_history_code``."""
    lines = [
        *tensor_history_code(run, shown, rows), "from ptviz.plots.views import views_for_axes",
        f"view = next(view for view in views_for_axes(track.axes) if view.name == {seen.name!r})",
        "figure = view.draw(view.analyse(track))", *after, f'figure.write_html("{run.id}-{seen.name}.html")',
    ]  # fmt: skip
    return _imports_first(lines)


def tensor_script(
    run: Run,
    shown: TensorHistory,
    module: str,
    drawn: str,
    name: str,
    *lines: str,
    rows: Sequence[int] | None = None,
    after: Sequence[str] = (),
) -> str:
    """A figure of a part: ``drawn`` is a call in terms of ``tensor_history_code`` and of what ``lines`` make. ``rows`` as above."""
    return figure_script(module, [*tensor_history_code(run, shown, rows), *lines], drawn, f"{run.id}-{name}", after)


def run_script(run: Run, module: str, drawn: str, name: str, *lines: str, after: Sequence[str] = ()) -> str:
    """A figure of a run: ``drawn`` is a call in terms of ``run`` and of what ``lines`` make."""
    return figure_script(module, [*_run_code(run), *lines], drawn, f"{run.id}-{name}", after)


def run_probe_script(
    run: Run, question: Mapping[str, object], module: str, drawn: str, name: str, *lines: str, after: Sequence[str] = ()
) -> str:
    """A figure of what the worker answered: ``drawn`` is a call in terms of ``answer`` and of what ``lines`` make.

    ``question`` is that of ``ptviz.worker.handlers.probe_run``, its kind among it.
    """
    asked = [
        "from ptviz.worker.handlers import probe_run",
        f"answer = probe_run(run, {_request_arguments(question)})",
    ]
    return run_script(run, module, drawn, name, *asked, *lines, after=after)


def probe_script(
    id: str, question: Mapping[str, object], module: str, drawn: str, name: str, *lines: str, after: Sequence[str] = ()
) -> str:
    """As ``run_probe_script``, for a run or a kept prompt by its id, and without ``run`` at hand."""
    found = [
        "from ptviz.runs import Store", "from ptviz.worker.handlers import probe_prompt",
        f"answer = probe_prompt(Store(), {id!r}, {_request_arguments(question)})",
    ]  # fmt: skip
    return figure_script(module, [*found, *lines], drawn, name, after)


def _request_arguments(question: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in question.items())


def saved_prompt_script(
    kept: str, backbone: str, rows: Sequence[int], module: str, drawn: str, name: str, *lines: str,
    after: Sequence[str] = (),
) -> str:  # fmt: skip
    """A figure of a kept prompt's ``rows``: ``drawn`` in terms of ``tokens``, ``words`` and of what ``lines`` make."""
    found = [
        "from ptviz.runs import Store", "from ptviz.runs.saved_prompts import load_prompt_tensors",
        "from ptviz.runs.embedding_table import load_vocabulary",
        f'tokens = load_prompt_tensors(Store().prompts_folder, {kept!r})["embeddings"].numpy()[{list(rows)}]',
        f"words = load_vocabulary({backbone!r})",
    ]  # fmt: skip
    return figure_script(module, [*found, *lines], drawn, f"{kept}-{name}", after)


def dim_cells_code(rows: Collection[int], columns: Collection[int] = ()) -> list[str]:
    """The lines that dim the cells of ``figure`` but for some rows or columns; none if nothing stands out."""
    if not rows and not columns:
        return []
    told = f", {sorted(columns)}" if columns else ""
    return ["from ptviz.figures.linked_selection import dim_cells", f"figure = dim_cells(figure, {sorted(rows)}{told})"]


def dim_code(function: str, places: Collection[int]) -> list[str]:
    """As ``dim_cells_code``, with another function of ``ptviz.figures.linked_selection``."""
    if not places:
        return []
    return [f"from ptviz.figures.linked_selection import {function}", f"figure = {function}(figure, {sorted(places)})"]


def waywardness_script(ids: Sequence[str], name: str) -> str:
    """Runs that were pulled to one sentence: how much of it they read as, and what they lost."""
    lines = [
        "from ptviz.plots.material import measure_waywardness", "from ptviz.runs import Store",
        "from ptviz.runs.embedding_table import load_vocabulary", "store = Store()",
        f"runs = [store.get(id) for id in {list(ids)!r}]",
        "found = measure_waywardness(runs, load_vocabulary(runs[0].config.backbone))",
    ]  # fmt: skip
    return figure_script("waywardness", lines, "draw_waywardness(found)", name)


def _run_code(run: Run) -> list[str]:
    return ["from ptviz.runs import Store", f"run = Store().get({run.id!r})"]
