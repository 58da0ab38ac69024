"""What figures are made of, by the id of a run or the name of a method: a script gets from here what a page shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from ptviz import backbones
from ptviz.analysis.comparison import Lap
from ptviz.analysis.curves import TrainingCurve, stage_spans, training_curve
from ptviz.analysis.method_diagram import Panel, anatomy_of, original
from ptviz.analysis.neighbours import nearest
from ptviz.analysis.parameter_cost import CostCurve, cost_curve, ladder
from ptviz.analysis.routing import LoadCurve, load_curve
from ptviz.analysis.waywardness import Pulled, Waywardness, spelled, waywardness
from ptviz.backbones import BackboneInfo
from ptviz.backbones.shape import Sizes
from ptviz.experiments.comparison import outcome
from ptviz.figures.diagrams.stage_timeline import Leg
from ptviz.methods import REGISTRY, PromptMethod, Stage, build
from ptviz.methods.hyperparameters import knobs_of
from ptviz.plots.views import Track
from ptviz.prompt import Spec
from ptviz.runs import Curve, Run, SnapshotInfo, StoreError
from ptviz.runs.embedding_table import Vocabulary, known_sizes
from ptviz.runs.method_tensors import Values, parts_of
from ptviz.training import TrainConfig

SOURCES = 3
"""How many source tasks a transfer method is drawn with."""
LENGTH = TrainConfig().length


def curve_of(curve: Curve, weight: float = 0.9) -> TrainingCurve:
    """A run's events as a curve to draw; ``weight`` smooths the loss."""
    stages = [(stage.index, stage.name, stage.steps) for stage in curve.started]
    baselines = (curve.baselines.majority, curve.baselines.zero_shot) if curve.baselines else None
    return training_curve(
        curve.positions,
        curve.losses,
        curve.evaluated,
        [evaluation.accuracy for evaluation in curve.evaluations],
        stages=stage_spans(stages, curve.positions, curve.stages, curve.steps),
        baselines=baselines,
        weight=weight,
    )


def positions(curve: TrainingCurve, snapshots: Iterable[SnapshotInfo]) -> tuple[int, ...]:
    """The steps of the whole curve at which snapshots were taken: stages follow one another."""
    starts = {index: span.start for index, span in enumerate(curve.stages)}
    return tuple(starts.get(info.stage, 0) + info.step for info in snapshots)


def track_of(run: Run, part: str, steps: Sequence[int] = (), at: int | None = None, *, earlier: bool = False) -> Track:
    """A part of a run's method at its snapshots, or at those taken after ``steps`` of the whole curve.

    ``at`` is the step that is looked at, the last one if left out. Where one stage ends and the next begins, two
    snapshots stand at one step: the later one is looked at, or the ``earlier``.

    Raises:
        StoreError: if the sizes of the backbone are not known, a snapshot is damaged, or there is no such part or step.
    """
    sizes, taken = _sizes(run), run.snapshots()
    wanted = [
        (place, info)
        for place, info in zip(positions(curve_of(run.curve()), taken), taken, strict=True)
        if not steps or place in steps
    ]
    read = [(p, parts_of(run.config, run.snapshot(i.stage, i.step), sizes).get(part)) for p, i in wanted]
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
    return Track(part, told[shown][1].axes, tuple(place for place, _ in found), arrays, same.index(shown))


def parts_at(run: Run, stage: int, step: int) -> dict[str, Values]:
    """All parts of a run's method at one snapshot, the prompt as used first.

    Raises:
        StoreError: if the sizes of the backbone are not known, or the snapshot is missing or damaged.
    """
    return parts_of(run.config, run.snapshot(stage, step), _sizes(run))


def loads_of(run: Run) -> LoadCurve | None:
    """How the batches of a run spread over its experts or sources while it trained; None if it routes nothing.

    Stages may route over fewer sources than the target's own: the widest load is the one that is told.
    """
    curve = run.curve()
    wide = max(map(len, curve.loads), default=0)
    places = [i for i, load in enumerate(curve.loads) if len(load) == wide]
    if not wide:
        return None
    return load_curve(curve.positions[places], np.array([curve.loads[i] for i in places]))


def names_of(run: Run, count: int) -> list[str]:
    """What a run's ``count`` experts are called: source tasks by their names, the target last, experts by number."""
    sources = list(run.config.source_tasks())
    if not sources:
        return [f"expert {i}" for i in range(count)]
    return [*sources, *["target"] * (count - len(sources))][:count]


def _sizes(run: Run) -> Sizes:
    sizes = known_sizes(run.config.backbone)
    if sizes is None:
        raise StoreError(f"the sizes of {run.config.backbone} are not known yet: open the run in the app once")
    return sizes


def rows_of(track: Track) -> Float[np.ndarray, "steps rows d"]:
    """The vectors of a part at each of its steps, those of its leading axes one after another."""
    return np.stack([value.reshape(-1, value.shape[-1]) for value in track.values])


def tokens_of(
    run: Run, part: str, steps: Sequence[int] = (), place: Mapping[str, int] = MappingProxyType({})
) -> Float[np.ndarray, "steps rows d"]:
    """The vectors of a part of a run at its snapshots, or at one place of its leading axes: what a map is made of.

    Raises:
        StoreError: as ``track_of``.
        KeyError: for an axis that the part does not have.
    """
    return rows_of(track_of(run, part, steps, at=steps[-1] if steps else None).slice(place))


def reading_of(run: Run, words: Vocabulary) -> tuple[str, str]:
    """The words nearest (by L2) to a run's best prompt, and those of the sentence that it was pulled to.

    Raises:
        StoreError: if the prompt cannot be read.
    """
    parts = parts_of(run.config, run.prompt(), words.sizes)
    m = len(parts["P"].array)
    pair = np.concatenate([parts["P"].array, parts["D"].array])
    told = words.words(nearest(pair, words.table, 1, "L2").ids)
    return spelled(told[:m]), spelled(told[m:])


def waywardness_of(
    runs: Sequence[Run], words: Vocabulary, read: Callable[[Run, Vocabulary], tuple[str, str]] = reading_of
) -> Waywardness:
    """What finished runs that were pulled to one sentence read as, and what they lost.

    Raises:
        StoreError: if a prompt cannot be read.
    """
    sentence, pulled = "", []
    for run in runs:
        text, sentence = read(run, words)
        finished, knobs = run.curve().finished, run.config.knobs
        accuracy = finished.test if finished is not None else float("nan")
        pulled.append(Pulled(run.id, float(knobs.get("gamma", 0.0)), run.config.training.seed, accuracy, text))
    return waywardness(sentence, pulled)


def laps_of(runs: Iterable[Run]) -> list[Lap]:
    """The finished ones of some runs, in numbers: what a race compares."""
    return [Lap(**asdict(done)) for run in runs if (done := outcome(run)) is not None]


def backbone_of(name: str) -> BackboneInfo:
    """The sizes of a backbone that has a name here.

    Raises:
        ValueError: for any other.
    """
    known = {info.name: info for info in backbones.catalogue()}
    if name not in known:
        raise ValueError(f"the sizes of {name} are known only once it is loaded; expected one of {', '.join(known)}")
    return known[name]


def spec_of(shape: BackboneInfo, length: int = LENGTH, sources: Sequence[str] | int = SOURCES) -> Spec:
    """The sizes of a backbone, without loading it; ``sources`` are the names of source tasks, or how many."""
    names = tuple(f"source {i + 1}" for i in range(sources)) if isinstance(sources, int) else tuple(sources)
    return Spec.of_shape(shape.width, shape.sites, shape.heads, shape.head_width, length, names)


def panel_of(
    method: str, shape: BackboneInfo, knobs: Mapping[str, object] = MappingProxyType({}), sources: int = SOURCES
) -> Panel:
    """One method's panel on a backbone's sizes."""
    built = build(method, spec_of(shape, sources=sources), knobs)
    return anatomy_of(built, LENGTH, shape.width, shape.sites, shape.parameters)


def all_panels(shape: BackboneInfo, sources: int = SOURCES) -> list[Panel]:
    """The backbone alone, then every method of the registry, in the survey's order."""
    alone = original(shape.sites, LENGTH, shape.width, shape.parameters)
    return [alone, *(panel_of(name, shape, sources=sources) for name in REGISTRY)]


def costs_of(method: str, shape: BackboneInfo) -> list[CostCurve]:
    """How the counts grow with each of the method's whole-number knobs that they depend on."""
    spec = spec_of(shape)
    found = []
    for knob, info in knobs_of(REGISTRY[method]).items():
        if info.kind is not int or info.knob.low is None or info.knob.high is None:
            continue

        def count(value: int, knob: str = knob) -> tuple[int, int]:
            made = build(method, spec, {knob: value})
            return made.trained(), made.stored()

        usual = int(info.default)
        at = ladder(max(1, int(info.knob.low)), min(int(info.knob.high), max(100, 4 * usual)), usual)
        curve = cost_curve(info.knob.symbol, info.knob.meaning.split(":")[0], at, count, usual)
        if len({*curve.trained}) > 1 or len({*curve.stored}) > 1:
            found.append(curve)
    return found


def legs_of(method: str, shape: BackboneInfo, steps: int = TrainConfig().steps) -> list[Leg]:
    """The legs of a method's training in order, for a run of so many steps on the target."""
    legs = []
    if REGISTRY[method].library:
        legs.append(Leg("source prompts", "sources", 0, "one plain prompt for each source task"))
    for stage in build(method, spec_of(shape)).stages():
        # Stages on the sources alone have a budget of their own, which a run decides.
        own = 0 if stage.tasks == "sources" else round(stage.share * steps)
        legs.append(Leg(stage.name, stage.tasks, own, _trains(stage), stage.optimiser))
    return legs


def _trains(stage: Stage) -> str:
    if not stage.trains:
        return "trains everything of the method"
    rates = {scale for scale in stage.trains.values() if scale > 0}
    names = [n if len(rates) < 2 else f"{n} at {scale:g}×" for n, scale in stage.trains.items() if scale > 0]  # noqa: RUF001
    return "trains " + ", ".join(names)


def live_panel(run: Run, first: bool = False) -> Panel:
    """A run's method with the values of its tensors: at its best prompt so far, or at its first snapshot.

    Raises:
        ValueError: if the backbone's sizes are not known, or the tensors do not fit the method.
        StoreError: if the tensors cannot be read.
    """
    snapshots = run.snapshots()
    state = run.snapshot(snapshots[0].stage, snapshots[0].step) if first and snapshots else run.prompt()
    config = run.config
    shape, length = backbone_of(config.backbone), config.training.length
    spec = spec_of(shape, length, config.source_tasks() or SOURCES)
    method: PromptMethod = build(config.method, spec, config.knobs)
    # The stored tensors take the place of the shapes, whatever the backbone's vocabulary was.
    try:
        method.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:
        raise ValueError(
            f"the tensors of run {run.id} do not have the shapes of this version; train it anew"
        ) from error
    method.eval()
    panel = anatomy_of(method, length, shape.width, shape.sites, shape.parameters, values=True)
    return replace(panel, citation=config.name or run.id)
