"""Default source tasks of transfer methods: the target's own family first, never the target's own data."""

from __future__ import annotations

from collections.abc import Sequence

from ptviz.tasks.builtin.registry import BUILTIN_TASKS

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


def default_source_tasks(task: str, family: str = "", count: int = 3, others: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names of ``count`` built-in source tasks for a target; ``others`` are further targets of the same run.

    ``family`` is used only where ``task`` is not built in; a family of no built-in task takes a mixed choice.
    """
    family = BUILTIN_TASKS[task].family if task in BUILTIN_TASKS else family
    choice = RELATED_TASKS.get(family, _FALLBACK_TASKS)
    own = {_dataset_name(name) for name in (task, *others)}
    return tuple(name for name in choice if _dataset_name(name) not in own)[:count]


def _dataset_name(task: str) -> str:
    """Return the data set that a task comes from: banking, banking77 and banking-pairs share theirs."""
    return task.removesuffix("-pairs").rstrip("0123456789") if task in BUILTIN_TASKS else task
