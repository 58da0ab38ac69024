"""Trained methods in memory: training a run, answering with it, and the cache of backbones."""
