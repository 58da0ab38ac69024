"""Fixtures: runs without real training, in milliseconds."""

from tests.fake_runs import config, events, longer, model_cache, store, table, training

__all__ = ["config", "events", "longer", "model_cache", "store", "table", "training"]
