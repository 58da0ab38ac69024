"""The replication studies. Claims and numbers are the papers'; tasks, sizes and steps are ours.

Our experiments are small: one frozen sentence encoder, a few hundred updates. A finding that does not hold here may
hold in its paper's setting, and is reported as measured.
"""

from __future__ import annotations

from ptviz.experiments.replication.study import Arm, ArmSetting, Comparison, ReplicationStudy

_LESTER = "Lester et al., EMNLP 2021", "https://aclanthology.org/2021.emnlp-main.243"
_LR_FACTORS = (0.1, 1.0, 10.0)
_INITS = ("uniform", "vocabulary", "labels")
_SINGLE_RATES = (0.01, 0.03, 0.1, 0.3)
"""Factors on DePT's default rate where A and B share it: at the default itself training diverges."""
_PAIRED_RATES = ((0.3, 0.1), (0.3, 0.01), (1.0, 0.1), (1.0, 0.01))
"""As many pairs: a factor on the prompt's rate, and the rate of A and B as a share of it."""
_DECODER = "smollm2-135m"
_FIVE_SEEDS = tuple(ArmSetting(seed_offset=offset) for offset in (0, 5, 10, 15, 20))
"""Five runs for each reported seed; the groups of the seeds 1 to 5 have no run in common."""
_SIX_SOURCES = ArmSetting(sources=("yahoo", "stackoverflow", "mcid", "tweets", "sms", "clinc"), own_sources=True)
_TIME_NOTE = (
    "Steps on the same batches in one process, in turn; the median of thirty, as a share of the same median of prompt "
    "tuning with 100 tokens. {}"
)
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
        "sooner", "Short prompts converge sooner than long ones.", *_LESTER,
        tuple(_make_arm(f"m={m}", "prompt-tuning", m=m) for m in (5, 50)),
        (Comparison("m=5", "m=50", "converged", lower=True),),
        note="Evaluated every 25 steps, which is the resolution.",
    ),
    ReplicationStudy(
        "residual-steady", "The residual reparameterisation makes prompt tuning less sensitive to learning rate and "
        "initialisation.",
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
        "Liu et al., ACL 2022 (P-Tuning v2)", "https://aclanthology.org/2022.acl-short.8",
        (_make_arm("P-Tuning v2", "p-tuning-v2", m=20), _make_arm("prompt tuning", "prompt-tuning", m=20)),
        (Comparison("P-Tuning v2", "prompt tuning"),),
    ),
    ReplicationStudy(
        "pruning", "Pruning the least important tokens and pieces of a trained prompt, rewinding and training again "
        "beats the whole prompt; survivors chosen at random do worse, and those of the lowest scores worst.",
        "Ma et al., EMNLP 2022 (XPrompt)", "https://aclanthology.org/2022.emnlp-main.758",
        (
            _make_arm("important", "xprompt"), _make_arm("random", "xprompt", keep="random"),
            _make_arm("unimportant", "xprompt", keep="unimportant"), _make_arm("whole prompt", "prompt-tuning", m=20),
        ),
        (
            Comparison("important", "whole prompt"), Comparison("important", "random"),
            Comparison("random", "unimportant"),
        ),
        note="All arms make 200 updates; XPrompt divides them between its three stages, where the paper trains each in "
        "full.",
    ),
    ReplicationStudy(
        "pieces", "Pruning tokens and pieces beats pruning either alone.",
        "Ma et al., EMNLP 2022 (XPrompt)", "https://aclanthology.org/2022.emnlp-main.758",
        (
            _make_arm("tokens and pieces", "xprompt"), _make_arm("tokens only", "xprompt", pieces_pruned=0.0),
            _make_arm("pieces only", "xprompt", tokens_pruned=0.0),
        ),
        (Comparison("tokens and pieces", "tokens only"), Comparison("tokens and pieces", "pieces only")),
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
        (
            Arm("two rates", "dept", tuple(ArmSetting({"ratio": r}, lr_factor=f) for f, r in _PAIRED_RATES)),
            Arm("one rate", "dept", tuple(ArmSetting({"ratio": 1.0}, lr_factor=f) for f in _SINGLE_RATES)),
        ),
        (Comparison("two rates", "one rate", across="best"),),
        note="The best of four pairs of rates against the best of four single rates, each chosen by validation.",
    ),
    ReplicationStudy(
        "rank", "A prompt loses rank while it is trained.",
        "Xiao et al., Findings of EMNLP 2023 (DPT)", "https://aclanthology.org/2023.findings-emnlp.890",
        (
            Arm("trained", "prompt-tuning", (ArmSetting({"m": 50}),), "rank_end"),
            Arm("at the start", "prompt-tuning", (ArmSetting({"m": 50}),), "rank_start"),
        ),
        (Comparison("trained", "at the start", "rank", lower=True),),
        note="Effective rank: the exponential of the entropy of the normalised squared singular values, not centred.",
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
        "Su et al., NAACL 2022", "https://aclanthology.org/2022.naacl-main.290",
        (
            Arm("from clinc", "spot-single", (ArmSetting(sources=("clinc",), own_sources=True),)),
            Arm("from sms", "spot-single", (ArmSetting(sources=("sms",), own_sources=True),)),
        ),
        (Comparison("from clinc", "from sms", "start"),), task="banking",
        note="Validation accuracy before the first update: banking intents after other intents, or after spam. Each "
        "seed has source prompts of its own.",
    ),
    ReplicationStudy(
        "top-k", "The best of three retrieved source prompts performs at least as well as the most similar one alone.",
        "Vu et al., ACL 2022 (SPoT)", "https://aclanthology.org/2022.acl-long.346",
        (_make_arm("best of three", "spot-single", k=3), _make_arm("most similar", "spot-single", k=1)),
        (Comparison("best of three", "most similar", margin=_ONE_POINT),),
        note="The candidates share the run's 200 updates, where the paper tunes each in full. At least as well: not "
        "worse by a point of accuracy.",
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
    ReplicationStudy(
        "infix", "Trained vectors before the text perform better than the same between text and answer, and keys and "
        "values at every layer better than both.",
        "Li and Liang, ACL 2021", "https://aclanthology.org/2021.acl-long.353",
        (
            _make_arm("keys and values", "prefix-tuning", m=10), _make_arm("prefix", "prompt-tuning", m=10),
            Arm("infix", "prompt-tuning", (ArmSetting({"m": 10}, place="infix"),)),
        ),
        (Comparison("prefix", "infix"), Comparison("keys and values", "prefix"),
        Comparison("keys and values", "infix")),
        backbone=_DECODER, steps=100,
        note="On a decoder, where an infix sees the text and a prefix does not. The paper's prefix and infix have "
        "trained activations at every layer; both of ours train vectors at the input only, as its embedding-only "
        "prompt does.",
    ),
    ReplicationStudy(
        "ensemble", "The vote of five prompts beats the mean of the five.", *_LESTER,
        (
            Arm("vote of five", "prompt-tuning", _FIVE_SEEDS, "vote"),
            Arm("one prompt", "prompt-tuning", _FIVE_SEEDS),
        ),
        (Comparison("vote of five", "one prompt"),),
        note="Each seed stands for five runs of different seeds, 25 runs in all; a tie goes to the class of the larger "
        "mean probability, which the paper does not say. The paper's vote also beats the best of the five.",
    ),
    ReplicationStudy(
        "dept-time", "DePT's step takes less time than prompt tuning's with as many parameters.",
        "Shi and Lipani, ICLR 2024 (DePT)", "https://arxiv.org/abs/2309.05173",
        (
            Arm("DePT, m=60", "dept", (ArmSetting({"m": 60, "r": 34}),)),
            Arm("prompt tuning, m=100", "prompt-tuning", (ArmSetting({"m": 100}),)),
        ),
        (Comparison("DePT, m=60", "prompt tuning, m=100", "step_time", lower=True),), steps=10,
        note=_TIME_NOTE.format("38,272 against 38,400 parameters; the paper saves more than a fifth on T5."),
    ),
    ReplicationStudy(
        "smop-time", "SMoP's short prompts take less time to train than one long prompt.",
        "Choi et al., EMNLP 2023 (SMoP)", "https://aclanthology.org/2023.emnlp-main.884",
        (
            Arm("SMoP, four of m=5", "smop", (ArmSetting({"m": 5, "k": 4}),)),
            Arm("prompt tuning, m=100", "prompt-tuning", (ArmSetting({"m": 100}),)),
        ),
        (Comparison("SMoP, four of m=5", "prompt tuning, m=100", "step_time", lower=True),), steps=10,
        note=_TIME_NOTE.format("The paper saves 14.6% on T5."),
    ),
    ReplicationStudy(
        "similarity", "Source prompts that are more similar to the target's transfer better to it without training.",
        "Su et al., NAACL 2022", "https://aclanthology.org/2022.naacl-main.290",
        (
            Arm("similarity of vectors", "spot-single", (_SIX_SOURCES,), "similarity"),
            Arm("no relation", "spot-single", (_SIX_SOURCES,), "none"),
        ),
        (Comparison("similarity of vectors", "no relation", "correlation"),),
        note="Spearman's correlation over six sources of a seed. The similarity is the mean cosine of the prompts' "
        "vectors; the measure that serves the paper best, the overlap of activated neurons, is on the page Transfer.",
    ),
    ReplicationStudy(
        "skip", "Without its skip connection the residual reparameterisation loses, and learns more slowly than prompt "
        "tuning.",
        "Razdaibiedina et al., Findings of ACL 2023", "https://aclanthology.org/2023.findings-acl.421",
        (
            _make_arm("residual", "residual", m=10), _make_arm("without skip", "residual", m=10, skip=False),
            _make_arm("prompt tuning", "prompt-tuning", m=10),
        ),
        (Comparison("residual", "without skip"),
        Comparison("prompt tuning", "without skip", "converged", lower=True)),
        note="Slower: more steps to 95% of its own best validation score, evaluated every 25 steps.",
    ),
    ReplicationStudy(
        "deep-layers", "With half of the layers prompted, the deep half performs better than the shallow one, and "
        "about as well as all.",
        "Liu et al., ACL 2022 (P-Tuning v2)", "https://aclanthology.org/2022.acl-short.8",
        (
            _make_arm("deep half", "p-tuning-v2", m=20, layers="3-5"),
            _make_arm("shallow half", "p-tuning-v2", m=20, layers="0-2"), _make_arm("all", "p-tuning-v2", m=20),
        ),
        (Comparison("deep half", "shallow half"), Comparison("deep half", "all", margin=_ONE_POINT)),
        note="Layers 0 to 2 and 3 to 5 of six. About as well: not worse by a point of accuracy.",
    ),
    ReplicationStudy(
        "real-words", "With few examples, keys and values of real words are a better start than random ones.",
        "Li and Liang, ACL 2021", "https://aclanthology.org/2021.acl-long.353",
        (
            _make_arm("real words", "prefix-tuning", m=10, init="vocabulary"),
            _make_arm("random", "prefix-tuning", m=10),
        ),
        (Comparison("real words", "random"),), shots=16,
        note="Sixteen examples a class. The MLP's last layer is solved for the words' keys and values, where the paper "
        "fits the MLP to them by gradient descent.",
    ),
)  # fmt: skip
