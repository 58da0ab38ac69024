"""The parts of a method's card, which describes it before it is built; the text is in the method's own file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ptviz.methods.equation_symbols import EquationSymbol


@dataclass(frozen=True)
class ReportedResult:
    """A result that the method's paper reports, in our words; ``where`` is its table, figure or section, if known.

    ``read`` is our source: the paper's text, its released code, or a summary, whose numbers may be miscopied. ``by``
    cites another paper, which replicated the method.
    """

    text: str
    where: str = ""
    read: Literal["paper", "code", "summary"] = "paper"
    by: str = ""


@dataclass(frozen=True)
class MethodCard:
    """A method's description: its place in the survey, reported results, and differences from the paper.

    ``idea`` is one sentence, ``lesson`` a paragraph for beginners, ``suggested_experiment`` one thing to try.
    """

    name: str
    title: str
    citation: str
    url: str
    branch: tuple[str, str, str]
    equation: str
    idea: str
    differs: str = ""
    lesson: str = ""
    suggested_experiment: str = ""
    reported_results: tuple[ReportedResult, ...] = ()
    symbols: tuple[EquationSymbol, ...] = ()
