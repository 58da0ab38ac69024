"""The recorded forward pass: its numbers are those of the model, and a damaged file is refused."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from ptviz.engine.train_job import execute_run
from ptviz.probes.forward_pass import main, measure_forward_pass
from ptviz.runs import Run, RunConfig, Store, StoreError
from ptviz.runs.forward_pass import FORWARD_PASS_FILE, ForwardPass, read_forward_pass
from ptviz.training import TrainConfig
from ptviz.worker.handlers import probe_run

TEXT = "a good thing"


def train(folder: Path, method: str = "prompt-tuning") -> Run:
    table = folder / "texts.csv"
    table.write_text("text,label\n" + "\n".join(f"{'good' if i % 2 else 'bad'} thing {i},{i % 2}" for i in range(60)))
    training = TrainConfig(steps=4, snapshot_every=2, evaluate_every=2, batch=4)
    run = Store(folder / "runs").create(
        RunConfig("tiny-encoder", str(table), method, training=training, text="text", label="label")
    )
    execute_run(run.path)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tmp_path_factory.mktemp("forward"))


@pytest.fixture(scope="module")
def measured(run: Run) -> ForwardPass:
    return measure_forward_pass(run, TEXT)


def weights(found: ForwardPass, index: int) -> np.ndarray:
    flat = np.frombuffer(base64.b64decode(found.steps[index].attention), dtype=np.uint8)
    return flat.reshape(found.layers, len(found.tokens), len(found.tokens)) / 255


def test_every_snapshot_is_measured(run: Run, measured: ForwardPass) -> None:
    assert [(one.stage, one.step) for one in measured.steps] == [(one.stage, one.step) for one in run.snapshots()]
    m = run.config.checked().hyperparameters["m"]
    assert len(measured.prompt) == m
    assert [measured.tokens[place] for place in measured.prompt] == [""] * m
    assert "good" in "".join(measured.tokens)


def test_the_answers_are_those_of_the_page(run: Run, measured: ForwardPass) -> None:
    for one in measured.steps:
        answer = probe_run(run, "predict", texts=[TEXT], stage=one.stage, step=one.step)
        assert one.probabilities == pytest.approx(answer["with"][0], abs=1e-5)
        assert measured.alone == pytest.approx(answer["without"][0], abs=1e-5)


def test_the_attention_is_that_of_the_probe(run: Run, measured: ForwardPass) -> None:
    last = measured.steps[-1]
    answer = probe_run(run, "attention", text=TEXT, stage=last.stage, step=last.step)
    from ptviz.plots.attention import PromptAttention

    probed = PromptAttention.from_answer(answer).weights[:, :, :-1].mean(1)  # without the answer's query
    own = weights(measured, -1)
    text = [place for place, name in enumerate(measured.tokens) if name in answer["tokens"]]
    assert own[:, text][:, :, list(measured.prompt)] == pytest.approx(probed, abs=0.004)
    assert own.sum(-1) == pytest.approx(1, abs=0.004 * len(measured.tokens))


def test_the_command_writes_what_the_page_reads(run: Run, measured: ForwardPass) -> None:
    assert read_forward_pass(run) is None
    assert main([str(run.path), "--text", TEXT]) == 0
    assert read_forward_pass(run) == measured


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", []), ("layers", 9), ("alone", [1.0]), ("prompt", [4000]), ("readout", []), ("tokens", []),
        ("classes", "x"), ("versions", None),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused(run: Run, tmp_path: Path, measured: ForwardPass, field: str, value: object) -> None:
    from ptviz.runs.forward_pass import write_forward_pass

    write_forward_pass(tmp_path, measured)
    data = json.loads((tmp_path / FORWARD_PASS_FILE).read_text())
    (tmp_path / FORWARD_PASS_FILE).write_text(json.dumps({**data, field: value}))
    with pytest.raises(StoreError, match="measure it again"):
        read_forward_pass(Run(tmp_path))


def test_a_prompt_inside_the_layers_has_no_place_at_the_input(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="stands at the input"):
        measure_forward_pass(train(tmp_path, "p-tuning-v2"), TEXT)
