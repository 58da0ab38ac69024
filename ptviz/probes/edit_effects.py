"""Edits of a trained prompt, measured on validation examples with one forward pass each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from cachetools import LRUCache
from torch import Tensor

from ptviz.engine.loaded_prompt import LoadedPrompt, load_run_prompt
from ptviz.engine.model_cache import ModelCache, get_or_create
from ptviz.methods.base import MethodTensor, PromptMethod
from ptviz.methods.static_prompt import StaticPrompt
from ptviz.probes.prompt_edits import (
    EDIT_TYPES,
    Ablate,
    Edit,
    EditContext,
    Snap,
    apply_edits,
    input_vectors,
    nearest_token_ids,
    parse_edit,
    prompt_length,
)
from ptviz.prompt import Batch, Prompt
from ptviz.runs import saved_prompts
from ptviz.runs.embedding_table import readable_token
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.store import Store
from ptviz.tasks.compute_metrics import score_labels
from ptviz.training.evaluation import evaluate
from ptviz.training.importance_scores import measure_token_importance

MAX_WRITTEN = 24
"""The same for tasks whose answers are written, which takes one pass for each token."""
MAX_ROWS = 200
"""Validation examples of one measurement: under two seconds on the default backbone, in steps of half a percent."""
_MAX_PASSES, _MIN_ROWS = 4000, 20
"""Most forward passes to ablate every token of a prompt in turn, and the fewest examples per token."""


def rows_per_ablation(tokens: int) -> int:
    """Return the number of validation examples for each of ``tokens`` ablations: more ablations, fewer examples."""
    return max(_MIN_ROWS, min(MAX_ROWS, _MAX_PASSES // max(tokens, 1)))


class EditScore(NamedTuple):
    """Mean loss in nats, score by the task's metric, and the answer to every example: its class, choice or text."""

    loss: float
    accuracy: float
    predictions: tuple[int | str, ...]


class EditEvaluator:
    """A run's prompt at one step on its first ``count`` validation examples.

    Examples and prompt are computed once: an edit costs one pass of the backbone, and a repeated edit is cached.
    """

    def __init__(self, loaded: LoadedPrompt, count: int, context: EditContext) -> None:
        self.loaded, self.context = loaded, context
        task = loaded.subsampled_task()
        count = min(count, MAX_WRITTEN) if task.kind == "text" else count
        self.examples = loaded.encode(task, task.validation[:count])
        self.batches = [(indices, batch, loaded.method(batch)) for indices, batch in self.examples.inference_batches()]
        self._scores: dict[tuple[Edit, ...], EditScore] = {}

    @property
    def prompt(self) -> Prompt:
        """Return the unedited prompt: that of the first batch if it depends on the input."""
        first: Prompt = self.batches[0][2]
        return first

    def cached_score(self, edits: tuple[Edit, ...]) -> EditScore | None:
        """Return the score of these edits if it was measured before."""
        return self._scores.get(edits)

    def score(self, edits: tuple[Edit, ...] = ()) -> EditScore:
        """Return loss, score and answers of the edited prompt.

        Raises:
            StoreError: if an edit does not fit the prompt.
        """
        if edits not in self._scores:
            self._scores[edits] = self._evaluate(edits)
        return self._scores[edits]

    def apply_edits(self, edits: Sequence[Edit]) -> Prompt:
        """Return the edited prompt: that of the first batch if it depends on the input."""
        return apply_edits(edits, self.prompt, self.context)

    def _evaluate(self, edits: tuple[Edit, ...]) -> EditScore:
        shared = self.apply_edits(edits)
        if self.examples.scoring != "classes":
            found = evaluate(_EditedMethod(self.loaded.method, edits, self.context), self.examples)
            given = found.written or tuple(found.probabilities.argmax(-1).tolist())
            return EditScore(found.loss, found.score, given)
        loss, answers = 0.0, torch.zeros(len(self.examples), dtype=torch.long)
        for indices, batch, own in self.batches:
            # A static prompt is changed once for all batches; its shift of word embeddings depends on the batch.
            changed = replace(shared, delta=own.delta) if own.is_static else apply_edits(edits, own, self.context)
            output = self.loaded.backbone(batch, changed, self.examples.readout)
            loss += float(output.nll.sum())
            answers[indices] = output.logits.argmax(-1).cpu()
        chosen, labels = tuple(answers.tolist()), self.examples.labels.tolist()
        score = score_labels(self.loaded.task.scorer, chosen, labels, len(self.loaded.task.classes))
        return EditScore(loss / len(self.examples), score, chosen)


class _EditedMethod(PromptMethod, register=False):
    """A trained method whose prompts are edited."""

    def __init__(self, method: PromptMethod, edits: Sequence[Edit], context: EditContext) -> None:
        super().__init__()
        self.method, self.edits, self.context = method, edits, context

    def forward(self, batch: Batch) -> Prompt:
        return apply_edits(self.edits, self.method(batch), self.context)

    def tensors(self) -> dict[str, MethodTensor]:
        return self.method.tensors()


class PromptEditor:
    """Applies edits to prompts and measures them; every answer has its ``stage`` and ``step``."""

    def __init__(self, store: Store, model_cache: ModelCache) -> None:
        self.store, self.model_cache = store, model_cache
        self._evaluators: LRUCache[Hashable, EditEvaluator] = LRUCache(3)

    def clear(self) -> None:
        """Free all encoded examples."""
        self._evaluators.clear()

    @torch.no_grad()
    def handle(self, run: str, what: str, stage: int | None, step: int | None, **more: Any) -> dict[str, Any]:
        """Run one measurement: ``edits``, ``ablation``, ``importance``, ``faithfulness`` or ``save``.

        Raises:
            StoreError: for an unknown measurement, or an edit that does not fit the prompt.
        """
        measurements: dict[str, Callable[..., dict[str, Any]]] = {
            "edits": self.evaluate_edits,
            "ablation": self.measure_ablation,
            "importance": self.measure_importance,
            "faithfulness": self.measure_faithfulness,
            "save": self.save_edited_prompt,
        }
        if what not in measurements:
            raise StoreError(f"expected one of {', '.join(measurements)}; got {what!r}")
        loaded = load_run_prompt(self.store.get(run), self.model_cache, stage, step)
        return {**measurements[what](run, loaded, **more), **loaded.position}

    def evaluate_edits(self, run: str, loaded: LoadedPrompt, edits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Measure the prompt after all edits, and return cached results after the first ones.

        Returns:
            ``{"untouched": {"loss", "accuracy"}, "after": [of each edit: {"loss", "accuracy", "changed"} or None],
            "words": [of each edit, the new words], "rows": int, "m": int, "kinds": [edits that fit this prompt],
            "inside": whether it is keys and values, "outputs": None or {"inputs", "references", "before", "now"}}``;
            ``changed`` counts changed answers, ``outputs`` are the generated texts of a text-to-text task.
        """
        evaluator, chosen = self._get_evaluator(run, loaded, MAX_ROWS), tuple(map(parse_edit, edits))
        before = evaluator.score()
        evaluator.score(chosen)
        after = [evaluator.cached_score(chosen[: i + 1]) for i in range(len(chosen))]
        return {
            "untouched": {"loss": before.loss, "accuracy": before.accuracy},
            "after": [score and _compare_scores(score, before) for score in after],
            "words": [_snapped_words(evaluator, chosen[:i], edit) for i, edit in enumerate(chosen)],
            "rows": len(evaluator.examples),
            "m": prompt_length(evaluator.prompt),
            "kinds": [name for name, kind in EDIT_TYPES.items() if not kind.is_unsupported(evaluator.prompt)],
            "inside": evaluator.prompt.embeddings is None,
            "outputs": _generated_outputs(evaluator, before, evaluator.score(chosen)),
        }

    def measure_ablation(self, run: str, loaded: LoadedPrompt, tokens: Sequence[int]) -> dict[str, Any]:
        """Measure loss and accuracy without each of these tokens, one at a time.

        Returns:
            ``{"loss", "accuracy", "losses": [n], "accuracies": [n], "rows": int}``; the first two untouched.
        """
        evaluator = self._get_evaluator(run, loaded, self._ablation_row_count(run, loaded))
        before = evaluator.score()
        found = [evaluator.score((Ablate((token,)),)) for token in tokens]
        return {
            "loss": before.loss,
            "accuracy": before.accuracy,
            "losses": [score.loss for score in found],
            "accuracies": [score.accuracy for score in found],
            "rows": len(evaluator.examples),
        }

    def measure_importance(self, run: str, loaded: LoadedPrompt) -> dict[str, Any]:
        """Measure XPrompt's first-order score of every token, on the examples of the ablation.

        Returns:
            ``{"scores": [m] nats, "rows": int}``.

        Raises:
            StoreError: for keys and values, which have no such score.
        """
        evaluator = self._get_evaluator(run, loaded, self._ablation_row_count(run, loaded))
        training, examples = loaded.config.training, evaluator.examples
        if evaluator.prompt.embeddings is None:
            raise StoreError("the first-order score is defined for vectors at the input; these are keys and values")
        batches = -(-len(examples) // training.batch)
        with torch.enable_grad():
            scores = measure_token_importance(examples, loaded.method, training.batch, training.seed, batches)
        return {"scores": scores.tolist(), "rows": len(examples)}

    def measure_faithfulness(
        self, run: str, loaded: LoadedPrompt, edits: Sequence[Mapping[str, Any]], distance: str = "cosine"
    ) -> dict[str, Any]:
        """Measure the prompt with every token replaced by its nearest word.

        Returns:
            ``{"loss", "accuracy", "snapped": {"loss", "accuracy", "changed"}, "words": [m], "near": [m], "rows"}``;
            ``near`` is the cosine, or the L2 distance, of each token and its word.
        """
        evaluator, chosen = self._get_evaluator(run, loaded, MAX_ROWS), tuple(map(parse_edit, edits))
        snap = Snap((), "L2" if distance == "L2" else "cosine")
        before, after = evaluator.score(chosen), evaluator.score((*chosen, snap))
        own, word = (
            input_vectors(evaluator.apply_edits(chosen)),
            input_vectors(evaluator.apply_edits((*chosen, snap))),
        )
        near = torch.cosine_similarity(own, word, dim=-1) if snap.distance == "cosine" else (own - word).norm(dim=-1)
        return {
            "loss": before.loss,
            "accuracy": before.accuracy,
            "snapped": _compare_scores(after, before),
            "words": _snapped_words(evaluator, chosen, snap),
            "near": near[0].tolist(),
            "rows": len(evaluator.examples),
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
        evaluator, chosen = self._get_evaluator(run, loaded, MAX_ROWS), tuple(map(parse_edit, edits))
        origin = {"run": run, **loaded.position, "edits": [edit.to_json() for edit in chosen]}
        folder, tensors = self.store.prompts_folder, saved_prompts.static_tensors(evaluator.apply_edits(chosen))
        saved = saved_prompts.save_prompt(folder, tensors, title, loaded.backbone.name, loaded.config.task, origin)
        prompt = saved_prompts.to_prompt(saved_prompts.load_prompt_tensors(folder, saved.id))
        slots = 0 if prompt.embeddings is None else saved.m
        static = StaticPrompt(loaded.method.card, slots, prompt.embeddings, prompt.key_values)
        task = loaded.subsampled_task()
        examples = replace(loaded, method=static.to(loaded.backbone.device)).encode(task, task.validation[:MAX_ROWS])
        found = evaluate(static, examples)
        scores = {"loss": found.loss, "accuracy": found.score, "rows": len(examples)}
        return {"id": saved.id, "place": str(folder / saved.id), "m": saved.m, **scores}

    def _ablation_row_count(self, run: str, loaded: LoadedPrompt) -> int:
        return rows_per_ablation(prompt_length(self._get_evaluator(run, loaded, MAX_ROWS).prompt))

    def _get_evaluator(self, run: str, loaded: LoadedPrompt, count: int) -> EditEvaluator:
        def other(of: str, id: str) -> Mapping[str, Tensor]:
            return self._load_other_prompt(of, id, loaded, self._get_evaluator(run, loaded, MAX_ROWS))

        key = run, *loaded.position.values(), count, id(loaded.backbone)
        context = EditContext(loaded.backbone.embedding_table, other)
        return get_or_create(self._evaluators, key, lambda: EditEvaluator(loaded, count, context))

    def _load_other_prompt(
        self, of: str, id: str, loaded: LoadedPrompt, evaluator: EditEvaluator
    ) -> Mapping[str, Tensor]:
        """Load the tensors of another prompt for the same backbone."""
        if of == "kept":
            saved = saved_prompts.get_saved_prompt(self.store.prompts_folder, id)
            if saved.backbone and saved.backbone != loaded.config.backbone:
                raise StoreError(f"mix: expected a prompt for {loaded.config.backbone}; {id} is for {saved.backbone}")
            return saved_prompts.load_prompt_tensors(self.store.prompts_folder, id)
        run = self.store.get(id)
        if run.config.backbone != loaded.config.backbone:
            raise StoreError(f"mix: expected a run on {loaded.config.backbone}; {id} is on {run.config.backbone}")
        method = load_run_prompt(run, self.model_cache).method
        return saved_prompts.static_tensors(method(evaluator.batches[0][1]))


def _generated_outputs(evaluator: EditEvaluator, before: EditScore, after: EditScore) -> dict[str, Any] | None:
    """Return what is written for each example before and after the edits; None for other tasks."""
    if evaluator.examples.scoring != "texts":
        return None
    rows = evaluator.examples.sources
    return {
        "inputs": [row.text for row in rows],
        "references": [row.targets[0] for row in rows],
        "before": list(before.predictions),
        "now": list(after.predictions),
    }


def _compare_scores(score: EditScore, before: EditScore) -> dict[str, Any]:
    changed = sum(a != b for a, b in zip(score.predictions, before.predictions, strict=True))
    return {"loss": score.loss, "accuracy": score.accuracy, "changed": changed}


def _snapped_words(evaluator: EditEvaluator, before: Sequence[Edit], edit: Edit) -> list[str]:
    """Return the words that replace tokens; none for edits other than ``Snap``."""
    if not isinstance(edit, Snap):
        return []
    vectors = input_vectors(evaluator.apply_edits(before))
    chosen = vectors[0] if not edit.tokens else vectors[0, list(edit.tokens)]
    ids = nearest_token_ids(evaluator.context.embedding_table, chosen, edit.distance).tolist()
    return [readable_token(token) for token in evaluator.loaded.backbone.tokeniser.convert_ids_to_tokens(ids)]
