"""Reports: everything that a reader needs in one file, and nothing in it that a name could run."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from ptviz import cli
from ptviz.methods import list_methods
from ptviz.plots import error_summary
from ptviz.plots.prediction_errors import describe_changes
from ptviz.plots.predictions import read_predictions
from ptviz.reports.bibliography import CALIBRATION, HOLM, MCNEMAR, TRANSFERABILITY, cite
from ptviz.reports.document import Code, Report, Section, Table
from ptviz.reports.run_report import run_report
from ptviz.reports.several_runs import comparison_report, transfer_report
from ptviz.runs import Run, Store, StoreError
from tests.damaged_files import make_run

HOSTILE = "</script><img src=x onerror=alert(1)>{{ 7 * 7 }}<!--{% raw %}&lt;\x1b[31m\u2028"


class Reader(HTMLParser):
    """What a browser would do with a report: elements, attributes, scripts, text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self.text += data


@pytest.fixture
def store(home: Path) -> Store:
    return Store()


@pytest.fixture
def predicted(store: Store) -> Callable[..., Run]:
    def make(name: str = "a run", **changes: object) -> Run:
        run = make_run(store, name, **changes)
        table = {
            "text": [HOSTILE, "b c", "d"],
            "label": [HOSTILE, "y", "y"],
            "predicted": [HOSTILE, "y", HOSTILE],
            f"p({HOSTILE})": [0.9, 0.4, 0.7],
            "p(y)": [0.1, 0.6, 0.3],
            "zero_shot": ["y", "y", "y"],
            "zero_shot_confidence": [0.5, 0.9, 0.8],
        }
        pd.DataFrame(table).to_parquet(run.path / "predictions.parquet")
        return run

    return make


def check_self_contained(html: str) -> Reader:
    found = Reader(html)
    loads = [value for tag, name, value in found.attributes if name in ("src", "href", "action", "data", "poster")]
    assert all(value.startswith(("#", "data:text/csv;")) for value in loads)
    assert not {"img", "iframe", "link", "object", "embed", "base", "form"} & set(found.tags)
    assert not any(name.startswith("on") for _, name, _ in found.attributes)
    policy = next(value for tag, name, value in found.attributes if tag == "meta" and value.startswith("default-src"))
    assert policy.startswith("default-src 'none'")
    return found


def test_a_run_is_reported_whole(predicted: Callable[..., Run], store: Store) -> None:
    run = predicted(HOSTILE.replace("\x1b", "").replace("\u2028", ""))
    store.annotate(run.id, notes=HOSTILE.replace("\x1b", ""))
    found = check_self_contained(run_report(run).to_html())
    text = found.text
    assert "<img src=x onerror=alert(1)>{{ 7 * 7 }}" in text, "a name is text, and no template"
    assert "\x1b" not in text
    assert "2 of 3 test examples are right (66.7%" in text
    assert "fixed 1 and broke 1 examples (McNemar's exact test, two-sided: p = 1)" in text
    assert run.config.shell_command().split(" --name")[0] in text
    assert "train_and_save(" in text
    assert "@inproceedings{lester2021power" in text
    assert "@inproceedings{guo2017calibration" in text
    figures = [json.loads(script) for script in found.scripts if script.startswith('{"data"')]
    assert len(figures) == 5
    assert all(figure["data"] for figure in figures)
    labels = [value for tag, name, value in found.attributes if tag == "div" and name == "aria-label"]
    assert len([label for label in labels if len(label) > 20]) >= 5


def test_texts_are_reported_by_their_scores_as_on_the_page(store: Store) -> None:
    run = make_run(store)
    environment = run.path / "environment.json"
    environment.write_text(json.dumps(json.loads(environment.read_text()) | {"metric": "rouge-l"}))
    table = {
        "text": ["one", "two", "three", "four"],
        "references": [["a b"], ["c d"], ["e f"], ["g h"]],
        "predicted": ["a b", "c d and more", "e", "g"],
        "score": [1.0, 0.8, 0.4, 0.5],
        "zero_shot": ["a b", "c", "e f g", "g"],
        "zero_shot_score": [1.0, 0.5, 0.8, 0.5],
    }
    pd.DataFrame(table).to_parquet(run.path / "predictions.parquet")
    text = check_self_contained(run_report(run).to_html()).text
    assert "1 of 4 test outputs equal a reference (25.0%" in text
    assert describe_changes(read_predictions(run)) in text
    assert "1 of 4 outputs score higher and 1 score lower" in text
    assert "McNemar's exact test" not in text
    assert "by the prompt" not in text
    for title, shown, hidden in (("Higher", "c d and more", "e f g"), ("Lower", "e f g", "c d and more")):
        rows = text.split(f"{title} score than zero-shot", 1)[1].split("The 1 with the highest score of 1.")[0]
        assert (shown in rows, hidden in rows) == (True, False)
    found = error_summary(run)
    assert (found["changes"], found["score_changes"]) == (None, {"higher": 1, "lower": 1})


def test_figures_and_tables_have_their_data_as_csv(predicted: Callable[..., Run]) -> None:
    found = check_self_contained(run_report(predicted()).to_html())
    addresses = [value for _, name, value in found.attributes if name == "href" and value.startswith("data:")]
    tables = [
        list(csv.reader(io.StringIO(base64.b64decode(address.split(",", 1)[1]).decode()))) for address in addresses
    ]
    assert ["trace", "x", "y", "z", "text"] in [table[0] for table in tables]
    assert ["test accuracy", "65.0%"] in next(table for table in tables if table[0] == ["what", "value"])


def test_methods_are_compared_with_intervals_and_tables_for_papers(store: Store) -> None:
    runs = [make_run(store, f"{method} {seed}", seed=seed, method=method, hyperparameters={})
            for method, seed in (("prompt-tuning", 0), ("prompt-tuning", 1), ("dept", 0))]  # fmt: skip
    found = check_self_contained(comparison_report([run.id for run in runs]).to_html())
    assert "\\begin{tabular}" in found.text
    assert "| method | test |" in found.text
    assert "too few seeds for a verdict, which needs 5" in found.text
    assert "@inproceedings{shi2024dept" in found.text
    assert f"ptviz report {' '.join(run.id for run in runs)}" in found.text
    assert len([script for script in found.scripts if script.startswith('{"data"')]) == 4
    other = make_run(store, "other", task="sms")
    with pytest.raises(ValueError, match="task: a comparison is of runs on one task; got sms, trec6"):
        comparison_report([runs[0].id, other.id])
    with pytest.raises(ValueError, match="needs two or more finished runs; got 1"):
        comparison_report([runs[0].id])


def test_runs_that_are_no_seeds_of_a_method_are_not_compared(store: Store) -> None:
    runs = [make_run(store, f"{seed}", seed=seed) for seed in range(2)]
    again, longer = make_run(store, "again", device="cpu"), make_run(store, "longer", made=12, seed=2)
    used = make_run(store, "another rate", seed=3)
    environment = used.path / "environment.json"
    environment.write_text(json.dumps(json.loads(environment.read_text()) | {"lr": 0.3}))
    with pytest.raises(ValueError, match="Prompt Tuning: expected one run for each seed; got several of seed 0"):
        comparison_report([*runs, again])
    with pytest.raises(ValueError, match=r"Prompt Tuning: expected runs that differ in the seed .*differ in steps\."):
        comparison_report([*runs, longer])
    with pytest.raises(ValueError, match=r"these differ in lr\. Leave out all but one choice of settings"):
        comparison_report([*runs, used])
    other = make_run(store, "other", method="dept", hyperparameters={})
    assert comparison_report([runs[1], again, other]).title == "Comparison of 2 methods", "a device is no setting"


def test_transfer_is_reported(store: Store) -> None:
    runs = [make_run(store, "one"), make_run(store, "two", task="sms")]
    found = check_self_contained(transfer_report(runs).to_html())
    assert "@inproceedings{vu2022spot" in found.text
    assert f"ptviz report --transfer {runs[0].id} {runs[1].id}" in found.text
    assert "Each prompt answers up to 200 validation examples of each task as it is." in found.text
    assert "test examples" not in found.text
    with pytest.raises(ValueError, match="transfer needs two or more runs; got 1"):
        transfer_report(runs[:1])


def test_every_method_has_an_entry_of_its_own_paper() -> None:
    for name, info in list_methods().items():
        assert f"url = {{{info.card.url}}}" in cite([name])
        assert "@misc{" + name not in cite([name]), f"references.bib has no entry for {info.card.url}"
    entries = cite(list_methods(), [CALIBRATION, MCNEMAR, HOLM, TRANSFERABILITY])
    keys = re.findall(r"^@\w+\{([^,]+),$", entries, re.M)
    assert len(keys) == len(set(keys)) == 15 + 4 + 1 + 1
    assert entries.count("{") == entries.count("}")


def test_a_report_without_figures_carries_no_library() -> None:
    report = Report(HOSTILE, "", [Section("s", ["x"], [Table("t", ["a"], [[None]]), Code("c", HOSTILE)])])
    html = report.to_html()
    assert len(html) < 20_000
    assert check_self_contained(html).text.count("onerror=alert(1)") == 3


def test_the_shell_writes_reports(
    predicted: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [predicted(f"run {i}", seed=i) for i in range(2)]
    assert cli.run(["report", runs[0].id, "-o", str(tmp_path / "one.html"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {
        "runs": [runs[0].id],
        "path": str(tmp_path / "one.html"),
        "bytes": (tmp_path / "one.html").stat().st_size,
    }
    assert cli.run(["report", "--where", "task=trec6", "-o", str(tmp_path / "two.html")]) == 0
    assert "Comparison of 1 method" in (tmp_path / "two.html").read_text()
    for words, message in (
        ([], "expected the id of a run, or a filter --where"),
        (["--where", "task=none"], "expected the id of a run"),
        ([runs[0].id, "--compare", "--transfer"], "give one of them"),
        (["none"], "there is no run 'none'"),
    ):
        assert cli.run(["report", *words, "-o", str(tmp_path / "no.html")]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "no.html").exists()


def test_a_run_without_a_step_has_no_report(store: Store) -> None:
    from ptviz.runs import RunConfig

    with pytest.raises(StoreError, match="has made no step yet: there is nothing to report"):
        run_report(store.create(RunConfig()))
