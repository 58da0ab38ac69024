"""Methods with an encoder against plain loops in float64, and their merged prompts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from ptviz.methods import REGISTRY, PrefixTuning, PromptMethod, PTuning, Residual, StaticPrompt, build_method
from ptviz.prompt import Prompt
from tests.families import TASK, backbone_of, case, method_of

Vector = list[float]
Matrix = list[Vector]
EXACT = {"atol": 1e-12, "rtol": 1e-12}
CLOSE = {"atol": 1e-5, "rtol": 1e-5}
M = 4
FAMILIES = pytest.mark.parametrize("family", ["bert", "pooled", "modernbert", "gpt2", "llama", "t5", "bart"])
ENCODED = {
    "p-tuning, lstm": ("p-tuning", {}),
    "p-tuning, mlp": ("p-tuning", {"encoder": "mlp", "hidden": 7}),
    "residual": ("residual", {"bottleneck": 7}),
    "prefix-tuning": ("prefix-tuning", {"hidden": 7, "dropout": 0.5}),
}
EACH = pytest.mark.parametrize("which", ENCODED)


def encoded(which: str, family: str = "gpt2", m: int = M) -> PromptMethod:
    name, values = ENCODED[which]
    return method_of(name, backbone_of(family), m=m, **values)


def scores(family: str, method: PromptMethod) -> Tensor:
    backbone, batch, readout = case(family, method.slots)
    with torch.no_grad():
        return backbone(batch, method(batch), readout).logits


def linear(layer: nn.Linear, x: Vector) -> Vector:
    rows = zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
    return [sum(w * value for w, value in zip(line, x, strict=True)) + b for line, b in rows]


def precise(values: Vector | Matrix) -> Tensor:
    """Convert to float64 without rounding to float32 first."""
    return torch.tensor(values, dtype=torch.float64)


def relu(x: Vector) -> Vector:
    return [max(0.0, value) for value in x]


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def one_way(lstm: nn.LSTM, layer: int, reverse: bool, words: Matrix) -> Matrix:
    """Hochreiter and Schmidhuber's cell with a forget gate, word by word; gates ordered input, forget, cell, output."""
    end = f"l{layer}{'_reverse' if reverse else ''}"
    W, U, b, c = (getattr(lstm, f"{name}_{end}").tolist() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    q = len(b) // 4
    state, cell, answers = [0.0] * q, [0.0] * q, []
    for x in reversed(words) if reverse else words:
        gate = [
            sum(w * v for w, v in zip(W[j], x, strict=True))
            + b[j]
            + sum(u * s for u, s in zip(U[j], state, strict=True))
            + c[j]
            for j in range(4 * q)
        ]
        cell = [logistic(gate[q + j]) * cell[j] + logistic(gate[j]) * math.tanh(gate[2 * q + j]) for j in range(q)]
        state = [logistic(gate[3 * q + j]) * math.tanh(cell[j]) for j in range(q)]
        answers.append(state)
    return answers[::-1] if reverse else answers


@pytest.mark.parametrize("hidden", [0, 5])
def test_p_tuning_writes_each_token_from_both_sides(hidden: int) -> None:
    """Liu et al. 2021, section 2.2: h_i = MLP([LSTM forward up to i; LSTM backward from i]), in two layers."""
    method = method_of("p-tuning", backbone_of("gpt2"), m=M, hidden=hidden).double()
    assert isinstance(method, PTuning)
    assert method.LSTM is not None
    words = method.P.tolist()
    for layer in range(2):
        ahead, back = (one_way(method.LSTM, layer, reverse, words) for reverse in (False, True))
        words = [one + other for one, other in zip(ahead, back, strict=True)]
    assert len(words[0]) == 2 * (hidden or 16), "d/2 in each direction by default"
    first, _, second = method.MLP
    expected = precise([linear(second, relu(linear(first, word))) for word in words])
    torch.testing.assert_close(method(case("gpt2", M)[1]).embeddings[0], expected, **EXACT)
    torch.testing.assert_close(method.tensors()["h"].tensor, expected, **EXACT)


def test_p_tuning_without_its_lstm_is_three_linear_layers() -> None:
    method = method_of("p-tuning", backbone_of("gpt2"), m=M, encoder="mlp", hidden=7).double()
    assert isinstance(method, PTuning)
    layers = [layer for layer in method.MLP if isinstance(layer, nn.Linear)]
    assert [layer.weight.shape for layer in layers] == [(7, 32), (7, 7), (32, 7)]
    expected = [linear(layers[2], relu(linear(layers[1], relu(linear(layers[0], word))))) for word in method.P.tolist()]
    found = method(case("gpt2", M)[1]).embeddings[0]
    torch.testing.assert_close(found, precise(expected), **EXACT)


def test_residual_adds_a_normalised_bottleneck() -> None:
    """Razdaibiedina et al. 2023, section 3: P' = P + LayerNorm(W_up ReLU(W_down P)), the skip outside of it."""
    method = method_of("residual", backbone_of("gpt2"), m=M, bottleneck=7).double()
    assert isinstance(method, Residual)
    assert method.down.weight.shape == (7, 32)
    expected = []
    for p in method.P.tolist():
        x = linear(method.up, relu(linear(method.down, p)))
        mean = sum(x) / len(x)
        spread = math.sqrt(sum((value - mean) ** 2 for value in x) / len(x) + 1e-5)
        norm = zip(p, x, method.norm.weight.tolist(), method.norm.bias.tolist(), strict=True)
        expected.append([old + gamma * (value - mean) / spread + beta for old, value, gamma, beta in norm])
    found = method(case("gpt2", M)[1]).embeddings[0]
    torch.testing.assert_close(found, precise(expected), **EXACT)
    torch.testing.assert_close(method.tensors()["P'"].tensor, found, **EXACT)
    torch.testing.assert_close(method.tensors()["phi(P)"].tensor, found - method.P, **EXACT)


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_prefix_tuning_writes_every_site_from_one_row(family: str) -> None:
    """Li and Liang 2021, section 4.3: P[i, :] = MLP(P'[i, :]), then cut by site, key or value, head."""
    backbone = backbone_of(family)
    method = method_of("prefix-tuning", backbone, m=M, hidden=7).double()
    assert isinstance(method, PrefixTuning)
    found = method(case(family, 0)[1]).key_values
    assert found.shape == (backbone.sites, 2, 1, backbone.heads, M, backbone.head_width)
    for i, word in enumerate(method.P.tolist()):
        row = iter(linear(method.W_2, [math.tanh(value) for value in linear(method.W_1, word)]))
        for site in range(backbone.sites):
            for part in range(2):
                for head in range(backbone.heads):
                    expected = precise([next(row) for _ in range(backbone.head_width)])
                    torch.testing.assert_close(found[site, part, 0, head, i], expected, **EXACT)
    torch.testing.assert_close(method.tensors()["KV"].tensor, found[:, :, 0], **EXACT)


def test_prefix_tuning_drops_entries_only_while_training() -> None:
    _, batch, _ = case("gpt2", 0)
    method = method_of("prefix-tuning", backbone_of("gpt2"), m=50, dropout=0.3)
    whole = method(batch).key_values
    kv = method.train()(batch).key_values
    dropped = kv == 0
    assert kv.shape[2] == len(batch)
    assert 0.25 < dropped.double().mean() < 0.35
    torch.testing.assert_close(kv[~dropped], whole.expand_as(kv)[~dropped] / 0.7, **CLOSE)
    assert torch.equal(method.merge()(batch).key_values, whole), "merging drops nothing"


@pytest.mark.parametrize("which", ["p-tuning, lstm", "p-tuning, mlp", "residual"])
def test_the_other_encoders_are_the_same_while_training(which: str) -> None:
    method, (_, batch, _) = encoded(which), case("gpt2", M)
    assert torch.equal(method(batch).embeddings, method.train()(batch).embeddings)


def test_initial_encoders() -> None:
    spec = backbone_of("llama").make_spec(64, TASK.label_words)
    for name in ("p-tuning", "prefix-tuning"):
        P = build_method(name, spec, {"m": 200}).get_parameter("P")
        assert abs(P.mean()) < 0.05, "N(0, 1), as in the code"
        assert abs(P.std() - 1) < 0.05
    words = build_method("p-tuning", spec, {"init": "vocabulary"}).get_parameter("P")
    assert torch.equal(words, build_method("prompt-tuning", spec).get_parameter("P"))


@pytest.mark.parametrize(("gain", "expected"), [("table", None), ("paper", 1.0), ("zero", 0.0)])
def test_residuals_gain_starts_at_the_size_of_words(gain: str, expected: float | None) -> None:
    spec = backbone_of("gpt2").make_spec(64, TASK.label_words)
    spec = replace(spec, embedding_table=0.01 * spec.embedding_table)
    method = build_method("residual", spec, {"gain": gain})
    assert isinstance(method, Residual)
    usual = math.sqrt(spec.embedding_table[spec.common_ids].pow(2).mean())
    torch.testing.assert_close(method.norm.weight, torch.full((32,), usual if expected is None else expected))
    if gain == "table":
        ratio = method.phi().norm(dim=1) / method.P.norm(dim=1)
        assert ((ratio > 0.5) & (ratio < 2)).all(), "phi(P) and P are of one size"


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_residual_without_its_norm_is_prompt_tuning(family: str) -> None:
    method, plain = encoded("residual", family), method_of("prompt-tuning", backbone_of(family), m=M)
    assert isinstance(method, Residual)
    with torch.no_grad():
        plain.get_parameter("P").copy_(method.P)
        assert not torch.allclose(scores(family, method), scores(family, plain), atol=1e-3)
        for parameter in method.norm.parameters():
            parameter.zero_()
    assert torch.equal(scores(family, method), scores(family, plain))
    start = build_method("residual", backbone_of(family).make_spec(64, TASK.label_words), {"gain": "zero"}).eval()
    assert torch.equal(scores(family, start), scores(family, start_of_prompt_tuning(family)))


def start_of_prompt_tuning(family: str) -> PromptMethod:
    """Return the initial prompt of prompt tuning with the same seed."""
    return build_method("prompt-tuning", backbone_of(family).make_spec(64, TASK.label_words)).eval()


@FAMILIES
@EACH
def test_merging_leaves_the_logits_as_they_are(which: str, family: str) -> None:
    method = encoded(which, family)
    merged = method.merge()
    assert isinstance(merged, StaticPrompt)
    torch.testing.assert_close(scores(family, merged), scores(family, method), **CLOSE)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.mul_(0.5)
    assert not torch.allclose(scores(family, merged), scores(family, method), atol=1e-3)


@EACH
def test_merged_prompts_have_the_declared_size(which: str) -> None:
    method = encoded(which)
    merged = method.merge()
    kept = merged.state_dict()
    assert (
        sum(tensor.numel() for tensor in kept.values())
        == merged.stored_parameters()
        == method.stored_parameters()
        < method.trainable_parameters()
    )
    assert not list(merged.parameters())
    assert merged.trainable_parameters() == 0
    assert merged.card is method.card
    assert merged.slots == method.slots
    assert merged.merge() is merged
    for symbol, part in merged.tensors().items():
        assert part.axes == {"P": ("m", "d"), "KV": ("S", "kv", "H", "m", "h")}[symbol]
    again = encoded(which, m=M).merge()
    for tensor in again.state_dict().values():
        tensor.zero_()
    again.load_state_dict(kept)
    assert torch.equal(scores("gpt2", again), scores("gpt2", merged))


def test_merged_prompts_are_no_method_of_the_survey() -> None:
    assert StaticPrompt not in REGISTRY.values()
    plain = method_of("prompt-tuning", backbone_of("gpt2"))
    assert plain.merge() is plain, "nothing to merge: itself"


@pytest.mark.parametrize("slots", [0, 3])
def test_merged_prompts_fill_their_slots(slots: int) -> None:
    card = REGISTRY["residual"].card
    with pytest.raises(ValueError, match=rf"expected embeddings for {slots} slots of residual; got 4"):
        StaticPrompt(card, slots, torch.zeros(1, 4, 32))


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_merged_prompts_shift_words_and_hide_tokens(family: str) -> None:
    """DePT's table of shifts and a pruned prompt, which other methods merge into."""
    backbone, batch, readout = case(family, M)
    dept = method_of("dept", backbone, m=M)
    merged = StaticPrompt(dept.card, M, dept.P[None], shift=dept.shift())
    with torch.no_grad():
        theirs = backbone(batch, dept(batch), readout).logits
        torch.testing.assert_close(backbone(batch, merged(batch), readout).logits, theirs, **CLOSE)
        keep = torch.tensor([True, False, True, True])
        pruned = StaticPrompt(dept.card, M, dept.P[None], keep=keep)
        theirs = backbone(batch, Prompt(dept.P[None], keep=keep), readout).logits
        assert torch.equal(backbone(batch, pruned(batch), readout).logits, theirs)
    assert merged.stored_parameters() == dept.P.numel() + 64 * 32
    assert pruned.stored_parameters() == 3 * 32
    assert merged.tensors()["shift"].axes == ("T", "d")


def written(method: PromptMethod) -> Tensor:
    """Return the encoder's output, token by token."""
    prompt = method(case("gpt2", method.slots)[1])
    return prompt.embeddings[0] if prompt.key_values is None else prompt.key_values.movedim(4, 0).flatten(1)


@EACH
@torch.no_grad()
def test_only_the_lstm_makes_tokens_depend_on_one_another(which: str) -> None:
    method, changed = encoded(which), encoded(which)
    changed.get_parameter("P")[2] += 1.0
    moved = (written(method) - written(changed)).abs().amax(1) > 1e-6
    assert moved.tolist() == ([True] * M if which == "p-tuning, lstm" else [False, False, True, False])


@EACH
@torch.no_grad()
def test_only_the_lstm_depends_on_the_order_of_tokens(which: str) -> None:
    method, turned = encoded(which), encoded(which)
    turned.get_parameter("P").copy_(method.get_parameter("P").flip(0))
    same = torch.allclose(written(turned), written(method).flip(0), **CLOSE)
    assert same == (which != "p-tuning, lstm")


@FAMILIES
def test_a_prefix_without_tokens_is_no_prefix(family: str) -> None:
    backbone, batch, readout = case(family, 0)
    empty = PrefixTuning(backbone.make_spec(64, TASK.label_words), m=0)
    with torch.no_grad():
        assert torch.equal(backbone(batch, empty(batch), readout).logits, backbone(batch, Prompt(), readout).logits)


@FAMILIES
def test_a_merged_prefix_is_p_tuning_v2(family: str) -> None:
    method, v2 = encoded("prefix-tuning", family), method_of("p-tuning-v2", backbone_of(family), m=M)
    assert method.stored_parameters() == v2.trainable_parameters()
    with torch.no_grad():
        v2.get_parameter("KV").copy_(method.merge().tensors()["KV"].tensor)
    torch.testing.assert_close(scores(family, v2), scores(family, method), **CLOSE)


def test_residual_without_its_skip_connection_is_phi_alone() -> None:
    """Razdaibiedina et al. 2023, the ablation of the skip connection: P' = phi(P)."""
    (_, batch, _), backbone = case("gpt2", M), backbone_of("gpt2")
    whole, alone = (method_of("residual", backbone, m=M, bottleneck=7, skip=skip) for skip in (True, False))
    found = alone(batch).embeddings[0]
    torch.testing.assert_close(found, whole(batch).embeddings[0] - whole.get_parameter("P"), **CLOSE)
    torch.testing.assert_close(alone.merge()(batch).embeddings[0], found)
    torch.testing.assert_close(alone.tensors()["P'"].tensor, found)
    assert alone.trainable_parameters() == whole.trainable_parameters()
