from __future__ import annotations

import json
import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptviz.runs import RunConfig
from ptviz.training import TrainConfig

values = st.dictionaries(
    st.text(min_size=1), st.one_of(st.integers(-(10**15), 10**15), st.floats(-1e30, 1e30), st.text(), st.booleans())
)
configs = st.builds(
    RunConfig,
    backbone=st.text(),
    task=st.text(),
    method=st.sampled_from(["prompt-tuning", "smop", "one of a later version"]),
    hyperparameters=values,
    training=st.builds(
        TrainConfig,
        steps=st.integers(1, 10**6),
        lr=st.none() | st.floats(1e-8, 100),
        warmup=st.floats(0, 1),
        seed=st.integers(0, 2**31 - 1),
        dtype=st.sampled_from(["float32", "bfloat16"]),
    ),
    name=st.text(),
    parent=st.none() | st.tuples(st.text(), st.integers(0, 9), st.integers(0, 10**6)),
    text=st.none() | st.text(),
    label=st.none() | st.text(),
    device=st.none() | st.text(),
    planned=st.lists(st.integers(1, 1000), max_size=3).map(tuple),
)


@given(configs)
def test_a_config_survives_json(config: RunConfig) -> None:
    assert RunConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@given(configs)
def test_the_command_is_one_shell_line_that_names_everything(config: RunConfig) -> None:
    words = shlex.split(config.shell_command(), comments=not any("#" in str(v) for v in config.to_json().values()))
    assert words[:3] == ["ptviz", "train", config.method]
    assert words[words.index("--backbone") + 1] == config.backbone
    assert words[words.index("--task") + 1] == config.task
    assert words[words.index("--steps") + 1] == str(config.training.steps)


def test_the_command_leaves_defaults_out() -> None:
    assert (
        RunConfig().checked().shell_command()
        == "ptviz train prompt-tuning --backbone minilm-l6 --task trec6 --steps 200 --seed 0"
    )


def test_the_command_quotes_and_sets_hyperparameters() -> None:
    config = RunConfig(
        task="my data/it's.csv",
        hyperparameters={"m": 5, "init": "text", "text": "which kind?"},
        training=TrainConfig(lr=0.3),
        text="body",
        name="a $HOME",
    )
    words = shlex.split(config.shell_command())
    assert "my data/it's.csv" in words
    assert [words[i + 1] for i, word in enumerate(words) if word == "--set"] == ["m=5", "init=text", "text=which kind?"]
    assert words[words.index("--lr") + 1] == "0.3"
    assert words[words.index("--name") + 1] == "a $HOME"


def test_an_extended_run_says_so_where_it_is_copied() -> None:
    config = RunConfig(training=TrainConfig(steps=300), planned=(100, 200))
    assert config.shell_command().endswith("# made in parts: planned for 100, then 200 steps, extended to 300")


def test_checked_fills_in_the_hyperparameters() -> None:
    assert RunConfig(method="smop", hyperparameters={"m": "7"}).checked().hyperparameters["m"] == 7
    assert "k" in RunConfig(method="smop").checked().hyperparameters


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "nope"}, "unknown method 'nope'"),
        ({"hyperparameters": {"m": 0}}, "m (prompt tokens): expected a whole number from 1 to 200; got 0"),
        ({"hyperparameters": {"zz": 1}}, "unknown hyperparameter zz"),
        ({"backbone": " "}, "backbone: expected a name"),
        ({"task": ""}, "task: expected a name"),
        ({"name": "x" * 121}, "name: expected at most 120 characters"),
    ],
)
def test_bad_configs_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=r"expected|unknown") as caught:
        replace(RunConfig(), **changes).checked()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "data", [{"colour": 1}, {"parent": [1]}, {"knobs": 3}, {"training": {"speed": 1}}, {"task": 3}, []]
)
def test_bad_json_is_told(data: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        RunConfig.from_json(data)  # type: ignore[arg-type]
