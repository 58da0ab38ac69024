"""DPT, PT-MoE and XPrompt against their papers, written again in plain loops and float64."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ptviz.backbones import Backbone, Readout
from ptviz.methods import DPT, PromptMethod, PTMoE, StageContext, XPrompt, build_method
from ptviz.methods.initializers import init_prompt, svd_factors
from ptviz.methods.xprompt import PRUNING_RATIOS, count_survivors
from ptviz.prompt import Batch, Output
from ptviz.training import TrainConfig, train
from ptviz.training.events import StageStarted, StepCompleted
from tests.families import TASK, backbone_of, case, copied, method_of, precisely

EXACT = {"atol": 1e-12, "rtol": 1e-12}
WIDTH = 32


def situation(m: int) -> tuple[Backbone, Batch, Readout]:
    """Return GPT-2's rows in float64: mixed lengths, padding on the right, m slots in front."""
    backbone, batch, readout = case("gpt2", m)
    return backbone, replace(batch, embeddings=batch.embeddings.double()), readout


def double(name: str, **values: object) -> PromptMethod:
    return method_of(name, backbone_of("gpt2"), **values).double()


def product(A: list[list[float]], B: list[list[float]]) -> list[list[float]]:
    return [[sum(row[j] * B[j][c] for j in range(len(B))) for c in range(len(B[0]))] for row in A]


def mean_of_words(batch: Batch, row: int) -> list[float]:
    places = [t for t in range(batch.input_ids.shape[1]) if batch.mask[row, t] and not batch.slots[row, t]]
    return [sum(float(batch.embeddings[row, t, c]) for t in places) / len(places) for c in range(WIDTH)]


def test_dpt_is_a_tall_matrix_times_a_wide_one() -> None:
    """Xiao et al. 2023, section 3: P = A B."""
    _, batch, _ = situation(5)
    method = double("dpt", m=5, r=3)
    assert isinstance(method, DPT)
    expected = torch.tensor(product(method.A.tolist(), method.B.tolist()), dtype=torch.float64)
    torch.testing.assert_close(method(batch).embeddings[0], expected, **EXACT)


def test_dpt_starts_uniform_as_the_released_code() -> None:
    method = build_method(
        "dpt", backbone_of("llama").make_spec(64, TASK.label_words), {"m": 200, "r": 100, "init": "uniform"}
    )
    assert isinstance(method, DPT)
    for factor in (method.A, method.B):
        assert -0.5 <= factor.min() < -0.49
        assert 0.49 < factor.max() <= 0.5
    assert abs(float(method.prompt().detach().std()) - math.sqrt(100) / 12) < 0.05


@pytest.mark.parametrize("selection", ["probationary", "hard", "soft"])
def test_pt_moe_mixes_experts_that_share_b(selection: str) -> None:
    """Li et al. 2025, section 3: l = W x + b; P = sum_i w_i A_i B, w = softmax(l) * 1[argmax]; x the mean of words."""
    _, batch, _ = situation(3)
    method = double("pt-moe", m=3, r=2, k=3, selection=selection)
    assert isinstance(method, PTMoE)
    with torch.no_grad():
        method.router.weight.mul_(5)  # texts decide, not the bias
    W, b = method.router.weight.tolist(), method.router.bias.tolist()
    with precisely(), torch.no_grad():
        prompt = method(batch)
    chosen = set()
    for row in range(len(batch)):
        x = mean_of_words(batch, row)
        scores = [sum(w * v for w, v in zip(W[i], x, strict=True)) + b[i] for i in range(3)]
        parts = [math.exp(score - max(scores)) for score in scores]
        p = [part / sum(parts) for part in parts]
        best = p.index(max(p))
        chosen.add(best)
        weights = {
            "probationary": [p[i] if i == best else 0.0 for i in range(3)],
            "hard": [1.0 if i == best else 0.0 for i in range(3)],
            "soft": p,
        }[selection]
        expected = torch.zeros(3, WIDTH).double()
        for i in range(3):
            expected += weights[i] * torch.tensor(product(method.A[i].tolist(), method.B.tolist()), dtype=torch.float64)
        torch.testing.assert_close(prompt.embeddings[row], expected, **EXACT)
        torch.testing.assert_close(prompt.routing[row], torch.tensor(p, dtype=torch.float64), **EXACT)
    assert len(chosen) > 1, "all rows take one road: this says little"


def test_pt_moe_noise_is_relative_and_only_while_training() -> None:
    _, batch, _ = situation(3)
    method = double("pt-moe", m=3, k=2, sigma=0.5)
    with precisely(), torch.no_grad():
        scores = method.router(batch.mean_embedding())
        method.train()
        torch.manual_seed(0)
        noise = torch.randn_like(scores)
        torch.manual_seed(0)
        torch.testing.assert_close(method.routing_weights(batch), (scores * (1 + 0.5 * noise)).softmax(-1), **EXACT)
        assert torch.equal(method.eval().routing_weights(batch), scores.softmax(-1))


@pytest.mark.parametrize(("selection", "learns"), [("probationary", True), ("soft", True), ("hard", False)])
def test_pt_moe_trains_its_router_only_where_probability_scales_the_prompt(selection: str, learns: bool) -> None:
    _, batch, _ = situation(3)
    method = double("pt-moe", m=3, k=2, selection=selection)
    with precisely():
        method(batch).embeddings.pow(2).sum().backward()
    gradient = method.router.weight.grad
    assert (gradient is not None and gradient.abs().max() > 0) == learns
    assert method.B.grad.abs().max() > 0


@pytest.mark.parametrize("r", [1, 3, 6, 9])
def test_factors_are_the_best_approximation_of_their_rank(r: int) -> None:
    """A B = U_r S_r V_r^T; the error is the norm of the omitted singular values (Eckart and Young)."""
    E = torch.randn(6, WIDTH, dtype=torch.float64)
    A, B = svd_factors(E, r)
    assert A.shape == (6, r)
    assert B.shape == (r, WIDTH)
    left_out = torch.linalg.svdvals(E)[r:].pow(2).sum()
    torch.testing.assert_close((A @ B - E).pow(2).sum(), left_out, atol=1e-10, rtol=1e-10)
    live = min(r, 6)
    torch.testing.assert_close(A[:, :live].norm(dim=0), B[:live].norm(dim=1), **EXACT)


def test_all_directions_of_the_factors_can_be_trained() -> None:
    """A text of two tokens repeated has rank 2; the other four columns start at 0 and can be trained."""
    E = torch.randn(2, WIDTH).repeat(3, 1)
    A, B = svd_factors(E, 6)
    torch.testing.assert_close(A @ B, E, atol=1e-5, rtol=1e-5)
    assert (A[:, 2:] == 0).all()
    assert (B.norm(dim=1) > 0.1).all()


def test_pt_moe_starts_with_equal_experts_of_the_text() -> None:
    spec = backbone_of("gpt2").make_spec(64, TASK.label_words)
    text = "who is the team where is the city"
    method = build_method("pt-moe", spec, {"m": 6, "r": 6, "k": 3, "init": "text", "text": text})
    assert isinstance(method, PTMoE)
    assert all(torch.equal(expert, method.A[0]) for expert in method.A)
    torch.testing.assert_close(method.A[0] @ method.B, init_prompt(spec, 6, "text", text), atol=1e-5, rtol=1e-5)
    assert (method.router.bias == 0).all()


def losses(method: PromptMethod, batch: Batch, readout: Readout) -> Tensor:
    readout = replace(readout, weight=readout.weight.double())
    with precisely():
        return copied(backbone_of("gpt2"), torch.float64)(batch, method(batch), readout).loss


def masked(method: XPrompt, tokens: list[int], cells: list[tuple[int, int]]) -> None:
    for token in tokens:
        method.gamma[token] = 0.0
    for token, piece in cells:
        method.zeta[token, piece] = 0.0


def test_xprompt_masks_tokens_and_pieces() -> None:
    """Ma et al. 2022, section 3: diag(gamma) P, and each token's pieces times zeta."""
    _, batch, _ = situation(4)
    method = double("xprompt", m=4, pieces=8)
    assert isinstance(method, XPrompt)
    masked(method, [2], [(0, 0), (0, 7), (3, 4)])
    P, size = method.P.tolist(), WIDTH // 8
    for i in range(4):
        for e in range(8):
            factor = 0.0 if i == 2 or (i, e) in {(0, 0), (0, 7), (3, 4)} else 1.0
            for c in range(e * size, (e + 1) * size):
                P[i][c] *= factor
    torch.testing.assert_close(method(batch).embeddings[0], torch.tensor(P, dtype=torch.float64), **EXACT)
    assert method.stored_parameters() == 3 * WIDTH - 3 * size


def test_xprompt_pieces_that_do_not_divide_the_width_are_nearly_equal() -> None:
    method = double("xprompt", m=2, pieces=5)
    assert isinstance(method, XPrompt)
    masked(method, [], [(0, 1)])
    gone = (method.mask()[0] == 0).nonzero()[:, 0].tolist()
    assert gone == list(range(gone[0], gone[-1] + 1))
    assert len(gone) in (6, 7)


def test_xprompt_scores_are_a_scalar_product() -> None:
    """dL/dgamma_i = <p_i, dL/dp_i> and dL/dzeta_ie = <q_ie, dL/dq_ie>: a token's pieces sum to the token."""
    _, batch, readout = situation(4)
    method = double("xprompt", m=4, pieces=8)
    assert isinstance(method, XPrompt)
    for mask in (method.gamma, method.zeta):
        mask.requires_grad_(True)
    tokens, pieces, prompt = torch.autograd.grad(losses(method, batch, readout), [method.gamma, method.zeta, method.P])
    P, size = method.P.tolist(), WIDTH // 8
    for i in range(4):
        product = [P[i][c] * float(prompt[i, c]) for c in range(WIDTH)]
        assert float(tokens[i]) == pytest.approx(sum(product), abs=1e-12)
        for e in range(8):
            assert float(pieces[i, e]) == pytest.approx(sum(product[e * size : (e + 1) * size]), abs=1e-12)
    torch.testing.assert_close(pieces.sum(1), tokens, **EXACT)
    assert tokens.abs().max() > 1e-4


def context_of(importance: Tensor, scored: list[tuple[int, int]], method: XPrompt) -> StageContext:
    def gradients(parameters: list[Tensor]) -> list[Tensor]:
        assert all(p.requires_grad for p in parameters), "the scores come from autograd"
        return [importance]

    def score() -> tuple[float, float]:
        left = (int((method.gamma > 0).sum()), int((method.mask() > 0).sum()))
        scored.append(left)
        return (0.9 if 2 <= left[0] <= 4 else 0.5), 1.0

    def outputs() -> Iterator[tuple[Batch, Output]]:
        yield from ()

    return StageContext(gradients, outputs, score)


def test_xprompt_prunes_the_least_important_and_rewinds() -> None:
    method = build_method(
        "xprompt", backbone_of("gpt2").make_spec(64, TASK.label_words), {"m": 6, "pieces": 4, "pieces_pruned": 0.5}
    )
    assert isinstance(method, XPrompt)
    trained = method.P.detach().clone()
    method.prune_tokens(context_of(torch.tensor([3.0, 0.1, 2.0, 0.2, 0.3, 1.0]), [], method))
    assert method.gamma.tolist() == [1, 0, 1, 0, 0, 1]
    assert not method.gamma.requires_grad
    torch.testing.assert_close(method.token_scores, torch.tensor([3.0, 0.1, 2.0, 0.2, 0.3, 1.0]))

    with torch.no_grad():
        method.P.add_(1.0)  # the retraining of the second stage
    importance = torch.arange(24.0).reshape(6, 4)  # rows 1, 3, 4 are gone: their pieces do not compete
    method.prune_pieces(context_of(importance, [], method))
    assert method.zeta.tolist() == [[0] * 4, [0] * 4, [0, 0, 1, 1], [0] * 4, [0] * 4, [1] * 4]
    assert torch.equal(method.P, method.mask() * trained), "survivors as at the end of the first stage, the rest 0"
    assert method.stored_parameters() == 6 * WIDTH // 4
    assert method.surviving_tokens().tolist() == [False, False, True, False, False, True], (
        "no piece left: the token is gone too"
    )


def test_xprompt_searches_the_share_that_validates_best() -> None:
    """Of equals, the one that prunes most; every ratio of the paper is tried."""
    values = {"m": 10, "pieces": 4, "search": True}
    method = build_method("xprompt", backbone_of("gpt2").make_spec(64, TASK.label_words), values)
    assert isinstance(method, XPrompt)
    assert method.stored_parameters() == 10 * WIDTH, "not known before the search"
    scored: list[tuple[int, int]] = []
    method.prune_tokens(context_of(torch.arange(10.0), scored, method))
    assert sorted({left for left, _ in scored}) == [count_survivors(10, ratio) for ratio in reversed(PRUNING_RATIOS)]
    assert method.gamma.tolist() == [0] * 8 + [1] * 2


def test_xprompt_searches_by_loss_where_there_is_no_score() -> None:
    """Text-to-text tasks give the score 0 for every share."""
    values = {"m": 10, "pieces": 4, "search": True}
    method = build_method("xprompt", backbone_of("gpt2").make_spec(64, TASK.label_words), values)
    assert isinstance(method, XPrompt)
    context = context_of(torch.arange(10.0), [], method)
    best = count_survivors(10, 0.3)
    loss = replace(context, validation_score=lambda: (0.0, abs(float(method.gamma.sum()) - best)))
    method.prune_tokens(loss)
    assert int(method.gamma.sum()) == best


@pytest.mark.parametrize(("keep", "left"), [("important", {0, 2, 5}), ("unimportant", {1, 3, 4})])
def test_xprompt_controls_keep_others(keep: str, left: set[int]) -> None:
    """The reversed prompt keeps exactly what the method prunes."""
    method = build_method(
        "xprompt",
        backbone_of("gpt2").make_spec(64, TASK.label_words),
        {"m": 6, "pieces": 4, "pieces_pruned": 0.5, "keep": keep},
    )
    assert isinstance(method, XPrompt)
    method.prune_tokens(context_of(torch.tensor([3.0, 0.1, 2.0, 0.2, 0.3, 1.0]), [], method))
    assert set(method.gamma.nonzero()[:, 0].tolist()) == left
    method.prune_pieces(context_of(torch.rand(6, 4), [], method))
    assert (method.zeta[method.gamma == 0] == 0).all(), "the least important pieces are not those of pruned tokens"
    assert int(method.zeta.sum()) == 6


def test_random_pruning_keeps_as_many() -> None:
    spec, masks = backbone_of("gpt2").make_spec(64, TASK.label_words), []
    for seed in range(4):
        method = build_method("xprompt", spec, {"m": 6, "keep": "random"})
        assert isinstance(method, XPrompt)
        torch.manual_seed(seed)
        method.prune_tokens(context_of(torch.arange(6.0), [], method))
        masks.append(tuple(method.gamma.tolist()))
    assert {sum(mask) for mask in masks} == {3}
    assert len(set(masks)) > 1


def test_survivors_are_at_least_one() -> None:
    assert [count_survivors(20, share) for share in (0.0, 0.1, 0.5, 0.7, 0.95)] == [20, 18, 10, 6, 1]
    assert count_survivors(1, 0.95) == 1


@pytest.mark.parametrize("pruned", ["zero", "drop"])
def test_xprompt_trains_three_stages_and_keeps_masked_cells_at_zero(pruned: str) -> None:
    backbone = backbone_of("gpt2")
    values = {"m": 4, "pieces": 4, "pieces_pruned": 0.5, "pruned": pruned}
    method = build_method("xprompt", backbone.make_spec(64, TASK.label_words), values)
    assert isinstance(method, XPrompt)
    assert sum(stage.step_fraction for stage in method.stages()) == 1
    kept: Tensor | None = None
    starts: list[Tensor] = []
    for event in train(method, backbone, TASK, TrainConfig(steps=12, batch=8, lr=0.05, snapshot_every=100)):
        if isinstance(event, StageStarted):
            kept = None
        if isinstance(event, StepCompleted) and event.stage > 0:
            mask = method.mask()
            if kept is None:
                kept = mask.clone()
                starts.append(method.P.detach().clone())
                assert torch.equal(method.P, mask * method.P_1), "rewound"
            assert torch.equal(mask, kept), "masks do not move while training"
            assert (method.P[mask == 0] == 0).all()
            assert (method.P.grad[mask == 0] == 0).all()
            assert method.P.grad[mask > 0].abs().max() > 0
    assert len(starts) == 2
    assert int((method.gamma > 0).sum()) == 2
    assert method.stored_parameters() == 4 * WIDTH // 4 == int(method.mask().sum())
    assert method.token_scores.min() > 0
    assert (method.piece_scores[method.gamma == 0] == 0).all(), "what is masked already has no score"
