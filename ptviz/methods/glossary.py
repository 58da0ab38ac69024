"""What the symbols of an equation mean, for people who read it for the first time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A symbol as the equation writes it, and what it is.

    ``part`` names the method's part whose shape belongs to it; left out, the part of the same name, if there is one.
    """

    latex: str
    words: str
    part: str = ""


COMMON = (
    Term("X", "the text: the embeddings of its own tokens, T by d, from the frozen backbone"),
    Term("x", "one text"),
    Term(r"\bar{x}", "the mean of the text's embeddings: d numbers"),
    Term("Y", "the answer"),
    Term(r"\theta", "the backbone's numbers: frozen"),
    Term("L", "the loss: how far the answer is from the right one"),
    Term("d", "embedding width of the backbone"),
    Term("m", "prompt tokens"),
    Term("r", "rank: the inner width of a product of two factors"),
    Term("k", "how many experts, or source tasks"),
    Term(r"\mathbb{R}", "the real numbers; what stands above it is a shape, rows by columns"),
    Term(r"\mathbb{E}", "the mean over what stands below it"),
    Term(r"\Pr", "the probability that the backbone gives to an answer"),
    Term(r"\mathrm{Attn}", "attention: queries look keys up and take a mix of the values"),
    Term("Q", "queries of the text's tokens: frozen projections of them"),
    Term("K", "keys of the text's tokens: frozen projections of them"),
    Term("V", "values of the text's tokens: frozen projections of them"),
    Term(r"\mathrm{MLP}", "a small trained network of linear layers"),
    Term(r"\mathrm{LSTM}", "a small trained network that reads a row of vectors one after another"),
    Term(r"\mathrm{softmax}", "turns scores into shares that sum to 1"),
    Term(r"\arg\max", "the one that is largest"),
    Term(r"\mathrm{ReLU}", "keeps what is above zero"),
    Term(r"\mathrm{SiLU}", "keeps what is well above zero, smoothly"),
    Term(r"\mathrm{sim}", "how similar two prompts are: a cosine"),
    Term(r"\top", "rows and columns exchanged"),
    Term(r"\mathrm{diag}", "a matrix with these numbers on its diagonal: each scales one row"),
    Term(r"\mathbb{1}", "1 where it is so, else 0"),
)
"""Symbols that mean the same in every equation, unless a method says otherwise."""
