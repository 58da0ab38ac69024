"""Training with source tasks: source prompts, mixtures, fractions of the steps, and the search without gradients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ptviz.methods import PromptMethod, Stage, build_method, task_objective
from ptviz.methods.source_prompt import SourcePrompt
from ptviz.training import Finished, Snapshot, SourcePromptReady, StageStarted, StepCompleted, TrainConfig, train
from ptviz.training.source_prompts import make_source_config
from ptviz.training.stage_steps import count_stage_steps
from tests.families import SOURCES, TASK, backbone_of
from tests.training.test_resume import same, snapshots, stored

CONFIG = TrainConfig(steps=7, source_steps=4, batch=8, lr=0.05, evaluate_every=3, snapshot_every=1)


def train_toy(config: TrainConfig = CONFIG, **more: object) -> list[object]:
    return list(train("toy-transfer", backbone_of("tiny-encoder"), TASK, config, sources=SOURCES, **more))  # type: ignore[arg-type]


def make_source_prompts(m: int = 4) -> dict[str, SourcePrompt]:
    width = backbone_of("tiny-encoder").make_spec(16).width
    return {
        task.name: SourcePrompt(task.name, torch.full((m, width), float(i)), torch.zeros(m, width), 0.5)
        for i, task in enumerate(SOURCES)
    }


def test_every_stage_sees_its_tasks_and_takes_its_steps(toy: type[PromptMethod]) -> None:
    events = train_toy()
    starts = [(event.name, event.steps) for event in events if isinstance(event, StageStarted)]
    assert starts == [("mixture", 4), ("together", 4), ("search", 3)]
    seen = next(event for event in reversed(events) if isinstance(event, Snapshot)).method["seen"]
    assert seen[0, 2] == 0
    assert (seen[0, :2] > 0).all()
    assert seen[0].sum() == 4 * 8
    assert (seen[1] > 0).all()
    assert (seen[2, :2] == 0).all()
    assert isinstance(events[-1], Finished)


def test_source_prompts_are_trained_first_and_those_given_are_used(toy: type[PromptMethod]) -> None:
    events = train_toy()
    ready = [event for event in events if isinstance(event, SourcePromptReady)]
    assert [event.task for event in ready] == [task.name for task in SOURCES]
    assert not any(event.reused or event.run for event in ready)
    assert isinstance(events[2], StageStarted)
    fixed = make_source_config(CONFIG)
    alone = train("prompt-tuning", backbone_of("tiny-encoder"), SOURCES[0], fixed, hyperparameters={"m": 4})
    assert ready[0].accuracy == next(e.validation for e in alone if isinstance(e, Finished))

    given = train_toy(source_prompts=make_source_prompts())
    assert not [event for event in given if isinstance(event, SourcePromptReady)]
    first = next(event for event in given if isinstance(event, Snapshot))
    assert torch.equal(first.method["S"][1], torch.ones_like(first.method["S"][1]))
    assert torch.equal(first.method["P"], torch.full_like(first.method["P"], 0.5))


def unseen(place: Snapshot) -> Snapshot:
    """Return the state without the count of rows, which counts a repeated step twice."""
    left = [
        {key: value for key, value in state.items() if not key.endswith("seen")}
        for state in (place.method, place.resume)
    ]
    return replace(place, method=left[0], resume=left[1])


def test_transfer_resumes_from_anywhere(toy: type[PromptMethod], tmp_path: Path) -> None:
    """The search too: its state is the table of losses."""
    whole = train_toy(source_prompts=make_source_prompts())
    losses = {(e.stage, e.step): e.loss for e in whole if isinstance(e, StepCompleted)}
    for snapshot in snapshots(whole):  # type: ignore[arg-type]
        again = train_toy(resume=stored(snapshot, tmp_path))
        assert all(losses[e.stage, e.step] == e.loss for e in again if isinstance(e, StepCompleted))
        same(*(unseen(snapshots(events)[-1]) for events in (again, whole)))  # type: ignore[arg-type]


def test_the_library_does_not_depend_on_the_seed_or_the_shots() -> None:
    assert make_source_config(replace(CONFIG, seed=7, shots=4, lr=0.5, steps=99)) == make_source_config(CONFIG)
    assert make_source_config(CONFIG).steps == 4


def test_sources_are_refused_where_nothing_is_transferred() -> None:
    with pytest.raises(ValueError, match="does not learn from source tasks"):
        train("prompt-tuning", backbone_of("tiny-encoder"), TASK, CONFIG, sources=SOURCES)


def test_transfer_without_sources_is_refused(toy: type[PromptMethod]) -> None:
    with pytest.raises(ValueError, match="needs source tasks"):
        list(train("toy-transfer", backbone_of("tiny-encoder"), TASK, CONFIG, sources=()))


@pytest.mark.parametrize(
    ("shares", "config", "expected"),
    [
        ((1.0,), TrainConfig(steps=10), (10,)),
        ((0.5, 0.25, 0.25), TrainConfig(steps=10), (5, 2, 3)),
        ((0.5, 0.5), TrainConfig(steps=30, planned_steps=10), (5, 25)),
        ((0.5, 0.5), TrainConfig(steps=1), (1, 1)),
    ],
)
def test_fractions_add_up_to_the_steps(
    shares: tuple[float, ...], config: TrainConfig, expected: tuple[int, ...], toy: type[PromptMethod]
) -> None:
    """An extension adds steps to the last stage: the others are over."""
    objective = task_objective(build_method("prompt-tuning", backbone_of("tiny-encoder").make_spec(16)))
    stages = [Stage(str(i), objective, step_fraction=share) for i, share in enumerate(shares)]
    assert count_stage_steps(stages, config) == expected
    source = Stage("source", objective, tasks="sources", step_fraction=0.5)
    assert count_stage_steps([source, *stages], replace(config, source_steps=20)) == (10, *expected)


def test_competing_stages_keep_the_better_prompt(toy: type[PromptMethod], monkeypatch: pytest.MonkeyPatch) -> None:
    """The second stage ruins the prompt: it loses if it competes, and gives the result if it does not."""

    def stages(self: PromptMethod, rivals: bool) -> tuple[Stage, ...]:
        worse = Stage(
            "worse",
            task_objective(self),
            on_start=lambda context: self.P.data.fill_(5.0),
            lr_scales={"P": 1e-9},
            keeps_previous_best=rivals,
        )  # type: ignore[union-attr]
        return (Stage("good", task_objective(self), step_fraction=0.5), replace(worse, step_fraction=0.5))

    left, place = {}, {}
    for rivals in (True, False):
        monkeypatch.setattr(toy, "stages", lambda self, rivals=rivals: stages(self, rivals))
        events = train_toy(replace(CONFIG, steps=12), source_prompts=make_source_prompts())
        left[rivals] = next(event for event in reversed(events) if isinstance(event, Snapshot)).resume["best/P"]
        place[rivals] = events[-1].best_stage
    assert place == {True: 0, False: 1}
    assert (left[False] - 5).abs().max() < 0.01
    assert (left[True] - 5).abs().max() > 0.1
