"""The survey's taxonomy of methods, built from the methods' cards.

Source: Li, Su and Collier, "A Survey on Prompt Tuning", 2025, figure 1, https://arxiv.org/abs/2507.06085
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ptviz.methods.card import MethodCard

LEVELS = ("family", "group", "where the prompt enters")


@dataclass(frozen=True)
class Leaf:
    """A method in the tree; ``relative_value`` is ``value`` scaled from the lowest (0) to the highest (1) of all."""

    name: str
    title: str
    citation: str
    idea: str
    value: float | None = None
    relative_value: float | None = None


@dataclass(frozen=True)
class Branch:
    """A node of the tree: its label, its level (0 is the root), the branches and methods under it."""

    label: str
    level: int
    branches: tuple[Branch, ...] = ()
    leaves: tuple[Leaf, ...] = ()

    def methods(self) -> tuple[Leaf, ...]:
        """Return all methods under this branch, from top to bottom."""
        return tuple(leaf for branch in self.branches for leaf in branch.methods()) + self.leaves


@dataclass(frozen=True)
class ColourScale:
    """The measure that colours the tree: name, unit, lowest and highest value; ``logarithmic`` for counts and times."""

    name: str
    unit: str = ""
    low: float = 0.0
    high: float = 0.0
    logarithmic: bool = False


@dataclass(frozen=True)
class Taxonomy:
    """The tree, and the scale of its colours if it has any."""

    root: Branch
    colour_scale: ColourScale | None = None


def build_taxonomy(
    cards: Iterable[MethodCard],
    values: Mapping[str, float] | None = None,
    measure: str = "",
    unit: str = "",
    log: bool = False,
) -> Taxonomy:
    """Build the tree of some methods, in their order, coloured by ``values`` (by method name; grey if missing)."""
    known = {name: value for name, value in (values or {}).items() if math.isfinite(value) and (value > 0 or not log)}
    low, high = (min(known.values()), max(known.values())) if known else (0.0, 0.0)

    def leaf(card: MethodCard) -> Leaf:
        value = known.get(card.name)
        share = None if value is None else _relative_position(value, low, high, log)
        return Leaf(card.name, card.title, card.citation, card.idea, value, share)

    rows = [(card.branch, leaf(card)) for card in cards]
    root = Branch("Prompt tuning", 0, _build_branch(rows, 0))
    return Taxonomy(root, ColourScale(measure, unit, low, high, log) if measure else None)


def _build_branch(rows: list[tuple[tuple[str, str, str], Leaf]], level: int) -> tuple[Branch, ...]:
    # By first appearance: the registry's order is the survey's, and a method from elsewhere joins its group.
    labels = list(dict.fromkeys(branch[level] for branch, _ in rows))
    branches = []
    for label in labels:
        own = [row for row in rows if row[0][level] == label]
        deeper = level + 1 < len(LEVELS)
        below = _build_branch(own, level + 1) if deeper else ()
        branches.append(Branch(label, level + 1, below, () if deeper else tuple(leaf for _, leaf in own)))
    return tuple(branches)


def _relative_position(value: float, low: float, high: float, log: bool) -> float:
    if high <= low:
        return 0.5
    if log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)
