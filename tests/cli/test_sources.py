"""Source tasks that are files of one's own: learned once, and found again under the names that training gives them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ptviz.runs import Store

Shell = Callable[..., Any]


def test_tables_may_be_sources(shell: Shell, small: list[str], tmp_path: Path) -> None:
    files = []
    for word in ("lovely", "cheap"):
        path = tmp_path / f"{word}.csv"
        rows = [f"a {word} thing {i},good\nan awful thing {i},bad" for i in range(30)]
        path.write_text("text,label\n" + "\n".join(rows) + "\n")
        files.append(str(path))
    options = [*small, "--sources", ",".join(files), "--source-steps", "3"]
    answer = shell("train", "mpt", *options, "--json")
    assert answer.code == 0, answer.err
    sources = [summary.config.task for summary in Store().list() if summary.config.method == "prompt-tuning"]
    assert sorted(sources) == sorted(files)
    events = map(json.loads, (Store().get(answer.json["run"]).path / "events.jsonl").read_text().splitlines())
    assert [event["task"] for event in events if event["event"] == "source"] == files
