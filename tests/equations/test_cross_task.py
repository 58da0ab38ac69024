"""MPT, TransPrompt and CTPT against their formulas in plain loops and float64, and in simpler special cases."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ptviz.methods import CTPT, MPT, PromptMethod, StageContext, StaticPrompt, TransPrompt, build_method
from ptviz.methods.source_prompt import SourcePrompt
from ptviz.prompt import Batch, ForwardFn, Output, Prompt
from tests.equations.test_encoders import linear, one_way, precise, relu
from tests.families import SOURCES, TASK, backbone_of, case, method_of, precisely

Vector = list[float]
Matrix = list[Vector]
EXACT = {"atol": 1e-12, "rtol": 1e-12}
M, D, K, LABELS = 4, 32, len(SOURCES), 3
FAMILIES = pytest.mark.parametrize("family", ["bert", "pooled", "gpt2", "llama", "t5"])
NAMES = pytest.mark.parametrize("name", ["mpt", "transprompt", "ctpt"])


def double(name: str, **values: object) -> PromptMethod:
    return method_of(name, backbone_of("gpt2"), m=M, **values).double()


def rows_of_task(task: int, seed: int = 0) -> Batch:
    """Return five rows of one task with random words."""
    batch = case("gpt2", M)[1]
    draw = torch.Generator().manual_seed(seed)
    words = torch.randn(5, *batch.embeddings.shape[1:], generator=draw, dtype=torch.float64)
    batch = Batch(*(tensor[:5] for tensor in (batch.input_ids, batch.mask, batch.slots, batch.readout_mask)),
                  labels=torch.tensor([0, 2, 1, 0, 2]), task_ids=torch.full((5,), task), embeddings=words)  # fmt: skip
    return batch


def answering(batch: Batch) -> ForwardFn:
    """Return a small model whose answer depends on the prompt's and on the row's words."""
    draw = torch.Generator().manual_seed(9)
    out, deep = (torch.randn(*shape, generator=draw, dtype=torch.float64) for shape in ((D, LABELS), (3, D, D)))

    def run(prompt: Prompt) -> Output:
        state = torch.tanh(prompt.embeddings.mean(1) + batch.embeddings.mean(1))
        logits = state @ out
        nll = -logits.log_softmax(-1)[torch.arange(len(batch)), batch.labels]
        return Output(logits, nll, torch.tanh(torch.einsum("bd,lde->lbe", state, deep) / 3))

    return run


def softmax(scores: Vector) -> Vector:
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


def away(one: Vector, other: Vector) -> float:
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)))


def make_source_prompts(dtype: torch.dtype = torch.float64) -> dict[str, SourcePrompt]:
    draw = torch.Generator().manual_seed(5)
    prompts = [torch.randn(M, D, generator=draw, dtype=dtype) for _ in SOURCES]
    return {s.name: SourcePrompt(s.name, prompt, 0 * prompt, 0.5) for s, prompt in zip(SOURCES, prompts, strict=True)}


def handed(**more: object) -> StageContext:
    """Return a stage context with source prompts, and nothing else by default."""

    def never(*_: object) -> None:
        raise AssertionError("not asked for here")

    return StageContext(
        **{
            "mean_gradients": never,
            "iterate_outputs": never,
            "validation_score": never,
            "source_prompts": tuple(make_source_prompts().values()),
            **more,
        }
    )


def test_mpt_scales_rows_by_u_and_columns_by_v() -> None:
    """Wang et al. 2023, section 3.1: P_k = P* o (u_k v_k^T)."""
    method = double("mpt")
    assert isinstance(method, MPT)
    shared = method.P.tolist()

    def scaled(u: Vector, v: Vector) -> Matrix:
        return [[shared[i][j] * u[i] * v[j] for j in range(D)] for i in range(M)]

    expected = precise(scaled(method.u.tolist(), method.v.tolist()))
    torch.testing.assert_close(method(rows_of_task(0)).embeddings[0], expected, **EXACT)
    for k in range(K):
        expected = precise(scaled(method.U[k].tolist(), method.V[k].tolist()))
        torch.testing.assert_close(method.student_prompt(k), expected, **EXACT)
        torch.testing.assert_close(method.tensors()["P^_k"].tensor[k], expected, **EXACT)


@pytest.mark.parametrize("task", range(K))
@pytest.mark.parametrize("lam", [0.0, 0.9, 3.0])
def test_mpt_distils_answers_and_hidden_states(task: int, lam: float) -> None:
    """Section 3.2: the task loss, KL(teacher || student) and the squared distance of hidden states."""
    method = double("mpt", lam=lam)
    assert isinstance(method, MPT)
    method.copy_teachers(handed())
    batch = rows_of_task(task)
    run = answering(batch)
    teacher, student = (
        run(Prompt(make_source_prompts()[SOURCES[task].name].prompt[None])),
        run(Prompt(method.student_prompt(task)[None])),
    )
    kl = square = loss = 0.0
    for row in range(5):
        p, q = softmax(teacher.logits[row].tolist()), softmax(student.logits[row].tolist())
        loss += -math.log(q[int(batch.labels[row])]) / 5
        kl += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) / 5
        for layer in range(3):
            square += away(
                teacher.hidden_states[layer, row].tolist(), student.hidden_states[layer, row].tolist()
            ) ** 2 / (5 * 3 * D)
    found, prompt, _ = method.stages()[0].objective(batch, run)
    assert min(kl, square) > 0.01
    assert float(found.detach()) == pytest.approx(loss + lam * (kl + square), rel=1e-12)
    assert set(prompt.losses) == ({"logits", "hidden"} if lam else set())
    found.backward()
    others = [k for k in range(K) if k != task]
    assert (method.U.grad[task] != 0).all()
    assert (method.U.grad[others] == 0).all(), "a task's rows teach its own factors alone"
    assert method.u.grad is None


def test_mpt_without_hidden_states_is_refused() -> None:
    method = double("mpt")
    batch = rows_of_task(0)

    def run(prompt: Prompt) -> Output:
        return replace(answering(batch)(prompt), hidden_states=None)

    with pytest.raises(ValueError, match="run the backbone with hidden=True"):
        method.stages()[0].objective(batch, run)
    assert [stage.needs_hidden_states for stage in double("mpt", lam=0.0).stages()] == [False, False]


def test_mpts_target_starts_at_the_average_of_the_sources() -> None:
    method = double("mpt")
    assert isinstance(method, MPT)
    shared = method.P.clone()
    method.stages()[1].on_start(handed())
    for ours, theirs in ((method.u, method.U), (method.v, method.V)):
        expected = [sum(theirs[k][i].item() for k in range(K)) / K for i in range(len(ours))]
        torch.testing.assert_close(ours.detach(), precise(expected), **EXACT)
    assert torch.equal(method.P, shared), "and P* stays what it was distilled to"


@pytest.mark.parametrize("mix", ["paper", "code"])
def test_transprompt_mixes_a_universal_and_a_tasks_encoder(mix: str) -> None:
    """P_k = MLP(a LSTM_*(E) + (1 - a) LSTM_k(E)), two layers each; a = 1/2, or 0.2 in the released code."""
    method = double("transprompt", mix=mix, hidden=3)
    assert isinstance(method, TransPrompt)
    a = {"paper": 0.5, "code": 0.2}[mix]

    def states(lstm: torch.nn.LSTM) -> Matrix:
        words = method.E.tolist()
        for layer in range(2):
            ahead, back = (one_way(lstm, layer, reverse, words) for reverse in (False, True))
            words = [one + other for one, other in zip(ahead, back, strict=True)]
        return words

    first, _, second = method.MLP
    for k in range(K + 1):
        both = zip(states(method.universal), states(method.encoders[k]), strict=True)
        mixed = [[a * s + (1 - a) * o for s, o in zip(shared, own, strict=True)] for shared, own in both]
        expected = precise([linear(second, relu(linear(first, word))) for word in mixed])
        torch.testing.assert_close(method.prompt(k), expected, **EXACT)
    torch.testing.assert_close(method(rows_of_task(0)).embeddings[0], expected, **EXACT)


def remembering(method: TransPrompt) -> list[tuple[Batch, Output]]:
    """Set the prototypes from two batches of each task, without the target's second."""
    batches = [rows_of_task(task, seed) for task in range(K + 1) for seed in (1, 2)][:-1]
    seen = [(batch, answering(batch)(Prompt(method.prompt(0)[None]))) for batch in batches]

    def outputs() -> Iterator[tuple[Batch, Output]]:
        yield from seen

    with precisely():
        method.stages()[0].on_epoch(handed(iterate_outputs=outputs))
    return seen


def prototypes(seen: list[tuple[Batch, Output]]) -> dict[tuple[int, int], Vector]:
    """Return the mean second-to-last hidden state of each (task, label)."""
    found: dict[tuple[int, int], list[Vector]] = {}
    for batch, output in seen:
        for row in range(len(batch)):
            place = int(batch.task_ids[row]), int(batch.labels[row])
            found.setdefault(place, []).append(output.hidden_states[-2, row].tolist())
    return {place: [sum(column) / len(column) for column in zip(*zs, strict=True)] for place, zs in found.items()}


def test_transprompts_prototypes_are_mean_hidden_states() -> None:
    method = double("transprompt", hidden=3)
    assert isinstance(method, TransPrompt)
    seen = remembering(method)
    expected = prototypes(seen)
    assert set(expected) == {(task, label) for task in range(K + 1) for label in range(LABELS)}
    assert {tuple(place) for place in (method.rows > 0).nonzero().tolist()} == set(expected)
    for (task, label), prototype in expected.items():
        torch.testing.assert_close(method.prototypes[task, label], precise(prototype), **EXACT)
    assert method.rows.sum() == sum(len(batch) for batch, _ in seen)
    remembering(method)
    assert method.rows.sum() == sum(len(batch) for batch, _ in seen), "an epoch forgets the last one's"


@pytest.mark.parametrize("alpha", [0.5, 0.1, 1.0])
@pytest.mark.parametrize("task", range(K + 1))
def test_transprompt_weights_rows_near_the_prototypes_more(task: int, alpha: float) -> None:
    """omega = softmax over the rows of -sum_p w_p |z - c_p|; L = sum omega_i L_i - 0.01 H, H in bits."""
    method = double("transprompt", hidden=3, alpha=alpha)
    assert isinstance(method, TransPrompt)
    known = prototypes(remembering(method))
    batch = rows_of_task(task, seed=7)
    run = answering(batch)
    answer = run(Prompt(method.prompt(task)[None]))
    scores, entropy = [], 0.0
    for row in range(5):
        z, own = answer.hidden_states[-2, row].tolist(), (task, int(batch.labels[row]))
        weight = {place: alpha if place == own else (1 - alpha) / (len(known) - 1) for place in known}
        scores.append(-sum(weight[place] * away(z, known[place]) for place in known))
        entropy += -sum(p * math.log2(p) for p in softmax(answer.logits[row].tolist())) / 5
    omega = softmax(scores)
    expected = sum(w * loss for w, loss in zip(omega, answer.nll.tolist(), strict=True)) - 0.01 * entropy
    with precisely():
        found, prompt, output = method.stages()[0].objective(batch, run)
    assert max(omega) > 1.1 * min(omega)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-12)
    assert float(prompt.losses["entropy"].detach()) == pytest.approx(-0.01 * entropy, rel=1e-12)
    assert float((output.loss + prompt.losses["entropy"]).detach()) == pytest.approx(expected, rel=1e-12)


def test_transprompt_weights_rows_evenly_without_prototypes() -> None:
    method = double("transprompt", hidden=3, lam=0.0)
    batch = rows_of_task(0)
    with precisely():
        found, _, _ = method.stages()[0].objective(batch, answering(batch))
    expected = answering(batch)(Prompt(method.prompt(0)[None])).loss
    torch.testing.assert_close(found, expected, **EXACT)


def test_transprompt_adapts_with_the_entropys_sign_turned() -> None:
    method = double("transprompt", hidden=3, lam=0.5)
    batch = rows_of_task(K)
    answer = answering(batch)(method(batch))
    entropy = sum(-sum(p * math.log2(p) for p in softmax(row)) for row in answer.logits.tolist()) / 5
    found, _, _ = method.stages()[1].objective(batch, answering(batch))
    assert float(found.detach()) == pytest.approx(float(answer.loss.detach()) + 0.5 * entropy, rel=1e-12)


def test_transprompts_weights_carry_no_gradient() -> None:
    """With one constant loss for all rows there is no gradient: a prompt cannot lower the rows' weights."""
    method = double("transprompt", hidden=3, lam=0.0)
    assert isinstance(method, TransPrompt)
    remembering(method)
    batch = rows_of_task(0)

    def run(prompt: Prompt) -> Output:
        answer = answering(batch)(prompt)
        return replace(answer, nll=torch.ones(5, dtype=torch.float64) + 0 * answer.nll)

    with precisely():
        found, _, _ = method.stages()[0].objective(batch, run)
    found.backward()
    assert float(method.E.grad.abs().max()) < 1e-12


def test_transprompt_has_a_limit_of_labels() -> None:
    method = double("transprompt", hidden=3)
    batch = replace(rows_of_task(0), labels=torch.full((5,), 160))
    with pytest.raises(ValueError, match="at most 160 labels per task"):
        method.stages()[0].on_epoch(
            handed(iterate_outputs=lambda: iter([(batch, Output(torch.zeros(5, 3), torch.zeros(5)))]))
        )


def searched(**values: object) -> CTPT:
    method = double("ctpt", start="words", q=6, **values)
    assert isinstance(method, CTPT)
    method.start_from_best_source(handed())
    return method


@pytest.mark.parametrize("heads", [1, 2, 5])
def test_ctpt_adds_a_projection_and_attention_over_the_sources(heads: int) -> None:
    """P = P_0 + A z + g C; each head mixes the sources in its own subspace. 5 heads leave 2 of 32 out."""
    method = searched(heads=heads)
    z, std, each = method.z.tolist(), method.std.item(), 32 // heads
    A, P_0, sources = method.A.tolist(), method.P_0.tolist(), method.sources.tolist()
    own = [[P_0[i][j] + sum(A[i][j][n] * z[n] for n in range(5)) for j in range(D)] for i in range(M)]

    def middle(prompt: Matrix) -> Vector:
        return [sum(prompt[i][j] for i in range(M)) / M / std for j in range(D)]

    def through(x: Vector, W: Matrix) -> Vector:
        return [sum(x[j] * W[j][e] for j in range(D)) for e in range(each)]

    cross = [[0.0] * D for _ in range(M)]
    for head in range(heads):
        Q, K_, V = (getattr(method, name)[head].tolist() for name in ("A_Q", "A_K", "A_V"))
        query = through(middle(own), Q)
        keys = [through(middle(source), K_) for source in sources]
        weights = softmax([sum(a * b for a, b in zip(query, key, strict=True)) / math.sqrt(each) for key in keys])
        for weight, source in zip(weights, sources, strict=True):
            for i in range(M):
                seen = through(source[i], V)
                for j in range(D):
                    cross[i][j] += weight * sum(V[j][e] * seen[e] for e in range(each))
        torch.testing.assert_close(method.source_attention()[head], precise(weights), **EXACT)
    expected = [[own[i][j] + z[5] * cross[i][j] for j in range(D)] for i in range(M)]
    torch.testing.assert_close(method(rows_of_task(0)).embeddings[0], precise(expected), **EXACT)


def test_ctpts_projection_has_the_scale_of_its_initial_words() -> None:
    """Sun et al. 2022: sigma_A = alpha std / (sqrt(q) sigma), so that A z at z ~ N(0, 1) has the scale of words."""
    spec = backbone_of("gpt2").make_spec(64, TASK.label_words)
    usual = float(spec.embedding_table[spec.common_ids].std())
    for alpha in (1.0, 3.0):
        method = build_method("ctpt", spec, {"alpha": alpha, "q": 100})
        assert isinstance(method, CTPT)
        z = torch.randn(99, generator=torch.Generator().manual_seed(0))
        assert float((method.A @ z).std()) == pytest.approx(alpha * usual, rel=0.3)
        assert torch.equal(method(case("gpt2", 10)[1]).embeddings[0], method.P_0), "at z = 0 it is the start alone"


def test_ctpt_with_even_attention_adds_the_mean_of_the_sources() -> None:
    method = searched(heads=4)
    method.A_K.zero_()
    torch.testing.assert_close(
        method.cross_task_mixture(), method.sources.mean(0), atol=1e-5, rtol=0
    )  # a rotation of float32


def test_ctpt_starts_from_the_best_source_on_the_target() -> None:
    """Accuracy first, then loss; initialisation from words measures nothing."""
    best = double("ctpt", start="source", q=6)
    assert isinstance(best, CTPT)
    prompts = [source.prompt for source in make_source_prompts().values()]

    def score() -> tuple[float, float]:
        return 0.5, 1.0 if torch.equal(best.P_0, prompts[0]) else 0.7

    drawn = best.A.clone()
    best.start_from_best_source(handed(validation_score=score))
    assert torch.equal(best.P_0, prompts[1])
    torch.testing.assert_close(best.A, drawn * prompts[1].std() / best.std)
    words = double("ctpt", start="words", q=6)
    before, drawn = words.P_0.clone(), words.A.clone()
    words.start_from_best_source(handed())
    assert torch.equal(words.P_0, before)
    assert torch.equal(words.A, drawn)
    assert torch.equal(words.sources, torch.stack(prompts))


def scores(family: str, method: PromptMethod) -> Tensor:
    backbone, batch, readout = case(family, M)
    with torch.no_grad():
        return backbone(batch, method(batch), readout).logits


@FAMILIES
def test_mpt_with_factors_of_one_is_prompt_tuning(family: str) -> None:
    """Bit for bit, and this is the initial state."""
    backbone = backbone_of(family)
    method = build_method("mpt", backbone.make_spec(64, TASK.label_words), {"m": M}).eval()
    plain = build_method("prompt-tuning", backbone.make_spec(64, TASK.label_words), {"m": M}).eval()
    assert torch.equal(method.P, plain.P)
    assert torch.equal(scores(family, method), scores(family, plain))
    with torch.no_grad():
        method.v[3] = 1.5
    assert not torch.allclose(scores(family, method), scores(family, plain), atol=1e-4)


def test_mpts_factors_may_start_around_one() -> None:
    method = build_method("mpt", backbone_of("gpt2").make_spec(64).with_source_tasks(("a", "b")), {"fast": "normal"})
    drawn = torch.cat([method.U.flatten(), method.V.flatten(), method.u, method.v]).detach()
    assert float(drawn.mean()) == pytest.approx(1, abs=0.01)
    assert float(drawn.std()) == pytest.approx(0.02, rel=0.2)


@FAMILIES
@NAMES
def test_folding_leaves_the_scores(name: str, family: str) -> None:
    method = method_of(name, backbone_of(family), m=M)
    merged = method.merge()
    assert isinstance(merged, StaticPrompt)
    assert not list(merged.parameters())
    assert merged.stored_parameters() == method.stored_parameters() == M * D
    torch.testing.assert_close(scores(family, merged), scores(family, method), atol=2e-5, rtol=2e-5)
    whole = scores(family, method)
    merged.embeddings[0, 0].neg_()
    assert not torch.allclose(scores(family, merged), whole, atol=1e-4)
