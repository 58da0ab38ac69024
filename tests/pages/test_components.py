"""The components of the pages, each by itself."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from starlette.requests import Request
from starlette.responses import Response

from ptviz.analysis.training_curves import TrainingCurve
from ptviz.methods import REGISTRY
from ptviz.plots.method_style import method_series_style, method_title
from ptviz.plots.training_curves import describe_training_curve
from ptviz.runs import Run, RunConfig, Store
from ptviz.runs.run_filters import filter_summaries
from ptviz.ui import backend, server
from ptviz.ui.components import uploads
from ptviz.ui.components.errors import describe_error
from ptviz.ui.components.formatting import format_age, format_duration, format_percent, unique_labels
from ptviz.ui.home import INTRODUCTION
from ptviz.ui.train.run_table import build_run_frame
from ptviz.ui.train.training_curves import history_to_csv

MakeRun = Callable[..., Run]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("reviews.csv", "reviews.csv"),
        ("../../etc/passwd.csv", "passwd.csv"),
        ("C:\\Users\\me\\my table.TSV", "my-table.tsv"),
        ("réviews été.jsonl", "reviews-ete.jsonl"),
        ("<script>alert(1)</script>.parquet", "script.parquet"),
        ("....csv", "table.csv"),
        ("日本語.csv", "table.csv"),
        ("-rf.csv", "rf.csv"),
        ("x" * 500 + ".csv", "x" * 60 + ".csv"),
        ("a\x00b\n.csv", "a-b.csv"),
        ("My Reviews.csv.GZ", "My-Reviews.csv.gz"),
        ("reviews.ZIP", "reviews.zip"),
        ("array.json", "array.json"),
    ],
)
def test_upload_names_are_made_safe(name: str, kept: str):
    assert uploads.safe_name(name) == kept


@pytest.mark.parametrize("name", ["evil.exe", "csv", "", "table.csv.pkl", ".csv.sh"])
def test_other_endings_are_refused(name: str):
    with pytest.raises(ValueError, match="ends in"):
        uploads.safe_name(name)


def test_an_upload_never_replaces_another(home: Path):
    first, same, other = (uploads.save_upload("t.csv", content) for content in (b"a", b"a", b"b"))
    assert first == same != other
    assert {first.parent.parent, other.parent.parent} == {home / "uploads"}
    assert first.name == other.name == "t.csv", "a table keeps its name"
    link = uploads.link_of(first)
    assert str(home) not in link
    assert uploads.resolve_link(link) == str(first)
    assert uploads.link_of(home / "elsewhere.csv") == str(home / "elsewhere.csv")
    assert (first.read_bytes(), other.read_bytes()) == (b"a", b"b")


@pytest.mark.parametrize("link", ["upload:../secret", "upload:12/none.csv", "upload:/etc/passwd"])
def test_a_link_names_nothing_but_uploads(home: Path, link: str):
    (home / "secret").write_text("x")
    with pytest.raises(ValueError, match="expected a file that was uploaded here"):
        uploads.resolve_link(link)


def test_an_empty_upload_is_refused(home: Path):
    with pytest.raises(ValueError, match="empty"):
        uploads.save_upload("t.csv", b"")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "—"), (0, "0 s"), (41.6, "42 s"), (200, "3 min 20 s"), (1830, "30 min"), (7500, "2 h 5 min"), (-3, "0 s")],
)
def test_durations_in_words(seconds: float | None, words: str):
    assert format_duration(seconds) == words


@pytest.mark.parametrize(
    ("passed", "words"),
    [(5, "just now"), (100, "1 minute ago"), (7200, "2 hours ago"), (90000, "1 day ago"), (-50, "just now")],
)
def test_moments_in_words(passed: float, words: str):
    assert format_age(1000.0, now=1000.0 + passed) == words


def test_percent():
    assert (format_percent(None), format_percent(0.8265), format_percent(1, 0)) == ("—", "82.7%", "100%")


def test_expected_errors_are_shown_as_they_are_and_others_with_their_type():
    assert describe_error(ValueError("m: expected 1 to 200; got 0")) == "m: expected 1 to 200; got 0"
    assert describe_error(KeyError("x")).startswith("an unexpected KeyError")
    assert describe_error(ValueError("")).startswith("an unexpected ValueError")


def test_every_method_has_its_own_style():
    marks = [(method_series_style(name).colour, method_series_style(name).dash) for name in REGISTRY]
    assert len(set(marks)) == len(marks)
    assert method_title("method-of-the-future") == "method-of-the-future"
    assert method_series_style("method-of-the-future") not in [method_series_style(name) for name in REGISTRY]


def test_a_curve_in_words():
    assert "no step" in describe_training_curve(TrainingCurve())
    words = describe_training_curve(
        TrainingCurve((0, 9), (2.0, 1.0), (2.0, 1.5), (0,), (0.8,), (0, 0.8), 0.26, 0.38, last_step=20)
    )
    assert "after 10 of 20 steps" in words, "steps count from 0"
    assert "Best validation accuracy 80.0% at step 0" in words


def test_the_csv_holds_every_point_once(make_run: MakeRun):
    rows = list(csv.DictReader(io.StringIO(history_to_csv({"one": make_run("finished").history()}))))
    assert [int(row["step"]) for row in rows] == list(range(21))
    assert [row["step"] for row in rows if row["validation_accuracy"]] == ["0", "5", "10", "15", "20"]
    assert float(rows[0]["training_loss_nats"]) == 2.0
    assert {row["run"] for row in rows} == {"one"}


def test_an_evaluation_after_the_last_step_is_not_lost(make_run: MakeRun):
    from ptviz.runs import RunWriter
    from ptviz.training.events import Evaluated

    run = make_run("stopped", made=4)
    with RunWriter(run) as writer:
        writer.write_event(Evaluated(0, 5, 1.0, 0.7, True, 1.0))
    *_, last = csv.DictReader(io.StringIO(history_to_csv({"one": run.history()})))
    assert (last["position"], last["step"], last["validation_accuracy"], last["training_loss_nats"]) == (
        "5",
        "5",
        "0.7",
        "",
    )


def test_find_takes_every_word(make_run: MakeRun, store: Store):
    make_run("finished", name="Alpha")
    make_run("queued", name="Beta", method="dept")
    names = [s.name for s in filter_summaries(store.list(), "waiting DEPT beta")]
    assert names == ["Beta"]
    assert len(filter_summaries(store.list(), "")) == 2
    assert filter_summaries([], "x") == []
    assert build_run_frame([]).empty


def test_plotly_is_served_from_its_package_and_cached_by_browsers():
    answer = asyncio.run(server.plotly_script(None))  # type: ignore[arg-type]
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    assert Path(answer.path).stat().st_size > 1_000_000


def ask_for_code(query: bytes) -> Response:
    return asyncio.run(server.qr_code(Request({"type": "http", "query_string": query})))


def test_the_code_of_an_address_is_a_picture():
    answer = ask_for_code(b"text=http%3A%2F%2F127.0.0.1%3A8501%2Fwatch%3Frun%3Dx%26present%3Dcurves")
    picture = ElementTree.fromstring(answer.body)
    assert answer.status_code == 200
    assert picture.tag.endswith("svg")
    assert answer.body != ask_for_code(b"text=http%3A%2F%2F127.0.0.1%3A8501").body


@pytest.mark.parametrize("query", [b"", b"text=", b"text=" + b"x" * 1501])
def test_a_text_that_no_camera_would_read_is_refused(query: bytes):
    answer = ask_for_code(query)
    assert answer.status_code == 400
    assert b"expected text of 1 to 1500 bytes" in answer.body


def test_health_includes_the_worker():
    answer = asyncio.run(server.health(None))  # type: ignore[arg-type]
    assert json.loads(answer.body)["status"] == "ok"
    assert json.loads(answer.body)["worker"] is None


def test_an_idle_worker_ends_with_the_server_and_a_busy_one_stays(monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    executor = backend.get_client()
    monkeypatch.setattr(executor, "request_shutdown", lambda: asked.append("retire"))
    for run, expected in (("some-run", []), (None, ["retire"])):
        monkeypatch.setattr(executor, "worker_info", lambda run=run: SimpleNamespace(run=run))
        backend.stop_idle_worker()
        assert asked == expected


def test_a_queued_run_keeps_the_worker(monkeypatch: pytest.MonkeyPatch, make_run: MakeRun):
    make_run("queued")
    executor = backend.get_client()
    monkeypatch.setattr(executor, "worker_info", lambda: SimpleNamespace(run=None))
    monkeypatch.setattr(executor, "request_shutdown", lambda: pytest.fail("the queue would wait for nobody"))
    backend.stop_idle_worker()


def test_the_shipped_settings_keep_the_app_to_this_machine():
    import tomllib

    config = tomllib.loads((Path(__file__).parents[2] / ".streamlit" / "config.toml").read_text())
    assert config["server"]["address"] == "127.0.0.1"
    assert config["server"]["fileWatcherType"] == "none"
    assert config["server"]["maxUploadSize"] <= 200
    assert config["browser"]["gatherUsageStats"] is False
    assert {"light", "dark"} <= set(config["theme"])


def test_the_introduction_gives_the_sizes_of_the_default_run():
    assert "22.6 million frozen parameters" in INTRODUCTION
    assert "from 3,840 trainable ones" in INTRODUCTION


def test_the_same_settings_make_the_same_run_again():
    from ptviz.ui.navigation import form_query_params

    params = form_query_params(
        RunConfig(backbone="some/model", task="hub:ag_news", text="body", method="dept", hyperparameters={"r": 4})
    )
    assert params["backbone"] == "other"
    assert params["other"] == "some/model"
    assert params["from"] == "from the Hub"
    assert params["hub"] == "ag_news"
    assert params["text"] == "body"
    assert params["dept-r"] == "4"


def test_the_address_names_a_set_of_the_papers() -> None:
    from ptviz.ui.navigation import form_query_params

    params = form_query_params(RunConfig(task="glue:mnli"))
    assert (params["from"], params["set"]) == ("from the Hub", "glue:mnli")
    assert "path" not in params


def test_entries_of_a_box_have_unique_labels():
    assert unique_labels({"a1": "same", "b2": "other", "c3": "same"}) == {
        "a1": "same a1",
        "b2": "other",
        "c3": "same c3",
    }
    assert unique_labels({("run", "a1"): "x", ("kept", "b2"): "x"}) == {("run", "a1"): "x a1", ("kept", "b2"): "x b2"}
