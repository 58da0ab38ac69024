"""The page of sweeps: a new one, its runs, and the figures of finished ones."""

from __future__ import annotations

import json

from ptviz.experiments.sweep import expand_sweep, parse_sweep, save_sweep
from ptviz.runs.run_file_io import atomic_write
from ptviz.runs.store import encode_config
from tests.pages.run_pages import figures, well

PAGE = "compare/sweep.py"
SPEC = b'name = "rates"\nmethods = ["prompt-tuning", "smop"]\nseeds = 2\n[training]\nsteps = 20\nlr = [0.1, 0.2, 0.3]\n'


def test_a_new_sweep_is_saved_and_its_runs_are_started(page, store):
    at = page(PAGE)
    assert not at.exception
    at.text_area(key="sweep-text").set_value(SPEC.decode()).run()
    assert at.button(key="sweep-runs-start").label == "Train 12 runs"
    at.button(key="sweep-save").click().run()
    assert not at.exception
    assert at.selectbox(key="sweep").value == "rates"
    at.button(key="sweep-runs-start").click().run()
    assert sum(summary.status.state == "queued" for summary in store.list()) == 12


def test_a_wrong_sweep_is_refused_with_its_reason(page):
    at = page(PAGE)
    at.text_area(key="sweep-text").set_value("seeds = 0").run()
    assert not at.exception
    assert any("expected a whole number >= 1" in text.value for text in at.text)


def test_a_sweep_of_the_address_that_is_not_there_is_said(page):
    at = page(PAGE, sweep="zzz")
    assert "sweep: expected one of A new sweep; got zzz. A new sweep is used instead" in [t.value for t in at.text]
    save_sweep(parse_sweep(SPEC), SPEC)
    at = page(PAGE, sweep="zzz")
    assert "sweep: expected one of rates, A new sweep; got zzz. rates is used instead" in [t.value for t in at.text]
    well(page(PAGE, sweep="rates"))


def test_finished_runs_are_drawn(page, make_run):
    spec = parse_sweep(SPEC)
    save_sweep(spec, SPEC)
    for config in expand_sweep(spec)[:10]:
        run = make_run("finished", method=config.method)
        atomic_write(run.path / "config.json", encode_config(config))
    at = page(PAGE, sweep="rates")
    assert not at.exception
    assert {"sweep-parallel", "sweep-importance", "sweep-method-lr"} <= set(figures(at))
    assert at.button(key="sweep-runs-start").label == "Train 2 runs"
    best = next(table for table in at.dataframe if "Best settings" in table.value)
    for name in ("Validation", "Test"):
        assert best.value[name].dtype.kind == "f", f"{name}: text sorts 100.0% before 50.2%"
        assert json.loads(best.proto.columns)[name]["type_config"]["format"] == "%.1f%%"
    assert set(best.value["Test"]) == {75.0}
    assert any("test accuracy with its 95% interval over seeds. The more" in c.value for c in at.caption)
