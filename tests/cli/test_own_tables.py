"""A user's own table in the shell: its options, its notes, and refusals before anything is written."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ptviz.backbones import load_backbone
from ptviz.plots.snippet import training_snippet
from ptviz.runs import RunConfig, Store
from ptviz.runs.saved_prompts import get_saved_prompt
from ptviz.tasks import TableOptions, TaskError

Shell = Callable[..., Any]


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A table in an old encoding, with semicolons, a bad row, and labels that say little."""
    path = tmp_path / "odd.csv"
    rows = [f"le café numéro {i};{1 if i % 2 else -1}" for i in range(60)]
    path.write_bytes(("text;label\n" + "\n".join(rows) + "\n;1\n").encode("cp1252"))
    return path


UNKNOWN = "\ua500\ua501"
"""Two letters that the vocabulary of minilm-l6 does not have."""
TINY = ("--backbone", "tiny-encoder", "--steps", "2", "--batch", "4", "--set", "m=3")


def test_notes_are_printed_stored_and_shown(shell: Shell, odd: Path) -> None:
    refused = shell("train", "prompt-tuning", *TINY, "--task", odd)
    assert refused.code == 2
    assert "odd.csv, row 62, column 'text': expected a text; got an empty one" in refused.err
    assert Store().list() == []
    answer = shell(
        "train", "prompt-tuning", *TINY, "--task", odd, "--skip-bad-rows", "--words", "1=good,-1=bad", "--json"
    )
    assert answer.code == 0, answer.err
    notes = (
        "read as cp1252 by a guess (it has the word 'café')",
        "the delimiter is a semicolon",
        "1 bad row skipped: row 62",
    )
    assert all(f"ptviz: note: {note}" in answer.err for note in notes)
    run = Store().get(answer.json["run"])
    assert run.config.table == TableOptions(skip_bad_rows=True, words=(("1", "good"), ("-1", "bad")))
    assert len(run.task_notes()) == 3
    shown = shell("show", run.id)
    assert all(note in shown.out for note in notes)
    assert shell("show", run.id, "--json").json["notes"] == run.task_notes()
    (run.path / "environment.json").unlink()
    assert shell("show", run.id).code == 0
    # The command and the script that repeat the run read the table in the same way.
    assert "--skip-bad-rows --words 1=good,-1=bad" in run.config.shell_command()
    assert 'table=TableOptions(skip_bad_rows=True, words=(("1", "good"), ("-1", "bad")))' in training_snippet(
        run.config
    )


def test_options_reach_the_run(shell: Shell, odd: Path) -> None:
    given = ("--delimiter", "semicolon", "--quoting", "none", "--encoding", "latin-1", "--header", "--skip-bad-rows")
    answer = shell("train", "prompt-tuning", *TINY, "--task", odd, *given, "--json")
    config = Store().get(answer.json["run"]).config
    assert config.table == TableOptions(";", "none", "latin-1", True, True)
    assert RunConfig.from_json(config.to_json()) == config
    assert "note: read as" not in answer.err
    again = shell(*shlex.split(config.shell_command())[1:], "--json")
    assert Store().get(again.json["run"]).config.table == config.table
    assert again.json["test"] == answer.json["test"]


def test_fields_template_words_and_metric_reach_the_run(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("a,b,same\n" + "".join(f"one {i},two {i},{i % 2}\n" for i in range(60)))
    given = ("--text", "a,b", "--label", "same", "--template", "{prompt:2}{a}, {prompt}{b}", "--words", "no,yes")
    answer = shell(
        "train", "prompt-tuning", *TINY, "--task", path, *given, "--metric", "macro-f1", "--cut-first", "b", "--json"
    )
    assert answer.code == 0, answer.err
    config = Store().get(answer.json["run"]).config
    assert config.text == "a,b"
    assert config.table == TableOptions(
        word_list=("no", "yes"), template="{prompt:2}{a}, {prompt}{b}", metric="macro-f1", cut_first="b"
    )
    assert RunConfig.from_json(config.to_json()) == config
    again = shell(*shlex.split(config.shell_command())[1:], "--json")
    assert Store().get(again.json["run"]).config.table == config.table
    planned = shell("compare", "--dry-run", "--methods", "prompt-tuning", "--task", path, *given, "--json")
    assert planned.code == 0, planned.err


def test_a_table_that_was_changed_is_said_before_a_run_goes_on(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,label\n" + "".join(f"thing {i},{'yes' if i % 2 else 'no'}\n" for i in range(60)))
    answer = shell("train", "prompt-tuning", *TINY, "--task", path, "--json")
    assert answer.code == 0, answer.err
    path.write_text(path.read_text().replace("thing", "place"))
    refused = shell("train", "--resume", answer.json["run"], "--extend", "2")
    assert refused.code == 2
    assert "t.csv has changed since. Restore the old content, or start a new run on the new one" in refused.err
    run = Store().get(answer.json["run"])
    assert (run.status().state, run.config.training.steps) == ("finished", 2)


def test_a_backbone_whose_weights_changed_is_said_before_a_run_goes_on(shell: Shell, tmp_path: Path) -> None:
    folder, source = tmp_path / "mymodel", load_backbone("tiny-encoder", "cpu")
    source.model.save_pretrained(folder)
    source.tokeniser.save_pretrained(folder)
    words = ("train", "prompt-tuning", *TINY, "--backbone", folder, "--task", "trec6", "--json")
    answer = shell(*words)
    assert answer.code == 0, answer.err
    with torch.no_grad():
        source.model.get_input_embeddings().weight += 1
    source.model.save_pretrained(folder)
    refused = shell("train", "--resume", answer.json["run"], "--extend", "2")
    assert refused.code == 2
    assert "mymodel have changed since. Restore the old ones, or start a new run on the new ones" in refused.err
    run = Store().get(answer.json["run"])
    assert (run.status().state, run.config.training.steps) == ("finished", 2)


def test_an_imported_run_or_prompt_finds_its_table_from_another_folder(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "t.csv"
    path.write_text("text,label\n" + "".join(f"thing {i},{'yes' if i % 2 else 'no'}\n" for i in range(60)))
    id = shell("train", "prompt-tuning", *TINY, "--task", "t.csv", "--json").json["run"]
    for form, name in (("bundle", "run.zip"), ("safetensors", "p.safetensors")):
        exported = shell("export", id, name, "--to", form)
        assert exported.code == 0, exported.err
    bundle = shell("import", "run.zip", "--task", "t.csv", "--json")
    assert bundle.code == 0, bundle.err
    assert Store().get(bundle.json["run"]).config.task == str(path)
    saved = shell("import", "p.safetensors", "--backbone", "tiny-encoder", "--task", "t.csv", "--json")
    assert saved.code == 0, saved.err
    assert get_saved_prompt(Store().prompts_folder, saved.json["prompt"]).task == str(path)


def test_runs_on_a_table_are_found_by_its_path_and_its_name(
    shell: Shell, odd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Store().create(RunConfig("tiny-encoder", str(odd)))
    Store().create(RunConfig("tiny-encoder", "trec6"))
    monkeypatch.chdir(odd.parent)
    for name in ("odd.csv", "./odd.csv", odd):
        assert [row["run"] for row in shell("runs", "--task", name, "--json").json] == [run.id]
    none = shell("runs", "--task", "other.csv")
    assert "no run fits these options" in none.err
    assert "no runs yet" not in none.err


def test_usual_options_are_not_stored() -> None:
    assert "table" not in RunConfig().to_json()
    with pytest.raises(TaskError, match="table: unknown option"):
        RunConfig.from_json({"table": {"colour": "red"}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--delimiter", "ab"), "delimiter: expected one character"),
        (("--quoting", "odd"), "quoting: expected one of standard, backslash, none"),
        (("--encoding", "nothing"), "encoding: expected a name"),
        (("--words", "good,1=bad"), "words: expected LABEL=WORD"),
        (("--words", "good"), "words: expected 2 words, one each for -1, 1; got good"),
        (("--metric", "rouge-l"), "metric of a classification task: expected one of accuracy"),
        (("--metric", "f1:2"), "metric 'f1:2': expected a class from 0 to 1; got 2"),
        (("--template", "{prompt}"), "expected {text} once; it comes 0 times"),
        (("--template", "{prompt}{text}{colour}"), "unknown field {colour}; expected {text}"),
        (("--cut-first", "label"), "cut first: expected one of text; got 'label'"),
        (("--target", "text", "--text", "text"), "expected different columns for texts and answers"),
        (("--target", "label", "--label", "label"), "expected a column of labels or one of targets"),
        (("--text", "text,colour"), "expected a column 'colour' for the text"),
        (("--words", "3=good"), "words: '3' is no class; the classes are '-1', '1'"),
        (("--words", "1=good,-1=Good"), "labels '-1' and '1' read alike"),
    ],
)
def test_bad_options_are_refused(shell: Shell, odd: Path, options: tuple[str, str], message: str) -> None:
    for command in (("train", "prompt-tuning"), ("compare", "--dry-run", "--methods", "prompt-tuning")):
        tiny = ("--backbone", "tiny-encoder", "--skip-bad-rows", "--task", odd)
        answer = shell(*command, *tiny, *options)
        assert answer.code == 2, answer.err
        assert message in answer.err
    assert Store().list() == []


def test_labels_that_are_the_same_tokens_are_refused_before_anything_is_written(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,label\n" + "".join(f"t {i},{UNKNOWN[i % 2]}\n" for i in range(30)))
    for command in (("train", "prompt-tuning"), ("compare", "--methods", "prompt-tuning", "--seeds", "1")):
        answer = shell(*command, "--backbone", "minilm-l6", "--task", path)
        assert answer.code == 2
        assert "labels '\ua500' and '\ua501' have label words" in answer.err
    assert Store().list() == []


def test_every_fault_of_a_table_is_bad_input(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for content in (b"", b"text,label\n" + b"x" * 9_000_000, b'text,label\n"a\n,b\n"c', bytes(range(256)) * 9):
        path.write_bytes(content)
        answer = shell("train", "prompt-tuning", "--backbone", "tiny-encoder", "--task", path)
        assert answer.code == 2, answer.err
        assert answer.err.strip().splitlines()[-1].startswith("ptviz: t.csv")


def test_choices_are_trained_and_scored(shell: Shell, tmp_path: Path) -> None:
    quiz = tmp_path / "quiz.csv"
    rows = "".join(f"what is {i},it is {i},no idea,{i % 2 + 1}\n" for i in range(40))
    quiz.write_text("question,first,second,answer\n" + rows)
    words = ("train", "prompt-tuning", "--task", quiz, "--choices", "first, second", "--steps", "2", "--batch", "4")
    small = ("--set", "m=3", "--json")
    encoder = shell(*words, *small, "--backbone", "tiny-encoder")
    assert encoder.code == 2
    assert "decoder" in encoder.err
    assert not Store().list()
    answer = shell(*words, *small, "--backbone", "tiny-decoder")
    assert answer.code == 0, answer.err
    assert "note: column answer is read as numbers of the right choices, 1 for the first" in answer.err
    run = Store().get(answer.json["run"])
    assert run.metric.name == "accuracy"
    assert 0 <= answer.json["test"] <= 1
    assert "--choices first,second" in run.config.shell_command()
    assert 'TableOptions(choices=("first", "second"))' in training_snippet(run.config)
    wrong = shell(*words, *small, "--backbone", "tiny-decoder", "--words", "a,b")
    assert (wrong.code, "words: choices have no classes" in wrong.err) == (2, True)
