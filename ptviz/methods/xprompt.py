r"""XPrompt: train a prompt, prune the tokens and then the pieces of tokens that matter least, rewind and retrain.

.. math:: \hat{P} = \mathrm{diag}(\gamma)\,(\zeta \odot P), \qquad
          I_{p_i} = \mathbb{E}_x \left| \frac{\partial L(x)}{\partial \gamma_i} \right|, \qquad
          I_{q_{i,e}} = \mathbb{E}_x \left| \frac{\partial L(x)}{\partial \zeta_{i,e}} \right|

Ma, Zhang, Ren, Wang, Wang, Wu, Quan and Song, "XPrompt: Exploring the Extreme of Prompt Tuning", EMNLP 2022, section 3.
https://aclanthology.org/2022.emnlp-main.758

Three stages. After plain prompt tuning, tokens are scored at gamma = 1 and the least important ones masked; then the
same for pieces, each token being cut into e contiguous pieces of equal size. Survivors are reset to their values at
the end of the first stage, not to the initial ones, and are trained again; masked elements are 0 and stay 0.

There is no public code and only summaries were available. Our choices: the absolute value is taken per batch, then
averaged; pieces compete across all surviving tokens; the prompt is also retrained after pruning tokens, so that pieces
are scored at a converged prompt. The paper does not say whether a pruned token is a vector of 0 or removed: ``pruned``
selects one. The paper retrains for each ratio of 10% to 90% and uses the best on the development set: ``search``
tries the ratios on the validation examples before retraining, once per level, and uses the best (of equals the one that
prunes most). ``keep`` gives the paper's controls: the reversed prompt of the least important parts, and a random one.
The default shares leave 37.5% of the scalars, the closest that 20 tokens allow to the paper's 37.18%.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ptviz.methods.base import MethodTensor, PromptMethod, Stage, StageContext, task_objective
from ptviz.methods.card import MethodCard, ReportedResult
from ptviz.methods.diagram import MaskedTensor, MethodDiagram
from ptviz.methods.equation_symbols import EquationSymbol
from ptviz.methods.hyperparameters import Hyperparameter, Init, Length, Text
from ptviz.methods.initializers import init_prompt, prompt_embeddings_of
from ptviz.methods.static_prompt import StaticPrompt
from ptviz.prompt import Batch, Prompt, Spec

PRUNING_RATIOS = tuple(tenth / 10 for tenth in range(1, 10))
"""Pruned shares that the search tries, as in the paper."""

Pieces = Annotated[int, Hyperparameter("e", "pieces that each token is cut into", 1, 32)]
TokensPruned = Annotated[float, Hyperparameter("1 - |gamma|/m", "share of the prompt tokens pruned", 0.0, 0.95)]
PiecesPruned = Annotated[
    float, Hyperparameter("1 - |zeta|/me", "share of the surviving tokens' pieces pruned", 0.0, 0.95)
]
Pruned = Annotated[
    Literal["zero", "drop"],
    Hyperparameter("pruned", "a pruned token becomes a vector of 0, or is masked"),
]
Keep = Annotated[
    Literal["important", "random", "unimportant"],
    Hyperparameter("keep", "which tokens and pieces survive; the last two are the paper's controls"),
]
Search = Annotated[bool, Hyperparameter("search", "choose both shares by validation score, then loss, from 10% to 90%")]


def count_survivors(candidates: int, share: float) -> int:
    """Return how many of ``candidates`` are left when this share is pruned; at least one."""
    return max(1, round((1 - share) * candidates))


class XPrompt(PromptMethod):
    """``P`` (m, d) under a mask of tokens ``gamma`` (m) and a mask of pieces ``zeta`` (m, e)."""

    card = MethodCard(
        name="xprompt",
        title="XPrompt",
        citation="Ma et al., EMNLP 2022",
        url="https://aclanthology.org/2022.emnlp-main.758",
        branch=("direct", "general", "token embeddings"),
        equation=r"\hat{P} = \mathrm{diag}(\gamma) (\zeta \odot P), \quad"
        r" I_{p_i} = \mathbb{E}_x |\partial L / \partial \gamma_i|, \quad"
        r" I_{q_{i,e}} = \mathbb{E}_x |\partial L / \partial \zeta_{i,e}|",
        idea="Some trained prompt tokens do harm: prune the tokens, then the pieces of tokens, that matter least, and"
        " train what is left again.",
        differs="No public code: scores per batch, one ranking of all pieces, and retraining after each level are our"
        " reading; shares are searched without retraining for each. The three stages share the run's steps, 30, 20 and"
        " 50%, where the paper trains each in full.",
        lesson="Not all of a trained prompt is useful: some tokens hardly matter, and some do harm. XPrompt trains a"
        " plain prompt first and measures how much the loss would change if a token were removed. The tokens"
        " that matter least are dropped, and then pieces of the remaining ones. What survives is reset to its"
        " values from the end of the first training and is trained again.",
        suggested_experiment="set keep to unimportant, the paper's control: are the scores meaningful?",
        reported_results=(
            ReportedResult(
                "Average gain over prompt tuning on seven SuperGLUE tasks: 3.26 points with T5 Large, 2.96 with"
                " XL, 1.88 with XXL.",
                read="summary",
            ),
            ReportedResult(
                "Few tokens carry most of the prompt: on WSC, a sub-prompt of 15% of the parameters beat the whole"
                " one by 4.8 points.",
                read="summary",
            ),
            ReportedResult(
                "Keeping the tokens of low scores instead is worst, random ones lie in between; pruning tokens and"
                " pieces beats either alone.",
                read="summary",
            ),
        ),
        symbols=(
            EquationSymbol("P", "the prompt: m trained vectors"),
            EquationSymbol(r"\hat{P}", "what is left of the prompt after pruning"),
            EquationSymbol(r"\gamma", "the mask of tokens: 0 where a token is pruned, else 1"),
            EquationSymbol(r"\gamma_i", "the mask of token i"),
            EquationSymbol(r"\zeta", "the mask of pieces: 0 where a stretch of a token's vector is pruned, else 1"),
            EquationSymbol(r"\zeta_{i,e}", "the mask of piece e of token i"),
            EquationSymbol("I_{p_i}", "importance of token i: how much the loss depends on its mask", "I_p"),
            EquationSymbol("I_{q_{i,e}}", "importance of piece e of token i", "I_q"),
        ),
    )

    def __init__(
        self,
        spec: Spec,
        m: Length = 20,
        pieces: Pieces = 16,
        tokens_pruned: TokensPruned = 0.5,
        pieces_pruned: PiecesPruned = 0.25,
        pruned: Pruned = "zero",
        keep: Keep = "important",
        search: Search = False,
        init: Init = "vocabulary",
        text: Text = "",
    ) -> None:
        super().__init__()
        self.slots = m
        e = min(pieces, spec.width)
        self.P = nn.Parameter(init_prompt(spec, m, init, text))
        self.P_1 = nn.Buffer(torch.zeros(m, spec.width))
        self.gamma, self.zeta = nn.Buffer(torch.ones(m)), nn.Buffer(torch.ones(m, e))
        self.token_scores, self.piece_scores = nn.Buffer(torch.zeros(m)), nn.Buffer(torch.zeros(m, e))
        self.pruned_shares = (tokens_pruned, pieces_pruned)
        self.pruned = pruned
        self.keep = keep
        self.search = search

    def mask(self) -> Float[Tensor, "m d"]:
        """Return M, the product of gamma and zeta for every element of P."""
        width, pieces = self.P.shape[1], self.zeta.shape[1]
        piece = torch.arange(width, device=self.zeta.device) * pieces // width
        return self.gamma[:, None] * self.zeta[:, piece]

    def surviving_tokens(self) -> Bool[Tensor, " m"]:
        """Return which tokens have a piece left."""
        return (self.gamma > 0) & (self.zeta > 0).any(1)

    def init_from_prompt(self, first: Prompt) -> None:
        """Set P to a trained prompt, with nothing pruned yet."""
        with torch.no_grad():
            self.P.copy_(prompt_embeddings_of(first, *self.P.shape))

    def forward(self, batch: Batch) -> Prompt:
        """Return the masked prompt for every row, batch axis 1."""
        keep = self.surviving_tokens() if self.pruned == "drop" else None
        return Prompt(embeddings=(self.mask() * self.P)[None], keep=keep)

    def stages(self) -> tuple[Stage, ...]:
        """Return prompt tuning, and a rewound retraining after each level of pruning."""
        loss = task_objective(self)
        return (
            Stage("prompt tuning", loss, step_fraction=0.3),
            Stage("prune tokens, rewind and retrain", loss, on_start=self.prune_tokens, step_fraction=0.2),
            Stage("prune pieces, rewind and retrain", loss, on_start=self.prune_pieces, step_fraction=0.5),
        )

    @torch.no_grad()
    def prune_tokens(self, context: StageContext) -> None:
        """Store the trained prompt, mask the tokens of the lowest scores, and rewind."""
        self.P_1.copy_(self.P)
        self.token_scores.copy_(measure_mask_importance(self.gamma, context))
        self.prune(self.gamma, self.token_scores, self.pruned_shares[0], context)

    @torch.no_grad()
    def prune_pieces(self, context: StageContext) -> None:
        """Mask the pieces of the lowest scores among the surviving tokens, and rewind."""
        self.piece_scores.copy_(measure_mask_importance(self.zeta, context))
        self.zeta.mul_(self.gamma[:, None])
        self.prune(self.zeta, self.piece_scores, self.pruned_shares[1], context)

    def prune(self, mask: Tensor, importance: Tensor, share: float, context: StageContext) -> None:
        """Keep the most important of the unmasked parts, and set P to its rewound, masked values."""
        candidates = mask > 0
        orders = {"important": importance, "random": torch.rand_like(importance), "unimportant": -importance}
        ranking = orders[self.keep].masked_fill(~candidates, -torch.inf).flatten().argsort(descending=True)

        def set_mask(share: float) -> None:
            best = ranking[: count_survivors(int(candidates.sum()), share)]
            mask.zero_().view(-1)[best] = 1.0

        def validate(share: float) -> tuple[float, float]:
            set_mask(share)
            score, loss = context.validation_score()
            return score, -loss  # Text-to-text tasks have no score here.

        set_mask(max(reversed(PRUNING_RATIOS), key=validate) if self.search else share)
        self.P.copy_(self.mask() * self.P_1)

    def merge(self) -> StaticPrompt:
        """Return the masked prompt, without the scores and the stored values."""
        keep = self.surviving_tokens() if self.pruned == "drop" else None
        return StaticPrompt(self.card, self.slots, embeddings=(self.mask() * self.P)[None], keep=keep)

    def stored_parameters(self) -> int:
        """Return the unmasked elements ||M||_0; before pruning, those that will be left (m d with a search)."""
        mask = self.mask()
        if not mask.is_meta and not bool(mask.all()):
            return int(mask.sum())
        if self.search:
            return mask.numel()
        pieces = self.zeta.shape[1]
        left = count_survivors(count_survivors(self.slots, self.pruned_shares[0]) * pieces, self.pruned_shares[1])
        return round(left * mask.shape[1] / pieces)

    def diagram(self) -> MethodDiagram:
        """Return P with its two masks."""
        note = "trained, pruned by importance, rewound, trained again"
        return MethodDiagram(MaskedTensor("P", ("gamma", "zeta")), note=note)

    def tensors(self) -> dict[str, MethodTensor]:
        """Return P (m, d), its values after prompt tuning, the masks gamma (m), zeta (m, e), and both scores."""
        return {
            "P": MethodTensor(self.P, ("m", "d")),
            "P_1": MethodTensor(self.P_1, ("m", "d")),
            "gamma": MethodTensor(self.gamma, ("m",)),
            "zeta": MethodTensor(self.zeta, ("m", "e")),
            "I_p": MethodTensor(self.token_scores, ("m",)),
            "I_q": MethodTensor(self.piece_scores, ("m", "e")),
        }


def measure_mask_importance(mask: Tensor, context: StageContext) -> Tensor:
    """Return E |dL/dmask| over batches, at the mask's current values."""
    with torch.enable_grad():
        mask.requires_grad_(True)
        (importance,) = context.mean_gradients([mask])
        mask.requires_grad_(False)
    return importance
