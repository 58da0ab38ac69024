"""``ptviz count``: count trainable and stored parameters of a method, for a backbone of any shape."""

from __future__ import annotations

from typing import Annotated

import typer

from ptviz.cli.options import SetOption, parse_hyperparameters
from ptviz.cli.output import JsonOption, as_usage_error, print_error, print_json, print_line


def count(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="A method's name: see `ptviz methods`.")],
    width: Annotated[int, typer.Option(help="Embedding width d.")] = 384,
    sites: Annotated[int, typer.Option(help="Attention sites S.")] = 6,
    heads: Annotated[int, typer.Option(help="Key/value heads H.")] = 12,
    head_width: Annotated[int, typer.Option(help="Width h of one head.")] = 32,
    length: Annotated[int, typer.Option(help="Longest input s, in tokens.")] = 64,
    sources: Annotated[int, typer.Option(min=0, max=1000, help="Number of source tasks k, for transfer methods.")] = 0,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count a method's parameters for a backbone of any shape.

    Prints the trainable parameters and those stored for inference. The default shape is that of minilm-l6.
    """
    from ptviz.methods import build_method
    from ptviz.prompt import Spec

    with as_usage_error():
        names = tuple(f"source-{index + 1}" for index in range(sources))
        spec = Spec.from_sizes(width, sites, heads, head_width, length, names)
        built = build_method(method, spec, parse_hyperparameters(sets))
    counts = {"trained": built.trainable_parameters(), "stored": built.stored_parameters()}
    if built.uses_source_tasks and not sources:
        print_error(f"note: {method} learns from source tasks; counted with none: give their number with --sources", 0)
    if as_json:
        print_json(counts)
    else:
        print_line(f"trainable {counts['trained']:,}\nstored    {counts['stored']:,}")
