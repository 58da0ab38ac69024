"""A plugin of the suite: how long each folder of tests took, and what the tests left behind.

Everything that the tests start inherits a temporary folder of the suite's own. A process that still runs after the last
test, or a file that still lies in the folder, makes the suite fail and is named.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

ENDING_SECONDS = 60
"""What was asked to end may still be ending when the last test is over."""


class SuiteReport:
    """Registered in the process that starts the tests, not in the processes among which they are divided."""

    def __init__(self) -> None:
        # pytest keeps the folders of the last runs, for whoever wants to look; they stay where they are.
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
        self.folder = Path(tempfile.mkdtemp(prefix="ptviz-suite-"))
        os.environ["TMPDIR"] = str(self.folder)
        tempfile.tempdir = None  # Python asks the variable again
        self.seconds: Counter[str] = Counter()
        self.left: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the time of a test, its fixtures included, to its folder's."""
        self.seconds[os.path.dirname(report.nodeid.split("::")[0])] += report.duration  # noqa: PTH120

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Look for what was left behind, once every process of the tests themselves has ended."""
        if test_apps := sys.modules.get("streamlit.testing.v1.app_test"):
            test_apps.TMP_DIR.cleanup()  # Else it lies there until this process ends.
        self.left = [*end_leftover_processes(self.folder), *map(str, leftover_files(self.folder))]
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.left and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show both."""
        terminalreporter.section("seconds of each folder")
        for folder, seconds in self.seconds.most_common():
            terminalreporter.line(f"{seconds:8.1f}  {folder or '.'}")
        if self.left:
            terminalreporter.section("left behind by the tests", red=True)
            for what in self.left:
                terminalreporter.line(what, red=True)


def leftover_files(folder: Path) -> list[Path]:
    """Return what lies in the temporary folder, but for torch's cache of compiled code, which every process shares."""
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith("torchinductor_")]


def end_leftover_processes(folder: Path) -> list[str]:
    """End the processes whose temporary folder is ``folder``; return those that did not end by themselves."""
    running = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get("TMPDIR") == str(folder):
                running.append(process)
    left = []
    for process in psutil.wait_procs(running, timeout=ENDING_SECONDS)[1]:
        with suppress(psutil.NoSuchProcess):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            left.append(f"process {process.pid}: {' '.join(process.cmdline())[:300]}")
            process.kill()
    return left
