"""Bad input: exit code 2, one clear line on stderr, nothing on stdout, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptviz.runs import RunConfig, Store
from ptviz.training import TrainConfig
from tests.damaged_files import make_run, make_saved_prompt

Shell = Callable[..., Any]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("nonsense", "nonsense"),
        ("methods --nonsense", "--nonsense"),
        ("methods extra", "extra"),
        ("methods --json --markdown", "choose one"),
        ("count", "METHOD"),
        ("count nonsense", "prompt-tuning"),
        ("count smop --set k", "NAME=VALUE"),
        ("count smop --set k=0", "1 to 32"),
        ("count smop --set k=2 --set k=3", "twice"),
        ("count smop --set q=2", "q"),
        ("count smop --width none", "--width"),
        ("count smop --width 0", "width"),
        ("count prompt-tuning --set init=text", "text"),
        ("train", "METHOD"),
        ("train nonsense", "prompt-tuning"),
        ("train prompt-tuning --steps 0", "steps"),
        ("train prompt-tuning --steps many", "--steps"),
        ("train prompt-tuning --optimiser sgd", "adamw"),
        ("train prompt-tuning --lr -1", "lr"),
        ("train prompt-tuning --set m=1000", "1 to 200"),
        ("train prompt-tuning --set init=text --backbone tiny-encoder", "text"),
        ("train prompt-tuning --task nonsense --backbone tiny-encoder", "nonsense"),
        ("train prompt-tuning --task ./nonsense.csv --backbone tiny-encoder", "nonsense.csv"),
        ("train prompt-tuning --backbone ./nonsense", "nonsense"),
        ("train prompt-tuning --device abacus --backbone tiny-encoder", "abacus"),
        ("train prompt-tuning --extend 5", "--resume"),
        ("train prompt-tuning --branch nonsense", "RUN:STAGE:STEP"),
        ("train prompt-tuning --branch nonsense:0:10", "nonsense"),
        ("train --resume nonsense", "nonsense"),
        ("train --resume nonsense --steps 5", "--steps"),
        ("train prompt-tuning --resume nonsense", "METHOD"),
        ("train --resume nonsense --extend 0", "--extend"),
        ("runs --state nonsense", "finished"),
        ("show", "RUN"),
        ("show nonsense", "nonsense"),
        ("show ../nonsense", "run"),
        ("export nonsense", "nonsense"),
        ("export nonsense --to pickle", "safetensors"),
        ("predict nonsense hello", "nonsense"),
        ("get nonsense", "smollm2-135m"),
        ("bench --family nonsense", "encoder-decoder"),
        ("bench --dtype float64", "bfloat16"),
        ("bench --m 0", "--m"),
        ("app --port 0", "--port"),
        ("app --port none", "--port"),
        ("compare --json --latex --methods nonsense", "--json and --latex: choose one"),
        ("compare --markdown --latex --methods nonsense", "--markdown and --latex: choose one"),
        ("findings --json --markdown", "choose one"),
        ("errors nonsense --json --latex", "choose one"),
        ("benchmark nonsense --json --markdown --latex", "--json and --markdown and --latex: choose one"),
        ("compare --methods nonsense --cpus 2", "--cpus: only with --executor ray"),
        ("sweep nonsense --executor local --address x --gpus 1", "--address, --gpus: only with --executor ray"),
        ("transfer --shared-storage", "--shared-storage: only with --executor ray"),
        ("findings --run nonsense --retries 9", "--retries: only with --executor ray"),
        ("transfer --steps 5 --seeds 2", "--steps, --seeds: only with --gain"),
        ("findings --seeds 2", "--seeds: only with --run"),
        ("findings --executor local", "--executor: only with --run"),
        ("train smop --source-steps 5 --source-seed 1 --backbone ./none", "--source-seed: smop does not learn from"),
        ("train attempt --task-temperature 2 --backbone ./none", "--task-temperature: only for a run on several tasks"),
        ("inspect a\0b.npz", "without a NUL character (\\x00)"),
        ("train prompt-tuning --task a\0b.csv", "without a NUL character (\\x00)"),
    ],
)
def test_one_line_and_exit_code_2(shell: Shell, words: str, message: str, home: Path) -> None:
    answer = shell(*words.split())
    assert answer.code == 2, answer
    assert answer.out == ""
    assert len(answer.err.strip().splitlines()) == 1
    assert answer.err.startswith("ptviz: ")
    assert message.lower() in answer.err.lower()
    assert not list(home.glob("runs/[!.]*")), "bad input leaves no run behind"


def test_json_changes_nothing_about_errors(shell: Shell) -> None:
    answer = shell("train", "nonsense", "--json")
    assert (answer.code, answer.out) == (2, "")


def test_help_is_not_an_error(shell: Shell) -> None:
    for words in ([], ["--help"], ["train", "-h"], ["--version"]):
        answer = shell(*words)
        assert answer.code == 0
        assert answer.out
        assert not answer.err


def test_options_of_a_checkpoint_are_refused_for_a_run_and_a_saved_prompt(shell: Shell) -> None:
    store = Store()
    run, saved = make_run(store, "mine"), make_saved_prompt(store)
    for path, options, message in (
        (run.id, ("--backbone", "tiny-decoder"), f"--backbone: only for a checkpoint; {run.id} is a run, which has"),
        (saved, ("--prompt", "P"), f"--prompt: only for a checkpoint; {saved} is a saved prompt, which has its own"),
    ):
        answer = shell("generate", path, "hello", *options)
        assert answer.code == 2, answer
        assert message in answer.err


def test_a_command_that_repeats_a_run_has_no_option_without_effect() -> None:
    training = TrainConfig(source_steps=5, source_seed=1, task_temperature=2)
    assert "--source" not in RunConfig(training=training).shell_command()
    assert "--task-temperature" not in RunConfig(training=training).shell_command()
    assert "--source-steps 5 --source-seed 1" in RunConfig(method="attempt", training=training).shell_command()
    several = RunConfig(method="mpt", more_tasks=("sms",), training=training)
    assert "--task-temperature 2" in several.shell_command()


def test_a_run_beside_an_ensemble_is_no_text(shell: Shell) -> None:
    run = make_run(Store(), "mine")
    answer = shell("predict", run.id, "--ensemble", "a,b")
    assert answer.code == 2, answer
    assert f"--ensemble names the runs: name {run.id} there too, or leave it out" in answer.err


def test_one_task_of_a_run_is_not_packed_as_the_whole_run(shell: Shell, tmp_path: Path) -> None:
    run = make_run(Store(), "mine", method="mpt", more_tasks=("sms",))
    answer = shell("export", f"{run.id}@sms", tmp_path / "run.zip", "--to", "bundle")
    assert answer.code == 2, answer
    assert f"{run.id}@sms is one task of run {run.id}, and a bundle holds a whole run: export {run.id}" in answer.err
    assert not (tmp_path / "run.zip").exists()
