"""Source prompts of transfer runs: trained once as runs of the store, then reused, and reported as such."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ptviz.engine.model_cache import ModelCache
from ptviz.engine.source_prompt_runs import find_source_run, source_run_configs
from ptviz.engine.train_job import train_run
from ptviz.experiments import planned_runs
from ptviz.methods import PromptMethod
from ptviz.runs import Run, RunConfig, Store
from ptviz.runs.config import with_absolute_paths
from ptviz.training import SourcePromptReady, TrainConfig, default_learning_rate
from tests.training.transfer import toy

__all__ = ["toy"]
TRAINING = TrainConfig(
    steps=4, source_steps=3, batch=4, length=16, train_rows=40, validation_rows=20, test_rows=20, snapshot_every=1
)
CONFIG = RunConfig("tiny-encoder", "trec6", "toy-transfer", {"m": 4}, TRAINING, sources=("mcid", "sms"))


@pytest.fixture
def store(home: Path) -> Store:
    return Store(home / "runs")


def source_events(run: Run) -> list[SourcePromptReady]:
    return [event for event in run.events()[0] if isinstance(event, SourcePromptReady)]


def test_sources_become_runs_and_are_reused(toy: type[PromptMethod], store: Store) -> None:
    model_cache = ModelCache()
    first = store.create(CONFIG)
    train_run(first, model_cache)
    assert first.status().state == "finished", first.status().reason
    assert [(event.task, event.reused) for event in source_events(first)] == [("mcid", False), ("sms", False)]
    assert len(store.list()) == 3
    source = store.get(source_events(first)[0].run)
    assert source.config.method == "prompt-tuning"
    assert source.status().accuracy == source_events(first)[0].accuracy
    assert torch.equal(first.snapshot(0, 0)["S"][0], source.prompt()["P"])

    second = store.create(replace(CONFIG, training=replace(TRAINING, seed=5, shots=3)))
    train_run(second, model_cache)
    assert [(event.run, event.reused) for event in source_events(second)] == [
        (event.run, True) for event in source_events(first)
    ]
    assert len(store.list()) == 4

    longer = store.create(replace(CONFIG, training=replace(TRAINING, source_steps=4)))
    train_run(longer, model_cache)
    assert not any(event.reused for event in source_events(longer))


def test_a_source_run_is_found_under_any_name(toy: type[PromptMethod], store: Store) -> None:
    wanted = source_run_configs(CONFIG, 4)[0]
    assert find_source_run(store, wanted) is None
    run = store.create(replace(wanted, name="my own", training=replace(wanted.training, snapshot_every=2)))
    assert find_source_run(store, wanted).id == run.id  # type: ignore[union-attr]
    assert find_source_run(store, replace(wanted, hyperparameters={**wanted.hyperparameters, "m": 5})) is None
    assert find_source_run(store, replace(wanted, training=replace(wanted.training, seed=1))) is None


def test_a_source_run_with_the_default_learning_rate_written_out_is_reused(
    toy: type[PromptMethod], store: Store
) -> None:
    wanted = source_run_configs(CONFIG, 4)[0]
    assert wanted.training.lr is None
    default = default_learning_rate(wanted.method, wanted.backbone)
    other = store.create(replace(wanted, training=replace(wanted.training, lr=2 * default)))
    assert find_source_run(store, wanted) is None
    run = store.create(replace(wanted, training=replace(wanted.training, lr=default)))
    found = find_source_run(store, wanted)
    assert found is not None
    assert found.id == run.id != other.id


def test_a_source_run_from_before_the_default_changed_is_not_reused(toy: type[PromptMethod], store: Store) -> None:
    wanted = source_run_configs(CONFIG, 4)[0]
    run = store.create(wanted)
    default = default_learning_rate(wanted.method, wanted.backbone)
    (run.path / "environment.json").write_text(json.dumps({"lr": 2 * default}))
    assert find_source_run(store, wanted) is None
    (run.path / "environment.json").write_text(json.dumps({"lr": default, "pid": 1}))
    found = find_source_run(store, wanted)
    assert found is not None
    assert found.id == run.id


def test_only_finished_runs_of_others_are_source_prompts(toy: type[PromptMethod], store: Store) -> None:
    wanted, asker, other = source_run_configs(CONFIG, 4)[0], Store(store.root), Store(store.root)
    asker.owner, other.owner = "a1" * 8, "b2" * 8
    stopped = other.create(wanted)
    assert find_source_run(asker, wanted) is None
    run, model_cache = asker.create(CONFIG), ModelCache()
    train_run(run, model_cache)
    assert run.status().state == "finished", run.status().reason
    assert stopped.status().reason == "not started yet"
    sources = [store.get(event.run) for event in source_events(run)]
    assert [source.annotations().owner for source in sources] == [asker.owner] * 2
    found = find_source_run(other, wanted)
    assert found is not None
    assert found.id == sources[0].id, "a finished one is only read"


def test_stopping_while_sources_train_can_be_resumed(toy: type[PromptMethod], store: Store) -> None:
    model_cache, run = ModelCache(), store.create(CONFIG)
    asked = iter([None, None, None, "stopped in a test", "stopped in a test", "stopped in a test"])
    train_run(run, model_cache, should_stop=lambda: next(asked, "stopped in a test"))
    assert run.status().state == "stopped"
    assert "source prompts" in run.status().reason
    train_run(run, model_cache)
    assert run.status().state == "finished", run.status().reason
    assert len(store.list()) == 3


@pytest.mark.parametrize(
    ("sources", "why"), [((), "at least one"), (("sms", "sms"), "different"), (("trec6",), "source of its own")]
)
def test_bad_sources_are_refused(toy: type[PromptMethod], sources: tuple[str, ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        replace(CONFIG, sources=sources).checked()


def test_sources_are_refused_for_a_method_without_transfer() -> None:
    with pytest.raises(ValueError, match="does not learn from source tasks"):
        RunConfig(sources=("sms",)).checked()


def test_a_config_with_sources_shows_them_everywhere(toy: type[PromptMethod]) -> None:
    assert RunConfig.from_json(CONFIG.to_json()) == CONFIG
    assert "--sources mcid,sms" in CONFIG.shell_command()
    assert replace(CONFIG, sources=None).source_tasks() == ("yahoo", "stackoverflow", "mcid")
    assert RunConfig().source_tasks() == ()


def tables(folder: Path, *names: str) -> tuple[str, ...]:
    paths = []
    for place, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [f"{'good' if i % 2 else 'bad'} thing {place} {i},{'yes' if i % 2 else 'no'}" for i in range(60)]
        path.write_text("\n".join(["text,label", *rows]))
        paths.append(str(path))
    return tuple(paths)


@pytest.mark.parametrize("method", ["attempt", "spot-single", "mpt", "ctpt"])
def test_own_tables_are_sources(store: Store, tmp_path: Path, method: str) -> None:
    sources = tables(tmp_path, "first.csv", "second.csv")
    run = store.create(replace(CONFIG, method=method, sources=sources, training=replace(TRAINING, steps=2)))
    train_run(run, ModelCache())
    assert run.status().state == "finished", run.status().reason
    assert [event.task for event in source_events(run)] == list(sources)


def test_a_source_prompt_of_a_table_that_was_changed_is_trained_anew(store: Store, tmp_path: Path) -> None:
    sources, model_cache = tables(tmp_path, "first.csv", "second.csv"), ModelCache()
    config = replace(CONFIG, method="attempt", sources=sources, training=replace(TRAINING, steps=2))
    first = store.create(config)
    train_run(first, model_cache)
    assert first.status().state == "finished", first.status().reason
    changed = Path(sources[1])
    changed.write_text(changed.read_text().replace("thing", "place"))
    [other] = [one for one in planned_runs.find_runs(store, [config])]
    assert other.run is None, "it learned from the old rows of its source"
    again = store.create(config)
    train_run(again, model_cache)
    assert again.status().state == "finished", again.status().reason
    assert [event.reused for event in source_events(again)] == [True, False]


def test_two_tables_of_one_name_are_refused_before_anything_is_trained(store: Store, tmp_path: Path) -> None:
    run = store.create(replace(CONFIG, method="attempt", sources=tables(tmp_path, "a/same.csv", "b/same.csv")))
    train_run(run, ModelCache())
    status = run.status()
    assert status.state == "failed"
    assert "'same' 2 times" in status.reason
    assert len(store.list()) == 1


def test_paths_of_sources_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (full,) = tables(tmp_path, "first.csv")
    monkeypatch.chdir(tmp_path)
    assert with_absolute_paths(replace(CONFIG, method="attempt", sources=("first.csv", "sms"))).sources == (full, "sms")
