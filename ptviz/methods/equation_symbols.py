"""The meaning of the symbols in equations, for beginners."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EquationSymbol:
    """A symbol as written in the equation, and its meaning.

    ``tensor`` names the method's tensor whose shape belongs to it; by default the one of the same name, if any.
    """

    latex: str
    meaning: str
    tensor: str = ""


COMMON_DIFFERENCES = (
    "The same for all methods: on tasks with classes the loss is the cross-entropy over the task's label words, where"
    " most papers take it over the whole vocabulary. On text-to-text tasks it is the papers' own: the mean negative"
    " log-likelihood of the target's tokens. Dropout inside the frozen backbone is off unless a run turns it on; the"
    " code of SMoP, DPT, DePT, ATTEMPT, P-Tuning v2 and residual prompt tuning trains with it. Methods with gradients"
    " are trained by AdamW for a few hundred steps, at rates chosen for the backbone, with a warm-up of 6%, a linear"
    " decay and gradients clipped at norm 1; prompt tuning, XPrompt, SPoT and SMoP used Adafactor at 0.3 to 0.5, and"
    " many papers tens of thousands of steps."
)
"""What differs from the papers in every method."""

COMMON_SYMBOLS = (
    EquationSymbol("X", "the text: the embeddings of its own tokens, T by d, from the frozen backbone"),
    EquationSymbol("x", "one text"),
    EquationSymbol(r"\bar{x}", "the mean of the text's embeddings: d numbers"),
    EquationSymbol("Y", "the answer"),
    EquationSymbol(r"\theta", "the backbone's parameters: frozen"),
    EquationSymbol("L", "the loss: how far the answer is from the right one"),
    EquationSymbol("d", "embedding width of the backbone"),
    EquationSymbol("m", "prompt tokens"),
    EquationSymbol("r", "rank: the inner width of a product of two factors"),
    EquationSymbol("k", "number of experts, or of source tasks"),
    EquationSymbol(r"\mathbb{R}", "the real numbers; the superscript is a shape, rows by columns"),
    EquationSymbol(r"\mathbb{E}", "the mean over the subscript"),
    EquationSymbol(r"\Pr", "the backbone's probability of an answer"),
    EquationSymbol(r"\mathrm{Attn}", "attention: queries look keys up and take a mix of the values"),
    EquationSymbol("Q", "queries of the text's tokens: frozen projections of them"),
    EquationSymbol("K", "keys of the text's tokens: frozen projections of them"),
    EquationSymbol("V", "values of the text's tokens: frozen projections of them"),
    EquationSymbol(r"\mathrm{MLP}", "a small trained network of linear layers"),
    EquationSymbol(r"\mathrm{LSTM}", "a small trained network that reads a row of vectors one after another"),
    EquationSymbol(r"\mathrm{softmax}", "turns scores into shares that sum to 1"),
    EquationSymbol(r"\arg\max", "the one that is largest"),
    EquationSymbol(r"\mathrm{ReLU}", "keeps what is above zero"),
    EquationSymbol(r"\mathrm{SiLU}", "keeps what is well above zero, smoothly"),
    EquationSymbol(r"\mathrm{sim}", "how similar two prompts are: a cosine"),
    EquationSymbol(r"\top", "rows and columns exchanged"),
    EquationSymbol(r"\mathrm{diag}", "a matrix with these numbers on its diagonal: each scales one row"),
    EquationSymbol(r"\mathbb{1}", "1 where it is so, else 0"),
)
"""Symbols with the same meaning in every equation, unless a method defines its own."""
