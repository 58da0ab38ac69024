"""Label words and descriptions made from class names, for tasks that are not worded by hand."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

from ptviz.tasks.example import TaskError

STOP_WORDS = "a an and are at by can do does for from get how i in is it my of on or to the was what who you your"
_SYMBOL_WORDS = {
    "+": "plus", "-": "minus", "\u2212": "minus", "#": "sharp", "*": "star", "/": "slash", "&": "and", "%": "percent",
    "<": "less than", ">": "greater than", "=": "equals", "@": "at", "$": "dollar", "!": "exclamation mark",
}  # fmt: skip


def split_class_name(name: str) -> list[str]:
    """Return the lower-case words of a class name: ``cardLost`` and ``card_lost`` are both card, lost."""
    return re.findall(r"[^\W_]+", _split_camel_case(name).lower())


def _split_camel_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)


def readable_class_name(name: str) -> str:
    """Return a class name as people would write it: ``card_not_working`` as "card not working", "-1" as "minus 1"."""
    if number := re.fullmatch(r"\s*([+-]?)(\d+(?:\.\d+)?)\s*", name):
        return f"{'minus' if number[1] == '-' else 'class'} {number[2]}"
    return " ".join(split_class_name(name)) or spell_symbols(name)


def spell_symbols(name: str) -> str:
    """Return a class name with its symbols as words: ``C++`` as "c plus plus"."""
    plain = re.sub(r"(?<=\w)-(?=\w)", " ", _split_camel_case(name))
    spelt = "".join(char if char.isalnum() or char.isspace() else f" {_symbol_word(char)} " for char in plain)
    return " ".join(spelt.lower().split()) or name


def _symbol_word(char: str) -> str:
    if char == "_" or unicodedata.category(char) in ("Mn", "Cf", "Cc"):
        return ""
    return _SYMBOL_WORDS.get(char) or unicodedata.name(char, "").lower()


def normalised_name(text: str) -> str:
    """Return what is left of a text without case, accents and punctuation: what makes two class texts the same."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return " ".join(re.findall(r"[^\W_]+", "".join(char for char in plain if not unicodedata.combining(char))))


def word_classes(classes: Sequence[str], words: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return one label word and one description a class; ``words`` holds those that are given, for both.

    Raises:
        TaskError: naming two classes whose texts are the same, or a word that is given for no class.
    """
    if unknown := [name for name in words if name not in classes]:
        listed = ", ".join(map(repr, classes[:10]))
        raise TaskError(f"words: {unknown[0]!r} is no class; the classes are {listed}")
    texts = [words.get(name) or readable_class_name(name) for name in classes]
    counts = Counter(map(normalised_name, texts))
    texts = [
        spell_symbols(name) if name not in words and counts[normalised_name(text)] > 1 else text
        for name, text in zip(classes, texts, strict=True)
    ]
    check_different(classes, texts)
    chosen = assign_label_words([words.get(name) or text for name, text in zip(classes, texts, strict=True)])
    label_words = [words.get(name) or word for name, word in zip(classes, chosen, strict=True)]
    check_different(classes, label_words)
    return tuple(label_words), tuple(texts)


def check_different(classes: Sequence[str], texts: Sequence[str]) -> None:
    """Check that the texts of all classes differ in more than case, accents and punctuation.

    Raises:
        TaskError: naming two classes for which they do not.
    """
    holder: dict[str, str] = {}
    for name, text in zip(classes, texts, strict=True):
        key = normalised_name(text) or text
        if key in holder:
            raise same_text_error(holder[key], name, "read alike once case, accents and punctuation are left out")
        holder[key] = name


def same_text_error(first: str, second: str, problem: str) -> TaskError:
    """Return the error that names two classes and says how to make them distinct."""
    first, second = repr(first[:80]), repr(second[:80])
    return TaskError(
        f"labels {first} and {second} {problem}: write them alike if they are one class, or give each a word of its "
        "own (--words LABEL=WORD,LABEL=WORD in the shell)"
    )


def assign_label_words(classes: Sequence[str]) -> tuple[str, ...]:
    """Return one lower-case word a class, all different: of each name the word that is rarest among the names.

    Where the names have too few words to go round, the whole name stands in.
    """
    options = [_candidate_words(name) for name in classes]
    counts = Counter(word for words in options for word in words)
    wanted = [sorted(words, key=lambda word: counts[word]) for words in options]
    holder: dict[str, int] = {}
    # A name of one word has no other choice, and its whole name must not be taken.
    for index in sorted(range(len(classes)), key=lambda index: (len(wanted[index]), len(classes[index].split()))):
        _assign_word(index, wanted, holder, set())
    chosen = {index: word for word, index in holder.items()}
    return tuple(chosen.get(index) or readable_class_name(name) for index, name in enumerate(classes))


def _candidate_words(name: str) -> list[str]:
    if number := re.fullmatch(r"(?:class )?((?:minus )?\d+(?:\.\d+)?)", name):
        return [number[1]]
    words = list(dict.fromkeys(split_class_name(name)))
    return [word for word in words if word not in STOP_WORDS.split()] or words or [readable_class_name(name)]


def _assign_word(index: int, wanted: list[list[str]], holder: dict[str, int], tried: set[str]) -> bool:
    """Give a class a word, moving others to their next choice (Kuhn's matching): false if there is no way."""
    for word in wanted[index]:
        if word in tried:
            continue
        tried.add(word)
        if word not in holder or _assign_word(holder[word], wanted, holder, tried):
            holder[word] = index
            return True
    return False
