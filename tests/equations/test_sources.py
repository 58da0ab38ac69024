"""Methods that start from source prompts or attend to them: plain loops in float64, and identities."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest
import torch
from torch import Tensor

from ptviz.methods import ATTEMPT, PromptMethod, SPoTMulti, SPoTSingle, Stage, StageContext, build_method
from ptviz.methods.source_prompt import SourcePrompt
from ptviz.methods.spot_single import EMBEDDING_STEP_FRACTION, average_similarity, per_token_similarity
from ptviz.prompt import Batch, Output, Prompt
from ptviz.training import Snapshot, StageStarted, StepCompleted, TrainConfig, train
from ptviz.training.source_prompts import make_source_config
from ptviz.training.trainer import mean_objective, train_source_prompt
from tests.families import SOURCES, TASK, backbone_of, case, method_of, precisely, rows_of

Vector = list[float]
Matrix = list[Vector]
EXACT = {"atol": 1e-12, "rtol": 1e-12}
NAMES = tuple(source.name for source in SOURCES)
M = 4


def precise(values: Vector | Matrix | list[Matrix]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def make_source_prompts(m: int = M, width: int = 32) -> dict[str, SourcePrompt]:
    draw = torch.Generator().manual_seed(5)
    drawn = torch.randn(len(NAMES), 2, m, width, generator=draw)
    return {name: SourcePrompt(name, *pair, 0.5) for name, pair in zip(NAMES, drawn, strict=True)}


def context_with(
    sources: Mapping[str, SourcePrompt] = MappingProxyType({}), score: Callable[[], tuple[float, float]] | None = None
) -> StageContext:
    return StageContext(lambda parameters: [], lambda: iter(()), score or (lambda: (0.0, 0.0)), tuple(sources.values()))


def dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def cosine(a: Vector, b: Vector) -> float:
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def attending(family: str = "gpt2", loud: bool = True, **values: object) -> tuple[ATTEMPT, Batch]:
    """Return ATTEMPT with three candidates and a bottleneck of 6 in float64, and a batch with padding."""
    backbone = backbone_of(family)
    values = {"m": M, "bottleneck": 6, **values}
    if loud:
        method = method_of("attempt", backbone, **values)
    else:
        method = build_method(
            "attempt", backbone.make_spec(64, TASK.label_words).with_source_tasks(NAMES), values
        ).eval()
    assert isinstance(method, ATTEMPT)
    with torch.no_grad():
        method.P_s.copy_(torch.stack([source.prompt for source in make_source_prompts().values()]))
    batch = case(family, M)[1]
    assert not batch.mask.all()
    return method.double(), replace(batch, embeddings=batch.embeddings.double())


@pytest.mark.parametrize("layernorm", ["trained", "frozen"])
@pytest.mark.parametrize("pads", [False, True])
def test_attempt_attends_as_written(layernorm: str, pads: bool) -> None:
    """Asai et al. 2022, section 3, candidate by candidate and coordinate by coordinate."""
    method, batch = attending(layernorm=layernorm, pads=pads, temperature=3.0)
    down, up = method.W_down.weight.tolist(), method.W_up.weight.tolist()
    d = len(up)
    gamma = method.norm.weight.tolist() if layernorm == "trained" else [1.0] * d
    beta = method.norm.bias.tolist() if layernorm == "trained" else [0.0] * d
    candidates = [*method.P_s.tolist(), method.P.tolist()]
    keys = [[max(token[c] for token in prompt) for c in range(d)] for prompt in candidates]
    weights, prompts = [], []
    for row in range(len(batch)):
        seen = [
            batch.embeddings[row, t].tolist()
            for t in range(batch.mask.shape[1])
            if not batch.slots[row, t] and (pads or batch.mask[row, t])
        ]
        x = [max(word[c] for word in seen) for c in range(d)]
        inner = [value / (1 + math.exp(-value)) for value in (dot(line, x) for line in down)]
        h = [dot(line, inner) for line in up]
        mean = sum(h) / d
        variance = sum((value - mean) ** 2 for value in h) / d
        H = [g * (v - mean) / math.sqrt(variance + 1e-5) + b for g, v, b in zip(gamma, h, beta, strict=True)]
        scores = [dot(key, H) / 3.0 for key in keys]
        parts = [math.exp(score - max(scores)) for score in scores]
        a = [part / sum(parts) for part in parts]
        weights.append(a)
        prompts.append(
            [
                [sum(a[j] * candidates[j][i][c] for j in range(len(a))) + candidates[-1][i][c] for c in range(d)]
                for i in range(M)
            ]
        )
    with precisely(), torch.no_grad():
        prompt = method(batch)
    assert precise(weights).std(0).max() > 0.01, "every row attends alike: this says little"
    torch.testing.assert_close(prompt.routing, precise(weights), **EXACT)
    torch.testing.assert_close(prompt.embeddings, precise(prompts), **EXACT)


def routed(method: ATTEMPT, batch: Batch) -> Prompt:
    with precisely(), torch.no_grad():
        prompt: Prompt = method(batch)
    return prompt


def test_attempt_without_sources_is_twice_its_own_prompt() -> None:
    batch = case("gpt2", M)[1]
    method = build_method("attempt", backbone_of("gpt2").make_spec(64, TASK.label_words), {"m": M}).eval()
    assert isinstance(method, ATTEMPT)
    assert torch.equal(method(batch).embeddings, (2 * method.P).expand(len(batch), -1, -1))


def test_attempt_at_an_infinite_temperature_takes_the_plain_mean() -> None:
    method, batch = attending(temperature=1e9)
    mean = method.candidate_prompts().mean(0) + method.P
    torch.testing.assert_close(routed(method, batch).embeddings, mean.expand(8, -1, -1), atol=1e-6, rtol=1e-6)
    cold, _ = attending(temperature=1.0)
    assert (routed(cold, batch).embeddings - mean).abs().max() > 0.1


def test_attempt_gives_equal_keys_equal_weights() -> None:
    """Keys are maxima over tokens: the same tokens in another order are the same key, but not the same prompt."""
    method, batch = attending(temperature=1.0)
    with torch.no_grad():
        method.P_s.copy_(torch.stack([method.P.roll(1, 0), method.P.roll(2, 0)]))
    a = routed(method, batch).routing
    torch.testing.assert_close(a, torch.full_like(a, 1 / 3), **EXACT)


def test_attempt_ignores_padding_by_default() -> None:
    for pads in (False, True):
        method, batch = attending(pads=pads, temperature=1.0)
        row = int(batch.mask.sum(1).argmin())
        words = batch.mask[row]
        of_tokens = ("input_ids", "mask", "slots", "readout_mask", "embeddings")
        alone = replace(
            batch,
            labels=batch.labels[row : row + 1],
            task_ids=batch.task_ids[row : row + 1],
            **{name: getattr(batch, name)[row : row + 1, words] for name in of_tokens},
        )
        same = torch.allclose(routed(method, batch).routing[row], routed(method, alone).routing[0], atol=1e-12)
        assert same is not pads


def test_attempt_gets_gradients_by_three_paths() -> None:
    """P_target is added, is mixed in, and is a key; frozen source prompts have no gradient."""
    method, batch = attending(temperature=1.0)
    with precisely():
        prompt = method(batch)
        prompt.embeddings.pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in method.parameters())
    assert not method.P_s.requires_grad
    method.zero_grad()
    with precisely():
        method(batch).routing[:, -1].sum().backward()
    assert method.P.grad.abs().max() > 0, "the key of P_target hears of its own weight"


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
@pytest.mark.parametrize("loudness", [0.1, 1.0, 100.0])
def test_attempts_initial_attention_is_moderate_at_any_scale_of_the_sources(family: str, loudness: float) -> None:
    method, batch = attending(family, loud=False, bottleneck=100)
    loud = {name: replace(s, prompt=loudness * s.prompt) for name, s in make_source_prompts().items()}
    method.init_from_sources(context_with(loud))
    a = routed(method, batch).routing
    assert a.mean(0).max() > 1.1 / 3
    assert a.mean(0).max() < 0.95


@pytest.mark.parametrize(("start", "row"), [("first", 0), ("best", 1), ("words", None)])
def test_attempt_starts_from_a_source(start: str, row: int | None) -> None:
    method, _ = attending(loud=False, start=start)
    words, prompts = method.P.detach().clone(), [s.prompt.double() for s in make_source_prompts().values()]
    # By accuracy first, then by loss: both sources are equally accurate.
    method.init_from_sources(
        context_with(make_source_prompts(), lambda: (0.5, 0.1 if torch.equal(method.P, prompts[1]) else 0.2))
    )
    assert torch.equal(method.P, words if row is None else prompts[row])
    assert torch.equal(method.P_s, torch.stack(prompts))
    keys = method.candidate_prompts().amax(1)
    torch.testing.assert_close(method.tau, (keys - keys.mean(0)).norm(dim=-1).mean(), **EXACT)


def test_attempt_with_one_source_that_is_its_start_has_a_temperature_too() -> None:
    spec = backbone_of("gpt2").make_spec(64, TASK.label_words).with_source_tasks(NAMES[:1])
    method = build_method("attempt", spec, {"m": M})
    assert isinstance(method, ATTEMPT)
    method.init_from_sources(context_with({NAMES[0]: make_source_prompts()[NAMES[0]]}))
    assert method.tau > 0
    assert method(case("gpt2", M)[1]).routing.tolist() == [[0.5, 0.5]] * 8


def test_spot_compares_mean_tokens_or_all_pairs_of_tokens() -> None:
    """Vu et al. 2022, section 3.2."""
    sources = torch.stack([s.embedding for s in make_source_prompts().values()]).double()
    target = torch.randn(M, 32, generator=torch.Generator().manual_seed(1)).double() + sources[1]
    mean, pairs = [], []
    e_t = target.tolist()
    for e_s in sources.tolist():
        middle = [[sum(token[c] for token in e) / M for c in range(32)] for e in (e_t, e_s)]
        mean.append(cosine(*middle))
        pairs.append(sum(cosine(one, other) for one in e_t for other in e_s) / M**2)
    torch.testing.assert_close(average_similarity(target, sources), precise(mean), **EXACT)
    torch.testing.assert_close(per_token_similarity(target, sources), precise(pairs), **EXACT)
    assert mean[1] > mean[0]


def spot(**values: object) -> SPoTSingle:
    spec = backbone_of("gpt2").make_spec(64, TASK.label_words).with_source_tasks(NAMES)
    method = build_method("spot-single", spec, {"m": M, **values}).eval()
    assert isinstance(method, SPoTSingle)
    return method


def opened(**values: object) -> SPoTSingle:
    """Return SPoT with copied source prompts, and a target whose embedding is closest to the second source."""
    method = spot(**values)
    method.copy_source_prompts(context_with(make_source_prompts()))
    with torch.no_grad():
        method.P.copy_(0.3 * method.e_s[0] + method.e_s[1])
    return method


def test_spot_starts_from_the_most_similar_source() -> None:
    method = opened()
    embedding = method.P.detach().clone()
    method.start_from_rank(0, context_with())
    assert torch.equal(method.P, make_source_prompts()[NAMES[1]].prompt), (
        "the prompt, not the embedding it was found by"
    )
    assert torch.equal(method.e, embedding)
    assert method.alpha.tolist() == [0.0, 1.0]
    method.start_from_rank(0, context_with())
    assert torch.equal(method.e, make_source_prompts()[NAMES[1]].prompt), "looked up with the prompt as it stands"


def test_a_task_embeds_as_a_source_of_the_same_age_does() -> None:
    """The target's embedding is, bit for bit, what a source prompt of the same task is after as many steps."""
    twin = replace(TASK, name="twin")
    config = TrainConfig(
        steps=20, batch=8, lr=0.7, schedule="constant", source_steps=30, evaluate_every=10, snapshot_every=2,
        train_rows=2000, test_rows=20, length=64,
    )  # fmt: skip
    backbone = backbone_of("gpt2")
    spec = backbone.make_spec(64, TASK.label_words).with_source_tasks(("twin",))
    method = build_method("spot-single", spec, {"m": M}, 0)
    assert isinstance(method, SPoTSingle)
    source = train_source_prompt(backbone, twin, M, replace(make_source_config(config), snapshot_every=2))
    for _ in train(method, backbone, TASK, config, sources=[twin], source_prompts={"twin": source}):
        pass
    assert EMBEDDING_STEP_FRACTION * 20 == 6
    assert torch.equal(method.e_s[0], source.path[6])
    assert torch.equal(method.e, source.path[6])
    assert not torch.equal(source.path[6], source.embedding), "the same age matters"


@pytest.mark.parametrize("similarity", ["average", "per-token"])
def test_spot_averages_by_similarity(similarity: str) -> None:
    method = opened(retrieval="weighted", k=2, similarity=similarity)
    method.start_from_average(context_with())
    sims, prompts = method.similarity.double().tolist(), method.P_s.double().tolist()
    alpha = [s / sum(sims) for s in sims]
    assert min(sims) > 0
    expected = [[sum(alpha[r] * prompts[r][i][c] for r in range(2)) for c in range(32)] for i in range(M)]
    torch.testing.assert_close(method.P.double(), precise(expected), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(method.alpha.double(), precise(alpha), atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_spot_gives_dissimilar_sources_no_negative_weight() -> None:
    method = opened(retrieval="weighted", k=2)
    method.P.copy_(method.e_s[1] - 2 * method.e_s[0])
    method.start_from_average(context_with())
    assert method.similarity[0] < 0
    assert method.alpha.tolist() == [0.0, 1.0]
    method.P.copy_(-method.e_s[0] - method.e_s[1])
    method.start_from_average(context_with())
    assert (method.similarity < 0).all()
    assert method.alpha.tolist() == [0.5, 0.5]


def test_spot_trains_only_on_selected_sources_and_the_target() -> None:
    method = opened(retrieval="mixture", k=1)
    words = method.P_0.clone()
    method.restart_for_mixture(context_with())
    assert torch.equal(method.P, words)
    backbone, batch, readout = case("gpt2", M)
    ran, heard = [], []

    def run(prompt: Prompt) -> Output:
        ran.append(prompt)
        return backbone(batch, prompt, readout)

    for task in range(3):
        method.zero_grad()
        loss, _, _ = method.mixture_objective(replace(batch, task_ids=torch.full_like(batch.task_ids, task)), run)
        loss.backward()
        heard.append(bool(method.P.grad.abs().max() > 0))
    assert heard == [False, True, True], "the first source was not picked; number 2 is the target"
    assert len(ran) == 2
    rows, stage = rows_of(backbone, M), Stage("mixture", method.mixture_objective)
    parts = [(rows, replace(batch, task_ids=torch.full_like(batch.task_ids, task))) for task in (0, 2)]
    alone, _, _ = mean_objective(parts[1:], stage)
    torch.testing.assert_close(mean_objective(parts, stage)[0], alone, msg="what is not picked dilutes no loss")
    assert mean_objective(parts[:1], stage)[0].item() == 0


CONFIG = TrainConfig(steps=10, source_steps=3, batch=8, lr=0.05, evaluate_every=2, snapshot_every=1)


def trained(method: PromptMethod, **more: object) -> list[object]:
    return list(train(method, backbone_of("gpt2"), TASK, CONFIG, sources=SOURCES, **more))  # type: ignore[arg-type]


def after(events: list[object], stage: str) -> dict[str, Tensor]:
    """Return the state before the first update of a stage."""
    start = next(i for i, e in enumerate(events) if isinstance(e, StageStarted) and e.name == stage)
    return dict(next(event for event in events[start:] if isinstance(event, Snapshot)).method)


def test_spot_spends_the_steps_of_one_run_on_all_candidates() -> None:
    method = spot(k=2)
    events = trained(method, source_prompts=make_source_prompts())
    assert sum(isinstance(event, StepCompleted) for event in events) == CONFIG.steps
    names = [event.name for event in events if isinstance(event, StageStarted)]
    assert names == ["task embedding", "transfer", "transfer from source 2"]
    first, second = (after(events, name) for name in names[1:])
    assert [stage.keeps_previous_best for stage in method.stages()] == [False, False, True]
    order = first["similarity"].argsort(descending=True)
    for state, row in zip((first, second), order, strict=True):
        assert torch.equal(state["P"], first["P_s"][row])
    assert sorted(method.alpha.tolist()) == [0.0, 1.0], "what the winner started from"
    assert torch.equal(method.e, first["e"])


def test_spot_mixes_sources_and_target_before_it_transfers() -> None:
    events = trained(spot(retrieval="mixture", k=1), source_prompts=make_source_prompts())
    names = [event.name for event in events if isinstance(event, StageStarted)]
    assert names == ["task embedding", "mixture", "transfer"]
    assert torch.equal(after(events, "mixture")["P"], spot().P_0)


def test_multi_task_spot_continues_from_the_source_prompt() -> None:
    spec = backbone_of("gpt2").make_spec(64, TASK.label_words).with_source_tasks(NAMES)
    method = build_method("spot-multi", spec, {"m": M})
    assert isinstance(method, SPoTMulti)
    words = method.P.detach().clone()
    events = trained(method)
    start = after(events, "transfer")
    assert torch.equal(start["P"], start["P_mix"])
    assert not torch.equal(start["P_mix"], words)


def test_spot_without_sources_is_refused() -> None:
    method = build_method("spot-single", backbone_of("gpt2").make_spec(64, TASK.label_words))
    with pytest.raises(ValueError, match="needs at least one source task"):
        list(train(method, backbone_of("gpt2"), TASK, CONFIG, sources=()))


@pytest.mark.parametrize("name", ["spot-single", "spot-multi"])
def test_merged_spot_is_only_the_prompt(name: str) -> None:
    backbone, batch, readout = case("gpt2", 10)
    method = method_of(name, backbone)
    with torch.no_grad():
        ours, merged = (backbone(batch, each(batch), readout).logits for each in (method, method.merge()))
    assert torch.equal(ours, merged)
    assert sum(tensor.numel() for tensor in method.merge().state_dict().values()) == 320
