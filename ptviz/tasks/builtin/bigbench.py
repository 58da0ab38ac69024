"""Tasks of BIG-bench, from its package: texts written from facts, attributes, triples and words, and checked claims.

Source: Srivastava et al., "Beyond the Imitation Game", TMLR 2023, https://arxiv.org/abs/2206.04615
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ptviz.tasks.builtin.fetched import FetchedPackage
from ptviz.tasks.builtin.labels import ClassLabel
from ptviz.tasks.builtin.records import RecordTask, first_text
from ptviz.tasks.example import Example

QASC_ANSWER = "natural_instructions/subtask041_qasc_answer_generation/task.json"
QASC_QUESTION = "natural_instructions/subtask040_qasc_question_generation/task.json"
E2E = "gem/e2e_nlg/task.json"
WEBNLG = "gem/webnlg_en/task.json"
COMMON_GEN = "gem/common_gen/task.json"
QUESTION_FORMATION = "linguistic_mappings/question_formation_json/task.json"
VITAMINC = "vitaminc_fact_verification/task.json"

BIGBENCH = FetchedPackage(
    requirement="bigbench==1.0.0",
    name="bigbench-data",
    archive="bigbench-1.0.0.tar.gz",
    megabytes=358,
    sha256="1bb398a5512c6d798cdebe0dfa0ac03f67f6033fa6b39c6ef71df978c7cbc5c2",
    prefix="bigbench-1.0.0/bigbench/benchmark_tasks/",
    files={
        QASC_ANSWER: "98a3507c913b45325e41111f5a1b194d934712eb1e563881b0a8f0ba55e25485",
        QASC_QUESTION: "c6f9d00ac0d36d17e2f4e0983c4fc46591b23c12b2b50d3902cbe9aaacc53c00",
        E2E: "9e80fbbf1bca5d4c8cdc6d264c0137efda5bcd2ecb2f5a47ea6552cc93531329",
        WEBNLG: "45a453cf7c113d1bc575aa941c27269e59e444085764322c9ffd4b93f5a878ef",
        COMMON_GEN: "af19ab1771132f729188a4dd197297bccbd907f7d5a5093bf5f8e713929c5ca3",
        QUESTION_FORMATION: "b301331de6a8d50653081ca631a153a0387a2da2f6a3019655bdff70e8df1729",
        VITAMINC: "10f83da50374701fc7ce69162a7a167b14e1a86351201aa8bf14b56fa0a3214f",
    },
    terms=(
        "BIG-bench: the code is under the Apache License 2.0; each data set has terms of its own (QASC CC BY, E2E and "
        "VitaminC CC BY-SA, WebNLG CC BY-NC-SA, as far as we know; the package does not state them).",
        "Its authors ask that no benchmark data ever appears in a training corpus. A prompt that you train on it for "
        "yourself is no corpus, but do not publish these texts, or a model trained on them without saying so.",
    ),
)
VITAMINC_ANSWERS = ("True", "False", "Neither")


def _read_rows(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    yield from content["examples"]


def _targets(row: dict[str, Any]) -> tuple[str, ...]:
    target = row["target"]
    return (target,) if isinstance(target, str) else tuple(dict.fromkeys(target))


def read_texts(name: str, clean: Callable[[str], str], folder: Path) -> Iterator[Example]:
    """Yield a set whose input is one text; ``clean`` puts an input right."""
    for row in _read_rows(folder, name):
        yield Example(clean(row["input"]), targets=_targets(row))


def read_qasc_answers(folder: Path) -> Iterator[Example]:
    """Yield (fact, question) -> answer, without the full stop that was put after every answer."""
    for row in _read_rows(folder, QASC_ANSWER):
        fact, question = _split_parts(row["input"], "Question")
        targets = dict.fromkeys(target.removesuffix(".").strip() for target in _targets(row))
        yield Example.of_fields(fact.removeprefix("Fact: "), question, targets=tuple(targets))


def read_qasc_questions(folder: Path) -> Iterator[Example]:
    """Yield fact -> question; a colon or a full stop before the question mark is taken away."""
    for row in _read_rows(folder, QASC_QUESTION):
        targets = dict.fromkeys(re.sub(r"[\s.:,]+\?$", "?", target) for target in _targets(row))
        yield Example(row["input"].removeprefix("Fact: ").strip(), targets=tuple(targets))


def read_vitaminc(folder: Path) -> Iterator[Example]:
    """Yield (evidence, claim) with the class: true, false or neither; the evidence begins with its page's title."""
    for row in _read_rows(folder, VITAMINC):
        evidence, claim = _split_parts(row["input"], "Claim")
        scores = [row["target_scores"][answer] for answer in VITAMINC_ANSWERS]
        yield Example.of_fields(_clean_wikipedia(evidence), _clean_wikipedia(claim), label=scores.index(1))


def _split_parts(text: str, name: str) -> tuple[str, str]:
    first, mark, second = text.partition(f"\n{name}: ")
    if not mark:
        raise ValueError(f"expected an input with a line that begins with {name}:; got {text[:60]!r}")
    return first.strip(), second.strip()


def _clean_wikipedia(text: str) -> str:
    """Return a text with its own brackets and colons, and blanks for characters that were lost (no-break spaces)."""
    for written, own in {"-LRB-": "(", "-RRB-": ")", "-COLON-": ":", "\ufffd": " "}.items():
        text = text.replace(written, own)
    return " ".join(text.split())


def _page_title(row: Example) -> str:
    return row.texts[0].partition(": ")[0]


_SLICE_NOTE = "a slice of the set's validation and test rows, as the package holds it; split again"

BIGBENCH_TASKS: dict[str, RecordTask] = {
    "question-formation": RecordTask(
        "Statement to question", "questions", "Question:", BIGBENCH, QUESTION_FORMATION,
        partial(read_texts, QUESTION_FORMATION, str), rows=3040, template="{prompt}\nStatement: {text}",
        notes=("made from a grammar of about 120 words: easy, and no evidence about natural language",),
    ),
    "qasc-answer": RecordTask(
        "QASC: answer from a fact", "answers", "Short answer:", BIGBENCH, QASC_ANSWER, read_qasc_answers, rows=6500,
        group=first_text, fields=("fact", "question"), template="{prompt}\nFact: {fact}\nQuestion: {question}",
        notes=("split by fact; the full stop after every answer was taken away",),
    ),
    "qasc-question": RecordTask(
        "QASC: question from a fact", "questions", "Question:", BIGBENCH, QASC_QUESTION, read_qasc_questions, rows=6499,
        metric="rouge-l", template="{prompt}\nFact: {text}", notes=("split by fact",),
    ),
    "e2e": RecordTask(
        "E2E: describe a restaurant", "descriptions", "Description:", BIGBENCH, E2E, partial(read_texts, E2E, str),
        rows=213, metric="rouge-l", notes=(_SLICE_NOTE, "equal inputs are one example with all their references"),
    ),
    "webnlg": RecordTask(
        "WebNLG: describe triples", "descriptions", "Description:", BIGBENCH, WEBNLG,
        partial(read_texts, WEBNLG, lambda text: text.replace("_", " ")),
        rows=1001, metric="rouge-l", notes=(_SLICE_NOTE, "underscores in the triples are blanks"),
    ),
    "common-gen": RecordTask(
        "CommonGen: a sentence with these words", "descriptions", "Sentence:", BIGBENCH, COMMON_GEN,
        partial(read_texts, COMMON_GEN, str), rows=499, metric="rouge-l", notes=(_SLICE_NOTE,),
    ),
    "vitaminc": RecordTask(
        "VitaminC: is a claim true?", "inference", "True, false or neither?", BIGBENCH, VITAMINC, read_vitaminc,
        rows=54668, group=_page_title, kind="classification",
        labels=(
            ClassLabel("true", "true", "the text shows that the claim is true"),
            ClassLabel("false", "false", "the text shows that the claim is false"),
            ClassLabel("neither", "neither", "the text does not say whether the claim is true"),
        ),
        fields=("evidence", "claim"), template="{prompt}\n{evidence}\nClaim: {claim}", cut_first="evidence",
        notes=("split by Wikipedia page: contrasting texts about the same claim are in the same split",),
    ),
}  # fmt: skip
