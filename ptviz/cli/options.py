"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from ptviz.cli.output import UsageError, as_usage_error, print_error

if TYPE_CHECKING:
    from ptviz.tasks import Task

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Set a hyperparameter, as in --set m=20. Repeatable."),
]

BackboneOption = Annotated[str, typer.Option(help="A name, a local folder, or a Hub id.")]
TaskOption = Annotated[str, typer.Option(help="A name, a file (CSV, TSV, JSON, Parquet), or hub:ID.")]
TasksOption = Annotated[
    str,
    typer.Option(
        metavar="TASK,...",
        help="A name, a file (CSV, TSV, JSON, Parquet), or hub:ID. Several with commas, for methods that can share.",
    ),
]
CsvOption = Annotated[Path | None, typer.Option("--csv", metavar="PATH", help="Also write the table to this file.")]
MarkdownOption = Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")]
LatexOption = Annotated[bool, typer.Option("--latex", help="Print LaTeX tables, which need the package booktabs.")]


def given_options(context: typer.Context) -> list[str]:
    """Return the arguments and options of a command that were given on the command line."""
    sources = {option: context.get_parameter_source(option) for option in context.params}
    return [option for option, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def refuse_options(context: typer.Context, options: Iterable[str], why: str) -> None:
    """Refuse options that were given and would have no effect.

    Raises:
        UsageError: naming them, and why.
    """
    listed = [*options]
    if flags := [option_flag(option) for option in given_options(context) if option in listed]:
        raise UsageError(f"{', '.join(flags)}: {why}")


def option_flag(option: str) -> str:
    """Return an option as it is written on the command line."""
    return {"method": "METHOD", "sets": "--set"}.get(option, "--" + option.replace("_", "-"))


def check_one_form(as_json: bool, markdown: bool, latex: bool = False) -> None:
    """Check that at most one form of the output was asked for.

    Raises:
        UsageError: if several were.
    """
    asked = {"--json": as_json, "--markdown": markdown, "--latex": latex}
    if len(flags := [flag for flag, given in asked.items() if given]) > 1:
        raise UsageError(f"{' and '.join(flags)}: choose one")


def with_fields(config: type, argument: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each field of a dataclass that has a help text; it gets their values as one dict.

    Name, type and default of an option are those of the field; the dict takes the place of ``argument``.
    """
    kinds, shown = get_type_hints(config), [one for one in fields(config) if one.metadata["help"]]
    options = {
        one.name: (Annotated[kinds[one.name], typer.Option(help=one.metadata["help"])], one.default) for one in shown
    }
    return _with_options(options, argument, dict)


_TABLE_OPTIONS: dict[str, tuple[Any, Any]] = {
    "text": (
        Annotated[
            str | None, typer.Option(metavar="COLUMN,...", help="Column of texts in your file; several are fields.")
        ],
        None,
    ),
    "label": (Annotated[str | None, typer.Option(help="Column of labels in your file.")], None),
    "target": (
        Annotated[str | None, typer.Option(help="Column of target texts, instead of a column of labels.")],
        None,
    ),
    "choices": (
        Annotated[
            str | None,
            typer.Option(
                metavar="COLUMN,...",
                help="Columns of each row's own choices, or one with lists of them; the label names the right one.",
            ),
        ],
        None,
    ),
    "template": (
        Annotated[str, typer.Option(help="Layout of your fields, as in '{prompt}{premise} {sep} {hypothesis}'.")],
        "",
    ),
    "cut_first": (Annotated[str, typer.Option(metavar="FIELD", help="Field that is cut first in long inputs.")], ""),
    "metric": (Annotated[str, typer.Option(help="Metric of your task, as in macro-f1 or rouge-l.")], ""),
    "words": (
        Annotated[
            str | None,
            typer.Option(
                metavar="LABEL=WORD,...",
                help="Words that stand for the labels of your table; or one for each, in order.",
            ),
        ],
        None,
    ),
    "delimiter": (
        Annotated[
            str | None,
            typer.Option(help="Between the cells of your table: a character, comma, semicolon, tab or pipe."),
        ],
        None,
    ),
    "quoting": (
        Annotated[
            str | None,
            typer.Option(help="Quotes in your table: standard, backslash (escaped by one), or none (part of texts)."),
        ],
        None,
    ),
    "encoding": (Annotated[str | None, typer.Option(help="Encoding of your table, as in cp1252 or utf-16.")], None),
    "header": (
        Annotated[
            bool | None,
            typer.Option("--header/--no-header", help="Whether the first row of your table names the columns."),
        ],
        None,
    ),
    "skip_bad_rows": (
        Annotated[bool, typer.Option("--skip-bad-rows", help="Leave out rows that cannot be used, and list them.")],
        False,
    ),
    "place": (
        Annotated[
            str,
            typer.Option(
                help="Position of the prompt tokens, on any task: prefix (before the texts) or infix (after the last)."
            ),
        ],
        "prefix",
    ),
    "chat": (
        Annotated[bool, typer.Option("--chat", help="Ask an instruct decoder through its chat template, on any task.")],
        False,
    ),
}


def with_table_options(argument: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a user's own table; it gets ``text``, ``label`` and ``table`` of a run as one dict.

    The dict takes the place of ``argument``. A value that is not one of those expected raises ``UsageError``.
    """
    return _with_options(_TABLE_OPTIONS, argument, _table_fields)


_EXECUTOR_OPTIONS: dict[str, tuple[Any, Any]] = {
    "executor": (
        Annotated[str | None, typer.Option(help="local or ray. Default: $PTVIZ_EXECUTOR, or local.")],
        None,
    ),
    "address": (
        Annotated[
            str | None,
            typer.Option(help="Address of the Ray cluster. Default: $PTVIZ_RAY_ADDRESS, or auto."),
        ],
        None,
    ),
    "cpus": (Annotated[float, typer.Option(help="With ray: CPUs of a run.")], 1.0),
    "gpus": (Annotated[float, typer.Option(help="With ray: GPUs of a run.")], 0.0),
    "retries": (Annotated[int, typer.Option(help="With ray: restarts of a run whose node died.")], 10),
    "shared_storage": (
        Annotated[
            bool,
            typer.Option("--shared-storage", help="With ray: all nodes see the folder of runs under the same path."),
        ],
        False,
    ),
}


def with_executor_options(argument: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of where its runs are trained; it gets a function that makes the executor.

    The function takes the place of ``argument``. It raises ``UsageError`` if the executor cannot be used.
    """
    return _with_options(_EXECUTOR_OPTIONS, argument, _executor_maker)


def _executor_maker(values: dict[str, Any]) -> Any:
    changed = [name for name, (_, usual) in _EXECUTOR_OPTIONS.items() if name != "executor" and values[name] != usual]
    if changed:
        from ptviz.executors.choose import is_local

        if values["executor"] == "local" or (not values["executor"] and is_local()):
            raise UsageError(f"{', '.join(map(option_flag, changed))}: only with --executor ray")

    def make() -> Any:
        from ptviz.executors.choose import make_executor
        from ptviz.runs.placement import ClusterResources

        with as_usage_error(OSError):
            resources = ClusterResources(values["cpus"], values["gpus"], values["retries"], values["shared_storage"])
            return make_executor(values["executor"], values["address"], resources)

    return make


def _with_options(
    options: Mapping[str, tuple[Any, Any]], argument: str, collect: Callable[[dict[str, Any]], Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command options, each with an annotation and a default, in place of ``argument``."""
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in options.items()
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**values: Any) -> None:
            command(**{argument: collect({name: values.pop(name) for name in options})}, **values)

        signature = inspect.signature(command, eval_str=True)
        own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in signature.parameters.values()]
        at = [one.name for one in own].index(argument)
        run.__signature__ = signature.replace(parameters=[*own[:at], *added, *own[at + 1 :]])  # type: ignore[attr-defined]
        return run

    return decorate


def _table_fields(values: dict[str, Any]) -> dict[str, Any]:
    from ptviz.tasks import TableOptions
    from ptviz.tasks.custom.table_options import parse_words

    columns = {name: values.pop(name) for name in ("text", "label")}
    words = values.pop("words")
    values["choices"] = split_names(values["choices"]) or ()
    with as_usage_error():
        return {**columns, "table": TableOptions(**values, **({} if words is None else parse_words(words)))}


def own_notes(task: Task) -> tuple[str, ...]:
    """Return the notes on a user's own data; those on a built-in task are no news."""
    from ptviz.tasks import list_tasks

    return () if task.name in {info.name for info in list_tasks()} else task.notes


def print_notes(notes: Iterable[str]) -> None:
    """Write to stderr what was noticed when a table was read."""
    for note in notes:
        print_error(f"note: {note}", 0)


def parse_hyperparameters(sets: list[str] | None) -> dict[str, str]:
    """Return the hyperparameters by name, as written; the method checks their values.

    Raises:
        UsageError: if one is not ``name=value``, or is given twice.
    """
    found: dict[str, str] = {}
    for text in sets or ():
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UsageError(f"--set: expected NAME=VALUE as in --set m=20; got {text!r}")
        if name in found:
            raise UsageError(f"--set: {name} is given twice ({found[name]!r} and {value!r}); give it once")
        found[name] = value
    return found


def split_names(listed: str | None) -> tuple[str, ...] | None:
    """Return the names of a comma-separated list, without empty ones; None stays None."""
    return None if listed is None else tuple(name.strip() for name in listed.split(",") if name.strip())


def split_tasks(listed: str) -> dict[str, Any]:
    """Return ``task`` and ``more_tasks`` of a run from a comma-separated list; a file's name may have commas.

    Raises:
        UsageError: if there is none.
    """
    names = (listed,) if Path(listed).expanduser().exists() else split_names(listed)
    if not names:
        raise UsageError(f"--task: expected a task; got {listed!r}")
    return {"task": names[0], "more_tasks": names[1:]}


def parse_snapshot(text: str) -> tuple[str, int, int]:
    """Return the run, stage and step of ``RUN:STAGE:STEP``.

    Raises:
        UsageError: if the text has another form.
    """
    run, *numbers = text.split(":")
    if not run or len(numbers) != 2 or not all(number.isdigit() for number in numbers):
        raise UsageError(f"--branch: expected RUN:STAGE:STEP, as in trec6-dept-0-ab12:0:100; got {text!r}")
    return run, int(numbers[0]), int(numbers[1])
