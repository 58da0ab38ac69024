r"""XPrompt: train a prompt, prune the tokens and then the pieces of tokens that matter least, rewind and retrain.

.. math:: \hat{P} = \mathrm{diag}(\gamma)\,(\zeta \odot P), \qquad
          I_{p_i} = \mathbb{E}_x \left| \frac{\partial L(x)}{\partial \gamma_i} \right|, \qquad
          I_{q_{i,e}} = \mathbb{E}_x \left| \frac{\partial L(x)}{\partial \zeta_{i,e}} \right|

Ma, Zhang, Ren, Wang, Wang, Wu, Quan and Song, "XPrompt: Exploring the Extreme of Prompt Tuning", EMNLP 2022, section 3.
https://aclanthology.org/2022.emnlp-main.758

Three stages. After plain prompt tuning, tokens are scored at gamma = 1 and the least important ones masked; then the
same for pieces, each token being cut into e contiguous pieces of equal size. Survivors go back to their values at the
end of the first stage, not to the first start, and are trained again; masked cells are 0 and stay 0.

There is no public code and the text could be read in digests alone. So these are ours: the absolute value is taken per
batch, then averaged; pieces compete across all surviving tokens; the prompt is retrained after the tokens too, so that
pieces are scored at a converged prompt. Whether a pruned token is a vector of 0 or gone is not said: ``pruned``
chooses. The paper retrains for each ratio of 10 % to 90 % and keeps the best on the development set: ``search`` tries
the ratios on the validation rows before retraining, once a level, and keeps the best (of equals the one that prunes
most). ``keep`` makes the paper's controls: the reversed prompt of the least important, and a random one.
The usual shares leave 37.5 % of the scalars, as near as 20 tokens come to the 37.18 % that the paper reports.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ptviz.methods.base import Card, Claim, Part, Probe, PromptMethod, Stage, fit
from ptviz.methods.diagram import Anatomy, Masked
from ptviz.methods.glossary import Term
from ptviz.methods.hyperparameters import Init, Knob, Length, Text
from ptviz.methods.initializers import given, start
from ptviz.methods.static_prompt import Folded
from ptviz.prompt import Batch, Prompt, Spec

RATIOS = tuple(tenth / 10 for tenth in range(1, 10))
"""Shares pruned that the search tries: the paper's grid."""

Pieces = Annotated[int, Knob("e", "pieces that each token is cut into", 1, 32)]
TokensPruned = Annotated[float, Knob("1 - |gamma|/m", "share of the prompt tokens pruned", 0.0, 0.95)]
PiecesPruned = Annotated[float, Knob("1 - |zeta|/me", "share of the surviving tokens' pieces pruned", 0.0, 0.95)]
Pruned = Annotated[
    Literal["zero", "drop"], Knob("pruned", "a pruned token stays as a vector of 0, or cannot be seen any more")
]
Keep = Annotated[
    Literal["important", "random", "unimportant"],
    Knob("keep", "which tokens and pieces survive; the last two are the paper's controls"),
]
Search = Annotated[bool, Knob("search", "choose both shares by validation accuracy, from 10 % to 90 %")]


def survivors(candidates: int, share: float) -> int:
    """How many of ``candidates`` are left when this share is pruned; at least one."""
    return max(1, round((1 - share) * candidates))


class XPrompt(PromptMethod):
    """``P`` (m, d) under a mask of tokens ``gamma`` (m) and a mask of pieces ``zeta`` (m, e)."""

    card = Card(
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
        " reading; shares are searched without retraining for each.",
        lesson="Not all of a trained prompt is useful: some tokens hardly matter, and some do harm. XPrompt trains a"
        " plain prompt first and asks how much the loss would feel it if a token were switched off. The tokens"
        " that matter least are dropped, and after them pieces of those that are left. What survives goes back"
        " to its values from the end of the first training and is trained once more, without the ballast.",
        tries="set keep to unimportant, the paper's control: it shows whether the scores mean anything.",
        claims=(
            Claim(
                "Average gain over prompt tuning on seven SuperGLUE tasks: 3.26 points with T5 Large, 2.96 with"
                " XL, 1.88 with XXL.",
                read="summary",
            ),
            Claim(
                "Few tokens carry most of the prompt: on WSC, a sub-prompt of 15 % of the numbers beat the whole"
                " one by 4.8 points.",
                read="summary",
            ),
            Claim(
                "Keeping the tokens of low scores instead is worst, random ones lie in between; pruning tokens and"
                " pieces beats either alone.",
                read="summary",
            ),
        ),
        terms=(
            Term("P", "the prompt: m trained vectors"),
            Term(r"\hat{P}", "what is left of the prompt after pruning"),
            Term(r"\gamma", "the mask of tokens: 0 where a token is pruned, else 1"),
            Term(r"\gamma_i", "the mask of token i"),
            Term(r"\zeta", "the mask of pieces: 0 where a stretch of a token's vector is pruned, else 1"),
            Term(r"\zeta_{i,e}", "the mask of piece e of token i"),
            Term("I_{p_i}", "importance of token i: how much the loss would feel its mask", "I_p"),
            Term("I_{q_{i,e}}", "importance of piece e of token i", "I_q"),
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
        self.P = nn.Parameter(start(spec, m, init, text))
        self.P_1 = nn.Buffer(torch.zeros(m, spec.width))
        self.gamma, self.zeta = nn.Buffer(torch.ones(m)), nn.Buffer(torch.ones(m, e))
        self.token_scores, self.piece_scores = nn.Buffer(torch.zeros(m)), nn.Buffer(torch.zeros(m, e))
        self.shares = (tokens_pruned, pieces_pruned)
        self.pruned = pruned
        self.keep = keep
        self.search = search

    def mask(self) -> Float[Tensor, "m d"]:
        """M, gamma times zeta for every cell of P."""
        width, pieces = self.P.shape[1], self.zeta.shape[1]
        piece = torch.arange(width, device=self.zeta.device) * pieces // width
        return self.gamma[:, None] * self.zeta[:, piece]

    def alive(self) -> Bool[Tensor, " m"]:
        """The tokens of which something is left."""
        return (self.gamma > 0) & (self.zeta > 0).any(1)

    def begin_with(self, first: Prompt) -> None:
        """P is the prompt that was trained before, with nothing pruned yet."""
        with torch.no_grad():
            self.P.copy_(given(first, *self.P.shape))

    def forward(self, batch: Batch) -> Prompt:
        """The masked prompt for every row, batch axis 1."""
        keep = self.alive() if self.pruned == "drop" else None
        return Prompt(embeddings=(self.mask() * self.P)[None], keep=keep)

    def stages(self) -> tuple[Stage, ...]:
        """Prompt tuning, and a rewound retraining after each level of pruning."""
        return (
            Stage("prompt tuning", fit(self), share=0.3),
            Stage("prune tokens, rewind and retrain", fit(self), enter=self.prune_tokens, share=0.2),
            Stage("prune pieces, rewind and retrain", fit(self), enter=self.prune_pieces, share=0.5),
        )

    @torch.no_grad()
    def prune_tokens(self, probe: Probe) -> None:
        """Remember the trained prompt, mask the tokens of the lowest scores, and rewind."""
        self.P_1.copy_(self.P)
        self.token_scores.copy_(scores(self.gamma, probe))
        self.prune(self.gamma, self.token_scores, self.shares[0], probe)

    @torch.no_grad()
    def prune_pieces(self, probe: Probe) -> None:
        """Mask the pieces of the lowest scores among the surviving tokens, and rewind."""
        self.piece_scores.copy_(scores(self.zeta, probe))
        self.zeta.mul_(self.gamma[:, None])
        self.prune(self.zeta, self.piece_scores, self.shares[1], probe)

    def prune(self, mask: Tensor, importance: Tensor, share: float, probe: Probe) -> None:
        """Keep the most important of what ``mask`` still shows, and set P to its rewound, masked values."""
        candidates = mask > 0
        orders = {"important": importance, "random": torch.rand_like(importance), "unimportant": -importance}
        ranking = orders[self.keep].masked_fill(~candidates, -torch.inf).flatten().argsort(descending=True)

        def show(share: float) -> None:
            best = ranking[: survivors(int(candidates.sum()), share)]
            mask.zero_().view(-1)[best] = 1.0

        def accuracy(share: float) -> float:
            show(share)
            return probe.score()[0]

        show(max(reversed(RATIOS), key=accuracy) if self.search else share)
        self.P.copy_(self.mask() * self.P_1)

    def fold(self) -> Folded:
        """The masked prompt, without the scores and the values to rewind to."""
        keep = self.alive() if self.pruned == "drop" else None
        return Folded(self.card, self.slots, embeddings=(self.mask() * self.P)[None], keep=keep)

    def stored(self) -> int:
        """The cells left, ||M||_0; before pruning, the cells that fixed shares will leave, or m d with a search."""
        mask = self.mask()
        if not mask.is_meta and not bool(mask.all()):
            return int(mask.sum())
        if self.search:
            return mask.numel()
        pieces = self.zeta.shape[1]
        left = survivors(survivors(self.slots, self.shares[0]) * pieces, self.shares[1])
        return round(left * mask.shape[1] / pieces)

    def anatomy(self) -> Anatomy:
        """P under its two masks."""
        return Anatomy(Masked("P", ("gamma", "zeta")), remark="trained, pruned by importance, rewound, trained again")

    def parts(self) -> dict[str, Part]:
        """P (m, d), its values at the end of prompt tuning, the masks gamma (m), zeta (m, e), and both scores."""
        return {
            "P": Part(self.P, ("m", "d")),
            "P_1": Part(self.P_1, ("m", "d")),
            "gamma": Part(self.gamma, ("m",)),
            "zeta": Part(self.zeta, ("m", "e")),
            "I_p": Part(self.token_scores, ("m",)),
            "I_q": Part(self.piece_scores, ("m", "e")),
        }


def scores(mask: Tensor, probe: Probe) -> Tensor:
    """E |dL/dmask| per batch at the mask's present values, all ones where something is left."""
    with torch.enable_grad():
        mask.requires_grad_(True)
        (importance,) = probe.gradients([mask])
        mask.requires_grad_(False)
    return importance
