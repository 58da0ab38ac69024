"""What tests leave behind is found and named, also when they are divided among processes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONFTEST = """
from tests import suite_report

suite_report.ENDING_SECONDS = 0

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(suite_report.SuiteReport())
"""
LEAVES_NOTHING = """
import subprocess, sys, tempfile

def test_clean():
    with tempfile.NamedTemporaryFile():
        subprocess.run([sys.executable, "-c", ""], check=True)
"""
LEAVES_A_PROCESS = """
import subprocess, sys

def test_process():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    print("started", child.pid)
    child.returncode = 0  # no warning that it still runs
"""
LEAVES_A_FILE = """
import tempfile

def test_file():
    tempfile.mkstemp(prefix="forgotten-")
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    root = str(Path(__file__).resolve().parents[1])
    monkeypatch.setenv("PYTHONPATH", root)
    pytester.makeconftest(CONFTEST)
    return pytester


@pytest.mark.parametrize("divided", [(), ("-n", "2")], ids=["one process", "two processes"])
def test_a_clean_suite_passes_and_tells_the_time_of_its_folders(suite: pytest.Pytester, divided: tuple[str, ...]):
    (suite.mkdir("first") / "test_it.py").write_text(LEAVES_NOTHING)
    (suite.mkdir("second") / "test_that.py").write_text(LEAVES_NOTHING.replace("test_clean", "test_other"))
    found = suite.runpytest_subprocess(*divided)
    assert found.ret == 0
    text = found.stdout.str()
    assert re.search(r"\d+\.\d  first\n", text)
    assert re.search(r"\d+\.\d  second\n", text)
    assert "left behind" not in text


@pytest.mark.parametrize("divided", [(), ("-n", "2")], ids=["one process", "two processes"])
@pytest.mark.parametrize(
    ("code", "name"), [(LEAVES_A_PROCESS, r"process \d+: .*sleep\(600\)"), (LEAVES_A_FILE, "forgotten-")]
)
def test_leftovers_fail_the_suite_and_are_named(suite: pytest.Pytester, divided: tuple[str, ...], code: str, name: str):
    suite.makepyfile(code)
    found = suite.runpytest_subprocess(*divided)
    assert found.ret == 1
    text = found.stdout.str()
    assert "1 passed" in text
    assert re.search(name, text.split("left behind by the tests")[1])
