"""Runs that train nothing, in milliseconds."""

from tests.fake_runs import config, events, longer, store, table, training, warm

__all__ = ["config", "events", "longer", "store", "table", "training", "warm"]
