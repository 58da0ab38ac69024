"""The tensors of a run's method over its snapshots, or of a saved prompt."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from ptviz.backbone_shape import BackboneShape
from ptviz.checkpoints.bundle import NamedAxesArray
from ptviz.plots.cache import cached_by_signature
from ptviz.plots.run_argument import PromptOrId, RunOrId, get_run, get_saved
from ptviz.plots.tensor_views import TensorHistory, subsample_indices
from ptviz.plots.training_curves import snapshot_positions, to_training_curve
from ptviz.runs import Run, SnapshotInfo, StoreError
from ptviz.runs.default_store import default_store
from ptviz.runs.embedding_table import Vocabulary, cache_path, find_backbone_shape, load_vocabulary, save_vocabulary
from ptviz.runs.saved_prompts import PROMPT_AXES, SavedPrompt, load_prompt_tensors
from ptviz.runs.status import ACTIVE_STATES

MAX_STEPS, MAX_STEPS_LARGE = 40, 12
"""Most snapshots that are read; the second where one of them is larger than ``_LARGE_BYTES``."""
_LARGE_BYTES = 4 << 20
_SAVED_SYMBOLS = {"embeddings": "P", "key_values": "KV"}
"""What the tensors of a saved prompt are called."""


def load_tensor_histories(
    prompt: PromptOrId, *, stage: int = 0, step: int | None = None, max_steps: int | None = None
) -> dict[str, TensorHistory]:
    """Return the tensors of a run's method at its snapshots, the prompt as used first; a saved prompt has one step.

    ``step`` of ``stage`` is selected, the best snapshot if it is None. With ``max_steps``, the snapshots read do not
    depend on the selected one: the last of them at or before it is selected instead.

    Raises:
        StoreError: if the sizes of the backbone are not known, or a snapshot is missing, damaged, or does not fit the
            method any more.
    """
    saved = get_saved(prompt)
    if saved is not None:
        return _saved_histories(saved)
    run = get_run(prompt)
    snapshots = run.snapshots()
    selected = snapshot_index(run, snapshots, stage, step)
    large = snapshots[selected].path.stat().st_size > _LARGE_BYTES
    most = MAX_STEPS_LARGE if large else MAX_STEPS
    read = subsample_indices(len(snapshots), 0 if max_steps else selected, min(most, max_steps or most))
    sizes = _backbone_shape(run)
    states = [_snapshot_tensors(run, snapshots[i], sizes) for i in read]
    positions = snapshot_positions(to_training_curve(run.history()), snapshots)
    at = bisect_right(read, selected) - 1
    made = {}
    for name, tensor in states[at].items():
        # A tensor may change its shape between stages: only steps where it looks as it does now share a figure.
        same = [i for i, state in enumerate(states) if name in state and state[name].array.shape == tensor.array.shape]
        files = tuple((snapshots[read[i]].path.name, snapshots[read[i]].path.stat().st_mtime_ns) for i in same)
        made[name] = TensorHistory(
            name=name,
            axes=tensor.axes,
            steps=tuple(positions[read[i]] for i in same),
            values=tuple(states[i][name].array for i in same),
            current_index=same.index(at),
            cache_key=(str(run.path), run.id, name, files),
        )
    return made


def load_tensor_history(
    prompt: PromptOrId,
    part: str = "",
    *,
    stage: int = 0,
    step: int | None = None,
    index: Mapping[str, int] | None = None,
    tokens: Sequence[int] | None = None,
) -> TensorHistory:
    """Return one tensor of ``load_tensor_histories``, the prompt as used if no ``part`` is named.

    ``index`` selects one index of each axis that it names, ``tokens`` some indices of the axis "m".

    Raises:
        StoreError: as ``load_tensor_histories``, or if there is no such tensor.
        KeyError: for an axis that the tensor does not have.
    """
    histories = load_tensor_histories(prompt, stage=stage, step=step)
    if part and part not in histories:
        raise StoreError(f"expected one of the tensors {', '.join(histories)}; got {part!r}")
    history = histories[part or next(iter(histories))].select(index or {})
    return history if tokens is None else history.take("m", tokens)


def load_snapshot_tensors(run: RunOrId, *, stage: int = 0, step: int | None = None) -> dict[str, NamedAxesArray]:
    """Return the tensors of a run's method at one snapshot, the prompt as used first.

    Raises:
        StoreError: as ``load_tensor_histories``.
    """
    run = get_run(run)
    snapshots = run.snapshots()
    return _snapshot_tensors(run, snapshots[snapshot_index(run, snapshots, stage, step)], _backbone_shape(run))


def stack_vectors(history: TensorHistory) -> Float[np.ndarray, "steps rows d"]:
    """Return the vectors of a tensor at each of its steps, those of its leading axes one after another."""
    return np.stack([value.reshape(-1, value.shape[-1]) for value in history.values])


def snapshot_index(run: Run, snapshots: Sequence[SnapshotInfo], stage: int, step: int | None) -> int:
    """Return the index of the snapshot of that stage and step; of the best snapshot if ``step`` is None.

    Raises:
        StoreError: if there is no such snapshot.
    """
    if step is None and snapshots:
        return best_snapshot_index(run, snapshots)
    found = [i for i, info in enumerate(snapshots) if (info.stage, info.step) == (stage, step)]
    if not found:
        have = ", ".join(f"{info.step} of stage {info.stage}" for info in snapshots) or "none yet"
        raise StoreError(f"run {run.id} has no snapshot at step {step} of stage {stage}; it has {have}")
    return found[0]


def best_snapshot_index(run: Run, snapshots: Sequence[SnapshotInfo]) -> int:
    """Return the last snapshot at or before the best evaluation of a run that ended; the newest of an active one."""
    best = run.history().best_evaluation
    if run.status().state in ACTIVE_STATES or best is None:
        return len(snapshots) - 1
    before = [i for i, info in enumerate(snapshots) if (info.stage, info.step) <= (best.stage, best.step)]
    return before[-1] if before else 0


def load_words(backbone: str) -> Vocabulary:
    """Return the vocabulary of a backbone; without one on disk, the backbone is loaded and its vocabulary saved.

    Raises:
        ValueError: if there is no such backbone.
        StoreError: if the vocabulary cannot be written or read.
    """
    folder = cache_path(backbone)
    if not (folder / "vocabulary.json").exists():
        from ptviz.backbones import load_backbone

        save_vocabulary(load_backbone(backbone))
    found = cached_by_signature(("vocabulary", str(folder)), lambda: load_vocabulary(backbone))
    if found is None:
        raise StoreError(f"the vocabulary of {backbone} cannot be read from {folder}; delete that folder and try again")
    return found


def _snapshot_tensors(run: Run, info: SnapshotInfo, sizes: BackboneShape) -> dict[str, NamedAxesArray]:
    from ptviz.runs.method_tensors import load_method_tensors  # It builds the method, with torch.

    key = ("tensors", str(info.path), info.path.stat().st_mtime_ns)
    return cached_by_signature(
        key, lambda: load_method_tensors(run.config, run.snapshot(info.stage, info.step, merged=True), sizes)
    )


def _backbone_shape(run: Run) -> BackboneShape:
    return find_backbone_shape(run.config.backbone) or load_words(run.config.backbone).shape


def _saved_histories(saved: SavedPrompt) -> dict[str, TensorHistory]:
    key = ("saved prompt", saved.id, saved.made)
    tensors = cached_by_signature(key, lambda: load_prompt_tensors(default_store().prompts_folder, saved.id))
    return {
        _SAVED_SYMBOLS[name]: TensorHistory(
            name=_SAVED_SYMBOLS[name],
            axes=PROMPT_AXES[name],
            steps=(0,),
            values=(tensor.numpy(),),
            current_index=0,
            cache_key=(*key, name),
        )
        for name, tensor in tensors.items()
    }
