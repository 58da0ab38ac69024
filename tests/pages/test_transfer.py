"""The page Transfer: empty states, the grid as far as it goes, and choices that live in the address."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ptviz.analysis.similarity import METRICS
from ptviz.runs import Run, RunConfig, Store
from ptviz.runs import transfer as record
from ptviz.runs.warm import Warm
from ptviz.runs.work import work
from ptviz.training import TrainConfig

PAGE = "compare/transfer.py"
WARM = Warm()


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("tables")
    made = []
    for name, yes, no in (("feelings", "good", "bad"), ("mail", "free", "day"), ("places", "city", "who")):
        path = folder / f"{name}.csv"
        path.write_text("text,label\n" + "".join(f"{yes} {i},{yes}\n{no} {i},{no}\n" for i in range(30)))
        made.append(path)
    return made


@pytest.fixture
def trained(store: Store, tables: list[Path]) -> Callable[..., Run]:
    def make(place: int = 0, method: str = "prompt-tuning", seed: int = 0) -> Run:
        training = TrainConfig(steps=2, batch=4, seed=seed)
        run = store.create(RunConfig("tiny-encoder", str(tables[place]), method, {"m": 3}, training))
        work(run.path, WARM)
        return run

    return make


def texts(at) -> str:
    kinds = ("text", "caption", "markdown", "subheader", "code")
    return " ".join(str(element.value) for kind in kinds for element in at.get(kind))


def measure(store: Store) -> None:
    runs = record.candidates(store)
    for _ in record.fill(store, runs, record.targets(runs), warm=WARM):
        pass


def test_an_empty_store_says_what_to_do(page):
    at = page(PAGE)
    assert not at.exception
    assert "No finished run yet" in texts(at)
    assert at.button(key="start-usual")


def test_one_run_is_too_few_and_a_prefix_is_not_compared(page, trained):
    trained()
    trained(1, "prefix-tuning")
    at = page(PAGE)
    assert not at.exception
    assert "Fewer than two" in texts(at)
    assert "ptviz transfer --backbone tiny-encoder" in texts(at)


def test_the_grid_fills_and_similarity_is_held_against_it(page, trained, store):
    for place in range(3):
        trained(place)
    at = page(PAGE)
    assert not at.exception
    assert "0 of 12 cells are measured" in texts(at)
    assert "Does similarity foretell" not in texts(at)
    measure(store)
    at = page(PAGE, metric="CKA", centred="true", without="true")
    assert not at.exception
    assert "All 12 cells are measured" in texts(at)
    assert "Does similarity foretell" in texts(at)
    assert "6 points, own tasks left out" in texts(at)


def test_every_measure(page, trained):
    trained()
    trained(seed=1)
    at = page(PAGE)
    for metric in METRICS:
        at.query_params["metric"] = metric
        at.segmented_control(key="metric").set_value(metric).run()
        assert not at.exception
        assert at.session_state["metric"] == metric
        assert not [text for text in at.text if "unexpected" in text.value]


def test_runs_are_chosen_and_kept_in_the_address(page, trained):
    runs = [trained(place).id for place in range(3)]
    at = page(PAGE, runs=",".join(runs[:2]))
    assert at.multiselect(key="runs").value == runs[:2]
    assert f"--runs {runs[0]},{runs[1]}" in texts(at) or f"--runs {runs[1]},{runs[0]}" in texts(at)
    at.multiselect(key="runs").set_value([]).run()
    assert not at.exception
    assert "Choose at least two runs" in texts(at)
