"""No text of a run, a bundle or a checkpoint reaches the terminal as something that a terminal obeys."""

from __future__ import annotations

import ast
import io
import json
import logging
import threading
import unicodedata
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit.config
import streamlit.error_util
import streamlit.logger
import torch
from safetensors.torch import save_file

from ptviz import cli
from ptviz.runs import Store
from ptviz.runs.archive import pack_run
from ptviz.safe_text import escape_hidden, escape_hidden_json, escape_log_records, safe_text
from tests.damaged_files import ESCAPES, make_run

Shell = Callable[..., Any]


def hidden(text: str) -> list[str]:
    """What a terminal would obey, or a reader would not see, but for line breaks and the tabs between cells."""
    return [c for c in text if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


def poisoned(value: Any, key: str = "") -> Any:
    """A JSON document with escapes in each of its texts that is no name of something ptviz looks up."""
    if isinstance(value, dict):
        return {name: poisoned(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner, key) for inner in value]
    fixed = ("event", "state", "method", "optimiser", "schedule", "dtype", "backbone_dropout", "init")
    return ESCAPES + value if isinstance(value, str) and key not in fixed else value


@pytest.fixture
def run(home: Path) -> str:
    """A run whose every text field holds escapes."""
    run = make_run(Store(), text="text", label="label")
    for path in (run.path / f"{name}.json" for name in ("config", "status", "environment", "annotations")):
        path.write_text(json.dumps(poisoned(json.loads(path.read_text()))))
    lines = [json.dumps(poisoned(json.loads(line))) for line in (run.path / "events.jsonl").read_text().splitlines()]
    lines.insert(3, json.dumps({"event": "step", ESCAPES: ESCAPES, "stage": ESCAPES}))
    (run.path / "events.jsonl").write_text("\n".join(lines) + "\n")
    assert ESCAPES in run.config.name
    assert ESCAPES in run.status().reason
    return run.id


def commands(run: str, folder: Path) -> list[tuple[str, ...]]:
    """Every command that prints what a run, a bundle or a checkpoint says."""
    return [
        ("runs",), ("show", run), ("note", run), ("errors", run), ("report", run, "-o", str(folder / "report.html")),
        ("doctor",), ("compare", "--dry-run"), ("findings",), ("transfer", "--runs", run),
        ("predict", run, "a text"), ("export", run, str(folder / "out.npz")),
        ("export", run, "--to", "bundle", str(folder / "out.zip")),
        ("export", run, "--to", "peft", str(folder / "peft")),
        ("train", "--resume", run), ("train", "--branch", f"{run}:0:4"), ("import", str(folder / "run.zip")),
        ("import", str(folder / "run.zip"), "--task", "trec6"), ("inspect", str(folder / "run.zip")),
        ("inspect", str(folder / "prompt.safetensors")), ("import", str(folder / "prompt.safetensors")),
        ("inspect", str(folder / "\x1b[31mred.npz")), ("show", ESCAPES),
        ("train", "prompt-tuning", "--task", ESCAPES),
    ]  # fmt: skip


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_no_command_prints_an_escape(run: str, options: tuple[str, ...], shell: Shell, tmp_path: Path) -> None:
    store = Store()
    pack_run(store.get(run), tmp_path / "run.zip")
    metadata = {"format": ESCAPES, "title": ESCAPES, ESCAPES: "x"}
    save_file({f"prompt{ESCAPES}": torch.ones(4, 8)}, tmp_path / "prompt.safetensors", metadata=metadata)
    broken = make_run(store, "broken")
    (broken.path / "config.json").write_text(json.dumps({ESCAPES: 1}))
    shown = 0
    for words in commands(run, tmp_path):
        answer = shell(*words, *(options if words[0] != "doctor" else ()))
        assert not hidden(answer.out + answer.err), words
        assert "internal error" not in answer.err, (words, answer.err)
        shown += "red" in answer.out + answer.err
        if options and answer.code == 0 and words[0] != "doctor":
            json.loads(answer.out)
    assert shown > 8, "the texts are shown, as escapes"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a plain handler of the root logger and of Streamlit's writes, once log records are escaped."""
    factory, hook = logging.getLogRecordFactory(), threading.excepthook
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    loggers = [logging.getLogger(), streamlit.logger.get_logger("streamlit.error_util")]
    for logger in loggers:
        logger.addHandler(handler)
    # An earlier test may have begun to capture warnings, which pytest undid behind logging's back.
    logging.captureWarnings(False)
    escape_log_records()
    yield written
    for logger in loggers:
        logger.removeHandler(handler)
    logging.setLogRecordFactory(factory)
    logging.captureWarnings(False)
    threading.excepthook = hook


def fail() -> None:
    try:
        raise KeyError(ESCAPES)
    except KeyError as error:
        raise ValueError(f"the file says {ESCAPES}") from error


def test_no_log_line_or_traceback_of_the_server_has_an_escape(log: io.StringIO) -> None:
    try:
        fail()
    except ValueError as error:
        logging.getLogger("ptviz.x").error("%s of %r\n\tand more", ESCAPES, ESCAPES, exc_info=error, stack_info=True)
        assert not streamlit.config.get_option("logger.enableRich"), "rich prints a message as it is"
        streamlit.error_util._log_uncaught_app_exception(error)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(ESCAPES, stacklevel=1)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    text = log.getvalue()
    assert not hidden(text)
    assert text.count("Traceback") == 6
    assert text.count(escape_hidden(ESCAPES)) >= 9, "the texts are shown, as escapes"
    assert "\n\tand more\n" in text


def test_escaped_json_is_the_same_document() -> None:
    text = json.dumps({ESCAPES: ESCAPES + "\U000e0001 é 日本"}, ensure_ascii=False)
    assert not hidden(escape_hidden_json(text))
    assert json.loads(escape_hidden_json(text)) == json.loads(text)


def test_ordinary_text_stays_as_it_is() -> None:
    for text in ("Prüfung 日本語\u3000", "क्\u200cष", "👩\u200d🔬", "a\xa0b"):
        assert escape_hidden(text) == text
    assert escape_hidden("a\x1b[0m\nb", keep="\n") == "a\\x1b[0m\nb"
    assert safe_text("a\x9b\n\tb" + "x" * 100, 10) == "a\\x9b bxx…"


def test_commands_print_through_one_module() -> None:
    """What is printed elsewhere would not be escaped."""
    folder = Path(cli.__file__).parent
    for path in folder.glob("*.py"):
        names = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
        assert path.name == "output.py" or not names & {"print", "typer.echo", "sys.stdout.write"}, path.name


def test_a_bundle_of_escapes_is_a_zip(run: str, tmp_path: Path) -> None:
    pack_run(Store().get(run), tmp_path / "run.zip")
    with zipfile.ZipFile(tmp_path / "run.zip") as archive:
        assert ESCAPES in json.loads(archive.read("config.json"))["name"]
