"""The rules of the house: who may import whom, how code looks, and what the packaging promises."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import ptviz
from ptviz.methods import REGISTRY

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCES = sorted((ROOT / "ptviz").rglob("*.py"))
APP = [ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))]
SHARED_BY_METHODS = {
    "base",
    "card",
    "diagram",
    "equation_symbols",
    "hyperparameters",
    "initializers",
    "key_value_dropout",
    "key_value_init",
    "prefix_sites",
    "source_prompt",
    "static_prompt",
}


def tool(*command: str) -> None:
    """Run one of the project's own tools; its output is the failure."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stdout}{done.stderr}", pytrace=False)


def imports(path: Path) -> Iterator[str]:
    """The modules a file names in import statements, also within functions; relative ones are not used here."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield node.module or ""


def test_ruff_check() -> None:
    tool("ruff", "check", ".")


def test_ruff_format() -> None:
    tool("ruff", "format", "--check", ".")


def test_mypy() -> None:
    tool("mypy")


def test_import_contracts() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(done.stdout + done.stderr, pytrace=False)


def test_no_method_imports_another() -> None:
    graph = grimp.build_graph("ptviz")
    methods = {method.__module__ for method in REGISTRY.values() if method.__module__.startswith("ptviz.")}
    for method in sorted(methods):
        ours = {name for name in graph.find_modules_directly_imported_by(method) if name.startswith("ptviz.methods.")}
        stray = {name.rsplit(".", 1)[-1] for name in ours} - SHARED_BY_METHODS
        assert not stray, f"{method} imports {stray}; methods share {sorted(SHARED_BY_METHODS)} only"


def test_pages_pass_objects_through() -> None:
    for path in APP:
        for name in imports(path):
            top = name.split(".")[0]
            assert top not in {"torch", "transformers", "plotly", "pages", "app"}, f"{path} imports {name}"


def test_only_the_executor_on_ray_imports_ray() -> None:
    for path in SOURCES:
        if not path.relative_to(ROOT).as_posix().startswith("ptviz/executors/ray"):
            assert not {name for name in imports(path) if name.split(".")[0] == "ray"}, f"{path} imports ray"


def test_what_is_imported_is_required() -> None:
    """Nothing is used by luck: what the code imports stands in pyproject, not only under something that does."""
    required = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    peft = tuple(
        f"ptviz/experiments/{name}.py" for name in ("benchmark_sides", "lora_and_full_tuning", "sample_checkpoints")
    )
    optional = {"peft": peft, "ray": ("ptviz/executors/ray",)}
    optional |= dict.fromkeys(("tensorboard", "trackio"), ("ptviz/runs/tracker_export.py",))
    owners = packages_distributions()
    for path in [*SOURCES, *APP]:
        place = path.relative_to(ROOT).as_posix()
        for name in {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names) - {"ptviz"}:
            if name in optional and place.startswith(optional[name]):
                continue
            found = {canonicalize_name(owner) for owner in owners.get(name, [])}
            assert found & required, f"{place} imports {name}; add it to the dependencies in pyproject.toml"


def test_no_module_is_started_by_a_name_that_no_contract_sees() -> None:
    """``-m ptviz.some.module`` is an import that import-linter does not see: only these rooms start processes so.

    A stranger's chat template is rendered in a process of its own, whose imports tasks must not have.
    """
    allowed = ("ptviz/worker/", "ptviz/checkpoints/sandbox/", "ptviz/chat_template.py")
    for path in SOURCES:
        if path.relative_to(ROOT).as_posix().startswith(allowed):
            continue
        texts = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
        named = sorted(text for text in texts if isinstance(text, str) and re.fullmatch(r"ptviz(\.\w+)+", text))
        assert "-m" not in texts or not named, f"{path} starts {named} by name; import it instead"
        assert not any(re.match(r"-m\s+ptviz\b", text) for text in texts if isinstance(text, str)), path


def test_names_say_what_is_inside() -> None:
    vague = re.compile(r"utils?|helpers?|common|misc|manager", re.IGNORECASE)
    assert not [path for path in [*SOURCES, *APP] if vague.fullmatch(path.stem)]
    managers = re.compile(r"^class \w*Manager\b", re.MULTILINE)
    assert not [path for path in SOURCES if managers.search(path.read_text())]


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("ptviz.cli", ("torch", "transformers", "streamlit", "pandas")),
        ("ptviz.worker.process", ("streamlit", "plotly")),
        ("ptviz.methods", ("torch", "numpy", "pandas", "streamlit")),
        ("ptviz.backbones.listing", ("torch", "numpy", "transformers")),
        ("ptviz.runs", ("torch", "pandas", "scipy", "streamlit")),
        ("ptviz.tasks", ("transformers", "streamlit")),
        # Pages that are drawn while another thread imports torch: two that import it at once may both fail.
        ("ptviz.ui.train.run_form", ("torch",)),
    ],
)
def test_importing_stays_light(module: str, unwanted: tuple[str, ...]) -> None:
    """Contracts see import statements; this sees what really gets loaded."""
    script = f"import sys, {module}; print(*set({unwanted!r}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not done.stdout.split()


def test_the_library_opens_from_one_name() -> None:
    assert all(getattr(ptviz, name) is not None for name in ptviz.__all__)
    assert set(ptviz.__all__) <= set(dir(ptviz))
    with pytest.raises(AttributeError, match="load_backbone"):
        _ = ptviz.load_backbones


def test_the_version_is_said_once() -> None:
    assert version("ptviz") == ptviz.__version__


def pins() -> dict[str, Version]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(pin.name): Version(str(pin.specifier).removeprefix("==")) for pin in found}


def test_constraints_pin_what_pyproject_asks_for() -> None:
    pinned, extras = pins(), PROJECT["optional-dependencies"]
    assert str(pinned[canonicalize_name("torch")]) == "2.13.0"
    for line in [*PROJECT["dependencies"], *extras["embedded"], *extras["test"]]:
        wanted = Requirement(line)
        pin = pinned.get(canonicalize_name(wanted.name))
        assert pin is not None, f"constraints.txt does not pin {wanted.name}"
        assert pin in wanted.specifier, f"constraints.txt pins {wanted.name}=={pin}; pyproject asks for {line}"
    assert all("+" not in str(pin) for pin in pinned.values()), "a local version exists on one machine only"
