"""Measurements of a prompt's structure: ranks, first-order scores, shifts of word embeddings."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from ptviz.analysis.spectrum import low_rank_approximation
from ptviz.engine.loaded_prompt import load_run_prompt
from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import execute_run
from ptviz.probes.decompositions import _prompt_matrices, _replace_matrices
from ptviz.runs import RunConfig, Store
from ptviz.training import TrainConfig
from ptviz.training.batches import EncodedExamples
from ptviz.worker.handlers import HandlerContext, answer_request


@pytest.fixture
def trained(home, table):
    """Return a function that trains a run of two steps and measures something of it."""
    model_cache = ModelCache()

    def make(method: str, steps: int = 2, **values):
        training = TrainConfig(steps=steps, snapshot_every=1, evaluate_every=2, batch=4)
        run = Store().create(
            RunConfig("tiny-encoder", str(table), method, values, training, text="text", label="label")
        )
        execute_run(run.path)

        def ask(what: str, stage: int = 0, step: int = 2, **more) -> dict:
            body = {"run": run.id, "what": what, "stage": stage, "step": step, **more}
            return json.loads(json.dumps(answer_request(HandlerContext(Store(), model_cache), "measure", body)))

        last = run.snapshots()[-1]
        return run, ask, load_run_prompt(run, model_cache, last.stage, last.step)

    return make


@pytest.mark.parametrize(("method", "m"), [("prompt-tuning", 5), ("p-tuning-v2", 5), ("smop", 5)])
def test_accuracy_by_rank(trained, method, m):
    _, ask, at = trained(method, m=m)
    # With the tiny backbone's small weights a prompt hardly changes the loss.
    with torch.no_grad():
        for layer in at.backbone.model.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.weight *= 20
    answer = ask("ranks")
    assert answer["ranks"] == [1, 2, 3, 4, 5]
    assert answer["errors"] == sorted(answer["errors"], reverse=True)
    assert answer["errors"][-1] == pytest.approx(0, abs=1e-5)
    data = EncodedExamples(at.backbone, at.task, at.task.validation, at.method.slots, 64)
    assert answer["rows"] == len(data)

    def loss(rank: int) -> float:
        """Return the loss with each prompt, or the keys or values of each site, approximated separately."""
        found = 0.0
        for _, batch in data.inference_batches():
            prompt = at.method(batch)
            if prompt.key_values is None:
                thin = np.stack([low_rank_approximation(one, rank) for one in prompt.embeddings.numpy()])
                prompt = replace(prompt, embeddings=torch.tensor(thin, dtype=torch.float32))
            else:
                thin = prompt.key_values.clone()
                for site, kind in product(range(thin.shape[0]), range(2)):
                    flat = thin[site, kind, 0].transpose(0, 1).flatten(1)  # (m, H h)
                    near = torch.tensor(low_rank_approximation(flat.numpy(), rank), dtype=torch.float32)
                    thin[site, kind, 0] = near.unflatten(1, (thin.shape[3], -1)).transpose(0, 1)
                prompt = replace(prompt, key_values=thin)
            found += float(data.backbone(batch, prompt, data.readout).nll.sum())
        return found / len(data)

    with torch.no_grad():
        for place, rank in enumerate(answer["ranks"]):
            assert answer["loss"][place] == pytest.approx(loss(rank), abs=1e-5), rank
    assert abs(answer["loss"][0] - answer["loss"][-1]) > 1e-4


def test_a_product_of_rank_two_needs_no_more(trained):
    answer = trained("dpt", m=5, r=2)[1]("ranks")
    assert answer["errors"][1] == pytest.approx(0, abs=1e-4)
    assert answer["loss"][1] == pytest.approx(answer["loss"][-1], abs=1e-4)


def test_keys_and_values_keep_their_positions(trained):
    at = trained("p-tuning-v2", m=3)[2]
    data = EncodedExamples(at.backbone, at.task, at.task.validation[:1], 0, 64)
    prompt = at.method(data.make_batch([0]))
    again = _replace_matrices(prompt, _prompt_matrices(prompt))
    assert torch.equal(again.key_values, prompt.key_values)


@pytest.mark.parametrize("method", ["prompt-tuning", "p-tuning-v2"])
def test_first_order_scores_are_derivatives(trained, method):
    _, ask, at = trained(method, m=3)
    answer = ask("saliency")
    pieces, signed = np.array(answer["pieces"]), np.array(answer["signed"])
    assert pieces.shape == (3, 16 if method == "prompt-tuning" else at.backbone.sites)
    assert (np.abs(signed) <= np.array(answer["tokens"]) + 1e-9).all()
    assert not np.array(answer["pruned"]).any()
    # The signed score of a token is the slope of the loss in a factor on that token alone.
    data = EncodedExamples(at.backbone, at.task, at.task.validation, at.method.slots, 64)
    batches = [data.make_batch(range(i, min(i + 8, len(data)))) for i in range(0, len(data), 8)]

    def loss(factor: float) -> float:
        found = []
        for batch in batches:
            prompt = at.method(batch)
            if method == "prompt-tuning":
                values = prompt.embeddings.clone()
                values[:, 1] *= factor
                prompt = replace(prompt, embeddings=values)
            else:
                values = prompt.key_values.clone()
                values[..., 1, :] *= factor
                prompt = replace(prompt, key_values=values)
            found.append(float(data.backbone(batch, prompt, data.readout).loss))
        return float(np.mean(found))

    with torch.no_grad():
        slope = (loss(1.05) - loss(0.95)) / 0.1
    assert signed[1] == pytest.approx(slope, abs=2e-3 * max(1, abs(slope)))


def test_pruned_pieces_are_reported(trained):
    run, ask, at = trained("xprompt", steps=8, m=4, pieces=16)
    last = run.snapshots()[-1]
    pruned = np.array(ask("saliency", stage=last.stage, step=last.step)["pruned"])
    method = at.method
    assert pruned.shape == (4, 16)
    assert pruned.any()
    assert np.array_equal(pruned, ~(method.gamma[:, None] * method.zeta > 0).numpy())


def test_the_shift_of_each_word(trained):
    _, ask, at = trained("dept", m=2)
    answer = ask("shift", text="a good thing")
    assert answer["text"] == "a good thing"
    assert len(answer["moved"]) == len(answer["tokens"]) == len(answer["nearest"])
    assert answer["by"] == sorted(answer["by"], reverse=True)
    data = EncodedExamples(at.backbone, at.task, [*at.task.validation[:1]], at.method.slots, 64)
    batch = data.make_batch([0])
    own = ask("shift")
    assert own["text"] == at.task.validation[0].text
    with torch.no_grad():
        shift = at.method(batch).delta[0][batch.text_mask[0]].norm(dim=-1)
    words = batch.embeddings[0][batch.text_mask[0]].norm(dim=-1)
    np.testing.assert_allclose(own["moved"], (shift / words).numpy(), rtol=1e-4)


@pytest.mark.parametrize(("what", "method", "reason"), [("shift", "prompt-tuning", "does not shift word embeddings")])
def test_missing_parts_are_reported(trained, what, method, reason):
    assert reason in trained(method, m=2)[1](what)["error"]
