"""Every method against its paper's formula, written again in plain loops and float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ptviz.backbones import Backbone, Readout
from ptviz.methods import DePT, PromptTuning, PTuningV2, SMoP
from ptviz.methods.initializers import init_prompt
from ptviz.prompt import Batch, Prompt, Spec
from tests.families import TASK, backbone_of, case, copied, method_of, precisely

Matrix = list[list[float]]
EXACT = {"atol": 1e-12, "rtol": 1e-12}


def situation(m: int) -> tuple[Backbone, Batch, Readout]:
    """Return GPT-2's rows in float64: mixed lengths, padding on the right, m slots in front."""
    backbone, batch, readout = case("gpt2", m)
    return backbone, replace(batch, embeddings=batch.embeddings.double()), readout


def double(name: str, **values: object) -> torch.nn.Module:
    return method_of(name, backbone_of("gpt2"), **values).double()


def words(batch: Batch, row: int) -> Matrix:
    """Return the embeddings of a row's real tokens in order: the papers' E(X)."""
    columns = range(batch.input_ids.shape[1])
    return [batch.embeddings[row, t].tolist() for t in columns if batch.mask[row, t] and not batch.slots[row, t]]


def filled(backbone: Backbone, batch: Batch, method: Callable[[Batch], object]) -> list[Matrix]:
    """Return the input of the frozen model for each row, without padding."""
    with precisely(), torch.no_grad():
        prompt = method(batch)
        x = batch.embeddings if prompt.delta is None else batch.embeddings + prompt.delta
        x = copied(backbone, torch.float64).fill_slots(batch, x, prompt)
    return [x[row][batch.mask[row]].tolist() for row in range(len(batch))]


def check(found: list[Matrix], expected: list[Matrix]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(
            torch.tensor(ours, dtype=torch.float64), torch.tensor(theirs, dtype=torch.float64), **EXACT
        )


def test_prompt_tuning_is_a_concatenation() -> None:
    """Lester et al. 2021, section 2: [P; E(X)]."""
    backbone, batch, _ = situation(3)
    method = double("prompt-tuning", m=3)
    assert isinstance(method, PromptTuning)
    check(filled(backbone, batch, method), [method.P.tolist() + words(batch, row) for row in range(len(batch))])


@pytest.mark.parametrize("scale", ["paper", "code"])
def test_dept_shifts_word_i_by_row_i(scale: str) -> None:
    """Shi and Lipani 2024, section 2: [P_s; E(X) + A B]; the released code multiplies A B by 8/sqrt(r)."""
    backbone, batch, _ = situation(3)
    method = double("dept", m=3, r=5, scale=scale)
    assert isinstance(method, DePT)
    A, B = method.A.tolist(), method.B.tolist()
    factor = 8 / math.sqrt(5) if scale == "code" else 1.0
    expected = []
    for row in range(len(batch)):
        shifted = [
            [value + factor * sum(A[i][j] * B[j][c] for j in range(5)) for c, value in enumerate(word)]
            for i, word in enumerate(words(batch, row))
        ]
        expected.append(method.P.tolist() + shifted)
    check(filled(backbone, batch, method), expected)


def test_dept_ignores_where_padding_stands() -> None:
    """The same words padded on the left get the same shifts: row i belongs to the i-th real token."""
    _, batch, _ = situation(0)
    method = double("dept", m=1)
    left = {name: getattr(batch, name).clone() for name in ("input_ids", "mask", "slots", "readout_mask", "embeddings")}
    for row in range(len(batch)):
        gap = int((~batch.mask[row]).sum())
        for tensor in left.values():
            tensor[row] = tensor[row].roll(gap, 0)
    right, turned = method(batch).delta, method(replace(batch, **left)).delta
    for row in range(len(batch)):
        assert torch.equal(right[row][batch.mask[row]], turned[row][left["mask"][row]])


def test_dept_places_belong_to_positions_and_not_to_words() -> None:
    _, batch, _ = situation(0)
    method = double("dept", m=1)
    flipped = replace(batch, input_ids=batch.input_ids.flip(1), embeddings=batch.embeddings.flip(1))
    assert torch.equal(method(batch).delta, method(flipped).delta)


def test_smop_routes_each_text_to_its_most_likely_prompt() -> None:
    """Choi et al. 2023, section 3: p = softmax(L x), i = argmax p, [p_i P_i; X], x the mean of the words."""
    backbone, batch, _ = situation(3)
    method = double("smop", m=3, k=4)
    assert isinstance(method, SMoP)
    L, P = method.L.weight.tolist(), method.P.tolist()
    expected, chosen = [], set()
    for row in range(len(batch)):
        text = words(batch, row)
        mean = [sum(word[c] for word in text) / len(text) for c in range(32)]
        scores = [sum(weight * x for weight, x in zip(line, mean, strict=True)) for line in L]
        parts = [math.exp(score - max(scores)) for score in scores]
        p = [part / sum(parts) for part in parts]
        i = p.index(max(p))
        chosen.add(i)
        expected.append([[p[i] * value for value in vector] for vector in P[i]] + text)
        with precisely():
            torch.testing.assert_close(
                method.routing_weights(batch)[row], torch.tensor(p, dtype=torch.float64), atol=1e-6, rtol=1e-6
            )
    assert len(chosen) > 1, "all rows take one road: this says little"
    check(filled(backbone, batch, method), expected)


def test_smop_noise_is_relative_and_only_while_training() -> None:
    """Scores times 1 + delta, delta ~ N(0, sigma^2): the spread of log p_i - log p_j follows from the scores."""
    _, batch, _ = situation(3)
    method = double("smop", m=3, k=2, sigma=0.5)
    with precisely(), torch.no_grad():
        scores = method.L(batch.mean_embedding())
        method.train()
        torch.manual_seed(0)
        noise = torch.randn_like(scores)
        torch.manual_seed(0)
        torch.testing.assert_close(method.routing_weights(batch), (scores * (1 + 0.5 * noise)).softmax(-1), **EXACT)
        assert torch.equal(method.eval().routing_weights(batch), scores.softmax(-1))


def test_smop_noise_passes_no_gradient_to_the_router() -> None:
    """The released code adds noise times the detached scores: d scores / d L is x, whatever was drawn."""
    _, batch, _ = situation(3)
    method = double("smop", m=3, k=2, sigma=0.5)
    with precisely():
        method.train()
        torch.manual_seed(0)
        noisy = method.routing_weights(batch)
        (gradient,) = torch.autograd.grad(noisy[:, 0].log().sum(), [method.L.weight])
        mean = batch.mean_embedding().to(gradient.dtype)
        expected = (1 - noisy[:, :1]).detach() * mean  # d log p_0 / d L_0, of a softmax over plain scores
        torch.testing.assert_close(gradient[0], expected.sum(0), **EXACT)


def test_dept_shifts_nothing_beyond_its_rows() -> None:
    _, batch, _ = situation(3)
    method = double("dept", m=3, r=5)
    method.A = torch.nn.Parameter(method.A[:2].detach())
    delta = method(batch).delta
    position = batch.text_mask.cumsum(1)
    assert (delta[batch.text_mask & (position > 2)] == 0).all(), "the last row of A B is not everyone's"
    assert (delta[batch.text_mask & (position <= 2)] != 0).any(1).all()
    torch.testing.assert_close(method.merge()(batch).delta, delta, msg="at inference as in training")


def test_smop_trains_its_router_only_through_the_probability() -> None:
    _, batch, _ = situation(3)
    method = double("smop", m=3, k=4)
    with precisely():
        prompt = method(batch)
        prompt.embeddings.pow(2).sum().backward()
        assert method.L.weight.grad.abs().max() > 0
        expert = prompt.routing.argmax(-1)
    untaken = [i for i in range(4) if i not in expert.tolist()]
    assert all((method.P.grad[i] == 0).all() for i in untaken)


def test_p_tuning_v2_puts_keys_and_values_before_every_site() -> None:
    """Liu et al. 2022, section 3; tests/backbones checks the attention itself."""
    backbone, batch, _ = situation(0)
    method = double("p-tuning-v2", m=3, dropout=0.5)
    assert isinstance(method, PTuningV2)
    prompt = method(batch)
    assert prompt.embeddings is None
    kv = prompt.key_values
    assert kv.shape == (backbone.sites, 2, 1, backbone.heads, 3, backbone.head_width)
    for site in range(backbone.sites):
        for part in range(2):
            assert torch.equal(kv[site, part, 0], method.KV[site, part])


def test_p_tuning_v2_drops_entries_only_while_training() -> None:
    _, batch, _ = situation(0)
    method = double("p-tuning-v2", m=50, dropout=0.3).train()
    torch.manual_seed(0)
    drawn = method(batch).key_values
    assert drawn.shape[2] == len(batch), "every example has a mask of its own"
    for row in range(len(batch)):
        kv = drawn[:, :, row]
        dropped = kv == 0
        assert 0.25 < dropped.double().mean() < 0.35
        torch.testing.assert_close(kv[~dropped], method.KV[~dropped] / 0.7, **EXACT)
    assert not torch.equal(drawn[:, :, 0] == 0, drawn[:, :, 1] == 0)
    assert double("p-tuning-v2", m=3, dropout=0.0).train()(batch).key_values.shape[2] == 1, "nothing dropped: shared"


def test_uniform_starts_fill_the_papers_range() -> None:
    """[-0.5, 0.5], section 3.2 of Lester et al.; their code's [0, 0.5) would fail here."""
    P = init_prompt(backbone_of("llama").make_spec(), 200, "uniform")
    assert -0.5 <= P.min() < -0.49
    assert 0.49 < P.max() <= 0.5
    assert abs(P.mean()) < 0.02


def numbered_spec() -> Spec:
    """Return a spec whose embedding row i is filled with i; "ab" is two tokens, 1 and 2."""
    table = torch.arange(30.0)[:, None].expand(30, 4).clone()
    common = torch.arange(10, 20)
    return Spec(table, 1, 1, 4, 8, common, ("ab", "c"), (), lambda text: [ord(x) - 96 for x in text if x != " "])


def test_normal_starts_have_unit_variance() -> None:
    P = init_prompt(backbone_of("llama").make_spec(), 400, "normal")
    assert abs(float(P.mean())) < 0.05
    assert abs(float(P.std()) - 1) < 0.05


def test_starts_from_words_labels_and_texts() -> None:
    spec = numbered_spec()
    drawn = init_prompt(spec, 10, "vocabulary")[:, 0].tolist()
    assert sorted(drawn) == list(range(10, 20)), "without replacement, from the common tokens only"
    assert set(init_prompt(spec, 25, "vocabulary")[:, 0].tolist()) <= set(range(10, 20))
    labels = init_prompt(spec, 5, "labels")[:, 0].tolist()
    assert labels[:2] == [1.5, 3.0], "each label's mean embedding in one slot"
    assert set(labels[2:]) <= set(range(10, 20))
    assert init_prompt(spec, 1, "labels")[:, 0].tolist() == [1.5]
    assert init_prompt(spec, 5, "text", "ab c")[:, 0].tolist() == [1.0, 2.0, 3.0, 1.0, 2.0]
    assert init_prompt(spec, 2, "text", "abc")[:, 0].tolist() == [1.0, 2.0]


def test_starts_do_not_share_memory_with_the_frozen_table() -> None:
    spec = numbered_spec()
    before = spec.embedding_table.clone()
    for init in ("vocabulary", "labels", "text"):
        init_prompt(spec, 3, init, "abc").add_(100)
    assert torch.equal(spec.embedding_table, before)


def test_batch_summaries_see_words_only() -> None:
    _, batch, _ = situation(3)
    with precisely():
        mean, largest = batch.mean_embedding(), batch.max_embedding()
    for row in range(len(batch)):
        text = torch.tensor(words(batch, row)).double()
        torch.testing.assert_close(mean[row], text.mean(0), atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(largest[row], text.amax(0), atol=1e-6, rtol=1e-6)


def test_loss_is_the_mean_over_label_words() -> None:
    backbone, batch, readout = case("gpt2", 0)
    with torch.no_grad():
        output = backbone(batch, Prompt(), readout)
    nll: list[Tensor] = []
    for row, label in enumerate(batch.labels.tolist()):
        scores = output.logits[row].tolist()
        nll.append(torch.tensor(math.log(sum(math.exp(s) for s in scores)) - scores[label]))
    torch.testing.assert_close(output.nll, torch.stack(nll), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(output.loss, torch.stack(nll).mean(), atol=1e-5, rtol=1e-5)
    assert len(TASK.label_words) == output.logits.shape[1]
