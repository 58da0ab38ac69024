"""A small text-to-text task and a multiple-choice one, as other packages would bring them."""

from __future__ import annotations

import pytest

from ptviz import tasks
from ptviz.tasks import ExternalTask, Task, TaskInfo
from ptviz.tasks.task import Example

NOUNS = ("cat", "dog", "bird", "house", "tree", "river", "stone", "light", "book", "chair", "lamp", "road")
_ROWS = tuple(Example(f"the {a} sees the {b}", targets=(f"a {a}",)) for a in NOUNS for b in NOUNS if a != b)
_CHOICES = tuple(
    Example(f"who is {a} near {b}", label=len(a + b) % 2, choices=(f"a small {a}", f"no {b} at all"))
    for a in NOUNS
    for b in NOUNS[:3]
)
_SPLITS = _ROWS[:80], _ROWS[80:96], _ROWS[96:112]
TEXT_TASK = Task("seer", "Who sees", "words", (), (), (), "Answer:", *_SPLITS, "made up")
_CHOICE_SPLITS = _CHOICES[:20], _CHOICES[20:28], _CHOICES[28:]
CHOICE_TASK = Task(
    "who", "Who", "words", (), (), (), "Answer:", _CHOICES[:20], _CHOICES[20:28], _CHOICES[28:], "made up"
)


def offer_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the two tasks loadable by their names."""
    offered = {
        task.name: ExternalTask(
            TaskInfo(task.name, task.title, task.family, 0, 100, True, "", "made up", task.kind, task.metric),
            lambda seed, task=task: task,
        )
        for task in (TEXT_TASK, CHOICE_TASK)
    }
    monkeypatch.setattr(tasks, "external_tasks", lambda: offered)
