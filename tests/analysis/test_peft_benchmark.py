"""PEFT's result files, from synthetic ones in their exact layout."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from ptviz.analysis import peft_benchmark as peft
from ptviz.analysis import peft_benchmark_files as reading
from ptviz.analysis.comparison import pareto_front, steps_to_reach, summarise_methods
from ptviz.checkpoints import CheckpointError
from tests.analysis.peft_results import GIB, result, written


def text(*args, **changes) -> str:
    return json.dumps(result(*args, **changes))


def test_a_file_becomes_a_run_result():
    found = peft.parse_result(text(test=0.37, seed=3))
    make_result = found.run_result
    assert (make_result.method, make_result.seed, make_result.test) == ("prompt_tuning/llama-3.2-3B-lr_0.001", 3, 0.37)
    assert (make_result.seconds, make_result.trained, make_result.memory, make_result.length) == (
        2404.5,
        61440,
        22 * GIB,
        20,
    )
    assert make_result.size == 2457728
    assert make_result.evaluated == tuple(range(250, 5001, 250))
    assert make_result.validation == max(make_result.accuracies)
    assert (found.kind, found.survey_method, found.lr, found.steps) == ("prompt_tuning", "prompt-tuning", 1e-3, 5000)
    assert (found.accelerator, found.backbone) == ("NVIDIA L40S", "meta-llama/Llama-3.2-3B")
    assert found.loss_steps == make_result.evaluated
    assert found.losses[0] == pytest.approx(0.6 + 0.6 * math.exp(-0.3))
    assert steps_to_reach(make_result.evaluated, make_result.accuracies, 0.95) == 3500


def test_old_field_names_are_read():
    found = peft.parse_result(text("full-finetuning/llama-3.2-3B-lr_0.00001", old=True))
    assert found.run_result.memory == 22 * GIB
    assert (found.accelerator, found.survey_method, found.run_result.length) == ("NVIDIA L40S", "", None)


@pytest.mark.parametrize(
    ("experiment", "peft_config", "ours"),
    [
        ("prefixtuning/a", {"peft_type": "PREFIX_TUNING", "prefix_projection": False}, "p-tuning-v2"),
        ("prefixtuning/b", {"peft_type": "PREFIX_TUNING", "prefix_projection": True}, "prefix-tuning"),
        ("ptuning/c", None, "p-tuning"),
        ("of-tomorrow/d", None, ""),
    ],
)
def test_peft_types_map_to_the_surveys_methods(experiment, peft_config, ours):
    assert peft.parse_result(text(experiment, peft=peft_config)).survey_method == ours


def test_invalid_numbers_are_left_out_and_an_unknown_size_is_none():
    content = result(file_size=99999999, num_trainable_params=10**400, train_time=math.nan)
    content["train_info"]["metrics"][3] |= {"train loss": math.nan, "valid accuracy": math.inf}
    content["train_info"]["metrics"][4] |= {"train loss": 1e400, "valid accuracy": 7, "step": "many"}
    found = peft.parse_result(json.dumps(content))
    assert (found.run_result.size, found.run_result.trained, found.run_result.seconds) == (None, None, None)
    assert len(found.losses) == len(found.run_result.accuracies) == 18
    assert all(math.isfinite(value) for value in (*found.losses, *found.run_result.accuracies))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "JSON"),
        ("[]", "JSON object"),
        ("{}", "run_info"),
        ("[" * 50_000, "nested deeper"),
        ('{"run_info": ' + "9" * 5000 + "}", "JSON"),
        (json.dumps({"run_info": {}, "train_info": []}), "train_info"),
        (text(status="failed"), "did not succeed"),
        (text(metrics=[]), "test accuracy"),
        (text(metrics={"a": 1}), "test accuracy"),
        (text(metrics=[{"step": 1, "test accuracy": 37.0}]), "from 0 to 1"),
        (" " * (reading.MAX_FILE_BYTES + 1), "MB"),
        (b"\xff\xfe", "JSON"),
    ],
)
def test_other_files_are_refused(content, said):
    results, problems = peft.parse_results([("x.json", content)])
    assert results == []
    assert said in problems[0]
    assert problems[0].startswith("x.json")


def test_untrusted_names_are_shortened_and_printable():
    content = result("a/" + "x\n\x1b[31m" * 500)
    content["run_info"]["train_config"]["seed"] = [1]
    found = peft.parse_result(json.dumps(content))
    assert len(found.run_result.method) <= 120
    assert found.run_result.method.isprintable()
    assert found.run_result.seed == 0


def test_the_newest_result_is_used_and_backbones_are_separate():
    older, newer = (text(test=t, made=made) for t, made in ((0.1, "2025-06-01"), (0.3, "2025-09-01")))
    for files in ([("a", older), ("b", newer)], [("b", newer), ("a", older)]):
        results, problems = peft.parse_results(files)
        assert [found.run_result.test for found in results] == [0.3]
        assert "1 older" in problems[0]
    other = result(test=0.2)
    other["run_info"]["train_config"]["model_id"] = "other/model"
    results, problems = peft.parse_results([("a", newer), ("b", json.dumps(other))])
    assert not problems
    assert len(summarise_methods(found.run_result for found in results)) == 2
    assert "2 backbones" in " ".join(peft.comparability_notes(results))


def test_labels_leave_out_the_backbone_unless_that_is_ambiguous():
    names = ["lora/llama-3.2-3B-rank32", "lora/llama-3.2-3B-default", "ia3/llama-3.2-3B-default"]
    results = [peft.parse_result(text(name)) for name in names]
    assert peft.short_labels(results) == dict(zip(names, ["lora rank32", "lora", "ia3"], strict=True))
    twins = [peft.parse_result(text(name)) for name in ("lora/llama-3.2-3B-rank32", "lora/rank32")]
    assert list(peft.short_labels(twins).values()) == ["lora/llama-3.2-3B-rank32", "lora/rank32"]
    assert peft.short_labels([]) == {}


def test_notes_describe_differing_settings():
    results = [peft.parse_result(text(f"lora/v{i}", steps=steps)) for i, steps in enumerate((1000, 5000))]
    assert any("2 budgets" in remark for remark in peft.comparability_notes(results))
    assert peft.comparability_notes([]) == []
    assert not any("budgets" in remark for remark in peft.comparability_notes(results[:1]))


def test_folders_and_files_are_read_once_and_within_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = written(tmp_path / "results", result("a/b"), result("c/d", test=0.5, num_trainable_params=10))
    (folder / "notes.txt").write_text("no result")
    (folder / "big.json").write_bytes(b" " * (reading.MAX_FILE_BYTES + 1))
    files, problems = reading.read_benchmark_files([folder, *sorted(folder.glob("a--*"))])
    assert [name for name, _ in files] == ["a--b--0.json", "c--d--1.json"]
    assert len(problems) == 1
    assert "big.json" in problems[0]
    rows = peft.benchmark_rows(peft.parse_results(files)[0])
    assert [row["method"] for row in rows] == ["c/d", "a/b"]
    assert pareto_front([row["trained"] for row in rows], [row["test_mean"] for row in rows]) == (0,)
    with pytest.raises(CheckpointError, match="there is nothing"):
        reading.read_benchmark_files([tmp_path / "nowhere"])
    monkeypatch.setattr(reading, "MAX_FILES", 2)
    with pytest.raises(CheckpointError, match="at most 2"):
        reading.read_benchmark_files([folder])
