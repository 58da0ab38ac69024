"""Label words and descriptions made from class names, for tasks that nobody has worded by hand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

STOP_WORDS = "a an and are at by can do does for from get how i in is it my of on or the to was what who you your"


def split_class_name(name: str) -> list[str]:
    """The lower-case words of a class name: ``cardLost`` and ``card_lost`` are both card, lost."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return re.findall(r"[^\W_]+", spaced.lower())


def readable_class_name(name: str) -> str:
    """A class name as people would write it: ``card_not_working`` as "card not working"; numbers as "class 3"."""
    words = " ".join(split_class_name(name)) or name
    return f"class {words}" if words.replace(" ", "").isdigit() else words


def assign_label_words(classes: Sequence[str]) -> tuple[str, ...]:
    """One lower-case word a class, all different: of each name the word that is rarest among the names.

    Where the names have too few words to go round, the whole name stands in; a number sets equal names apart.
    """
    options = [_candidate_words(name) for name in classes]
    counts = Counter(word for words in options for word in words)
    wanted = [sorted(words, key=lambda word: counts[word]) for words in options]
    holder: dict[str, int] = {}
    for index in sorted(range(len(classes)), key=lambda index: len(wanted[index])):
        _assign_word(index, wanted, holder, set())
    chosen = {index: word for word, index in holder.items()}
    taken = set(holder)
    for index, name in enumerate(classes):
        if index not in chosen:
            chosen[index] = _unused_word(readable_class_name(name), taken)
            taken.add(chosen[index])
    return tuple(chosen[index] for index in range(len(classes)))


def _candidate_words(name: str) -> list[str]:
    words = list(dict.fromkeys(split_class_name(name)))
    return [word for word in words if word not in STOP_WORDS.split()] or words or [name.lower()]


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


def _unused_word(word: str, taken: set[str]) -> str:
    number, candidate = 2, word
    while candidate in taken:
        candidate, number = f"{word} {number}", number + 1
    return candidate
