"""Exported tables hold data, never formulas."""

from __future__ import annotations

import csv
import io

import pytest

from ptviz.analysis.csv_text import table_to_csv


def read_back(cell: object) -> str:
    [[found]] = csv.reader(io.StringIO(table_to_csv([[cell]]), newline=""))
    return found


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_text_that_a_spreadsheet_would_run_is_text(start: str):
    formula = f"{start}cmd|' /C calc'!A0"
    assert read_back(formula) == "'" + formula
    assert read_back(start) == "'" + start


@pytest.mark.parametrize("number", [-1.5, -3, 0.25, "-1.5", "+3", "-1e-3", "-inf", True])
def test_numbers_stay_numbers(number: object):
    assert read_back(number) == str(number)


def test_other_text_is_unchanged():
    for text in ("a=b", "it's", "a, b", 'a "b"', "", "é", "a\nb"):
        assert read_back(text) == text
    assert read_back(None) == ""
