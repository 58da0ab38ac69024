"""Surgery on a trained prompt: edit its tokens, and measure on validation rows what that does, one pass an edit."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from cachetools import LRUCache
from torch import Tensor

from ptviz.engine.loaded_prompt import Opened, opened
from ptviz.engine.model_cache import Warm, recent
from ptviz.methods.static_prompt import Folded
from ptviz.probes.edits import KINDS, Ablate, Edit, Snap, Surroundings, applied, length, nearest
from ptviz.probes.edits import read as edit_of
from ptviz.prompt import Prompt
from ptviz.runs import saved_prompts
from ptviz.runs.atomic_io import StoreError
from ptviz.runs.embedding_table import readable
from ptviz.runs.store import Store
from ptviz.training.batches import Rows, readout_of
from ptviz.training.evaluation import evaluate, limited
from ptviz.training.importance_scores import importance

ROWS = 200
"""Validation rows of one measurement: under two seconds on the default backbone, and one answer is half a percent."""
_PASSES, _FEWEST = 4000, 20
"""Texts run to ablate every token of a prompt in turn, and the fewest rows for one token."""


def rows_for(tokens: int) -> int:
    """How many validation rows each of ``tokens`` ablations is measured on: fewer, the more there are to measure."""
    return max(_FEWEST, min(ROWS, _PASSES // max(tokens, 1)))


class Score(NamedTuple):
    """Mean loss in nats, accuracy from 0 to 1, and the class answered for every row, in its place."""

    loss: float
    accuracy: float
    answers: tuple[int, ...]


class Trial:
    """A run's prompt at one step on its first ``count`` validation rows.

    The rows are tokenised and embedded once, and the prompt is made once: an edit costs one pass of the backbone, and
    what was measured before costs nothing.
    """

    def __init__(self, at: Opened, count: int, around: Surroundings) -> None:
        self.at, self.around = at, around
        task = limited(at.task, at.config.training)
        texts = task.validation[:count]
        readout = readout_of(at.backbone, task)
        self.rows = Rows(at.backbone, task, texts, at.method.slots, at.config.training.length, readout)
        self.made = [(places, batch, at.method(batch)) for places, batch in self.rows.large()]
        self._known: dict[tuple[Edit, ...], Score] = {}

    @property
    def prompt(self) -> Prompt:
        """The untouched prompt: that of the first batch, where each text has one of its own."""
        first: Prompt = self.made[0][2]
        return first

    def known(self, edits: tuple[Edit, ...]) -> Score | None:
        """What was measured before."""
        return self._known.get(edits)

    def score(self, edits: tuple[Edit, ...] = ()) -> Score:
        """Loss, accuracy and answers with the prompt edited so.

        Raises:
            StoreError: if an edit does not fit the prompt.
        """
        if edits not in self._known:
            self._known[edits] = self._measured(edits)
        return self._known[edits]

    def edited(self, edits: Sequence[Edit]) -> Prompt:
        """The prompt after the edits; that of the first batch, where each text has one of its own."""
        return applied(edits, self.prompt, self.around)

    def _measured(self, edits: tuple[Edit, ...]) -> Score:
        shared = self.edited(edits)
        loss, answers = 0.0, torch.zeros(len(self.rows), dtype=torch.long)
        for places, batch, own in self.made:
            # A static prompt is changed once for all batches; what it adds to the words of a text stays its own.
            changed = replace(shared, delta=own.delta) if own.static else applied(edits, own, self.around)
            output = self.at.backbone(batch, changed, self.rows.readout)
            loss += float(output.nll.sum())
            answers[places] = output.logits.argmax(-1).cpu()
        right = int((answers == self.rows.labels).sum())
        return Score(loss / len(self.rows), right / len(self.rows), tuple(answers.tolist()))


class Operating:
    """What the worker answers about surgery. Each answer names the ``stage`` and ``step`` it is about."""

    def __init__(self, store: Store, warm: Warm) -> None:
        self.store, self.warm = store, warm
        self._trials: LRUCache[Hashable, Trial] = LRUCache(3)

    def forget(self) -> None:
        """Let go of everything: memory ran out."""
        self._trials.clear()

    @torch.no_grad()
    def answer(self, run: str, what: str, stage: int | None, step: int | None, **more: Any) -> dict[str, Any]:
        """One of ``edits``, ``ablation``, ``importance``, ``faithfulness`` and ``save``: see the methods.

        Raises:
            StoreError: if there is no such question, or the prompt cannot be changed so.
        """
        asked: dict[str, Callable[..., dict[str, Any]]] = {
            "edits": self.edits,
            "ablation": self.ablation,
            "importance": self.importance,
            "faithfulness": self.faithfulness,
            "save": self.save,
        }
        if what not in asked:
            raise StoreError(f"expected one of {', '.join(asked)}; got {what!r}")
        at = opened(self.store, self.warm, run, stage, step)
        return {**asked[what](run, at, **more), **at.place}

    def edits(self, run: str, at: Opened, edits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Loss and accuracy after the whole list, and after its beginnings where they were measured before.

        Returns:
            ``{"untouched": {"loss", "accuracy"}, "after": [of each edit: {"loss", "accuracy", "changed"} or None],
            "words": [of each edit, the words put in], "rows": int, "m": int, "kinds": [edits that this prompt takes],
            "inside": whether it is keys and values}``; ``changed`` counts other answers than untouched.
        """
        trial, chosen = self._trial(run, at, ROWS), tuple(map(edit_of, edits))
        before = trial.score()
        trial.score(chosen)
        after = [trial.known(chosen[: i + 1]) for i in range(len(chosen))]
        return {
            "untouched": {"loss": before.loss, "accuracy": before.accuracy},
            "after": [score and _beside(score, before) for score in after],
            "words": [_words(trial, chosen[:i], edit) for i, edit in enumerate(chosen)],
            "rows": len(trial.rows),
            "m": length(trial.prompt),
            "kinds": [name for name, kind in KINDS.items() if not kind.refuses(trial.prompt)],
            "inside": trial.prompt.embeddings is None,
        }

    def ablation(self, run: str, at: Opened, tokens: Sequence[int]) -> dict[str, Any]:
        """Loss and accuracy without each of these tokens, one at a time.

        Returns:
            ``{"loss", "accuracy", "losses": [n], "accuracies": [n], "rows": int}``; the first two untouched.
        """
        trial = self._trial(run, at, self._few(run, at))
        before = trial.score()
        found = [trial.score((Ablate((token,)),)) for token in tokens]
        return {
            "loss": before.loss,
            "accuracy": before.accuracy,
            "losses": [score.loss for score in found],
            "accuracies": [score.accuracy for score in found],
            "rows": len(trial.rows),
        }

    def importance(self, run: str, at: Opened) -> dict[str, Any]:
        """XPrompt's first-order score of every token, on the rows that ablation is measured on.

        Returns:
            ``{"scores": [m] nats, "rows": int}``.

        Raises:
            StoreError: for keys and values, which have no such score.
        """
        trial, training = self._trial(run, at, self._few(run, at)), at.config.training
        if trial.prompt.embeddings is None:
            raise StoreError("the first-order score is defined for vectors at the input; these are keys and values")
        batches = -(-len(trial.rows) // training.batch)
        with torch.enable_grad():
            scores = importance(trial.rows, at.method, training.batch, training.seed, batches)
        return {"scores": scores.tolist(), "rows": len(trial.rows)}

    def faithfulness(
        self, run: str, at: Opened, edits: Sequence[Mapping[str, Any]], distance: str = "cosine"
    ) -> dict[str, Any]:
        """What the prompt is worth once every token of it is the nearest word.

        Returns:
            ``{"loss", "accuracy", "snapped": {"loss", "accuracy", "changed"}, "words": [m], "near": [m], "rows"}``;
            ``near`` is the cosine, or the L2 distance, of each token and its word.
        """
        trial, chosen = self._trial(run, at, ROWS), tuple(map(edit_of, edits))
        snap = Snap((), "L2" if distance == "L2" else "cosine")
        before, after = trial.score(chosen), trial.score((*chosen, snap))
        own, word = _vectors(trial.edited(chosen)), _vectors(trial.edited((*chosen, snap)))
        near = torch.cosine_similarity(own, word, dim=-1) if snap.distance == "cosine" else (own - word).norm(dim=-1)
        return {
            "loss": before.loss,
            "accuracy": before.accuracy,
            "snapped": _beside(after, before),
            "words": _words(trial, chosen, snap),
            "near": near[0].tolist(),
            "rows": len(trial.rows),
        }

    def save(self, run: str, at: Opened, edits: Sequence[Mapping[str, Any]], title: str) -> dict[str, Any]:
        """Keep the edited prompt beside the runs, without the tokens taken out, and measure what was kept.

        Returns:
            ``{"id", "place", "m", "loss", "accuracy", "rows"}``.

        Raises:
            StoreError: if each text has a prompt of its own, or the folder cannot be written.
        """
        trial, chosen = self._trial(run, at, ROWS), tuple(map(edit_of, edits))
        origin = {"run": run, **at.place, "edits": [edit.to_json() for edit in chosen]}
        made = trial.edited(chosen)
        task = limited(at.task, at.config.training)
        kept = saved_prompts.keep(
            self.store, saved_prompts.shared(made), title, at.backbone.name, at.config.task, origin
        )
        again = saved_prompts.whole(saved_prompts.tensors(self.store, kept.id))
        slots = 0 if again.embeddings is None else kept.m
        folded = Folded(at.method.card, slots, again.embeddings, again.key_values).to(at.backbone.device)
        texts, readout = task.validation[:ROWS], trial.rows.readout
        found = evaluate(folded, Rows(at.backbone, task, texts, slots, at.config.training.length, readout))
        place = str(saved_prompts.folder(self.store) / kept.id)
        told = {"loss": found.loss, "accuracy": found.accuracy, "rows": len(texts)}
        return {"id": kept.id, "place": place, "m": kept.m, **told}

    def _few(self, run: str, at: Opened) -> int:
        return rows_for(length(self._trial(run, at, ROWS).prompt))

    def _trial(self, run: str, at: Opened, count: int) -> Trial:
        def other(of: str, id: str) -> Mapping[str, Tensor]:
            return self._other(of, id, at, self._trial(run, at, ROWS))

        key = run, *at.place.values(), count, id(at.backbone)
        return recent(self._trials, key, lambda: Trial(at, count, Surroundings(at.backbone.table, other)))

    def _other(self, of: str, id: str, at: Opened, trial: Trial) -> Mapping[str, Tensor]:
        """The tensors of another prompt for the same backbone."""
        if of == "kept":
            about = saved_prompts.get(self.store, id)
            if about.backbone and about.backbone != at.config.backbone:
                raise StoreError(f"mix: expected a prompt for {at.config.backbone}; {id} is for {about.backbone}")
            return saved_prompts.tensors(self.store, id)
        config = self.store.get(id).config
        if config.backbone != at.config.backbone:
            raise StoreError(f"mix: expected a run on {at.config.backbone}; {id} is on {config.backbone}")
        return saved_prompts.shared(opened(self.store, self.warm, id, None, None).method(trial.made[0][1]))


def _beside(score: Score, before: Score) -> dict[str, Any]:
    changed = sum(a != b for a, b in zip(score.answers, before.answers, strict=True))
    return {"loss": score.loss, "accuracy": score.accuracy, "changed": changed}


def _words(trial: Trial, before: Sequence[Edit], edit: Edit) -> list[str]:
    """The words that an edit puts in place of tokens; none for other edits than snapping."""
    if not isinstance(edit, Snap):
        return []
    vectors = _vectors(trial.edited(before))
    chosen = vectors[0] if not edit.tokens else vectors[0, list(edit.tokens)]
    ids = nearest(trial.around.table, chosen, edit.distance).tolist()
    return [readable(token) for token in trial.at.backbone.tokeniser.convert_ids_to_tokens(ids)]


def _vectors(prompt: Prompt) -> Tensor:
    assert prompt.embeddings is not None, "snapping refuses keys and values"
    return prompt.embeddings
