"""Two tasks about single words: misspelt words and their correction, words and their inflected forms."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path

from ptviz.tasks.builtin.packages import DataPackage
from ptviz.tasks.builtin.records import RecordTask
from ptviz.tasks.example import Example

CODESPELL = DataPackage("codespell==2.4.3", "codespell_lib")
LEMMINFLECT = DataPackage("lemminflect==0.2.3", "lemminflect")
INFLECTIONS = {
    "verb": ("past tense", "past participle", "present participle", "third person singular"),
    "noun": ("plural",),
    "adj": ("comparative", "superlative"),
    "adv": ("comparative", "superlative"),
}
"""Names of the columns after lemma and part of speech in lemminflect's table."""


def correct_word(row: Example) -> str:
    """Return the target of a row in lower case: misspellings of a word are a group."""
    return row.targets[0].lower()


def last_word(row: Example) -> str:
    """Return the last word of a row's input: forms of a lemma are a group."""
    return row.text.rpartition(" ")[2]


def read_misspellings(folder: Path) -> Iterator[Example]:
    """Yield misspellings of codespell's dictionary with their correction; those with several are left out."""
    path = folder / "data" / "dictionary.txt"
    for line in path.read_text(encoding="utf-8").splitlines():
        misspelling, arrow, correction = line.partition("->")
        if not (arrow and misspelling and correction):
            raise ValueError(
                f"{path} should hold lines of a misspelling, an arrow -> and corrections; got {line[:40]!r}"
            )
        if "," not in correction:
            yield Example(misspelling.strip(), targets=(correction.strip(),))


def read_inflections(folder: Path) -> Iterator[Example]:
    """Yield "past tense of write" and the like with the inflected forms, from lemminflect's table.

    Names, and nouns whose plural is the word itself (mostly uncountable) are left out: copying would be right.
    """
    path = folder / "resources" / "infl_lu.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        for lemma, part_of_speech, *columns in csv.reader(lines):
            names = INFLECTIONS[part_of_speech]
            forms = dict(zip(names, (tuple(filter(None, column.split("/"))) for column in columns), strict=True))
            if lemma != lemma.lower() or " " in lemma:
                continue
            if part_of_speech == "verb":
                # A participle that is empty in the table is the past tense.
                forms["past participle"] = forms["past participle"] or forms["past tense"]
            elif part_of_speech == "noun":
                forms["plural"] = tuple(form for form in forms["plural"] if form != lemma)
            yield from (Example(f"{form} of {lemma}", targets=found) for form, found in forms.items() if found)


WORD_TASKS: dict[str, RecordTask] = {
    "spelling": RecordTask(
        "Spelling correction", "words", "Correct spelling:", CODESPELL, "data/dictionary.txt", read_misspellings,
        rows=58916, group=correct_word, template="{prompt}\nMisspelled word: {text}",
        licence_note="the dictionary is under the Creative Commons licence CC BY-SA 3.0, the code under the GPL 2.0",
        notes=("misspellings with one correction; all of a word are in the same split",),
    ),
    "inflection": RecordTask(
        "Inflected forms of words", "words", "is", LEMMINFLECT, "resources/infl_lu.csv.gz", read_inflections,
        rows=43918, group=last_word, template="{prompt}\nThe {text} {cue}", licence_note="MIT licence",
        notes=("all forms of a word are in the same split; names and uncountable nouns were left out",),
    ),
}  # fmt: skip
