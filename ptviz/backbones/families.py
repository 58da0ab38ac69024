"""The families of transformers' text models that are known to work, and those that are refused with the reason.

This is the only list: error messages, the table in docs/families.md and the test that compares every family with PEFT
are made from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["encoder", "decoder", "encoder-decoder"]


@dataclass(frozen=True)
class Family:
    """A family by transformers' ``model_type``: how it knows positions, and what is worth a remark.

    ``peft_prefix`` says whether PEFT itself runs prefix tuning on it, so that the two can be compared.
    """

    model_type: str
    title: str
    kind: Kind
    positions: str
    remark: str = ""
    peft_prefix: bool = True


_WINDOW = "sliding window: it hides prefix tokens too far back, as PEFT's"
_EXPERTS = "mixture of experts"
_UNSHIFTED = "a prefix does not move the positions of the texts"

FAMILIES: tuple[Family, ...] = (
    Family("bert", "BERT", "encoder", "learned"),
    Family("roberta", "RoBERTa", "encoder", "learned"),
    Family("xlm-roberta", "XLM-RoBERTa", "encoder", "learned"),
    Family("camembert", "CamemBERT", "encoder", "learned"),
    Family("distilbert", "DistilBERT", "encoder", "learned"),
    Family("electra", "ELECTRA", "encoder", "learned"),
    Family("modernbert", "ModernBERT", "encoder", "rotary", "local attention sees a prefix from everywhere"),
    Family("gpt2", "GPT-2", "decoder", "learned"),
    Family("gpt_bigcode", "GPT-BigCode", "decoder", "learned", "one key/value head", peft_prefix=False),
    Family("opt", "OPT", "decoder", "learned"),
    Family("biogpt", "BioGPT", "decoder", "learned"),
    Family("gpt_neox", "GPT-NeoX, Pythia", "decoder", "rotary"),
    Family("bloom", "BLOOM", "decoder", "ALiBi", "a prefix counts as earlier positions, as PEFT's"),
    Family("mpt", "MPT", "decoder", "ALiBi", "a prefix counts as earlier positions, as PEFT's"),
    Family("falcon", "Falcon", "decoder", "rotary or ALiBi", "ALiBi in the RW models"),
    Family("llama", "Llama, SmolLM2", "decoder", "rotary"),
    Family("mistral", "Mistral", "decoder", "rotary", _WINDOW),
    Family("ministral", "Ministral", "decoder", "rotary", _WINDOW),
    Family("mixtral", "Mixtral", "decoder", "rotary", _EXPERTS),
    Family("qwen2", "Qwen2, Qwen2.5", "decoder", "rotary"),
    Family("qwen2_moe", "Qwen2-MoE", "decoder", "rotary", _EXPERTS),
    Family("qwen3", "Qwen3", "decoder", "rotary"),
    Family("qwen3_moe", "Qwen3-MoE", "decoder", "rotary", _EXPERTS),
    Family("gemma", "Gemma", "decoder", "rotary"),
    Family("gemma2", "Gemma 2", "decoder", "rotary", f"soft caps on attention and scores; {_WINDOW}"),
    Family("gemma3_text", "Gemma 3 (text)", "decoder", "rotary", _WINDOW),
    Family("vaultgemma", "VaultGemma", "decoder", "rotary", f"soft caps on attention and scores; {_WINDOW}"),
    Family("phi", "Phi", "decoder", "rotary"),
    Family("phi3", "Phi-3, Phi-4", "decoder", "rotary"),
    Family("phimoe", "Phi-MoE", "decoder", "rotary", _EXPERTS),
    Family("olmo", "OLMo", "decoder", "rotary"),
    Family("olmo2", "OLMo 2", "decoder", "rotary"),
    Family("olmo3", "OLMo 3", "decoder", "rotary", _WINDOW),
    Family("olmoe", "OLMoE", "decoder", "rotary", _EXPERTS),
    Family("granite", "Granite", "decoder", "rotary", "scores divided by a constant"),
    Family("granitemoe", "Granite-MoE", "decoder", "rotary", _EXPERTS),
    Family("cohere", "Cohere", "decoder", "rotary", "scores multiplied by a constant"),
    Family("cohere2", "Cohere 2", "decoder", "rotary", _WINDOW),
    Family("starcoder2", "StarCoder2", "decoder", "rotary"),
    Family("smollm3", "SmolLM3", "decoder", "rotary"),
    Family("glm", "GLM-4 (2024)", "decoder", "rotary"),
    Family("glm4", "GLM-4 (2025)", "decoder", "rotary"),
    Family("ernie4_5", "ERNIE 4.5", "decoder", "rotary"),
    Family("exaone4", "EXAONE 4", "decoder", "rotary", _WINDOW),
    Family("helium", "Helium", "decoder", "rotary"),
    Family("seed_oss", "Seed-OSS", "decoder", "rotary"),
    Family("hunyuan_v1_dense", "Hunyuan", "decoder", "rotary"),
    Family("apertus", "Apertus", "decoder", "rotary"),
    Family("arcee", "Arcee", "decoder", "rotary"),
    Family("nanochat", "nanochat", "decoder", "rotary", "soft cap on the scores"),
    Family("t5", "T5", "encoder-decoder", "relative bias"),
    Family("mt5", "mT5", "encoder-decoder", "relative bias"),
    Family("bart", "BART", "encoder-decoder", "learned", _UNSHIFTED),
    Family("mbart", "mBART", "encoder-decoder", "learned", _UNSHIFTED),
    Family("m2m_100", "M2M-100, NLLB", "encoder-decoder", "sinusoidal", _UNSHIFTED),
    Family("blenderbot", "Blenderbot", "encoder-decoder", "learned", _UNSHIFTED),
)
"""Every family that a test compares with PEFT, or with the model's own scores, at tiny size."""

_NO_INTERFACE = "its attention does not go through transformers' AttentionInterface"
_SINKS = "its attention has learned sinks"
_STATE = "some of its layers carry a state instead of keys and values, which a prompt run once would lose"

REFUSED_FAMILIES: dict[str, str] = {
    "deberta": _NO_INTERFACE,
    "deberta-v2": _NO_INTERFACE,
    "xlnet": _NO_INTERFACE,
    "reformer": _NO_INTERFACE,
    "longformer": _NO_INTERFACE,
    "big_bird": _NO_INTERFACE,
    "longt5": _NO_INTERFACE,
    "led": _NO_INTERFACE,
    "gpt_neo": _NO_INTERFACE,
    "gptj": _NO_INTERFACE,
    "codegen": _NO_INTERFACE,
    "openai-gpt": _NO_INTERFACE,
    "xglm": _NO_INTERFACE,
    "stablelm": _NO_INTERFACE,
    "nemotron": _NO_INTERFACE,
    "gpt_oss": _SINKS,
    "mamba": _STATE,
    "mamba2": _STATE,
    "falcon_h1": _STATE,
    "jamba": _STATE,
    "bamba": _STATE,
    "lfm2": _STATE,
    "qwen3_next": _STATE,
    "recurrent_gemma": _STATE,
    "minimax": _STATE,
    "diffllama": "it computes attention twice a layer",
    "doge": "its attention mask holds scores of its own",
    "pegasus": "it scales the embeddings of words, but not those that it is given",
    "marian": "it scales the embeddings of words, but not those that it is given",
}
"""Families that cannot be used, and why; a family in neither list is compared with itself when it is loaded."""


_COMMON = (
    *("bert", "roberta", "distilbert", "electra", "modernbert", "gpt2", "opt", "gpt_neox", "bloom", "llama", "mistral"),
    *("qwen3", "gemma3_text", "t5", "bart"),
)


def describe_families() -> str:
    """Return a sentence that names common families known to work, and the number of the others."""
    named = [one.title.partition(",")[0] for one in FAMILIES if one.model_type in _COMMON]
    return f"Families known to work: {', '.join(named)} and {len(FAMILIES) - len(named)} more, all in docs/families.md."


def families_table() -> str:
    """Return the two Markdown tables of docs/families.md: families that work, and refused ones."""
    lines = ["| family | `model_type` | kind | positions | remark |", "|---|---|---|---|---|"]
    lines += [
        f"| {one.title} | `{one.model_type}` | {one.kind} | {one.positions} | {_remark(one)} |" for one in FAMILIES
    ]
    lines += ["", "| refused `model_type` | reason |", "|---|---|"]
    lines += [f"| `{name}` | {reason} |" for name, reason in REFUSED_FAMILIES.items()]
    return "\n".join(lines)


def _remark(family: Family) -> str:
    failing = "PEFT's own prefix tuning fails on it" if not family.peft_prefix else ""
    return "; ".join(part for part in (family.remark, failing) if part)
