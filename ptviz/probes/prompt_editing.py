"""Edit the tokens of a trained prompt and measure the effect on validation examples, one forward pass an edit."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from cachetools import LRUCache
from torch import Tensor

from ptviz.engine.loaded_prompt import LoadedPrompt, load_run_prompt
from ptviz.engine.model_cache import ModelCache, get_or_create
from ptviz.methods.static_prompt import StaticPrompt
from ptviz.probes.edits import (
    EDIT_TYPES,
    Ablate,
    Edit,
    EditContext,
    Snap,
    apply_edits,
    nearest_token_ids,
    parse_edit,
    prompt_length,
)
from ptviz.prompt import Prompt
from ptviz.runs import saved_prompts
from ptviz.runs.atomic_io import StoreError
from ptviz.runs.embedding_table import readable_token
from ptviz.runs.store import Store
from ptviz.training.batches import EncodedExamples, make_task_readout
from ptviz.training.evaluation import evaluate, subsample_task
from ptviz.training.importance_scores import measure_token_importance

MAX_ROWS = 200
"""Validation rows of one measurement: under two seconds on the default backbone, and one answer is half a percent."""
_MAX_PASSES, _MIN_ROWS = 4000, 20
"""Texts run to ablate every token of a prompt in turn, and the fewest rows for one token."""


def rows_per_ablation(tokens: int) -> int:
    """How many validation rows each of ``tokens`` ablations is measured on: fewer, the more there are to measure."""
    return max(_MIN_ROWS, min(MAX_ROWS, _MAX_PASSES // max(tokens, 1)))


class EditScore(NamedTuple):
    """Mean loss in nats, accuracy from 0 to 1, and the class answered for every row, in its place."""

    loss: float
    accuracy: float
    predictions: tuple[int, ...]


class EditEvaluator:
    """A run's prompt at one step on its first ``count`` validation rows.

    The rows are tokenised and embedded once, and the prompt is made once: an edit costs one pass of the backbone, and
    what was measured before costs nothing.
    """

    def __init__(self, loaded: LoadedPrompt, count: int, around: EditContext) -> None:
        self.loaded, self.context = loaded, around
        task = subsample_task(loaded.task, loaded.config.training)
        texts = task.validation[:count]
        readout = make_task_readout(loaded.backbone, task)
        self.examples = EncodedExamples(
            loaded.backbone, task, texts, loaded.method.slots, loaded.config.training.length, readout
        )
        self.batches = [(places, batch, loaded.method(batch)) for places, batch in self.examples.inference_batches()]
        self._scores: dict[tuple[Edit, ...], EditScore] = {}

    @property
    def prompt(self) -> Prompt:
        """The untouched prompt: that of the first batch, where each text has one of its own."""
        first: Prompt = self.batches[0][2]
        return first

    def cached_score(self, edits: tuple[Edit, ...]) -> EditScore | None:
        """What was measured before."""
        return self._scores.get(edits)

    def score(self, edits: tuple[Edit, ...] = ()) -> EditScore:
        """Loss, accuracy and answers with the prompt edited so.

        Raises:
            StoreError: if an edit does not fit the prompt.
        """
        if edits not in self._scores:
            self._scores[edits] = self._evaluate(edits)
        return self._scores[edits]

    def apply_edits(self, edits: Sequence[Edit]) -> Prompt:
        """The prompt after the edits; that of the first batch, where each text has one of its own."""
        return apply_edits(edits, self.prompt, self.context)

    def _evaluate(self, edits: tuple[Edit, ...]) -> EditScore:
        shared = self.apply_edits(edits)
        loss, answers = 0.0, torch.zeros(len(self.examples), dtype=torch.long)
        for places, batch, own in self.batches:
            # A static prompt is changed once for all batches; what it adds to the words of a text stays its own.
            changed = replace(shared, delta=own.delta) if own.is_static else apply_edits(edits, own, self.context)
            output = self.loaded.backbone(batch, changed, self.examples.readout)
            loss += float(output.nll.sum())
            answers[places] = output.logits.argmax(-1).cpu()
        right = int((answers == self.examples.labels).sum())
        return EditScore(loss / len(self.examples), right / len(self.examples), tuple(answers.tolist()))


class PromptEditor:
    """Applies edits to prompts and measures them. Each answer names its ``stage`` and ``step``."""

    def __init__(self, store: Store, model_cache: ModelCache) -> None:
        self.store, self.model_cache = store, model_cache
        self._evaluators: LRUCache[Hashable, EditEvaluator] = LRUCache(3)

    def clear(self) -> None:
        """Free all encoded examples."""
        self._evaluators.clear()

    @torch.no_grad()
    def handle(self, run: str, what: str, stage: int | None, step: int | None, **more: Any) -> dict[str, Any]:
        """One of ``edits``, ``ablation``, ``measure_token_importance``, ``faithfulness`` and ``save``: see the methods.

        Raises:
            StoreError: if there is no such question, or the prompt cannot be changed so.
        """
        asked: dict[str, Callable[..., dict[str, Any]]] = {
            "edits": self.evaluate_edits,
            "ablation": self.measure_ablation,
            "importance": self.measure_importance,
            "faithfulness": self.measure_faithfulness,
            "save": self.save_edited_prompt,
        }
        if what not in asked:
            raise StoreError(f"expected one of {', '.join(asked)}; got {what!r}")
        loaded = load_run_prompt(self.store.get(run), self.model_cache, stage, step)
        return {**asked[what](run, loaded, **more), **loaded.position}

    def evaluate_edits(self, run: str, loaded: LoadedPrompt, edits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Loss and accuracy after the whole list, and after its beginnings where they were measured before.

        Returns:
            ``{"untouched": {"loss", "accuracy"}, "after": [of each edit: {"loss", "accuracy", "changed"} or None],
            "words": [of each edit, the words put in], "rows": int, "m": int, "kinds": [edits that this prompt takes],
            "inside": whether it is keys and values}``; ``changed`` counts other answers than untouched.
        """
        trial, chosen = self._get_evaluator(run, loaded, MAX_ROWS), tuple(map(parse_edit, edits))
        before = trial.score()
        trial.score(chosen)
        after = [trial.cached_score(chosen[: i + 1]) for i in range(len(chosen))]
        return {
            "untouched": {"loss": before.loss, "accuracy": before.accuracy},
            "after": [score and _compare_scores(score, before) for score in after],
            "words": [_snapped_words(trial, chosen[:i], edit) for i, edit in enumerate(chosen)],
            "rows": len(trial.examples),
            "m": prompt_length(trial.prompt),
            "kinds": [name for name, kind in EDIT_TYPES.items() if not kind.is_unsupported(trial.prompt)],
            "inside": trial.prompt.embeddings is None,
        }

    def measure_ablation(self, run: str, loaded: LoadedPrompt, tokens: Sequence[int]) -> dict[str, Any]:
        """Loss and accuracy without each of these tokens, one at a time.

        Returns:
            ``{"loss", "accuracy", "losses": [n], "accuracies": [n], "rows": int}``; the first two untouched.
        """
        trial = self._get_evaluator(run, loaded, self._ablation_row_count(run, loaded))
        before = trial.score()
        found = [trial.score((Ablate((token,)),)) for token in tokens]
        return {
            "loss": before.loss,
            "accuracy": before.accuracy,
            "losses": [score.loss for score in found],
            "accuracies": [score.accuracy for score in found],
            "rows": len(trial.examples),
        }

    def measure_importance(self, run: str, loaded: LoadedPrompt) -> dict[str, Any]:
        """XPrompt's first-order score of every token, on the rows that ablation is measured on.

        Returns:
            ``{"scores": [m] nats, "rows": int}``.

        Raises:
            StoreError: for keys and values, which have no such score.
        """
        trial, training = (
            self._get_evaluator(run, loaded, self._ablation_row_count(run, loaded)),
            loaded.config.training,
        )
        if trial.prompt.embeddings is None:
            raise StoreError("the first-order score is defined for vectors at the input; these are keys and values")
        batches = -(-len(trial.examples) // training.batch)
        with torch.enable_grad():
            scores = measure_token_importance(trial.examples, loaded.method, training.batch, training.seed, batches)
        return {"scores": scores.tolist(), "rows": len(trial.examples)}

    def measure_faithfulness(
        self, run: str, loaded: LoadedPrompt, edits: Sequence[Mapping[str, Any]], distance: str = "cosine"
    ) -> dict[str, Any]:
        """Measure the prompt with every token replaced by its nearest word.

        Returns:
            ``{"loss", "accuracy", "snapped": {"loss", "accuracy", "changed"}, "words": [m], "near": [m], "rows"}``;
            ``near`` is the cosine, or the L2 distance, of each token and its word.
        """
        trial, chosen = self._get_evaluator(run, loaded, MAX_ROWS), tuple(map(parse_edit, edits))
        snap = Snap((), "L2" if distance == "L2" else "cosine")
        before, after = trial.score(chosen), trial.score((*chosen, snap))
        own, word = _input_vectors(trial.apply_edits(chosen)), _input_vectors(trial.apply_edits((*chosen, snap)))
        near = torch.cosine_similarity(own, word, dim=-1) if snap.distance == "cosine" else (own - word).norm(dim=-1)
        return {
            "loss": before.loss,
            "accuracy": before.accuracy,
            "snapped": _compare_scores(after, before),
            "words": _snapped_words(trial, chosen, snap),
            "near": near[0].tolist(),
            "rows": len(trial.examples),
        }

    def save_edited_prompt(
        self, run: str, loaded: LoadedPrompt, edits: Sequence[Mapping[str, Any]], title: str
    ) -> dict[str, Any]:
        """Save the edited prompt without its ablated tokens, and measure what was saved.

        Returns:
            ``{"id", "place", "m", "loss", "accuracy", "rows"}``.

        Raises:
            StoreError: if each text has a prompt of its own, or the folder cannot be written.
        """
        trial, chosen = self._get_evaluator(run, loaded, MAX_ROWS), tuple(map(parse_edit, edits))
        origin = {"run": run, **loaded.position, "edits": [edit.to_json() for edit in chosen]}
        made = trial.apply_edits(chosen)
        task = subsample_task(loaded.task, loaded.config.training)
        kept = saved_prompts.save_prompt(
            self.store.prompts_folder,
            saved_prompts.static_tensors(made),
            title,
            loaded.backbone.name,
            loaded.config.task,
            origin,
        )
        again = saved_prompts.to_prompt(saved_prompts.load_prompt_tensors(self.store.prompts_folder, kept.id))
        slots = 0 if again.embeddings is None else kept.m
        folded = StaticPrompt(loaded.method.card, slots, again.embeddings, again.key_values).to(loaded.backbone.device)
        texts, readout = task.validation[:MAX_ROWS], trial.examples.readout
        found = evaluate(
            folded, EncodedExamples(loaded.backbone, task, texts, slots, loaded.config.training.length, readout)
        )
        place = str(self.store.prompts_folder / kept.id)
        scores = {"loss": found.loss, "accuracy": found.accuracy, "rows": len(texts)}
        return {"id": kept.id, "place": place, "m": kept.m, **scores}

    def _ablation_row_count(self, run: str, loaded: LoadedPrompt) -> int:
        return rows_per_ablation(prompt_length(self._get_evaluator(run, loaded, MAX_ROWS).prompt))

    def _get_evaluator(self, run: str, loaded: LoadedPrompt, count: int) -> EditEvaluator:
        def other(of: str, id: str) -> Mapping[str, Tensor]:
            return self._load_other_prompt(of, id, loaded, self._get_evaluator(run, loaded, MAX_ROWS))

        key = run, *loaded.position.values(), count, id(loaded.backbone)
        return get_or_create(
            self._evaluators,
            key,
            lambda: EditEvaluator(loaded, count, EditContext(loaded.backbone.embedding_table, other)),
        )

    def _load_other_prompt(self, of: str, id: str, loaded: LoadedPrompt, trial: EditEvaluator) -> Mapping[str, Tensor]:
        """The tensors of another prompt for the same backbone."""
        if of == "kept":
            about = saved_prompts.get_saved_prompt(self.store.prompts_folder, id)
            if about.backbone and about.backbone != loaded.config.backbone:
                raise StoreError(f"mix: expected a prompt for {loaded.config.backbone}; {id} is for {about.backbone}")
            return saved_prompts.load_prompt_tensors(self.store.prompts_folder, id)
        config = self.store.get(id).config
        if config.backbone != loaded.config.backbone:
            raise StoreError(f"mix: expected a run on {loaded.config.backbone}; {id} is on {config.backbone}")
        return saved_prompts.static_tensors(
            load_run_prompt(self.store.get(id), self.model_cache, None, None).method(trial.batches[0][1])
        )


def _compare_scores(score: EditScore, before: EditScore) -> dict[str, Any]:
    changed = sum(a != b for a, b in zip(score.predictions, before.predictions, strict=True))
    return {"loss": score.loss, "accuracy": score.accuracy, "changed": changed}


def _snapped_words(trial: EditEvaluator, before: Sequence[Edit], edit: Edit) -> list[str]:
    """The words that an edit puts in place of tokens; none for other edits than snapping."""
    if not isinstance(edit, Snap):
        return []
    vectors = _input_vectors(trial.apply_edits(before))
    chosen = vectors[0] if not edit.tokens else vectors[0, list(edit.tokens)]
    ids = nearest_token_ids(trial.context.embedding_table, chosen, edit.distance).tolist()
    return [readable_token(token) for token in trial.loaded.backbone.tokeniser.convert_ids_to_tokens(ids)]


def _input_vectors(prompt: Prompt) -> Tensor:
    assert prompt.embeddings is not None, "snapping refuses keys and values"
    return prompt.embeddings
