"""Damage to the files of a run: each wrong value in each place, and bytes that are lost or flipped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from hypothesis import strategies as st

from ptviz.runs import Run, RunConfig, RunWriter, Store
from ptviz.runs.saved_prompts import save_prompt
from ptviz.training import TrainConfig
from ptviz.training.events import (
    Baselines,
    Evaluated,
    Finished,
    Snapshot,
    SourcePromptReady,
    StageStarted,
    StepCompleted,
)

ESCAPES = "\x1b[31mred\x1b]0;title\x07\x9b1mC1\x85\u202ereversed\u2066\x00\b\x7f"
"""What a terminal obeys: colours, its title, C1 codes, text direction, backspace."""

WRONG_VALUES: tuple[str, ...] = (
    "null", "true", "false", "-1", "0", "1", "1.5", "1e308", "-1e308", "1e999", "NaN", "Infinity", "-Infinity",
    "9" * 400, str(2**63), str(2**31), str(-(2**64)), '""', '"x"', '"1"', "[]", "[1]", "[[1]]", "{}",
    '{"a": {"b": [1]}}', '"\\ud800"', '"\\ude00\\ud800"', '"\\u0000"', json.dumps(ESCAPES), json.dumps("x" * 20_000),
    json.dumps("a/../../b"),
    "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000, "[" * 900 + "]" * 900,
    json.dumps([1] * 20_000), json.dumps({str(i): i for i in range(5_000)}), "0.5", "1.0000001", "2030", "-0.0",
)  # fmt: skip
"""JSON text to stand in the place of a value."""


def make_run(store: Store, name: str = "a run", made: int = 8, seed: int = 0, **changes: Any) -> Run:
    """A finished run with every file that a run can have, in milliseconds."""
    training = TrainConfig(steps=made, seed=seed, evaluate_every=4, snapshot_every=4)
    settings: dict[str, Any] = {"backbone": "tiny-encoder", "task": "trec6", "hyperparameters": {"m": 2}, **changes}
    run = store.create(RunConfig(name=name, training=training, **settings))
    state = {"P": torch.linspace(-1, 1, 64).reshape(2, 32)}
    with RunWriter(run) as writer:
        writer.axes = {"P": ("m", "d")}
        writer.begin(None)
        writer.write_environment({"ptviz": "0", "torch": "2", "lr": 0.1, "trained": 64, "stored": 64, "memory": None})
        writer.write_event(SourcePromptReady("agnews", "other-run", 0.5, True))
        writer.write_event(StageStarted(0, "tune", made))
        for step in range(made + 1):
            writer.write_event(StepCompleted(0, step, 2.0 - step / made, 0.05, 1.0, step / 10, (0.5, 0.5)))
            if step == 0:
                writer.write_event(Baselines(0.26, 0.38, 1.7))
            if step % 4 == 0:
                writer.write_event(Evaluated(0, step, 1.5, 0.3 + 0.4 * step / made, True, step / 10))
                progress = {"stage": 0, "step": step, "best_accuracy": 0.5, "best_loss": 1.5, "stale": 0}
                writer.write_event(Snapshot(0, step, state, {"best/P": state["P"]}, progress))
        writer.write_event(Finished(0.7, 0.65, 0.6, 0.26, 0.38, made, made, 2.0, 10.0))
    table = {"text": ["a", "b"], "label": ["x", "y"], "predicted": ["x", "x"], "p(x)": [0.9, 0.6], "p(y)": [0.1, 0.4]}
    pd.DataFrame(table).to_parquet(run.path / "predictions.parquet")
    store.annotate(run.id, tags=["a", "b c"], notes="two\nlines", pinned=True)
    return run


def make_saved_prompt(store: Store) -> str:
    """A saved prompt of two tokens."""
    origin = {"file": "x.npz", "says": {"tensor": "P"}}
    return save_prompt(
        store.prompts_folder, {"embeddings": torch.ones(2, 32)}, "saved", "tiny-encoder", None, origin
    ).id


def files_of(run: Run) -> list[Path]:
    """Every file of a run that holds data."""
    return sorted(path for path in run.path.rglob("*") if path.is_file() and path.stat().st_size)


def json_places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each value of a JSON document, the whole included."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from json_places(one, (*at, key))


def with_value(document: Any, at: tuple[Any, ...], text: str) -> bytes:
    """The document as JSON with this text in the place of one value."""
    mark = "a mark that stands nowhere else"
    changed = json.loads(json.dumps(document))
    inner = {"": changed}
    place: Any = inner
    last: Any = ""
    for key in at:
        place, last = place[last], key
    place[last] = mark
    return json.dumps(inner[""]).replace(json.dumps(mark), text).encode("utf-8", "surrogatepass")


@st.composite
def damaged(draw: st.DrawFn, name: str, content: bytes) -> bytes:
    """The content of a file with one thing wrong."""
    ways = ["cut", "flip", "junk"]
    ways += ["value", "value", "value", "value", "key"] if name.endswith((".json", ".jsonl")) else ["flip", "header"]
    match draw(st.sampled_from(ways)):
        case "cut":
            return content[: draw(st.integers(0, len(content) - 1))]
        case "flip":
            at = draw(st.integers(0, len(content) - 1))
            return content[:at] + bytes([content[at] ^ 1 << draw(st.integers(0, 7))]) + content[at + 1 :]
        case "header":  # where safetensors and Parquet have their lengths
            size = min(len(content), 400)
            at = draw(
                st.sampled_from([draw(st.integers(0, size - 1)), len(content) - size + draw(st.integers(0, size - 1))])
            )
            return content[:at] + draw(st.binary(min_size=1, max_size=8)) + content[at + 8 :]
        case "junk":
            return draw(st.binary(max_size=60))
        case way:
            return draw(_damaged_json(name, content, way))


@st.composite
def _damaged_json(draw: st.DrawFn, name: str, content: bytes, way: str) -> bytes:
    lines = content.splitlines(keepends=True) if name.endswith(".jsonl") else [content]
    number = draw(st.integers(0, len(lines) - 1))
    document = json.loads(lines[number])
    at = draw(st.sampled_from([*json_places(document)]))
    if way == "key" and isinstance(document, dict) and document:
        key = draw(st.sampled_from(sorted(document)))
        document = {other: value for other, value in document.items() if other != key}
        if draw(st.booleans()):
            document[draw(st.sampled_from(["x", "", ESCAPES, "event"]))] = 1
        lines[number] = json.dumps(document).encode() + b"\n"
    else:
        lines[number] = with_value(document, at, draw(st.sampled_from(WRONG_VALUES))) + b"\n"
    return b"".join(lines)


def replace_content(path: Path, content: bytes) -> None:
    """Replace a file as another process does: a new file under the old name."""
    part = path.with_name(f".{path.name}.{os.getpid()}.test")
    part.write_bytes(content)
    part.replace(path)
