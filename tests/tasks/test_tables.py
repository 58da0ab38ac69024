"""The tables that people have: dialects, encodings, compression, labels, bad rows, limits."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import random
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptviz.tasks import SplitName, TableLimits, TableOptions, Task, TaskError, load_table_task, load_task
from ptviz.tasks.custom.table_options import LIMITS, format_words, parse_words

SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
ROWS = [(f"a fine text, number {i}", "good" if i % 3 else "bad") for i in range(60)]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def csv_of(rows: list[tuple[Any, Any]], header: tuple[str, ...] = ("text", "label"), **dialect: Any) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, **{"lineterminator": "\n", **dialect})
    writer.writerows([header, *rows] if header else rows)
    return buffer.getvalue()


def plain(rows: list[tuple[str, str]], delimiter: str = "\t", header: bool = True, end: str = "\n") -> str:
    lines = [delimiter.join(row) for row in ([("text", "label")] if header else []) + rows]
    return end.join(lines) + end


def all_rows(task: Task) -> list[tuple[str, str]]:
    return sorted((row.text, task.classes[row.label]) for split in SPLITS for row in task.examples(split))


def load(path: Path, content: str | bytes, limits: TableLimits = LIMITS, **options: Any) -> Task:
    return load_table_task(write(path, content), options=TableOptions(**options), limits=limits)


def refusal(path: Path, content: str | bytes, limits: TableLimits = LIMITS, **options: Any) -> str:
    with pytest.raises(TaskError) as caught:
        load(path, content, limits, **options)
    return str(caught.value)


# Quoting, delimiters, header


def test_quotes_in_a_tsv_are_text(tmp_path: Path) -> None:
    rows = [(f"text number {i}", "ab"[i % 2]) for i in range(40)]
    rows[5], rows[19] = ('"open cell', "a"), ('other"', "b")
    task = load(tmp_path / "t.tsv", plain(rows))
    assert all_rows(task) == sorted(rows)
    assert task.notes == ("quotes at the beginning of cells are part of the texts (quoting: none)",)
    rows[19] = ('"a title"', "b")
    rows[5] = ("text number 5", "b")
    assert all_rows(load(tmp_path / "t.tsv", plain(rows))) == sorted(rows)


def test_swallowed_rows_are_counted(tmp_path: Path) -> None:
    rows = [(f"text number {i}", "ab"[i % 2]) for i in range(40)]
    rows[5], rows[19] = ('"open cell', "a"), ('other"', "b")
    task = load(tmp_path / "t.tsv", plain(rows), quoting="standard")
    assert task.notes[0].startswith("26 rows read, 14 look swallowed by a quote, the first in row 7")
    # In CSV, the lines show that quotes cannot be meant to enclose cells.
    assert all_rows(load(tmp_path / "t.csv", plain(rows, ","))) == sorted(rows)


def test_swallowed_rows_beyond_the_examined_part_are_counted(tmp_path: Path) -> None:
    rows = [(f"text number {i}", "ab"[i % 2]) for i in range(4000)]
    rows[3000], rows[3004] = ('"open cell', "a"), ('other"', "b")
    task = load(tmp_path / "t.csv", plain(rows, ","))
    assert any("3,996 rows read, 4 look swallowed by a quote, the first in row 3002" in note for note in task.notes)


def test_lines_within_a_text_are_not_taken_for_rows(tmp_path: Path) -> None:
    rows = [(f"first, {i}\nsecond, {i}", "ab"[i % 2]) for i in range(20)]
    task = load(tmp_path / "t.csv", csv_of(rows))
    assert all_rows(task) == sorted(rows)
    assert task.notes == ()


def test_a_tsv_whose_cells_are_surely_quoted_is_read_so(tmp_path: Path) -> None:
    rows = [(f'he said "no"\tthen left {i}', "ab"[i % 2]) for i in range(20)]
    assert all_rows(load(tmp_path / "t.tsv", csv_of(rows, delimiter="\t"))) == sorted(rows)
    rows = [(f"plain {i}", "ab"[i % 2]) for i in range(20)]
    quoted = csv_of(rows, delimiter="\t", quoting=csv.QUOTE_ALL)
    assert all_rows(load(tmp_path / "t.tsv", quoted)) == sorted(rows)
    assert ('"plain 3"', '"b"') in all_rows(load(tmp_path / "t.tsv", quoted, quoting="none", header=False))


def test_quotes_escaped_by_backslashes_are_recognised(tmp_path: Path) -> None:
    rows = [(f'he said "no", then left {i}', "ab"[i % 2]) for i in range(20)]
    task = load(tmp_path / "t.csv", csv_of(rows, doublequote=False, escapechar="\\", quoting=csv.QUOTE_ALL))
    assert all_rows(task) == sorted(rows)
    assert task.notes == ("quotes within cells are escaped by a backslash (quoting: backslash)",)


@pytest.mark.parametrize(("delimiter", "name"), [(";", "semicolon"), ("\t", "tab"), ("|", "pipe")])
def test_other_delimiters_are_recognised_and_named(delimiter: str, name: str, tmp_path: Path) -> None:
    task = load(tmp_path / "t.csv", csv_of(ROWS, delimiter=delimiter))
    assert all_rows(task) == sorted(ROWS)
    assert task.notes == (f"the delimiter is a {name}",)
    assert all_rows(load(tmp_path / "t.csv", csv_of(ROWS, delimiter=delimiter), delimiter=name)) == sorted(ROWS)


def test_a_delimiter_can_be_named(tmp_path: Path) -> None:
    task = load(tmp_path / "t.csv", plain([(f"a, b; {i}", "xy"[i % 2]) for i in range(20)], "^"), delimiter="^")
    assert ("a, b; 3", "y") in all_rows(task)


def test_a_table_without_a_header(tmp_path: Path) -> None:
    rows = [(str(i), f"a text, number {i}", "xy"[i % 2]) for i in range(20)]
    content = csv_of(rows, header=())
    task = load(tmp_path / "t.csv", content)
    assert all_rows(task) == sorted((text, label) for _, text, label in rows)
    assert task.notes == (
        "the first row is data, not a header: the columns are called 1, 2, ...",
        "column 2 is taken for the texts and column 3 for the labels, by their contents",
    )
    assert load_table_task(tmp_path / "t.csv", "2", "3").train == task.train
    assert load(tmp_path / "t.csv", content, header=False).train == task.train
    assert "expected a column 'text'" in refusal(tmp_path / "t.csv", content, header=True)


@settings(max_examples=60)
@given(data=st.data())
def test_every_dialect_is_read_back(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    delimiter = data.draw(st.sampled_from([",", ";", "\t", "|"]))
    end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    # Python's csv leaves "\n" unquoted in a file whose lines end with "\r".
    quoting = csv.QUOTE_ALL if end == "\r" else data.draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    letters = st.text(st.sampled_from('ab ,;\t|"\n\u00e9\u65e5'), max_size=12)
    texts = data.draw(st.lists(letters, min_size=12, max_size=20, unique_by=lambda text: " ".join(text.split())))
    rows = [(f"{number} {text} .", "xy"[number % 2]) for number, text in enumerate(texts)]
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]))
    content = csv_of(rows, delimiter=delimiter, quoting=quoting, lineterminator=end).encode(encoding)
    path = tmp_path_factory.mktemp("dialect") / ("t.tsv" if delimiter == "\t" else "t.csv")
    task = load(path, content, delimiter=delimiter, quoting="standard")
    assert all_rows(task) == sorted(rows)


@settings(max_examples=60)
@given(data=st.data())
def test_tables_without_quoting_are_read_back(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    letters = st.text(st.sampled_from("ab ,;|\"'\u00e9"), max_size=12)
    texts = data.draw(st.lists(letters, min_size=12, max_size=20, unique_by=lambda text: " ".join(text.split())))
    rows = [(f"{text} {number}", "xy"[number % 2]) for number, text in enumerate(texts)]
    path = tmp_path_factory.mktemp("plain") / "t.tsv"
    assert all_rows(load(path, plain(rows))) == sorted((text.strip(), label) for text, label in rows)


def test_options_are_checked() -> None:
    for options, message in (
        ({"delimiter": ",,"}, "delimiter: expected one character"), ({"delimiter": '"'}, "delimiter"),
        ({"quoting": "double"}, "quoting: expected one of standard, backslash, none"),
        ({"encoding": "utf-99"}, "encoding: expected a name"), ({"encoding": "hex"}, "encoding"),
        ({"encoding": "unicode_escape"}, "encoding"), ({"words": (("a", " "),)}, "words: expected one word"),
    ):  # fmt: skip
        with pytest.raises(TaskError, match=message):
            TableOptions(**options)  # type: ignore[arg-type]
    own = TableOptions("\t", "none", "cp1252", False, True, (("a, b", "x=y"), ("-1", "bad")))
    assert TableOptions.from_json(json.loads(json.dumps(own.to_json()))) == own
    assert TableOptions().to_json() == {}
    assert parse_words(format_words(own))["words"][1] == ("-1", "bad")
    for wrong in ({"header": 1}, {"words": {"a": "b"}}, {"words": [["a"]]}, {"delimiter": 3}, {"other": 1}, []):
        with pytest.raises(TaskError, match="table: "):
            TableOptions.from_json(wrong)
    listed = TableOptions(word_list=("a, b", "bad"))
    assert parse_words(format_words(listed)) == {"word_list": listed.word_list}
    for wrong_words in ("good,1=bad", "good,", ""):
        with pytest.raises(TaskError, match="LABEL=WORD"):
            parse_words(wrong_words)


# Encodings and compression

SENTENCES = {
    "cp1252": "Le café déjà \u201cvu\u201d, naïve \u2013 très bon",
    "latin-1": "größe und Übermut",
    "cp1250": "zażółć gęślą jaźń",
    "cp1251": "Очень хороший фильм мне понравился",
    "koi8-r": "Очень хороший фильм мне понравился",
    "cp932": "この映画はとても面白かったです",
    "gb18030": "这部电影非常好看我很喜欢",
    "utf-16": "Ωμέγα 日本 😀",
    "utf-16-le": "plain and \u2013 not",
    "utf-32": "Ωμέγα 日本 😀",
}


@pytest.mark.parametrize("encoding", SENTENCES)
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_encodings_are_detected_and_said(encoding: str, ending: str, tmp_path: Path) -> None:
    rows = [(f"{SENTENCES[encoding]} {i}", "ab"[i % 2]) for i in range(20)]
    lines = "".join(json.dumps({"text": t, "label": b}, ensure_ascii=False) + "\n" for t, b in rows)
    content = (csv_of(rows) if ending == "csv" else lines).encode(encoding)
    task = load(tmp_path / f"t.{ending}", content)
    assert all_rows(task) == sorted(rows)
    (note,) = task.notes
    assert note.startswith("read as ")
    assert (" by a guess" in note) == (not encoding.startswith("utf"))
    assert note.endswith("another encoding can be named")


WESTERN = (
    "Die schöne Straße war für große Füße gefährlich; Müller hätte ähnliche Übungen",
    "L\u2019été dernier, le garçon a préféré rester à côté de sa mère; où était-il? Ça dépend « déjà »",
    "¿Qué pasó ayer en el jardín? El niño comió mañana piñas, también está cansado. ¡Así será!",
    "Não há razão para a informação não ser útil; você não está só, coração é pão",
    "Perché è così? Più città, già università, però c'è libertà",
    "Får jag sätta på mig skorna? Åka över älven är svårt för mig på ön",
    "Jeg håber på en rød grød med fløde; æblet er på bordet",
    "It\u2019s a “good” film — I didn\u2019t like it… but that\u2019s fine",
    "It costs 5 € or 7 £, the naïve résumé said \u2013 so what",
    "ÉCOLE FRANÇAISE, GRÖSSE UND ÜBERMUT",
)


@pytest.mark.parametrize("sentence", WESTERN)
@pytest.mark.parametrize("encoding", ["cp1252", "mac_roman"])
def test_windows_and_mac_letters_are_told_apart(encoding: str, sentence: str, tmp_path: Path) -> None:
    rows = [(f"{sentence} {i}", "ab"[i % 2]) for i in range(20)]
    task = load(tmp_path / "t.csv", csv_of(rows).encode(encoding))
    assert all_rows(task) == sorted(rows)
    assert "by a guess" in task.notes[0]


def test_a_named_encoding_is_used(tmp_path: Path) -> None:
    rows = [(f"schön {i}", "ab"[i % 2]) for i in range(20)]
    task = load(tmp_path / "t.csv", csv_of(rows).encode("mac_roman"), encoding="mac_roman")
    assert all_rows(task) == sorted(rows)
    assert task.notes == ()


def test_a_few_bad_bytes_do_not_change_the_encoding(tmp_path: Path) -> None:
    rows = [(f"日本語 {i}", "ab"[i % 2]) for i in range(20)]
    content = csv_of(rows).encode() + b"caf\xe9,a\n"
    assert "t.csv, row 22, column 'text': expected readable text; byte 0xE9" in refusal(tmp_path / "t.csv", content)
    task = load(tmp_path / "t.csv", content, skip_bad_rows=True)
    assert all_rows(task) == sorted(rows)
    assert task.notes[0].startswith("1 bad row skipped: row 22, column 'text': expected readable text")


def test_half_characters_in_json_are_refused(tmp_path: Path) -> None:
    content = "".join(json.dumps({"text": f"t {i}", "label": i % 2}) + "\n" for i in range(9))
    bad = content + '{"text": "half \\ud83d", "label": 1}\n'
    assert "row 10, column 'text': expected readable text; half a character" in refusal(tmp_path / "t.jsonl", bad)


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_compressed_tables_are_read(tmp_path: Path) -> None:
    table = csv_of(ROWS).encode()
    lines = "".join(json.dumps({"text": t, "label": b}) + "\n" for t, b in ROWS).encode()
    parquet = io.BytesIO()
    pq.write_table(pa.table({"text": [t for t, _ in ROWS], "label": [b for _, b in ROWS]}), parquet)
    for name, content in {
        "t.csv.gz": gzip.compress(table), "t.jsonl.gz": gzip.compress(lines), "t.csv.bz2": bz2.compress(table),
        "t.csv": gzip.compress(table), "t.json": json.dumps([{"text": t, "label": b} for t, b in ROWS]).encode(),
        "t.zip": zipped({"data/reviews.csv": table, "__MACOSX/data/._reviews.csv": b"x", "README.md": b"words"}),
        "u.zip": zipped({"reviews.parquet": parquet.getvalue()}), "v.csv.zip": zipped({"reviews.jsonl": lines}),
    }.items():  # fmt: skip
        task = load_table_task(write(tmp_path / name, content))
        assert all_rows(task) == sorted(ROWS), name
    assert load_table_task(tmp_path / "t.csv.gz").name == "t"


def test_archives_without_one_table_are_refused(tmp_path: Path) -> None:
    two = zipped({"a.csv": b"x", "b.csv": b"y"})
    assert "expected one table" in refusal(tmp_path / "t.zip", two)
    assert "got 'a.csv', 'b.csv'" in refusal(tmp_path / "t.zip", two)
    assert "got none" in refusal(tmp_path / "t.zip", zipped({"a.txt.md": b"x"}))
    assert "spreadsheet" in refusal(tmp_path / "t.csv", zipped({"[Content_Types].xml": b"x", "xl/a.xml": b"y"}))
    cut = gzip.compress(random.Random(0).randbytes(5000))[:2000]
    assert "damaged or cut short" in refusal(tmp_path / "t.csv.gz", cut)
    assert "damaged or cut short" in refusal(tmp_path / "t.zip", two[:40])
    assert "binary file" in refusal(tmp_path / "t.csv", bytes(range(256)) * 20)


# Labels


@pytest.mark.parametrize(
    ("value", "shown"),
    [(["anger", "fear"], "['anger', 'fear'], a list"), ({"a": 1}, "{'a': 1}, a JSON object"), ([], "[], a list")],
)
def test_labels_that_are_no_single_value_are_refused(value: Any, shown: str, tmp_path: Path) -> None:
    lines = "".join(json.dumps({"text": f"t {i}", "label": i % 2}) + "\n" for i in range(9))
    message = refusal(tmp_path / "t.jsonl", lines + json.dumps({"text": "x", "label": value}))
    assert message.startswith("t.jsonl, row 10, column 'label': expected one label in each row, a text, a number, or")
    assert shown in message


def test_parquet_labels_that_are_no_single_value_are_refused(tmp_path: Path) -> None:
    texts = [f"t {i}" for i in range(9)]
    for labels, shown in (
        ([b"neg"] * 9, "b'neg', a bytes"), ([["x"]] * 9, "['x'], a list"), ([{"a": 1}] * 9, "a JSON object"),
    ):  # fmt: skip
        pq.write_table(pa.table({"text": texts, "label": labels}), tmp_path / "t.parquet")
        with pytest.raises(TaskError, match=r"^t\.parquet, row 1, column 'label': expected one label") as caught:
            load_table_task(tmp_path / "t.parquet")
        assert shown in str(caught.value)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_numbers_of_parquet_are_written_as_their_type_has_them(kind: str, tmp_path: Path) -> None:
    scores = np.array([(i % 3 + 1) / 5 for i in range(30)], kind)
    table = pa.table({"text": [f"t {i}" for i in range(30)], "score": pa.array(scores)})
    pq.write_table(table, tmp_path / "t.parquet")
    assert load_table_task(tmp_path / "t.parquet", text="text", label="score").classes == ("0.2", "0.4", "0.6")
    task = load_table_task(tmp_path / "t.parquet", text="text", options=TableOptions(target="score"))
    assert {row.targets for row in task.train} == {("0.2",), ("0.4",), ("0.6",)}
    datasets.Dataset(table).save_to_disk(tmp_path / "set")
    assert load_task(f"hub:{tmp_path / 'set'}", label="score").classes == ("0.2", "0.4", "0.6")


def test_a_long_label_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path / "t.csv", csv_of([*ROWS, ("x", "y" * 1001)]))
    assert message.startswith("t.csv, row 62, column 'label': expected a label of at most 1,000 characters; got 1,001")


@pytest.mark.parametrize(
    ("labels", "classes", "note"),
    [
        (["1", "1.0", "2"], ("1", "2"), "labels '1', '1.0' are one class, '1'"),
        ([1, 1.0, 2], ("1", "2"), "labels '1', '1.0' are one class, '1'"),
        (["+1", "1", "-1"], ("-1", "1"), "labels '+1', '1' are one class, '1'"),
        (["\u22121", "-1.0", "1"], ("-1", "1"), "labels '-1.0', '\u22121' are one class, '-1'"),
        (["True", "TRUE", "false"], ("false", "true"), "labels 'TRUE', 'True' are one class, 'true'"),
        ([True, "true", False], ("false", "true"), "labels 'True', 'true' are one class, 'true'"),
        (["01", "1", "2"], ("1", "2"), "labels '01', '1' are one class, '1'"),
        (["caf\u00e9", "cafe\u0301", "tea"], ("caf\u00e9", "tea"), None),
        (["2.50", "2.5", "0.5"], ("0.5", "2.5"), "labels '2.5', '2.50' are one class, '2.5'"),
        ([1.0, 2.0, 3.0], ("1", "2", "3"), None),
        (["01", "02", "02"], ("01", "02"), None),
    ],
)
def test_numbers_and_truth_values_are_one_class_however_written(
    labels: list[Any], classes: tuple[str, ...], note: str | None, tmp_path: Path
) -> None:
    lines = "".join(json.dumps({"text": f"t {i}", "label": labels[i % 3]}) + "\n" for i in range(30))
    task = load(tmp_path / "t.jsonl", lines)
    assert task.classes == classes
    assert task.notes == ((note,) if note else ())


@pytest.mark.parametrize(("first", "second"), [("Spam", "spam"), ("caf\u00e9", "cafe"), ("top_up", "top up")])
def test_labels_that_read_alike_are_refused_until_they_have_words(first: str, second: str, tmp_path: Path) -> None:
    content = csv_of([(f"t {i}", [first, second, "other"][i % 3]) for i in range(30)])
    message = refusal(tmp_path / "t.csv", content)
    assert repr(first) in message
    assert repr(second) in message
    task = load(tmp_path / "t.csv", content, words=((first, "one"), (second, "two")))
    assert dict(zip(task.classes, task.label_words, strict=True)) == {first: "one", second: "two", "other": "other"}


def test_signs_get_words(tmp_path: Path) -> None:
    task = load(tmp_path / "t.csv", csv_of([(f"t {i}", [1, -1][i % 2]) for i in range(30)]))
    assert (task.classes, task.descriptions) == (("-1", "1"), ("minus 1", "class 1"))


def test_class_labels_of_datasets_have_their_names(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    content = {"text": [f"t {i}" for i in range(30)], "label": [i % 2 for i in range(30)]}
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(content, features=features).to_parquet(tmp_path / "t.parquet")
    task = load_table_task(tmp_path / "t.parquet")
    assert task.classes == ("neg", "pos")
    assert all(task.classes[row.label] == ("neg", "pos")[int(row.text.split()[1]) % 2] for row in task.train)


@pytest.mark.parametrize("written", [b"{", b"[]", b'{"info": {"features": {"label": {"_type": "ClassLabel"}}}}'])
def test_odd_metadata_is_ignored(written: bytes, tmp_path: Path) -> None:
    table = pa.table({"text": [f"t {i}" for i in range(30)], "label": [i % 2 for i in range(30)]})
    pq.write_table(table.replace_schema_metadata({b"huggingface": written}), tmp_path / "t.parquet")
    assert load_table_task(tmp_path / "t.parquet").classes == ("0", "1")


def test_class_labels_without_a_name_are_missing_labels(tmp_path: Path) -> None:
    written = json.dumps({"info": {"features": {"label": {"_type": "ClassLabel", "names": ["a", "b"]}}}}).encode()
    table = pa.table({"text": [f"t {i}" for i in range(30)], "label": [0, 1, 2] * 10})
    pq.write_table(table.replace_schema_metadata({b"huggingface": written}), tmp_path / "t.parquet")
    with pytest.raises(TaskError, match="row 3, column 'label': expected a label"):
        load_table_task(tmp_path / "t.parquet")


# Long cells, line ends, bad rows


def test_a_long_cell_is_read_and_cut(tmp_path: Path) -> None:
    rows = [*ROWS, ("x" * 200_000, "good")]
    task = load(tmp_path / "t.csv", csv_of(rows))
    assert task.notes == ("1 text cut to 100,000 characters",)
    assert ("x" * 100_000, "good") in all_rows(task)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_all_line_ends_are_read(end: str, tmp_path: Path) -> None:
    for name, content in {
        "t.csv": csv_of(ROWS, lineterminator=end), "t.tsv": plain(ROWS, end=end),
        "t.jsonl": end.join(json.dumps({"text": t, "label": b}) for t, b in ROWS),
    }.items():  # fmt: skip
        assert all_rows(load(tmp_path / name, content)) == sorted(ROWS)


def test_bad_rows_can_be_skipped_and_are_listed(tmp_path: Path) -> None:
    content = csv_of(ROWS) + ' ,good\nx,\na,b,c\n"a"b,good\nlast,good\n'
    assert refusal(tmp_path / "t.csv", content).startswith("t.csv, row 62, column 'text': expected a text")
    task = load(tmp_path / "t.csv", content, skip_bad_rows=True)
    assert all_rows(task) == sorted([*ROWS, ("last", "good")])
    (note,) = task.notes
    assert note.startswith("4 bad rows skipped: row 62, column 'text': expected a text; got an empty one")
    assert "row 63, column 'label': expected a label" in note
    assert "row 64, column 'text': expected 2 cells" in note
    assert "row 65: cannot be read as a table" in note


def test_bad_json_rows_can_be_skipped(tmp_path: Path) -> None:
    good = "".join(json.dumps({"text": t, "label": b}) + "\n" for t, b in ROWS)
    bad = '{"text": \n[1]\n{"text": 3, "label": "good"}\n{"text": "x", "label": ["a"]}\n' + "[" * 100_000 + "\n"
    task = load(tmp_path / "t.jsonl", bad + good + '{"text": "x"}\n', skip_bad_rows=True)
    assert all_rows(task) == sorted(ROWS)
    assert task.notes[0].startswith("6 bad rows skipped: row 1: expected a JSON object")


def test_many_bad_rows_are_counted_and_a_few_listed(tmp_path: Path) -> None:
    task = load(tmp_path / "t.csv", csv_of(ROWS) + "x,\n" * 500, skip_bad_rows=True)
    assert task.notes[0].startswith("500 bad rows skipped: row 62")
    assert task.notes[0].endswith("; and 480 more")
    assert "(30 bad rows skipped: row 2" in refusal(
        tmp_path / "t.csv", "text,label\n" + "x,\n" * 30, skip_bad_rows=True
    )


# Limits


def test_what_exceeds_a_limit_is_refused_at_its_place(tmp_path: Path) -> None:
    limits = replace(LIMITS, row=1000, cell=200, columns=10, nesting=5)
    lines = "".join(json.dumps({"text": t, "label": b}) + "\n" for t, b in ROWS)
    many = json.dumps({f"k{i}": 1 for i in range(11)}) + "\n"
    deep = '{"text": "x", "label": "y", "more": ' + "[" * 7 + "]" * 7 + "}\n"
    for name, content, message in (
        ("t.csv", csv_of(ROWS) + "x" * 1001 + ",good\n", "t.csv, row 62: expected at most 1,000 characters in a row"),
        ("t.csv", csv_of(ROWS) + '"' + "x\n" * 600 + '",good\n', "t.csv, row 62: expected at most 1,000 characters"),
        ("t.csv", csv_of(ROWS) + "x" * 201 + ",good\n", "t.csv, row 62, column 'text': expected at most 200"),
        ("t.csv", "x" * 1001 + "\n", "t.csv, row 1: expected at most 1,000 characters in a row"),
        ("t.csv", "a," * 11 + "\n", "t.csv, row 1: expected at most 10 columns; got 12"),
        ("t.jsonl", lines + json.dumps({"text": "x" * 1001}), "t.jsonl, row 61: expected at most 1,000 characters"),
        ("t.jsonl", lines + json.dumps({"text": "x" * 201}), "t.jsonl, row 61, column 'text': expected at most 200"),
        ("t.jsonl", lines + many, "t.jsonl, row 61: expected at most 10 keys; got 11"),
        ("t.jsonl", lines + deep, "t.jsonl, row 61, column 'more': expected at most 5 lists within lists"),
        ("t.jsonl", "[" * 100_000, "t.jsonl, row 1: expected"),
        ("t.jsonl", lines + '{"text": ' + "9" * 500 + ', "label": 1' + "0" * 450 + "}", "t.jsonl, row 61"),
    ):  # fmt: skip
        assert refusal(tmp_path / name, content, limits, quoting="standard").startswith(message), content[:80]


def test_files_and_what_they_unpack_to_are_bounded(tmp_path: Path) -> None:
    content = csv_of([(f"t {i}", "ab"[i % 2]) for i in range(20_000)]).encode()
    small = replace(LIMITS, file=10_000)
    assert refusal(tmp_path / "t.csv", content, small).startswith("t.csv: expected at most 0 MB; got 0")
    bomb = replace(LIMITS, unpacked=100_000)
    for name, packed in (("t.csv.gz", gzip.compress(content)), ("t.zip", zipped({"t.csv": content}))):
        assert "MB unpacked" in refusal(tmp_path / name, packed, bomb)


def test_parquet_cells_are_bounded(tmp_path: Path) -> None:
    texts, labels = ["x" * 300, *(f"t {i}" for i in range(29))], ["ab"[i % 2] for i in range(30)]
    pq.write_table(pa.table({"text": texts, "label": labels}), tmp_path / "t.parquet")
    for limits, message in (
        (replace(LIMITS, cell=200), "t.parquet, row 1, column 'text': expected at most 200 characters in a cell"),
        (replace(LIMITS, unpacked=500), "expected at most"), (replace(LIMITS, columns=1), "expected at most 1 columns"),
    ):  # fmt: skip
        with pytest.raises(TaskError, match=message):
            load_table_task(tmp_path / "t.parquet", limits=limits)


def test_a_long_text_that_every_row_repeats_stays_small(tmp_path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays([0] * 3000, ["x" * 1_000_000])
    table = pa.table({"text": texts.cast(pa.dictionary(pa.int32(), pa.string())), "label": ["a", "b"] * 1500})
    pq.write_table(table.replace_schema_metadata(None), tmp_path / "t.parquet", store_schema=False)
    before = pa.total_allocated_bytes()
    pool = pa.default_memory_pool()
    with pytest.raises(TaskError, match="at least two classes with 3 different texts"):
        load_table_task(tmp_path / "t.parquet", limit=10)
    assert pool.max_memory() - before < 200_000_000


def test_parquet_texts_that_are_not_utf_8_are_refused_at_their_row(tmp_path: Path) -> None:
    texts = pa.array([b"fine", b"caf\xe9"] * 10).cast(pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": texts, "label": ["a", "b"] * 10}), tmp_path / "t.parquet")
    with pytest.raises(TaskError, match=r"^t\.parquet, row 2: expected UTF-8 in a text"):
        load_table_task(tmp_path / "t.parquet")


def test_the_number_of_lines_is_bounded(tmp_path: Path) -> None:
    few = replace(LIMITS, lines=50)
    assert "expected at most 50 lines" in refusal(tmp_path / "t.csv", "text,label\n" + "\n" * 100, few)
    assert "expected at most 50 lines" in refusal(tmp_path / "t.jsonl", "\n" * 100, few)


def test_the_texts_that_are_kept_are_bounded(tmp_path: Path) -> None:
    assert "more than 500 characters in all" in refusal(
        tmp_path / "t.csv", csv_of(ROWS), replace(LIMITS, total_characters=500)
    )


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.json"])
def test_a_long_line_is_not_read_into_memory(name: str, tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / name
    with path.open("wb") as file:
        file.write({"t.json": b'[{"text": "', "t.jsonl": b'{"text": "'}.get(name, b"text,label\n"))
        for _ in range(40):
            file.write(b"x" * 1_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(TaskError, match="expected at most 1,000,000 characters in a row"):
            load_table_task(path, limits=replace(LIMITS, row=1_000_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 15_000_000


def test_long_json_arrays_are_read_element_by_element(tmp_path: Path) -> None:
    rows = [(f"text, {i} " + "x" * (i % 977) * 7, "ab"[i % 2]) for i in range(2000)]
    content = json.dumps([{"text": t, "label": b} for t, b in rows], indent=1)
    task = load(tmp_path / "t.json", content, replace(LIMITS, row=100_000))
    assert all_rows(task) == sorted((text.strip(), label) for text, label in rows)
