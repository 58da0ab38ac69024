"""A method from another package: form, command line, figures and contract tests accept it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import ptviz
from ptviz import plots
from ptviz.engine.train_job import execute_run
from ptviz.entry_points import load_entry_points
from ptviz.executors.local import LocalExecutor
from ptviz.methods import REGISTRY
from ptviz.methods.declaration import check_declaration, load_method_entry_point
from ptviz.methods.hyperparameters import hyperparameters_of
from ptviz.runs import Store
from ptviz.ui import backend
from tests.app_server import HANGS_SECONDS
from tests.contract import test_declarations, test_training

PACKAGE = Path(__file__).parent / "scaled_prompt_package"
ROOT = Path(ptviz.__file__).parents[1]
Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a module and its entry points where Python finds installed packages; returns the folder."""
    site, before = tmp_path / "site", dict(REGISTRY)
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    modules = set(sys.modules)

    def put(package: str, group: str, points: dict[str, str], module: str = "", source: str = "") -> Path:
        info = site / f"{package.replace('-', '_')}-0.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1\n")
        lines = "".join(f"{name} = {target}\n" for name, target in points.items())
        (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")
        if module:
            (site / f"{module}.py").write_text(source)
        return site

    yield put
    REGISTRY.clear()
    REGISTRY.update(before)
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(site)):
            del sys.modules[name]


@pytest.fixture
def scaled(install: Install) -> Path:
    """The example package, installed in a folder of its own."""
    site = install("scaled-prompt", "ptviz.methods", {"scaled": "scaled_prompt:ScaledPrompt"})
    shutil.copy(PACKAGE / "scaled_prompt.py", site)
    return site


@pytest.fixture
def loaded(scaled: Path) -> str:
    """The example method in this process's registry."""
    assert "scaled" not in REGISTRY
    load_entry_points("ptviz.methods", load_method_entry_point)
    return "scaled"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Return sixty short questions about two things."""
    path = tmp_path / "questions.csv"
    rows = [f"who wrote book number {i},person\nwhere is town number {i},place" for i in range(30)]
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    return path


def command(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "ptviz", *words],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command_line_lists_and_trains_it(scaled: Path, home: Path, table: Path) -> None:
    listed = command(scaled, "methods", "--json")
    assert listed.returncode == 0, listed.stderr
    assert json.loads(listed.stdout)[-1]["name"] == "scaled", "after those of the survey"
    options = ["--backbone", "tiny-encoder", "--task", str(table), "--steps", "2", "--batch", "4", "--set", "scale=0.5"]
    trained = command(scaled, "train", "scaled", *options, "--json")
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout)["trained"] == 10 * 32 + 10


def test_the_contract_tests_take_it(loaded: str) -> None:
    method = REGISTRY[loaded]
    check_declaration(method)
    test_declarations.test_the_card_is_complete(loaded)
    test_declarations.test_the_module_names_its_equation_and_source(loaded)
    test_declarations.test_tensors_fit_the_names_of_their_axes(loaded)
    test_declarations.test_stages_are_data(loaded)
    test_declarations.test_constructors_take_only_a_spec_and_hyperparameters(loaded)
    for info in hyperparameters_of(method).values():
        test_declarations.test_hyperparameters_can_be_read(loaded, info)
        test_declarations.test_methods_work_at_the_bounds_of_every_hyperparameter(loaded, info)
        test_declarations.test_bad_values_are_refused_by_name(loaded, info)


def test_the_training_contract_takes_it(loaded: str, tmp_path: Path) -> None:
    family = "tiny-encoder"
    test_training.test_every_parameter_moves_in_some_stage(loaded, family)
    test_training.test_a_state_dict_is_the_finished_method(loaded, family, tmp_path)
    test_training.test_evaluation_is_deterministic(loaded, family)
    test_training.test_the_prompt_matters(loaded, family)
    test_training.test_static_prompts_ignore_the_batch(loaded, family)
    test_training.test_a_row_does_not_depend_on_its_batch(loaded, family)


def test_the_figures_draw_it(loaded: str) -> None:
    assert "Scaled Prompt" in plots.plot_taxonomy().to_svg()
    assert "Scaled Prompt" in plots.plot_method(loaded).to_svg()
    assert "Scaled Prompt" in plots.plot_framework().to_svg()
    counts = plots.plot_parameter_cost(loaded, "m").data[0]
    assert counts.y[list(counts.x).index(10)] == 10 * 384 + 10


def test_the_form_lists_it_and_starts_a_run(loaded: str, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalExecutor, "ensure_worker", lambda executor: None)
    backend.clear_caches()
    at = AppTest.from_file(str(ROOT / "pages" / "index.py"), default_timeout=HANGS_SECONDS).run()
    at.switch_page("train/new_run.py")
    query = {"method": loaded, "backbone": "tiny-encoder", "from": "my own table", "path": str(table), "steps": "2"}
    for name, value in query.items():
        at.query_params[name] = value
    at.run()
    at.button(key="open-path").click().run()
    assert "Scaled Prompt" in at.selectbox(key="method").options
    at.number_input(key="scaled-m").set_value(3)
    at.number_input(key="scaled-scale").set_value(0.5).run()
    at.button(key="start").click().run()
    assert not at.exception
    (summary,) = backend.get_store().list()
    assert summary.config.hyperparameters == {"m": 3, "scale": 0.5}
    run = Store().get(summary.id)
    execute_run(run.path)
    assert run.status().state == "finished"
    backend.clear_caches()


GOOD = (PACKAGE / "scaled_prompt.py").read_text()
BROKEN = {
    "raises while it is imported": ("raise RuntimeError('not today')", "RuntimeError: not today"),
    "leaves the program": ("raise SystemExit(3)", "SystemExit: 3"),
    "has no such class": ("", "AttributeError"),
    "is no method": ("ScaledPrompt = 3", "expected a subclass of PromptMethod; got 3"),
    "has a plain argument": (GOOD.replace("scale: Scale = 1.0", "scale: float = 1.0"), "ScaledPrompt.scale needs"),
    "has another name": (GOOD.replace('name="scaled"', 'name="other"'), "got 'other'"),
    "has a name that is taken": (GOOD.replace('name="scaled"', 'name="smop"'), "registered already"),
    "has an incomplete card": (GOOD.replace("https://example.org/scaled\",", '",'), "url: expected"),
    "has no forward": (GOOD.replace("def forward", "def other"), "expected a method that defines forward"),
    "has no slots": (GOOD.replace("self.slots = m", "pass"), "slots"),
    "has a stage of unknown tensors": (
        GOOD + "\n    def stages(self):\n        from ptviz.methods import Stage, task_objective\n"
        "        return (Stage('tune', task_objective(self), lr_scales={'Q': 1.0}),)\n",
        "lr_scales names Q",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_package_is_left_out_with_one_warning(
    install: Install, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    source, reason = BROKEN[fault]
    before = dict(REGISTRY)
    install("bad-prompts", "ptviz.methods", {"scaled": "bad_prompts:ScaledPrompt"}, "bad_prompts", source)
    with caplog.at_level(logging.WARNING):
        load_entry_points("ptviz.methods", load_method_entry_point)
    (record,) = caplog.records
    message = record.getMessage()
    assert "'scaled'" in message
    assert "bad-prompts" in message
    assert reason in message
    assert dict(REGISTRY) == before
    assert list(REGISTRY) == list(before)


def test_the_command_line_works_with_a_broken_package(install: Install) -> None:
    site = install("bad-prompts", "ptviz.methods", {"bad": "bad_prompts:Bad"}, "bad_prompts", "1 / 0")
    listed = command(site, "methods", "--json")
    assert listed.returncode == 0
    assert [method["name"] for method in json.loads(listed.stdout)] == list(REGISTRY)
    assert listed.stderr.count("bad-prompts") == 1
    assert "Traceback" not in listed.stderr


def test_two_packages_cannot_share_a_name(scaled: Path, install: Install, caplog: pytest.LogCaptureFixture) -> None:
    install("twin", "ptviz.methods", {"scaled": "twin:ScaledPrompt"}, "twin", GOOD)
    load_entry_points("ptviz.methods", load_method_entry_point)
    assert REGISTRY["scaled"].__module__ in ("scaled_prompt", "twin")
    (record,) = caplog.records
    assert "taken" in record.getMessage()


def test_a_package_that_imports_ptviz_first_is_found_too(scaled: Path) -> None:
    code = "import scaled_prompt, ptviz.methods as m; print(m.REGISTRY['scaled'] is scaled_prompt.ScaledPrompt)"
    path = os.pathsep.join([str(scaled), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True"
    assert not done.stderr


DATA = """
from ptviz.backbones import BackboneInfo, ExternalBackbone, wrap_model
from ptviz.backbones.tiny import make_tiny_model, make_tiny_tokeniser
from ptviz.tasks import Example, ExternalTask, Task, TaskInfo

def load_backbone():
    return wrap_model("my-encoder", "My encoder", make_tiny_model("tiny-encoder"), make_tiny_tokeniser(), random=True)

def load_task(seed):
    rows = [Example(f"{('who wrote', 'where is')[i % 2]} number {i}", i % 2) for i in range(60)]
    return Task(
        name="asking", title="Asking words", family="test", classes=("person", "place"),
        label_words=("person", "place"), descriptions=("a person", "a place"), cue="Answer type:",
        train=tuple(rows[:40]), validation=tuple(rows[40:50]), test=tuple(rows[50:]), source="made up",
    )

info = BackboneInfo(
    name="my-encoder", title="My encoder", family="encoder", layers=2, parameters=0, random=True,
    width=32, sites=2, heads=4, head_width=8,
)
my_encoder = ExternalBackbone(info, load_backbone)
asking = ExternalTask(TaskInfo("asking", "Asking words", "test", 2, 60, True, "", "made up"), load_task)
spam = ExternalTask(TaskInfo("sms", "Spam", "test", 2, 60, True, "", "made up"), load_task)
"""


def test_a_backbone_and_a_task_of_another_package_are_listed_and_trained_on(install: Install) -> None:
    site = install("my-data", "ptviz.backbones", {"my-encoder": "my_data:my_encoder"}, "my_data", DATA)
    info = site / "my_data-0.1.dist-info" / "entry_points.txt"
    info.write_text(info.read_text() + "[ptviz.tasks]\nasking = my_data:asking\nsms = my_data:spam\n")
    backbones, tasks = (json.loads(command(site, kind, "--json").stdout) for kind in ("backbones", "tasks"))
    assert (backbones[-1]["name"], backbones[-1]["width"]) == ("my-encoder", 32)
    assert [task["name"] for task in tasks].count("asking") == 1
    options = ["--backbone", "my-encoder", "--task", "asking", "--steps", "2", "--batch", "4"]
    trained = command(site, "train", "prompt-tuning", *options, "--json")
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout)["trained"] == 10 * 32
    assert "leaves out 'sms' (entry point ptviz.tasks of my-data): ValueError: a task of this name" in trained.stderr
