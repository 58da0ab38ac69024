"""What figures are made of, by the id of a run or the name of a method: a script gets from here what a page shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from ptviz.analysis.comparison import RunResult
from ptviz.analysis.curves import TrainingCurve, build_training_curve, locate_stages
from ptviz.analysis.neighbours import nearest_tokens
from ptviz.analysis.routing import ExpertLoadCurve, compute_expert_load
from ptviz.analysis.waywardness import Waywardness, WaywardRun, compute_waywardness, join_tokens
from ptviz.backbones.shape import BackboneShape
from ptviz.experiments.comparison import load_result
from ptviz.plots.views import TensorHistory
from ptviz.runs import Run, RunHistory, SnapshotInfo, StoreError
from ptviz.runs.embedding_table import Vocabulary, find_backbone_shape
from ptviz.runs.method_tensors import NamedAxesArray, load_method_tensors


def to_training_curve(curve: RunHistory, weight: float = 0.9) -> TrainingCurve:
    """A run's events as a curve to draw; ``weight`` smooths the loss."""
    stages = [(stage.index, stage.name, stage.steps) for stage in curve.stages_started]
    baselines = (curve.baselines.majority, curve.baselines.zero_shot) if curve.baselines else None
    return build_training_curve(
        curve.global_steps,
        curve.losses,
        curve.evaluation_steps,
        [evaluation.accuracy for evaluation in curve.evaluations],
        stages=locate_stages(stages, curve.global_steps, curve.stages, curve.steps),
        baselines=baselines,
        weight=weight,
    )


def snapshot_positions(curve: TrainingCurve, snapshots: Iterable[SnapshotInfo]) -> tuple[int, ...]:
    """The steps of the whole curve at which snapshots were taken: stages follow one another."""
    starts = {index: span.start for index, span in enumerate(curve.stages)}
    return tuple(starts.get(info.stage, 0) + info.step for info in snapshots)


def load_tensor_history(
    run: Run, part: str, steps: Sequence[int] = (), at: int | None = None, *, earlier: bool = False
) -> TensorHistory:
    """A part of a run's method at its snapshots, or at those taken after ``steps`` of the whole curve.

    ``at`` is the step that is looked at, the last one if left out. Where one stage ends and the next begins, two
    snapshots stand at one step: the later one is looked at, or the ``earlier``.

    Raises:
        StoreError: if the sizes of the backbone are not known, a snapshot is damaged, or there is no such part or step.
    """
    sizes, taken = _backbone_sizes(run), run.snapshots()
    wanted = [
        (place, info)
        for place, info in zip(snapshot_positions(to_training_curve(run.history()), taken), taken, strict=True)
        if not steps or place in steps
    ]
    read = [(p, load_method_tensors(run.config, run.snapshot(i.stage, i.step), sizes).get(part)) for p, i in wanted]
    told = [(place, values) for place, values in read if values is not None]
    here = [i for i, (place, _) in enumerate(told) if place == (told[-1][0] if at is None else at)]
    if not here:
        there = sorted({place for place, _ in wanted})
        raise StoreError(f"run {run.id} has no part {part!r} at step {at or 0}; its snapshots are at {there}")
    shown = here[0 if earlier else -1]
    shape = told[shown][1].array.shape
    same = [i for i, (_, values) in enumerate(told) if values.array.shape == shape]
    found = [told[i] for i in same]
    arrays = tuple(values.array for _, values in found)
    return TensorHistory(part, told[shown][1].axes, tuple(place for place, _ in found), arrays, same.index(shown))


def load_snapshot_tensors(run: Run, stage: int, step: int) -> dict[str, NamedAxesArray]:
    """All parts of a run's method at one snapshot, the prompt as used first.

    Raises:
        StoreError: if the sizes of the backbone are not known, or the snapshot is missing or damaged.
    """
    return load_method_tensors(run.config, run.snapshot(stage, step), _backbone_sizes(run))


def load_expert_loads(run: Run) -> ExpertLoadCurve | None:
    """How the batches of a run spread over its experts or sources while it trained; None if it routes nothing.

    Stages may route over fewer sources than the target's own: the widest load is the one that is told.
    """
    curve = run.history()
    wide = max(map(len, curve.routing_loads), default=0)
    places = [i for i, load in enumerate(curve.routing_loads) if len(load) == wide]
    if not wide:
        return None
    return compute_expert_load(curve.global_steps[places], np.array([curve.routing_loads[i] for i in places]))


def expert_names(run: Run, count: int) -> list[str]:
    """What a run's ``count`` experts are called: source tasks by their names, the target last, experts by number."""
    sources = list(run.config.source_tasks())
    if not sources:
        return [f"expert {i}" for i in range(count)]
    return [*sources, *["target"] * (count - len(sources))][:count]


def _backbone_sizes(run: Run) -> BackboneShape:
    sizes = find_backbone_shape(run.config.backbone)
    if sizes is None:
        raise StoreError(f"the sizes of {run.config.backbone} are not known yet: open the run in the app once")
    return sizes


def stack_vectors(track: TensorHistory) -> Float[np.ndarray, "steps rows d"]:
    """The vectors of a part at each of its steps, those of its leading axes one after another."""
    return np.stack([value.reshape(-1, value.shape[-1]) for value in track.values])


def load_prompt_tokens(
    run: Run, part: str, steps: Sequence[int] = (), place: Mapping[str, int] = MappingProxyType({})
) -> Float[np.ndarray, "steps rows d"]:
    """The vectors of a part of a run at its snapshots, or at one place of its leading axes: what a map is made of.

    Raises:
        StoreError: as ``load_tensor_history``.
        KeyError: for an axis that the part does not have.
    """
    return stack_vectors(load_tensor_history(run, part, steps, at=steps[-1] if steps else None).select(place))


def read_nearest_words(run: Run, words: Vocabulary) -> tuple[str, str]:
    """The words nearest (by L2) to a run's best prompt, and those of the sentence that it was pulled to.

    Raises:
        StoreError: if the prompt cannot be read.
    """
    parts = load_method_tensors(run.config, run.prompt(), words.shape)
    m = len(parts["P"].array)
    pair = np.concatenate([parts["P"].array, parts["D"].array])
    told = words.words(nearest_tokens(pair, words.table, 1, "L2").ids)
    return join_tokens(told[:m]), join_tokens(told[m:])


def measure_waywardness(
    runs: Sequence[Run], words: Vocabulary, read: Callable[[Run, Vocabulary], tuple[str, str]] = read_nearest_words
) -> Waywardness:
    """What finished runs that were pulled to one sentence read as, and what they lost.

    Raises:
        StoreError: if a prompt cannot be read.
    """
    sentence, pulled = "", []
    for run in runs:
        text, sentence = read(run, words)
        finished, knobs = run.history().finished, run.config.knobs
        accuracy = finished.test if finished is not None else float("nan")
        pulled.append(WaywardRun(run.id, float(knobs.get("gamma", 0.0)), run.config.training.seed, accuracy, text))
    return compute_waywardness(sentence, pulled)


def load_run_results(runs: Iterable[Run]) -> list[RunResult]:
    """The finished ones of some runs, in numbers: what a race compares."""
    return [RunResult(**asdict(done)) for run in runs if (done := load_result(run)) is not None]
