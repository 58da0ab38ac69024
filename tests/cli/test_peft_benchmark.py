"""``ptviz benchmark`` on synthetic result files, and tables that are wider than the terminal."""

from __future__ import annotations

import csv
import json

import pytest

from ptviz.cli import output
from tests.analysis.peft_results import result, written


@pytest.fixture
def folder(tmp_path):
    cheap = result("prompt_tuning/llama-3.2-3B-default", test=0.2)
    dear = result("lora/llama-3.2-3B-a|b", test=0.5, num_trainable_params=10**7)
    worse = result("ia3/llama-3.2-3B-default", test=0.1, num_trainable_params=10**6)
    return written(tmp_path / "results", cheap, dear, worse)


def test_a_folder_as_json_csv_and_markdown(shell, folder, tmp_path):
    sheet = tmp_path / "table.csv"
    answer = shell("benchmark", folder, "--json", "--csv", sheet)
    assert answer.code == 0, answer.err
    rows = answer.json["results"]
    assert [(row["method"].split("/")[0], row["front"]) for row in rows] == [
        ("lora", True), ("prompt_tuning", True), ("ia3", False),
    ]  # fmt: skip
    assert len(answer.json["curves"][0]["losses"]) == 20
    with sheet.open() as file:
        assert [float(row["test_mean"]) for row in csv.DictReader(file)] == [0.5, 0.2, 0.1]
    people = shell("benchmark", folder, "--markdown")
    assert "a\\|b" in people.out, "a name must not break the table"
    assert people.out.splitlines()[0].startswith("| method | test | trained |")


def test_unreadable_files_are_reported(shell, folder, tmp_path):
    (folder / "broken.json").write_text("{")
    answer = shell("benchmark", folder)
    assert answer.code == 0
    assert "broken.json" in answer.err
    assert shell("benchmark", folder / "broken.json").code == 2
    assert shell("benchmark", tmp_path / "nowhere").code == 2
    (tmp_path / "empty").mkdir()
    assert "contain none" in shell("benchmark", tmp_path / "empty").err
    (folder / "failed.json").write_text(json.dumps(result("x/y", status="failed")))
    assert "did not succeed" in shell("benchmark", folder / "failed.json").err


def test_a_wide_table_is_shown_in_parts_that_fit():
    columns = ("method", "one", "two", "three")
    rows = [("prompt-tuning", "1" * 8, "2" * 8, "3" * 8)]
    assert output._split_columns(columns, rows, 200) == [[0, 1, 2, 3]]
    assert output._split_columns(columns, rows, 35) == [[0, 1, 2], [0, 3]]
    assert output._split_columns(columns, rows, 5) == [[0, 1], [0, 2], [0, 3]]
    for part in output._split_columns(columns, rows, 35):
        assert sum(len(rows[0][place]) for place in part) + 2 * (len(part) - 1) <= 35
