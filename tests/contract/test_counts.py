"""How many scalars a method trains and stores: the papers' formulas and their published numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ptviz.methods import REGISTRY, build_method
from ptviz.methods.hyperparameters import hyperparameters_of
from ptviz.prompt import Spec
from tests.families import MODELS, TASK, backbone_of

Formula = Callable[[Spec, dict[str, Any]], int]

TRAINED: dict[str, Formula] = {
    "prompt-tuning": lambda s, k: k["m"] * s.width,
    "p-tuning-v2": lambda s, k: 2 * s.sites * k["m"] * s.heads * s.head_width,
    # d/2 in each of two directions; the even widths of all backbones here
    "p-tuning": lambda s, k: k["m"] * s.width + 14 * s.width**2 + 18 * s.width,
    "residual": lambda s, k: k["m"] * s.width + 2 * s.width * k["bottleneck"] + k["bottleneck"] + 3 * s.width,
    "prefix-tuning": lambda s, k: (
        k["m"] * s.width
        + s.width * k["hidden"]
        + k["hidden"]
        + (k["hidden"] + 1) * 2 * s.sites * s.heads * s.head_width
    ),
    "dept": lambda s, k: k["m"] * s.width + (s.length + s.width) * k["r"],
    "smop": lambda s, k: k["k"] * k["m"] * s.width + k["k"] * s.width,
    "dpt": lambda s, k: k["r"] * (k["m"] + s.width),
    "pt-moe": lambda s, k: k["k"] * k["m"] * k["r"] + k["r"] * s.width + k["k"] * (s.width + 1),
    "xprompt": lambda s, k: k["m"] * s.width,
    "spot-single": lambda s, k: k["m"] * s.width,
    "spot-multi": lambda s, k: k["m"] * s.width,
    "attempt": lambda s, k: k["m"] * s.width + 2 * s.width * k["bottleneck"] + 2 * s.width,
    # an encoder for each source, the target and all; E and the two layers behind them
    "transprompt": lambda s, k: (
        (len(s.source_tasks) + 2) * 8 * k["hidden"] * (s.width + 4 * k["hidden"] + 4)
        + k["m"] * s.width
        + 2 * s.width * k["hidden"]
        + s.width * (s.width + 2)
    ),
    "ctpt": lambda s, k: k["q"],
    "mpt": lambda s, k: k["m"] * s.width + k["m"] + s.width,
}


def left_by_xprompt(s: Spec, k: dict[str, Any]) -> int:
    """Return what the shares leave: of m tokens, then of the survivors' pieces, each as wide as d / e."""
    tokens = round(k["m"] * (1 - k["tokens_pruned"]))
    return round(tokens * k["pieces"] * (1 - k["pieces_pruned"])) * s.width // k["pieces"]


STORED: dict[str, Formula] = TRAINED | {
    "dpt": lambda s, k: k["m"] * s.width,
    "xprompt": left_by_xprompt,
    "attempt": lambda s, k: TRAINED["attempt"](s, k) + len(s.source_tasks) * k["m"] * s.width,
    "p-tuning": lambda s, k: k["m"] * s.width,
    "residual": lambda s, k: k["m"] * s.width,
    "prefix-tuning": lambda s, k: 2 * s.sites * k["m"] * s.heads * s.head_width,
    "transprompt": lambda s, k: k["m"] * s.width,
    "ctpt": lambda s, k: k["m"] * s.width,
    "mpt": lambda s, k: k["m"] * s.width,
}
"""After merging what can be merged."""

WIDTHS = {"small": 512, "base": 768, "large": 1024, "xl": 2048, "xxl": 4096}


def shape(width: int, layers: int = 1, length: int = 64) -> Spec:
    """Return the sizes of a model with as many heads of 64 as it is wide."""
    return Spec.from_sizes(width, layers, width // 64, 64, length)


def test_every_method_has_a_formula() -> None:
    assert set(REGISTRY) == set(TRAINED) == set(STORED)


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("name", REGISTRY)
def test_counts_follow_the_formula_with_and_without_a_backbone(name: str, family: str) -> None:
    backbone = backbone_of(family)
    spec = backbone.make_spec(48, TASK.label_words)
    sizes = Spec.from_sizes(spec.width, spec.sites, spec.heads, spec.head_width, 48)
    values = {key: info.default for key, info in hyperparameters_of(REGISTRY[name]).items()}
    for changed in ({}, {"m": 7}):
        real, meta = build_method(name, spec, changed), build_method(name, sizes, changed)
        assert real.trainable_parameters() == meta.trainable_parameters() == TRAINED[name](spec, {**values, **changed})
        assert real.stored_parameters() == meta.stored_parameters() == STORED[name](spec, {**values, **changed})
        assert all(parameter.is_meta for parameter in meta.parameters())
        assert [p.shape for p in real.parameters()] == [p.shape for p in meta.parameters()]


@pytest.mark.parametrize("m", [1, 5, 20, 50, 100, 150])
@pytest.mark.parametrize("size", WIDTHS)
def test_prompt_tuning_on_t5(size: str, m: int) -> None:
    """Lester et al. 2021, table 4 (its 10,420 for Small at 20 tokens is a misprint of 10,240)."""
    assert build_method("prompt-tuning", shape(WIDTHS[size]), {"m": m}).trainable_parameters() == m * WIDTHS[size]


@pytest.mark.parametrize(
    ("size", "count"), [("small", 51_200), ("base", 76_800), ("large", 102_400), ("xl", 204_800), ("xxl", 409_600)]
)
def test_prompt_tuning_on_t5_at_its_usual_length(size: str, count: int) -> None:
    assert build_method("prompt-tuning", shape(WIDTHS[size]), {"m": 100}).stored_parameters() == count


def test_p_tuning_v2_on_bert_large() -> None:
    assert build_method("p-tuning-v2", shape(1024, 24), {"m": 20}).trainable_parameters() == 983_040


def test_p_tuning_v2_with_grouped_heads() -> None:
    """Llama 3.2 1B: 16 layers, 8 key/value heads of 64."""
    assert (
        build_method("p-tuning-v2", Spec.from_sizes(2048, 16, 8, 64, 64), {"m": 10}).trainable_parameters()
        == 2 * 16 * 10 * 8 * 64
    )


def test_prefix_tuning_on_bert_large_is_p_tuning_v2_with_its_projection() -> None:
    """P-Tuning v2's ``--prefix_projection``: the same encoder, and the same prefix once it is merged."""
    method = build_method("prefix-tuning", shape(1024, 24), {"m": 20, "hidden": 512})
    assert method.trainable_parameters() == 25_760_256
    assert method.stored_parameters() == 983_040


@pytest.mark.parametrize(("m", "count"), [(5, 245_760), (10, 491_520)])
def test_prefix_tuning_on_gpt2_medium(m: int, count: int) -> None:
    """Li and Liang 2021: 24 layers of width 1024; 0.1% of the model at 5 tokens."""
    assert build_method("prefix-tuning", shape(1024, 24), {"m": m}).stored_parameters() == count


def test_prefix_tuning_on_gpt2_small() -> None:
    assert build_method("prefix-tuning", shape(768, 12), {"m": 10, "hidden": 512}).trainable_parameters() == 9_857_024


@pytest.mark.parametrize("m", [1, 10])
def test_p_tuning_on_bert_base(m: int) -> None:
    """THUDM/P-Tuning, LAMA: a BiLSTM of 7,090,176 scalars and an MLP of 1,181,184 beside the prompt."""
    method = build_method("p-tuning", shape(768), {"m": m})
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in method.named_children()}
    assert parts == {"LSTM": 7_090_176, "MLP": 1_181_184}
    assert method.trainable_parameters() == 7_090_176 + 1_181_184 + m * 768
    assert method.stored_parameters() == m * 768


@pytest.mark.parametrize("q", [1, 7, 100])
def test_p_tuning_of_another_width(q: int) -> None:
    d, m = 768, 3
    lstm = 8 * q * (d + q + 2) + 8 * q * (2 * q + q + 2)
    mlp = 2 * q * (2 * q + 1) + d * (2 * q + 1)
    assert build_method("p-tuning", shape(d), {"m": m, "hidden": q}).trainable_parameters() == m * d + lstm + mlp
    mlp = q * (d + 1) + q * (q + 1) + d * (q + 1)
    assert (
        build_method("p-tuning", shape(d), {"m": m, "hidden": q, "encoder": "mlp"}).trainable_parameters()
        == m * d + mlp
    )


def test_p_tuning_by_mlp_on_llama() -> None:
    """Hugging Face PEFT's benchmark: Llama 3.2 3B, 20 tokens, three layers of d x d; 28.4 M trained, 246 KB stored."""
    method = build_method("p-tuning", shape(3072), {"m": 20, "encoder": "mlp"})
    assert method.trainable_parameters() == 20 * 3072 + 3 * (3072**2 + 3072) == 28_382_208
    assert 4 * method.stored_parameters() == 245_760


def test_residual_on_t5() -> None:
    """T5-Large as the DPT paper lists it (925K); what the released code's default width adds on T5-Base."""
    assert build_method("residual", shape(1024), {"m": 100, "bottleneck": 400}).trainable_parameters() == 925_072
    method = build_method("residual", shape(768), {"m": 10, "bottleneck": 800})
    assert method.trainable_parameters() - method.stored_parameters() == 1_231_904
    assert method.stored_parameters() == 7_680


@pytest.mark.parametrize(("s", "m", "r"), [(256, 20, 60), (256, 40, 45), (256, 60, 30), (256, 80, 15), (512, 60, 24)])
def test_dept_spends_exactly_what_prompt_tuning_spends(s: int, m: int, r: int) -> None:
    """Shi and Lipani 2024, section 2: budgets that equal 100 prompt tokens of T5-Base."""
    assert build_method("dept", shape(768, length=s), {"m": m, "r": r}).trainable_parameters() == 76_800


@pytest.mark.parametrize(("width", "s"), [(1024, 256), (768, 348)])
def test_dept_elsewhere_only_nearly(width: int, s: int) -> None:
    assert build_method("dept", shape(width, length=s), {"m": 60, "r": 30}).trainable_parameters() != 100 * width


def test_smop_on_t5_base() -> None:
    assert build_method("smop", shape(768), {"k": 4, "m": 5}).trainable_parameters() == 18_432


@pytest.mark.parametrize(("width", "count"), [(768, 8_680), (1024, 11_240)])
def test_dpt_on_t5(width: int, count: int) -> None:
    """Xiao et al. 2023, figure 1: 11.2K on T5-Large, where prompt tuning has 102K."""
    method = build_method("dpt", shape(width), {"m": 100, "r": 10})
    assert method.trainable_parameters() == count
    assert method.stored_parameters() == 100 * width


def test_pt_moe_on_llama() -> None:
    """Li et al. 2025, table 1: 80k on Llama 3.2 1B with two experts of 40 tokens and rank 36."""
    method = build_method("pt-moe", Spec.from_sizes(2048, 16, 8, 64, 64), {"k": 2, "m": 40, "r": 36})
    assert method.trainable_parameters() == method.stored_parameters() == 80_706


def test_xprompt_leaves_15_percent_of_t5_xl() -> None:
    """Ma et al. 2022: 20 tokens of 2048 are 40,960; their smallest prompts keep 15% of them."""
    method = build_method("xprompt", shape(2048, 24), {"m": 20, "tokens_pruned": 0.7, "pieces_pruned": 0.5})
    assert method.trainable_parameters() == 40_960
    assert method.stored_parameters() == 6_144 == 0.15 * 40_960
    assert build_method("xprompt", shape(2048, 24)).stored_parameters() == 15_360, (
        "the usual shares: 37.5%, in the paper 37.18%"
    )


SIX = tuple("abcdef")


@pytest.mark.parametrize(("layernorm", "count"), [("trained", 231_936), ("frozen", 230_400)])
def test_attempt_on_t5_base(layernorm: str, count: int) -> None:
    """Asai et al. 2022 count 232K for a target task; their code leaves the LayerNorm out. Six sources are stored."""
    method = build_method(
        "attempt", shape(768).with_source_tasks(SIX), {"m": 100, "bottleneck": 100, "layernorm": layernorm}
    )
    assert method.trainable_parameters() == count
    assert method.stored_parameters() == count + 6 * 76_800


@pytest.mark.parametrize(("width", "count"), [(768, 76_800), (4096, 409_600)])
@pytest.mark.parametrize("name", ["spot-single", "spot-multi"])
def test_spot_spends_what_prompt_tuning_spends(name: str, width: int, count: int) -> None:
    """Vu et al. 2022: 410K for T5-XXL; the source prompts are not needed once the prompt has started from it."""
    method = build_method(name, shape(width).with_source_tasks(SIX), {"m": 100})
    assert method.trainable_parameters() == method.stored_parameters() == count == method.merge().stored_parameters()


@pytest.mark.parametrize("sources", [(), SIX])
def test_mpt_on_t5_base(sources: tuple[str, ...]) -> None:
    """Wang et al. 2023: 77.6K for a target task, 0.035% of the model; one prompt is left."""
    method = build_method("mpt", shape(768).with_source_tasks(sources), {"m": 100})
    assert method.trainable_parameters() == 77_668
    assert method.stored_parameters() == 76_800


def test_transprompt_on_roberta_large() -> None:
    """Three tasks, as the released code builds them: 171.05 M beside the language model, which it trains as well."""
    method = build_method("transprompt", shape(1024).with_source_tasks(("a", "b")), {"m": 1, "hidden": 0})
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in method.named_children()}
    assert parts == {"universal": 41_975_808, "encoders": 3 * 41_975_808, "MLP": 3_147_776}
    assert method.trainable_parameters() - method.E.numel() == 171_051_008
    assert method.stored_parameters() == 1024


def test_ctpt_searches_a_vector() -> None:
    """Sun et al. 2022 search 500 numbers, which become 50 tokens of RoBERTa-Large."""
    method = build_method("ctpt", shape(1024).with_source_tasks(SIX), {"m": 50, "q": 500})
    assert method.trainable_parameters() == 500
    assert method.stored_parameters() == 51_200


@pytest.mark.parametrize("size", ["width", "sites", "heads", "head width"])
def test_sizes_must_be_positive(size: str) -> None:
    sizes = {"width": 8, "sites": 2, "heads": 2, "head_width": 4, "length": 8} | {size.replace(" ", "_"): 0}
    with pytest.raises(ValueError, match=f"{size} must be at least 1, got 0"):
        Spec.from_sizes(**sizes)
