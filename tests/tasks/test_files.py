from __future__ import annotations

import gc
import json
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ptviz.tasks import SplitName, TableOptions, Task, TaskError, load_table_task, load_task
from ptviz.tasks.custom.labels import to_class_name

SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
ROWS = [(f"a fine text, number {i}", "good" if i % 3 else "bad") for i in range(60)]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def csv_of(rows: list[tuple[str, str]], header: str = "text,label", separator: str = ",") -> str:
    return "\n".join([header, *(f'"{text}"{separator}{label}' for text, label in rows)]) + "\n"


def jsonl_of(rows: list[tuple[Any, Any]]) -> str:
    return "".join(json.dumps({"id": 1, "text": text, "label": label}) + "\n" for text, label in rows)


def parquet_of(path: Path, texts: list[Any], labels: list[Any]) -> Path:
    pq.write_table(pa.table({"text": texts, "label": labels}), path)
    return path


def all_rows(task: Task) -> list[tuple[str, str]]:
    return sorted((row.text, task.classes[row.label]) for split in SPLITS for row in task.examples(split))


def test_every_format_gives_the_same_task(tmp_path: Path) -> None:
    tables = [
        write(tmp_path / "a.csv", csv_of(ROWS)),
        write(tmp_path / "semicolons.csv", csv_of(ROWS, "text;label", ";")),
        write(tmp_path / "excel.csv", b"\xef\xbb\xbf" + csv_of(ROWS).replace("\n", "\r\n").encode()),
        write(tmp_path / "a.tsv", csv_of(ROWS, "text\tlabel", "\t")),
        write(tmp_path / "a.jsonl", jsonl_of(ROWS)),
        write(tmp_path / "marked.jsonl", b"\xef\xbb\xbf" + jsonl_of(ROWS).encode()),
        parquet_of(tmp_path / "a.parquet", [text for text, _ in ROWS], [label for _, label in ROWS]),
    ]
    tasks = [load_table_task(path) for path in tables]
    assert len({task.fingerprint() for task in tasks}) == 1
    assert all_rows(tasks[0]) == sorted(ROWS)
    assert tasks[0].classes == tasks[0].label_words == tasks[0].descriptions == ("bad", "good")
    assert (tasks[0].cue, tasks[0].notes, tasks[0].family) == ("Answer:", (), "your own")
    assert [len(tasks[0].examples(split)) for split in SPLITS] == [42, 9, 9]
    assert Counter(row.label for row in tasks[0].test) == {0: 3, 1: 6}
    assert load_task(str(tables[0])) == tasks[0]
    assert load_task(str(tables[0]), seed=1).test != tasks[0].test


def test_columns_are_named_or_guessed(tmp_path: Path) -> None:
    path = write(tmp_path / "My reviews (2).csv", csv_of(ROWS, "Review,Category"))
    task = load_table_task(path)
    assert task.name == "my-reviews-2"
    assert task.source == "My reviews (2).csv (columns Review, Category)"
    assert task == load_table_task(path, "Review", "Category") == load_task(str(path), text="Review", label="Category")
    assert load_table_task(path, name="mine").name == "mine"


def test_pairs_of_columns_are_joined(tmp_path: Path) -> None:
    lines = "".join(f"one {i},two {i},{i % 2}\n" for i in range(20))
    task = load_table_task(write(tmp_path / "p.csv", "a,b,same\n" + lines), "a,b", "same")
    assert ("one 3 | two 3", "1") in all_rows(task)
    assert task.classes == task.label_words == ("0", "1")
    with pytest.raises(TaskError, match=r"p.csv, row 3, column 'b': expected a text; got an empty one"):
        load_table_task(write(tmp_path / "p.csv", "a,b,same\nx,y,0\nx,,1\n"), "a,b", "same")


def test_texts_with_quotes_commas_and_line_ends_survive(tmp_path: Path) -> None:
    rows = [(f'He said ""no"", then\nleft, {i}', "ab"[i % 2]) for i in range(12)]
    task = load_table_task(write(tmp_path / "q.csv", csv_of(rows)))
    assert 'He said "no", then\nleft, 3' in [text for text, _ in all_rows(task)]


def test_repeated_texts_and_rare_classes_are_left_out_and_said_so(tmp_path: Path) -> None:
    rows = [*ROWS, ROWS[0], (" " + ROWS[1][0] + " ", "bad"), ("lonely", "rare"), ("alone", "rare")]
    task = load_table_task(write(tmp_path / "r.csv", csv_of(rows)))
    assert all_rows(task) == sorted(ROWS)
    assert task.notes == (
        "1 class with fewer than 3 different texts left out: 'rare'",
        "2 repeated texts left out",
        "texts with several labels, of which the first was taken: 1",
    )


def test_a_label_that_may_mark_a_missing_one_is_said(tmp_path: Path) -> None:
    task = load_table_task(
        write(tmp_path / "m.csv", csv_of([*ROWS, *((f"text {i} of none", "NaN") for i in range(5))]))
    )
    assert task.notes == (
        "the label 'NaN' is a class of 5 texts: if it stands for a missing label, leave those rows out",
    )


def test_labels_of_all_kinds(tmp_path: Path) -> None:
    assert [to_class_name(label) for label in (" a ", 1, 1.0, 2.5, True, None, float("nan"), "", "NA")] == [
        "a", "1", "1", "2.5", "true", "", "", "", "NA",
    ]  # fmt: skip
    path = parquet_of(tmp_path / "n.parquet", [f"t {i}" for i in range(40)], [float(i % 11) for i in range(40)])
    task = load_table_task(path)
    assert task.classes == tuple(map(str, range(11)))
    assert task.descriptions[10] == "class 10"


# Every bad table: its name and content, and the exact place and words of the error.
BAD: dict[str, tuple[str, str | bytes, str]] = {
    "missing text column": (
        "t.csv",
        csv_of(ROWS, "words,label"),
        r"t\.csv, row 1, column 'text': expected a column 'text' for the text; the columns are 'words', 'label'",
    ),
    "missing label column": (
        "t.jsonl",
        '{"text": "x", "y": 1}\n',
        r"t\.jsonl, row 1, column 'label': .* the columns are 'text', 'y'",
    ),
    "column twice": ("t.csv", "text,text,label\na,b,c\n", r"t\.csv, row 1, column 'text': .* comes twice"),
    "missing label": ("t.csv", csv_of([*ROWS, ("last", " ")]), r"t\.csv, row 62, column 'label': expected a label"),
    "null label": ("t.jsonl", jsonl_of([*ROWS, ("last", None)]), r"t\.jsonl, row 61, column 'label': .* got None"),
    "absent label": ("t.jsonl", jsonl_of(ROWS) + '\n{"text": "x"}\n', r"t\.jsonl, row 62, column 'label': .* got None"),
    "empty text": (
        "t.csv",
        csv_of([ROWS[0], ("  ", "bad")]),
        r"t\.csv, row 3, column 'text': .* an empty one: fill it in",
    ),
    "number for a text": (
        "t.jsonl",
        jsonl_of([ROWS[0], (3, "bad")]),
        r"t\.jsonl, row 2, column 'text': .* got 3, a int",
    ),
    "one class": (
        "t.csv",
        csv_of([(text, "good") for text, _ in ROWS]),
        r"t\.csv, column 'label': expected at least two classes .* got 'good' \(60 different texts\)",
    ),
    "too few of a class": (
        "t.csv",
        csv_of([*[(text, "good") for text, _ in ROWS], ("x", "bad"), ("y", "bad"), ("y", "bad")]),
        r"t\.csv, column 'label': .* got 'bad' \(2 different texts\), 'good' \(60",
    ),
    "too many classes": (
        "t.csv",
        csv_of([(f"text {i}", f"label {i}") for i in range(300)]),
        r"t\.csv, row 202, column 'label': 'label 200' is class number 201; expected 200 at most",
    ),
    "latin-1": (
        "t.csv",
        csv_of([*ROWS[:3], ("caf\u00e9 society", "good")]).encode("latin-1"),
        r"t\.csv, row 5, column 'text': expected readable text; byte 0xE9 is not in the encoding \(after 'caf'\)",
    ),
    "latin-1 label in a row of several lines": (
        "t.csv",
        'text,label\n"two\nlines, all good",d\u00e9j\u00e0\n'.encode("latin-1"),
        r"t\.csv, row 2, column 'label': expected readable text; byte 0xE9 is not in the encoding",
    ),
    "latin-1 in JSON": (
        "t.jsonl",
        '{"text": "x", "label": "y"}\n{"text": "x", "label": "\u00e9"}\n'.encode("latin-1"),
        r"t\.jsonl, row 2, column 'label': expected readable text; byte 0xE9 is not in the encoding",
    ),
    "malformed JSON": (
        "t.jsonl",
        jsonl_of(ROWS[:2]) + '{"text": "x", "label": }\n',
        r"t\.jsonl, row 3: expected a JSON object; Expecting value at character 24",
    ),
    "cut JSON array": ("t.json", '[\n{"text": "x", "label": 1}, {"te', r"t\.json, row 2: expected a JSON array"),
    "two JSON arrays": ("t.json", '[{"text": "x", "label": 1}]\n[]', r"t\.json, row 2: .* nothing after the end"),
    "array of texts": ("t.json", '["x", "y"]', r"t\.json, row 1: expected a JSON object such as"),
    "JSON string": ("t.jsonl", '"x"\n', r"t\.jsonl, row 1: expected a JSON object such as"),
    "empty file": ("t.csv", "", r"t\.csv: the file is empty"),
    "blank header": ("t.csv", "\n\n", r"t\.csv, row 1: expected a header"),
    "blank JSON": ("t.jsonl", "\n\n", r"t\.jsonl: the file holds no JSON objects"),
    "header alone": ("t.csv", "text,label\n", r"t\.csv: there are no rows below the header"),
    "too many cells": (
        "t.csv",
        "text,label\na,b\nwell, well,c\n",
        r"t\.csv, row 3, column 'text': expected 2 cells, as in the header; got 3; quote cells",
    ),
    "too few cells": ("t.csv", "id,text,label\n1,a,b\n2,c\n", r"t\.csv, row 3, column 'text': expected 3 cells"),
    "open quote": (
        "t.csv",
        'text,label\na,b\n"never closed,c\nd,e\n',
        r"t\.csv, row 3, column 'text': cannot be read as a table \(unexpected end of data\); close every quote",
    ),
    "no Parquet": ("t.parquet", "not a parquet file", r"t\.parquet: expected a Parquet file"),
    "spreadsheet": ("t.xlsx", "PK", r"t\.xlsx: expected a file that ends in \.csv, \.tsv, "),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_table_is_refused_at_its_place(case: str, tmp_path: Path) -> None:
    name, content, message = BAD[case]
    given = TableOptions(encoding="utf-8", quoting="standard") if name.endswith("csv") or "latin-1" in case else None
    with pytest.raises(TaskError, match="^" + message):
        load_table_task(write(tmp_path / name, content), options=given)


def test_bad_parquet_rows_are_named(tmp_path: Path) -> None:
    texts: list[Any] = [f"t {i}" for i in range(5000)]
    labels: list[Any] = ["ab"[i % 2] for i in range(5000)]
    with pytest.raises(TaskError, match=r"^l\.parquet, row 4501, column 'label': expected a label; got None"):
        load_table_task(parquet_of(tmp_path / "l.parquet", texts, [*labels[:4500], None, *labels[4501:]]))
    with pytest.raises(TaskError, match=r"^t\.parquet, row 1, column 'text': expected a text; got 0, a int"):
        load_table_task(parquet_of(tmp_path / "t.parquet", list(range(5000)), labels))
    with pytest.raises(TaskError, match=r"^c\.parquet, row 1, column 'texts': .* the columns are 'text', 'label'"):
        load_table_task(parquet_of(tmp_path / "c.parquet", texts, labels), text="texts")
    whole = parquet_of(tmp_path / "w.parquet", texts, labels).read_bytes()
    damaged = write(tmp_path / "d.parquet", whole[:40] + b"\xff" * 400 + whole[440:])
    with pytest.raises(TaskError, match=r"^d\.parquet.*save it again"):
        load_table_task(damaged)


def test_a_column_cannot_be_text_and_label(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="different columns"):
        load_table_task(write(tmp_path / "t.csv", csv_of(ROWS)), "text", "text")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"^nowhere\.csv: cannot be read \(No such file"):
        load_task(str(tmp_path / "nowhere.csv"))


def test_what_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(TaskError, match=r"^folder\.csv: cannot be read .* check the path and its permissions"):
        load_table_task(tmp_path / "folder.csv")


def test_a_large_table_is_sampled_uniformly_and_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "big.csv", csv_of([(f"text {i}", "ab"[i % 2]) for i in range(20_000)]))
    task = load_table_task(path, limit=2000)
    assert task.notes == ("big.csv: 20,000 rows, of which 2,000 were sampled",)
    numbers = [int(text.split()[1]) for text, _ in all_rows(task)]
    assert len(set(numbers)) == 2000
    # 200 of each tenth of the file are expected; 5 standard deviations are 67.
    assert all(abs(count - 200) < 67 for count in Counter(number // 2000 for number in numbers).values())
    assert load_table_task(path, limit=2000) == task
    assert all_rows(load_table_task(path, limit=2000, seed=1)) != all_rows(task)
    assert load_table_task(path, limit=20_000).notes == ()


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_memory_does_not_grow_with_the_file(ending: str, tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        path = tmp_path / f"{rows}.{ending}"
        texts, labels = [f"a text of some length, number {i}" for i in range(rows)], ["ab"[i % 2] for i in range(rows)]
        if ending == "parquet":
            parquet_of(path, texts, labels)
        else:
            pairs = list(zip(texts, labels, strict=True))
            write(path, csv_of(pairs) if ending == "csv" else jsonl_of(pairs))
        del texts, labels
        gc.collect()
        tracemalloc.start()
        load_table_task(path, limit=500)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1000)  # what is imported and cached on first use
    assert peak(60_000) < peak(6_000) + 300_000
