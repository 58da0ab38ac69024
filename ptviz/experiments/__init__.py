"""Experiments of many runs: comparison, transfer, learning-rate sweep, benchmark, replication."""
