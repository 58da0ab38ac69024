"""README and docs agree with the code: tables are generated, links resolve, commands exist, examples run."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ptviz
from ptviz.backbones.families import families_table
from ptviz.checkpoints.formats.named_tensors import StoredTensors
from ptviz.cli import run, shell
from ptviz.engine.train_job import method_facts
from ptviz.methods import REGISTRY, build_method
from ptviz.runs import RunConfig, Store
from ptviz.runs.environment import describe_environment
from ptviz.runs.status import Status
from ptviz.tasks import TableOptions
from ptviz.tasks.benchmark_sets.sets import BENCHMARK_SETS, BenchmarkSet
from ptviz.tasks.metrics import METRICS
from ptviz.training import TrainConfig
from ptviz.training.events import PLAIN_EVENTS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
RESULTS, METHODS, STORAGE, PYTHON = (
    (ROOT / "docs" / name).read_text() for name in ("results.md", "methods.md", "storage.md", "guides/python.md")
)


def marked(text: str, name: str) -> str:
    """The part of a page between ``<!-- name: ... -->`` and ``<!-- /name -->``."""
    return text.split(f"<!-- {name}:", 1)[1].split("-->", 1)[1].split(f"<!-- /{name} -->", 1)[0].strip()


def test_the_table_of_methods_is_generated(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["methods", "--markdown"]) == 0
    expected = capsys.readouterr().out.strip()
    assert marked(METHODS, "methods") == expected, "run: ptviz methods --markdown, and paste it in docs/methods.md"


def test_the_table_of_findings_is_generated(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["findings", "--markdown"]) == 0
    expected = capsys.readouterr().out.strip()
    assert marked(RESULTS, "findings") == expected, "run: ptviz findings --markdown, and paste it in docs/results.md"


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    for m in METRICS.values():
        row = f"| `{m.name}` | {m.title} | {m.kind} | {m.low} to {m.high} | {m.definition} | {m.source} |"
        assert row in text, f"docs/metrics.md lacks this row:\n{row}"
    assert len(re.findall(r"^\| `", text, re.M)) == len(METRICS)


def named_set_row(name: str, entry: BenchmarkSet) -> str:
    """Return a benchmark set as a row of docs/benchmark-sets.md."""
    answer = {
        "classification": ", ".join(label.word for label in entry.labels.values()),
        "choice": f"one of {len(entry.choices)} choices",
        "text": "a text",
    }[entry.kind]
    papers = ", ".join(REGISTRY[method].card.title for method in entry.papers) or "none"
    fields = ", ".join(f"`{field}`" for field in entry.fields)
    cells = (f"`{name}`", entry.title, entry.source, fields, answer, METRICS[entry.metric].title, f"{entry.rows:,}")
    return f"| {' | '.join(cells)} | {papers} |"


def test_the_table_of_named_sets_is_that_of_the_code() -> None:
    expected = "\n".join(named_set_row(name, entry) for name, entry in BENCHMARK_SETS.items())
    table = re.findall(r"^\| `.*$", (ROOT / "docs" / "benchmark-sets.md").read_text(), re.M)
    assert "\n".join(table) == expected, f"put these rows in docs/benchmark-sets.md:\n{expected}"


def test_the_tables_of_families_are_generated() -> None:
    text = (ROOT / "docs" / "families.md").read_text()
    assert marked(text, "families") == families_table(), f"put this in docs/families.md:\n{families_table()}"


def test_the_readme_stays_short() -> None:
    assert len(README.splitlines()) <= 150
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 60


def test_the_readme_names_every_method_with_its_paper() -> None:
    linked = re.findall(r"\[([^\]]+)\]\((https://[^)]+)\)", README.partition("## Methods")[2].partition("\n## ")[0])
    assert linked == [(method.card.title, method.card.url) for method in REGISTRY.values()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_resolves(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.S)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith(("https://", "mailto:"))]
    assert page.name != "README.md" or links
    for link in links:
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), f"{page.relative_to(ROOT)} links to {link}, which is not there"
        assert not anchor or anchor in anchors(target), f"{page.relative_to(ROOT)}: no heading {anchor} in {path}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as Markdown renderers make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_it_names_exists(page: Path) -> None:
    named = re.findall(r"`((?:ptviz|tests|pages|docs)/[\w./-]+)`", page.read_text())
    yours = ("/mine.py", "test_mine.py", "/NAME.py")  # the reader's own files, in the guides to extending
    missing = [name for name in named if not (ROOT / name).exists() and not name.endswith(yours)]
    assert not missing


def test_every_page_is_reached_from_the_readme() -> None:
    linked = {(ROOT / link).resolve() for link in re.findall(r"\]\((docs/[^)#]+\.md)", README)}
    inner = {ROOT / "docs" / "index.md", *(ROOT / "docs" / "api").glob("*.md")}  # of the site, see mkdocs.yml
    assert set((ROOT / "docs").rglob("*.md")) - inner == linked


def test_every_picture_has_a_description() -> None:
    pictures = [(page, *found) for page in PAGES for found in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text())]
    assert any(page.name == "README.md" for page, _, _ in pictures)
    assert all(len(words.split()) > 4 for _, words, _ in pictures)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_it_names_exists(page: Path) -> None:
    known = {command.name for command in shell.registered_commands}
    blocks = "\n".join(re.findall(r"```sh.*?```|`ptviz[^`]*`", page.read_text(), re.S))
    named = set(re.findall(r"\bptviz (?!=)([a-z]+)", blocks))
    assert named or page.name != "README.md"
    assert named <= known


def python_blocks(text: str) -> list[str]:
    """The Python examples of a page."""
    return re.findall(r"```python\n(.*?)```", text, re.S)


def small(code: str) -> str:
    """An example on a tiny backbone, with few steps and rows."""
    return code.replace('"minilm-l6"', '"tiny-encoder"').replace("steps=200", "steps=2, train_rows=32, test_rows=16")


def test_the_example_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = python_blocks(README)  # The other one is run where adapters are.
    assert len(code.strip().splitlines()) <= 12
    exec(compile(small(code), "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "Finished(" in printed
    assert "tensor(" in printed


def test_the_guide_to_python_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PTVIZ_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    stored(tmp_path)
    names: dict[str, Any] = {}
    for code in python_blocks(PYTHON):
        exec(compile(small(code), "docs/guides/python.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "Finished(" in printed
    assert "a stored run finished" in printed


def stored(home: Path) -> None:
    """Put a finished run of two steps in a store."""
    from ptviz.engine.train_job import execute_run

    training = TrainConfig(steps=2, train_rows=16, validation_rows=8, test_rows=8, length=16)
    config = RunConfig(backbone="tiny-encoder", task="sms", name="a stored run", training=training)
    execute_run(Store(home / "runs").create(config).path)


def test_the_method_of_the_guide_trains() -> None:
    [code] = python_blocks((ROOT / "docs" / "extend" / "method.md").read_text())
    try:
        exec(compile(code, "docs/extend/method.md", "exec"), {"__name__": "scaled"})
        backbone, task = ptviz.load_backbone("tiny-encoder"), ptviz.load_task("sms")
        method = build_method("scaled", backbone.make_spec(length=16), {"m": 3, "scale": 2.0})
        before = {name: part.tensor.detach().clone() for name, part in method.tensors().items()}
        for event in ptviz.train(method, backbone, task, steps=2, train_rows=16, validation_rows=8, test_rows=8):
            last = event
    finally:
        REGISTRY.pop("scaled", None)
    assert last.kind == "finished"
    assert all(not torch.equal(before[name], part.tensor) for name, part in method.tensors().items())
    assert method.trainable_parameters() == 3 * backbone.width + 3


def test_the_reader_of_the_guide_reads() -> None:
    [code] = python_blocks((ROOT / "docs" / "extend" / "checkpoint-format.md").read_text())
    names: dict[str, Any] = {}
    exec(compile(code, "docs/extend/checkpoint-format.md", "exec"), names)
    array = np.ones((5, 8), dtype=np.float32)
    assert not names["detect"](StoredTensors("file", "npz", {"other": array}))
    state = StoredTensors("file", "npz", {"model.my_prompt": array})
    assert names["detect"](state)
    bundle = names["read"](state)
    assert (bundle.tensors["P"].axes, bundle.tensors["P"].array.shape) == (("m", "d"), (5, 8))


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "extend").glob("*.md")), ids=lambda page: page.stem)
def test_the_guides_to_extending_name_what_is_there(page: Path) -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "ptviz").rglob("*.py"))
    text = page.read_text()
    code = "\n".join(re.findall(r"```.*?```", text, re.S))
    named = re.findall(r"`([A-Za-z]\w+)(?:\([^`]*\))?`", re.sub(r"```.*?```", "", text, flags=re.S))
    names = [name for name in named if "_" in name or name != name.lower()]
    missing = [name for name in names if not re.search(rf"\b{name}\b", source + code)]
    others = {"draw_x", "describe_x", "plot_x", "NOTICE"}
    assert set(missing) <= others


def documented(heading: str) -> dict[str, str]:
    """The rows of the first table below a heading of docs/storage.md, or a line of its text: first cell to second."""
    below = STORAGE.partition(f"\n{heading}\n")[2]
    table = re.search(r"((?:^\|.*\n)+)", below, re.M)
    assert table is not None, heading
    rows = [line.strip("|\n ").split(" | ") for line in table[1].splitlines()[2:]]
    return {name: row[1] for row in rows for name in re.findall(r"`([^`]+)`", row[0])}


def test_the_layout_of_a_run_names_every_field() -> None:
    # Stored only where they are not the default.
    unusual = RunConfig(table=TableOptions(delimiter=";"), more_tasks=("sms",))
    assert set(documented("## config.json")) == set(unusual.to_json())
    assert set(documented("`training`:")) == set(TrainConfig().to_json())
    assert set(documented("## status.json")) == set(Status("queued").to_json())
    method = build_method("prompt-tuning", ptviz.load_backbone("tiny-encoder").make_spec())
    facts = describe_environment(torch.device("cpu"), torch.float32, 0) | method_facts(method, RunConfig())
    others = {"dtype_choice", "memory", "metric", "metrics", "notes", "tables", "backbone_files"}
    assert set(documented("## environment.json")) == {*facts, *others}


def test_the_layout_of_a_run_names_every_event() -> None:
    named = {kind: set(re.findall(r"`([^`]+)`", cell)) for kind, cell in documented("## events.jsonl").items()}
    places = {"snapshot": {"stage", "step"}, "resumed": {"stage", "step", "steps"}}
    assert named == {kind: {field.name for field in fields(event)} for kind, event in PLAIN_EVENTS.items()} | places


def test_the_layout_of_a_run_names_every_file(tmp_path: Path) -> None:
    stored(tmp_path)
    [folder] = [path for path in (tmp_path / "runs").iterdir() if not path.name.startswith(".")]
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "status.json", "events.jsonl", "predictions.parquet"} <= names
    layout = STORAGE.partition("one run; the name is its id")[2].partition(".worker/")[0]
    assert names <= set(re.findall(r"[\w.]+", layout))
