"""The file of texts that `ptviz predict`, its ensemble and `ptviz generate` take: one a line, or a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shell

TEXTS = ["who wrote the book", "where, is the town"]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """The same two texts in a .txt file, in a table, and in a table whose texts are no first column."""
    lines, table, wide = (tmp_path / name for name in ("texts.txt", "texts.csv", "wide.jsonl"))
    lines.write_text("\n\n".join(TEXTS) + "\n")
    table.write_text("text\n" + "\n".join(f'"{text}"' for text in TEXTS) + "\n")
    wide.write_text("\n".join(f'{{"number": {i}, "text": "{text}"}}' for i, text in enumerate(TEXTS)))
    return [lines, table, wide]


def test_every_command_reads_the_same_texts(shell: Shell, small: list[str], files: list[Path]) -> None:
    runs = [shell("train", "prompt-tuning", *small, "--seed", seed, "--json").json["run"] for seed in (0, 1)]
    found: list[Any] = []
    for file in files:
        predicted = shell("predict", runs[0], "--file", file, "--json").json
        rows = predicted.get("rows")
        texts = predicted["texts"] if rows is None else [row["text"] for row in rows]
        prompted = predicted["with"] if rows is None else [row["with"] for row in rows]
        voted = shell("predict", "--ensemble", ",".join(runs), "--file", file, "--json").json
        assert texts == voted["texts"] == TEXTS, file.name
        found.append((prompted, voted["vote"]))
    for one in found[1:]:
        assert one[1] == found[0][1]
        assert one[0] == [pytest.approx(row, abs=1e-5) for row in found[0][0]]
    both = shell("predict", "--ensemble", ",".join(runs), "a text", "--file", files[1])
    assert (both.code, "expected texts or --file; got both" in both.err) == (2, True)
