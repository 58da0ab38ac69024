"""``--set name=value``: a method's hyperparameters on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from ptviz.cli.output import UsageError

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Set a hyperparameter, as in --set m=20. Repeatable."),
]


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


def parse_snapshot(text: str) -> tuple[str, int, int]:
    """Return the run, stage and step of ``RUN:STAGE:STEP``.

    Raises:
        UsageError: if the text has another form.
    """
    run, *numbers = text.split(":")
    if not run or len(numbers) != 2 or not all(number.isdigit() for number in numbers):
        raise UsageError(f"--branch: expected RUN:STAGE:STEP, as in trec6-dept-0-ab12:0:100; got {text!r}")
    return run, int(numbers[0]), int(numbers[1])
