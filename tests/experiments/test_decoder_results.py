"""The table of results on a decoder: baselines, runs that are recorded once, and what is printed."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ptviz.backbones import load_backbone
from ptviz.experiments import decoder_results
from ptviz.experiments.decoder_results import DecoderResult, format_table, read_results, run_missing, score_baseline
from ptviz.tasks import load_task
from ptviz.training.batches import EncodedExamples
from ptviz.training.config import TrainConfig

CONFIG = TrainConfig(steps=2, batch=4, lr=0.01, validation_rows=8, test_rows=8)


def result(method: str, test: float, seed: int = 1, task: str = "mcid", lr: float = 0.02) -> DecoderResult:
    lr = 0.0 if method in decoder_results.BASELINES else lr
    return DecoderResult("smollm2-135m", method, task, seed, 60 if lr else 0, 8, lr, test, 1.0)


def test_the_results_show_the_record() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "results.md").read_text()
    table = re.search(r"<!-- decoder: .*? -->\n(.*?)<!-- /decoder -->", text, re.S)
    assert table is not None
    command = "python -m ptviz.experiments.decoder_results --table"
    assert table[1].strip() == format_table(read_results(), decoder_results.TASKS), f"run: {command}"


def test_the_table_shows_baselines_first_and_every_seed() -> None:
    rows = [result("prompt-tuning", 0.5, 2), result("prompt-tuning", 0.7, 1), result("zero-shot", 0.25, 0)]
    assert format_table(rows, ["mcid", "sms"]).splitlines()[2:] == [
        "| *zero-shot* |  | 0.250 |  |",
        "| `prompt-tuning` | 0.02 | 0.600 (0.700, 0.500) |  |",
    ]


def test_runs_at_the_default_rate_replace_those_at_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_results, "default_learning_rate", lambda method, backbone: 0.05)
    rows = [result("prompt-tuning", 0.5, lr=0.02), result("prompt-tuning", 0.6, lr=0.05), result("dept", 0.4, lr=0.01)]
    rows.append(result("dept", 0.3, lr=0.02))
    assert format_table(rows, ["mcid"]).splitlines()[2:] == [
        "| `prompt-tuning` | 0.05 | 0.600 |",
        "| `dept` | 0.02 | 0.300 |",
    ]


def test_another_rate_is_another_result(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    for lr in (0.01, 0.01, 0.1):
        run_missing("tiny-decoder", ["mcid"], ["prompt-tuning"], [1], replace(CONFIG, lr=lr), path)
    assert [one.lr for one in read_results(path) if one.method == "prompt-tuning"] == [0.01, 0.1]


def test_examples_in_the_context_end_with_their_label_words() -> None:
    task, backbone = load_task("mcid"), load_backbone("tiny-decoder")
    rows = EncodedExamples(backbone, task, task.test[:3], 0, 64)
    shown = task.train[:2]
    found = rows.in_context(shown, 64)
    end = backbone.tokenise("\n") or [backbone.tokeniser.eos_token_id]
    ids: list[int] = []
    for example in shown:
        own = EncodedExamples(backbone, task, [example], 0, 64).examples[0].ids
        ids += [*own, *backbone.tokenise(f" {task.label_words[example.label]}"), end[0]]
    for row, plain in zip(found.examples, rows.examples, strict=True):
        assert row.ids == ids + plain.ids
        assert row.readout_mask[-1]


def test_results_are_recorded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    run_missing("tiny-decoder", ["mcid"], ["prompt-tuning"], [1, 2], CONFIG, path)
    found = read_results(path)
    assert [(one.method, one.seed) for one in found] == [
        ("majority", 0), ("zero-shot", 0), ("in context", 1), ("in context", 2), ("prompt-tuning", 1),
        ("prompt-tuning", 2),
    ]  # fmt: skip
    task = load_task("mcid")
    assert found[2].test == pytest.approx(
        score_baseline("in context", load_backbone("tiny-decoder"), task, CONFIG, 1), abs=1e-4
    )

    def fail(*arguments: Any, **more: Any) -> None:
        raise AssertionError("a recorded run was trained again")

    monkeypatch.setattr(decoder_results, "train", fail)
    run_missing("tiny-decoder", ["mcid"], ["prompt-tuning"], [1, 2], CONFIG, path)
    assert read_results(path) == found


def test_a_negative_correlation_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps([vars(result("prompt-tuning", -0.02, task="glue:cola"))]))
    assert [one.test for one in read_results(path)] == [-0.02]
