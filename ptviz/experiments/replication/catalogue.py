"""The replication studies. Claims and numbers are the papers'; tasks, sizes and steps are ours.

Our experiments are small: one frozen sentence encoder, a few hundred updates. A finding that does not hold here may
hold in its paper's setting, and is reported as measured.
"""

from __future__ import annotations

from ptviz.experiments.replication.study import Arm, ArmSetting, Comparison, ReplicationStudy

_LESTER = "Lester et al., EMNLP 2021", "https://aclanthology.org/2021.emnlp-main.243"
_LR_FACTORS = (0.1, 1.0, 10.0)
_INITS = ("uniform", "vocabulary", "labels")
_ONE_POINT = 0.01
"""One point of accuracy, the difference that counts as no loss."""


def _make_arm(label: str, method: str, **hyperparameters: int | float | str | bool) -> Arm:
    return Arm(label, method, (ArmSetting(hyperparameters),))


STUDIES: tuple[ReplicationStudy, ...] = (
    ReplicationStudy(
        "start", "A prompt that starts from the class labels does at least as well as one from sampled vocabulary, and "
        "that at least as well as one from uniform noise.", *_LESTER,
        tuple(_make_arm(init, "prompt-tuning", m=20, init=init) for init in _INITS),
        (Comparison("labels", "vocabulary", margin=_ONE_POINT), Comparison("vocabulary", "uniform", margin=_ONE_POINT)),
        note="At least as well: not worse by a point of accuracy.",
    ),
    ReplicationStudy(
        "length", "Longer prompts help, and then saturate.", *_LESTER,
        tuple(_make_arm(f"m={m}", "prompt-tuning", m=m) for m in (1, 5, 10, 20, 50)),
        (Comparison("m=20", "m=1"), Comparison("m=20", "m=50", margin=_ONE_POINT)),
        note="Saturates: 50 tokens give no more than a point over 20.",
    ),
    ReplicationStudy(
        "residual-steady", "The residual reparameterisation makes prompt tuning less sensitive to learning rate and "
        "start.",
        "Razdaibiedina et al., Findings of ACL 2023", "https://aclanthology.org/2023.findings-acl.421",
        (
            Arm("residual, three rates", "residual", tuple(ArmSetting(lr_factor=factor) for factor in _LR_FACTORS)),
            Arm("prompt tuning, three rates",
            "prompt-tuning", tuple(ArmSetting(lr_factor=factor) for factor in _LR_FACTORS)),
            Arm("residual, three starts", "residual", tuple(ArmSetting({"init": init}) for init in _INITS)),
            Arm("prompt tuning, three starts", "prompt-tuning", tuple(ArmSetting({"init": init}) for init in _INITS)),
        ),
        (
            Comparison("residual, three rates", "prompt tuning, three rates", across="sd", lower=True),
            Comparison("residual, three starts", "prompt tuning, three starts", across="sd", lower=True),
        ),
        note="Standard deviation of test accuracy over a tenth, one and ten times the default rate, and over starts.",
    ),
    ReplicationStudy(
        "deep", "Keys and values at every layer beat a prompt in the input alone on a small backbone.",
        "Liu et al., ACL 2022 (P-tuning v2)", "https://aclanthology.org/2022.acl-short.8",
        (_make_arm("P-tuning v2", "p-tuning-v2", m=20), _make_arm("prompt tuning", "prompt-tuning", m=20)),
        (Comparison("P-tuning v2", "prompt tuning"),),
    ),
    ReplicationStudy(
        "pruning", "The tokens of a trained prompt that matter least by their gradient can go with little loss; "
        "keeping them instead of the others is worse than keeping tokens at random.",
        "Ma et al., EMNLP 2022 (XPrompt)", "https://aclanthology.org/2022.emnlp-main.758",
        tuple(
            Arm(label, "prompt-tuning", (ArmSetting({"m": 20}),), metric)
            for label, metric in {
                "whole": "test", "best half": "kept_high", "any half": "kept_random", "worst half": "kept_low",
            }.items()
        ),
        (
            Comparison("best half", "whole", margin=0.03), Comparison("any half", "worst half"),
            Comparison("best half", "worst half"),
        ),
        note="Half of the 20 tokens of one trained prompt become zero, without training again: those of the lowest "
        "scores, any, those of the highest. Little loss: under three points.",
    ),
    ReplicationStudy(
        "low-rank", "A decomposed prompt does as well as prompt tuning with a fraction of its parameters.",
        "Xiao et al., Findings of EMNLP 2023 (DPT)", "https://aclanthology.org/2023.findings-emnlp.890",
        (_make_arm("DPT", "dpt", m=20), _make_arm("prompt tuning", "prompt-tuning", m=20)),
        (Comparison("DPT", "prompt tuning", margin=_ONE_POINT), Comparison("DPT", "prompt tuning",
        "trained", lower=True)),
        note="As well: not worse by a point of accuracy.",
    ),
    ReplicationStudy(
        "two-rates", "Prompt and low-rank table need two learning rates: DePT with two beats DePT with one.",
        "Shi and Lipani, ICLR 2024 (DePT)", "https://arxiv.org/abs/2309.05173",
        (_make_arm("two rates", "dept"), _make_arm("one rate", "dept", ratio=1.0)),
        (Comparison("two rates", "one rate"),),
    ),
    ReplicationStudy(
        "noise", "Without noise on the router fewer experts are used.",
        "Choi et al., EMNLP 2023 (SMoP)", "https://aclanthology.org/2023.emnlp-main.884",
        (_make_arm("with noise", "smop", sigma=1.0), _make_arm("without noise", "smop", sigma=0.0)),
        (Comparison("with noise", "without noise", "experts"),),
        note="Experts used: the exponential of the entropy of their shares of the test texts.",
    ),
    ReplicationStudy(
        "experts", "A mixture of decomposed prompts beats its single expert and its hard selection.",
        "Li et al., NeurIPS 2025 (PT-MoE)", "https://arxiv.org/abs/2505.09519",
        (
            _make_arm("two experts", "pt-moe", k=2), _make_arm("one expert", "pt-moe", k=1),
            _make_arm("hard selection", "pt-moe", k=2, selection="hard"),
        ),
        (Comparison("two experts", "one expert"), Comparison("two experts", "hard selection")),
    ),
    ReplicationStudy(
        "related", "A prompt from a related source task starts higher than one from an unrelated task.",
        "Vu et al., ACL 2022 (SPoT)", "https://aclanthology.org/2022.acl-long.346",
        (
            Arm("from clinc", "spot-single", (ArmSetting(sources=("clinc",)),)),
            Arm("from sms", "spot-single", (ArmSetting(sources=("sms",)),)),
        ),
        (Comparison("from clinc", "from sms", "start"),), task="banking",
        note="Validation accuracy before the first update: banking intents after other intents, or after spam.",
    ),
    ReplicationStudy(
        "distillation", "Distilling from the source tasks' own prompts helps the shared prompt.",
        "Wang et al., ICLR 2023 (MPT)", "https://arxiv.org/abs/2303.02861",
        (_make_arm("distilled", "mpt"), _make_arm("not distilled", "mpt", lam=0.0)),
        (Comparison("distilled", "not distilled"),),
    ),
    ReplicationStudy(
        "prefix", "A prefix of keys and values at every layer beats the embedding-only prompt.",
        "Li and Liang, ACL 2021", "https://aclanthology.org/2021.acl-long.353",
        (_make_arm("prefix tuning", "prefix-tuning", m=10), _make_arm("embedding only", "prompt-tuning", m=10)),
        (Comparison("prefix tuning", "embedding only"),),
    ),
)  # fmt: skip
