"""A data folder as an earlier version wrote it: a run, a saved prompt and a transfer record, under old names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

DATA = Path(__file__).parent / "data" / "old_home"
RUN, PROMPT = "old-run", "an-old-prompt-c3ef8f"
TABLE_MTIME_NS = 1795899128155967126
"""When the task's table was last changed: the record of transfer holds only for this file."""


def copy_old_home(home: Path) -> None:
    """Copy the folder to ``home``, with the task's table at its new path."""
    shutil.copytree(DATA, home, dirs_exist_ok=True)
    table = home / "rows.csv"
    os.utime(table, ns=(TABLE_MTIME_NS, TABLE_MTIME_NS))
    for path in (home / "runs" / RUN / "config.json", home / "runs" / ".transfer.json"):
        path.write_text(path.read_text().replace('"rows.csv"', f'"{table}"'))
