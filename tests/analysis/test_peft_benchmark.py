"""PEFT's result files, from synthetic ones in their exact layout."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from ptviz.analysis import peft_benchmark as peft
from ptviz.analysis.comparison import front, standings, steps_to
from ptviz.checkpoints import CheckpointError
from ptviz.checkpoints import benchmark_files as reading
from tests.analysis.peft_results import GIB, result, written


def text(*args, **changes) -> str:
    return json.dumps(result(*args, **changes))


def test_a_result_becomes_a_lap():
    found = peft.result_of(text(test=0.37, seed=3))
    lap = found.lap
    assert (lap.method, lap.seed, lap.test) == ("prompt_tuning/llama-3.2-3B-lr_0.001", 3, 0.37)
    assert (lap.seconds, lap.trained, lap.memory, lap.length) == (2404.5, 61440, 22 * GIB, 20)
    assert lap.size == 2457728
    assert lap.evaluated == tuple(range(250, 5001, 250))
    assert lap.validation == max(lap.accuracies)
    assert (found.kind, found.ours, found.lr, found.steps) == ("prompt_tuning", "prompt-tuning", 1e-3, 5000)
    assert (found.accelerator, found.backbone) == ("NVIDIA L40S", "meta-llama/Llama-3.2-3B")
    assert found.trained_steps == lap.evaluated
    assert found.losses[0] == pytest.approx(0.6 + 0.6 * math.exp(-0.3))
    assert steps_to(lap.evaluated, lap.accuracies, 0.95) == 3500


def test_the_names_of_the_first_months_are_read_too():
    found = peft.result_of(text("full-finetuning/llama-3.2-3B-lr_0.00001", old=True))
    assert found.lap.memory == 22 * GIB
    assert (found.accelerator, found.ours, found.lap.length) == ("NVIDIA L40S", "", None)


@pytest.mark.parametrize(
    ("experiment", "peft_config", "ours"),
    [
        ("prefixtuning/a", {"peft_type": "PREFIX_TUNING", "prefix_projection": False}, "p-tuning-v2"),
        ("prefixtuning/b", {"peft_type": "PREFIX_TUNING", "prefix_projection": True}, "prefix-tuning"),
        ("ptuning/c", None, "p-tuning"),
        ("of-tomorrow/d", None, ""),
    ],
)
def test_peft_types_are_told_as_the_surveys_methods(experiment, peft_config, ours):
    assert peft.result_of(text(experiment, peft=peft_config)).ours == ours


def test_numbers_that_are_none_are_left_out_and_a_size_that_was_not_found_is_unknown():
    content = result(file_size=99999999, num_trainable_params=10**400, train_time=math.nan)
    content["train_info"]["metrics"][3] |= {"train loss": math.nan, "valid accuracy": math.inf}
    content["train_info"]["metrics"][4] |= {"train loss": 1e400, "valid accuracy": 7, "step": "many"}
    found = peft.result_of(json.dumps(content))
    assert (found.lap.size, found.lap.trained, found.lap.seconds) == (None, None, None)
    assert len(found.losses) == len(found.lap.accuracies) == 18
    assert all(math.isfinite(value) for value in (*found.losses, *found.lap.accuracies))


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
        (" " * (reading.LARGEST + 1), "MB"),
        (b"\xff\xfe", "JSON"),
    ],
)
def test_other_files_are_refused(content, said):
    results, problems = peft.results_of([("x.json", content)])
    assert results == []
    assert said in problems[0]
    assert problems[0].startswith("x.json")


def test_a_strangers_names_are_cut_and_printable():
    content = result("a/" + "x\n\x1b[31m" * 500)
    content["run_info"]["train_config"]["seed"] = [1]
    found = peft.result_of(json.dumps(content))
    assert len(found.lap.method) <= 120
    assert found.lap.method.isprintable()
    assert found.lap.seed == 0


def test_the_newest_result_of_an_experiment_stands_and_backbones_stay_apart():
    older, newer = (text(test=t, made=made) for t, made in ((0.1, "2025-06-01"), (0.3, "2025-09-01")))
    for files in ([("a", older), ("b", newer)], [("b", newer), ("a", older)]):
        results, problems = peft.results_of(files)
        assert [found.lap.test for found in results] == [0.3]
        assert "1 older" in problems[0]
    other = result(test=0.2)
    other["run_info"]["train_config"]["model_id"] = "other/model"
    results, problems = peft.results_of([("a", newer), ("b", json.dumps(other))])
    assert not problems
    assert len(standings(found.lap for found in results)) == 2
    assert "2 backbones" in " ".join(peft.remarks(results))


def test_labels_leave_out_the_backbone_unless_that_is_ambiguous():
    names = ["lora/llama-3.2-3B-rank32", "lora/llama-3.2-3B-default", "ia3/llama-3.2-3B-default"]
    results = [peft.result_of(text(name)) for name in names]
    assert peft.labels(results) == dict(zip(names, ["lora rank32", "lora", "ia3"], strict=True))
    twins = [peft.result_of(text(name)) for name in ("lora/llama-3.2-3B-rank32", "lora/rank32")]
    assert list(peft.labels(twins).values()) == ["lora/llama-3.2-3B-rank32", "lora/rank32"]
    assert peft.labels([]) == {}


def test_remarks_say_what_was_not_alike():
    results = [peft.result_of(text(f"lora/v{i}", steps=steps)) for i, steps in enumerate((1000, 5000))]
    assert any("2 budgets" in remark for remark in peft.remarks(results))
    assert peft.remarks([]) == []
    assert not any("budgets" in remark for remark in peft.remarks(results[:1]))


def test_folders_and_files_are_read_once_and_in_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = written(tmp_path / "results", result("a/b"), result("c/d", test=0.5, num_trainable_params=10))
    (folder / "notes.txt").write_text("no result")
    (folder / "big.json").write_bytes(b" " * (reading.LARGEST + 1))
    files, problems = reading.read_results([folder, *sorted(folder.glob("a--*"))])
    assert [name for name, _ in files] == ["a--b--0.json", "c--d--1.json"]
    assert len(problems) == 1
    assert "big.json" in problems[0]
    rows = peft.table(peft.results_of(files)[0])
    assert [row["method"] for row in rows] == ["c/d", "a/b"]
    assert front([row["trained"] for row in rows], [row["test_mean"] for row in rows]) == (0,)
    with pytest.raises(CheckpointError, match="there is nothing"):
        reading.read_results([tmp_path / "nowhere"])
    monkeypatch.setattr(reading, "MOST", 2)
    with pytest.raises(CheckpointError, match="at most 2"):
        reading.read_results([folder])
