"""Exported prompts write the same texts without ptviz: the very script of the README, and prompt embeddings."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from ptviz.backbones.tiny import make_tiny_tokeniser
from tests.chat_model import save_chat_model
from tests.families import MODELS, model_of
from tests.text_tasks import offer_tasks

Shell = Callable[..., Any]
TEXT = "the cat sees the dog"
README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
SCRIPT = next(code for code in re.findall(r"```python\n(.*?)```", README, re.S) if "my-adapter" in code)


@pytest.fixture
def train(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """Train a few loud steps on a saved tiny model, in a folder of its own; return the run's id."""
    offer_tasks(monkeypatch)
    monkeypatch.chdir(tmp_path)

    def call(backbone: str, method: str = "prompt-tuning", task: str = "seer", *more: str) -> str:
        if backbone in MODELS:
            model_of(backbone).save_pretrained("my-model")
            make_tiny_tokeniser().save_pretrained("my-model")
        answer = shell(
            "train", method, "--backbone", "./my-model", "--task", task, "--steps", "6", "--batch", "8", "--lr", "0.5",
            "--set", "m=4", *more, "--json",
        )  # fmt: skip
        assert answer.code == 0, answer.err
        return str(answer.json["run"])

    return call


def run_script(capsys: pytest.CaptureFixture[str]) -> str:
    """Run the README's script as it stands; return what it prints."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's own remarks
        exec(compile(SCRIPT, "README.md", "exec"), {})
    return capsys.readouterr().out.removesuffix("\n")


@pytest.mark.parametrize(
    ("backbone", "method"),
    [
        ("llama", "prompt-tuning"),
        ("llama", "p-tuning-v2"),
        ("t5-untied", "prompt-tuning"),
    ],
)
def test_the_readmes_script_writes_what_ptviz_writes(
    shell: Shell, train: Callable[..., str], capsys: pytest.CaptureFixture[str], backbone: str, method: str
) -> None:
    run = train(backbone, method)
    answer = shell("export", run, "--to", "peft", "my-adapter", "--json")
    assert any("how a text is generated" in note for note in answer.json["notes"])
    layout = json.loads(Path("my-adapter/layout.json").read_text())
    # A decoder's text ends with its line; random weights may never write one.
    tokeniser = make_tiny_tokeniser()
    newline = tokeniser("\n", add_special_tokens=False)["input_ids"][0]
    assert (newline in layout["generate"]["eos_token_id"]) == (backbone == "llama")
    seen = set()
    for beams in (1, 3):
        layout["generate"]["num_beams"] = beams
        Path("my-adapter/layout.json").write_text(json.dumps(layout))
        expected = shell("generate", run, TEXT, "--beams", beams, "--json").json
        assert run_script(capsys) == expected["with"][0]
        assert expected["with"] != expected["without"], "the prompt should matter"
        seen.add(expected["with"][0])
    assert all(seen), "an empty text compares nothing"


def test_the_script_runs_in_a_python_of_its_own(shell: Shell, train: Callable[..., str]) -> None:
    run = train("llama")
    shell("export", run, "--to", "peft", "my-adapter", "--json")
    Path("write.py").write_text(f"import sys\n{SCRIPT}assert not [name for name in sys.modules if 'ptviz' in name]\n")
    done = subprocess.run([sys.executable, "-P", "write.py"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().removesuffix("\n") == shell("generate", run, TEXT, "--json").json["with"][0]


def test_a_layout_with_tokens_before_the_prompt_is_not_described(shell: Shell, train: Callable[..., str]) -> None:
    save_chat_model(Path("my-model"))
    for method, described in (("prompt-tuning", False), ("p-tuning-v2", True)):
        run = train("chat", method, "seer", "--chat")
        answer = shell("export", run, "--to", "peft", f"out-{method}", "--json").json
        assert (Path(f"out-{method}") / "layout.json").exists() == described
        assert any("tokens before its prompt" in note for note in answer["notes"]) != described


@pytest.mark.parametrize("method", ["prompt-tuning", "smop", "dept"])
def test_prompt_embeddings_are_the_whole_input(shell: Shell, train: Callable[..., str], method: str) -> None:
    more = ("--set", "r=2") if method == "dept" else ()
    run = train("llama", method, "seer", *more)
    answer = shell("export", run, "--to", "prompt-embeds", "--text", TEXT, "input.pt", "--json").json
    found = torch.load("input.pt", weights_only=True)
    assert type(found) is torch.Tensor
    assert (list(found.shape), str(found.dtype)) == (answer["shape"], answer["dtype"])
    assert (found.dim(), found.shape[1], found.dtype) == (2, 32, torch.float32)
    assert not found.requires_grad
    # The file holds these rows only, and not the batch or table that they came from.
    assert Path("input.pt").stat().st_size < found.numel() * 4 + 4000
    model = AutoModelForCausalLM.from_pretrained("my-model").eval()
    said = next(note for note in answer["notes"] if note.startswith("SamplingParams"))
    most, stops = int(re.search(r"max_tokens=(\d+)", said)[1]), json.loads(re.search(r"stop_token_ids=(.*)\)", said)[1])
    settings = GenerationConfig(max_new_tokens=most, eos_token_id=stops, pad_token_id=0, do_sample=False)
    with torch.no_grad():
        [written] = model.generate(inputs_embeds=found[None], generation_config=settings)
    expected = shell("generate", run, TEXT, "--json").json
    text = make_tiny_tokeniser().decode(written, skip_special_tokens=True).strip()
    assert text == expected["with"][0] != expected["without"][0]


def test_prompt_embeddings_that_would_be_wrong_are_refused(shell: Shell, train: Callable[..., str]) -> None:
    run = train("llama", "p-tuning-v2")
    answer = shell("export", run, "--to", "prompt-embeds", "--text", TEXT, "x.pt")
    assert (answer.code, answer.out) == (2, "")
    assert "keys and values into every layer" in answer.err
    for options in (("--to", "prompt-embeds"), ("--to", "npz", "--text", TEXT)):
        answer = shell("export", run, *options, "x.pt")
        assert answer.code == 2
        assert "--text is the input that prompt-embeds embeds; give both, or neither" in answer.err
    assert not Path("x.pt").exists()
    other = train("t5-untied")
    answer = shell("export", other, "--to", "prompt-embeds", "--text", TEXT, "x.pt")
    assert "expected a decoder" in answer.err
