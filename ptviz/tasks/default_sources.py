"""Default source tasks of transfer methods: the target's own family first, never the target's own data."""

from __future__ import annotations

from collections.abc import Sequence

from ptviz.tasks.benchmark_sets.sets import BENCHMARK_SETS
from ptviz.tasks.builtin.registry import BUILTIN_TASKS, RECORD_TASKS
from ptviz.tasks.external import external_tasks

RELATED_TASKS: dict[str, tuple[str, ...]] = {
    "question type": ("yahoo", "stackoverflow", "mcid", "trec6"),
    "sentiment": ("sms", "bbc", "yahoo", "tweets"),
    "spam": ("tweets", "bbc", "trec6", "sms"),
    "topic": ("yahoo", "dbpedia", "bbc", "stackoverflow"),
    "intent": ("clinc", "banking", "hwu", "mcid", "yahoo"),
    "pairs": ("clinc-pairs", "banking-pairs", "hwu", "mcid", "yahoo"),
}
"""Source tasks by the target's family, best first: our choice, by what the texts and the answers are about."""
_FALLBACK_TASKS = ("trec6", "tweets", "yahoo")
_TEXT_TASKS = ("inflection", "spelling")
"""For a target whose answers are written: the built-in tasks that need no download and have such answers too."""


def default_source_tasks(
    task: str, family: str = "", count: int = 3, others: Sequence[str] = (), *, writes: bool = False
) -> tuple[str, ...]:
    """Return the names of up to ``count`` built-in source tasks for a target, whose answers are of the target's kind.

    ``others`` are further targets of the same run. ``family``, and ``writes``, whether the answers are target texts,
    are used only where ``task`` is no known name; a family of no built-in task takes a mixed choice. Choices of an
    example are compared as classes are, so their sources have classes. Targets that leave none of the choice take any
    built-in tasks: a method that learns from sources needs some.
    """
    family = BUILTIN_TASKS[task].family if task in BUILTIN_TASKS else family
    choice = _TEXT_TASKS if _writes(task, writes) else RELATED_TASKS.get(family, _FALLBACK_TASKS)
    own = {_dataset_name(name) for name in (task, *others)}
    left = [name for name in choice if _dataset_name(name) not in own]
    left = left or [name for name in (*_FALLBACK_TASKS, *BUILTIN_TASKS) if _dataset_name(name) not in own]
    return tuple(dict.fromkeys(left))[:count]


def _writes(task: str, otherwise: bool) -> bool:
    """Return whether the answers of a task by name are target texts; ``otherwise`` for no known name."""
    if task in BUILTIN_TASKS:
        return False
    if task in RECORD_TASKS:
        return RECORD_TASKS[task].kind == "text"
    if task in BENCHMARK_SETS:
        return BENCHMARK_SETS[task].kind == "text"
    other = external_tasks().get(task)
    return otherwise if other is None else other.info.kind == "text"


def _dataset_name(task: str) -> str:
    """Return the data set that a task comes from: banking, banking77 and banking-pairs share theirs."""
    return task.removesuffix("-pairs").rstrip("0123456789") if task in BUILTIN_TASKS else task
