"""``ptviz methods | tasks | backbones | get``: what there is to train, and with what."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.cli.output import JsonOption, UsageError, as_usage_error, print_json, print_table, progress_console

if TYPE_CHECKING:
    from ptviz.methods import PromptMethod


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command("methods")(methods)
    app.command("tasks")(tasks)
    app.command("backbones")(backbones)
    app.command("get")(get)


def describe_method(method: type[PromptMethod]) -> dict[str, Any]:
    """A method as plain data: its card, the stages it trains in, and its knobs."""
    from dataclasses import asdict

    from ptviz.methods import build_method
    from ptviz.methods.hyperparameters import hyperparameters_of
    from ptviz.prompt import Spec

    card = method.card
    # Stages belong to a built method; one of sizes alone is enough, and sources give transfer methods theirs.
    built = build_method(card.name, Spec.from_sizes(8, 2, 2, 4, 8, ("source-1", "source-2")))
    knobs = [
        {
            "name": name,
            "symbol": info.declaration.symbol,
            "meaning": info.declaration.meaning,
            "type": info.value_type.__name__,
            "default": info.default,
            "low": info.declaration.minimum,
            "high": info.declaration.maximum,
            "choices": list(info.choices),
        }
        for name, info in hyperparameters_of(method).items()
    ]
    return {
        "name": card.name,
        "title": card.title,
        "branch": list(card.branch),
        "citation": card.citation,
        "url": card.url,
        "equation": card.equation,
        "idea": card.idea,
        "differs": card.differs,
        "claims": [asdict(claim) for claim in card.reported_results],
        "stages": [stage.name for stage in built.stages()],
        "knobs": knobs,
    }


def format_markdown(described: Iterable[dict[str, Any]]) -> str:
    """Return the table of docs/methods.md."""
    lines = ["| method | paper | branch of the survey | idea | knobs (default) |", "|---|---|---|---|---|"]
    for method in described:
        knobs = ", ".join(f"`{knob['name']}={knob['default']}`" for knob in method["knobs"] if knob["default"] != "")
        cells = [
            f"`{method['name']}`",
            f"[{method['citation']}]({method['url']})",
            " · ".join(method["branch"]),
            method["idea"],
            knobs,
        ]
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines)


def methods(
    as_json: JsonOption = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of the documentation.")] = False,
) -> None:
    """List the methods with their papers and knobs."""
    from ptviz.methods import REGISTRY

    if as_json and as_markdown:
        raise UsageError("--json and --markdown: choose one")
    described = [describe_method(method) for method in REGISTRY.values()]
    if as_json:
        print_json(described)
    elif as_markdown:
        typer.echo(format_markdown(described))
    else:
        rows = [
            (d["name"], d["title"], d["citation"], " ".join(f"{k['name']}={k['default']}" for k in d["knobs"]))
            for d in described
        ]
        print_table(("name", "title", "paper", "knobs"), rows)


def tasks(as_json: JsonOption = False) -> None:
    """List the built-in tasks.

    A path to a CSV, TSV, JSONL or Parquet file and `hub:ID` work as a task, too.
    """
    from ptviz.tasks import list_builtin_tasks

    _print_infos("task", list_builtin_tasks(), ("name", "title", "family", "classes", "rows"), as_json)


def backbones(as_json: JsonOption = False) -> None:
    """List the named backbones.

    A local folder or a hub id of an encoder, decoder or encoder-decoder works, too.
    """
    from ptviz.backbones import list_backbones

    _print_infos("backbone", list_backbones(), ("name", "title", "family", "layers", "width", "parameters"), as_json)


def _print_infos(kind: str, infos: Iterable[Any], columns: tuple[str, ...], as_json: bool) -> None:
    from dataclasses import asdict

    found = [asdict(info) for info in infos]
    if as_json:
        print_json(found)
        return
    rows = [
        [f"{info[c]:,}" if isinstance(info[c], int) else info[c] for c in columns]
        + ["yes" if info["available"] else f"no: {info['mend']}"]
        for info in found
    ]
    print_table((kind, *columns[1:], "here"), rows)


def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="smollm2-135m, or minilm-l6.")],
    again: Annotated[bool, typer.Option("--again", help="Fetch it anew, replacing what is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch a backbone into the cache.

    It is downloaded, checked by hash, and converted once.
    """
    from ptviz.backbones import fetch_backbone as fetch

    console = progress_console()
    with console.status(f"getting {name}") as status, as_usage_error(OSError):
        path = fetch(name, progress=lambda message: status.update(message), again=again)
    if as_json:
        print_json({"name": name, "path": str(path)})
    else:
        typer.echo(f"{name} is in {path}")
