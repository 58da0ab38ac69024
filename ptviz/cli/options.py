"""``--set name=value``: the knobs of a method on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from ptviz.cli.output import UsageError

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KNOB=VALUE", help="Set one of the method's knobs, as in --set m=20. Repeatable."),
]


def parse_hyperparameters(sets: list[str] | None) -> dict[str, str]:
    """The knobs as written, by name; the method checks their values.

    Raises:
        BadInput: if one is not ``name=value``, or is given twice.
    """
    found: dict[str, str] = {}
    for text in sets or ():
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UsageError(f"--set: expected KNOB=VALUE as in --set m=20; got {text!r}")
        if name in found:
            raise UsageError(f"--set: {name} is given twice ({found[name]!r} and {value!r}); give it once")
        found[name] = value
    return found


def parse_snapshot(text: str) -> tuple[str, int, int]:
    """The run, stage and step of ``RUN:STAGE:STEP``.

    Raises:
        BadInput: if it is something else.
    """
    run, *numbers = text.split(":")
    if not run or len(numbers) != 2 or not all(number.isdigit() for number in numbers):
        raise UsageError(f"--branch: expected RUN:STAGE:STEP, as in trec6-dept-0-ab12:0:100; got {text!r}")
    return run, int(numbers[0]), int(numbers[1])
